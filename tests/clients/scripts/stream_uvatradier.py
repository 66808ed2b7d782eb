"""A program of a person's own with uvatradier, whose socket insists on TLS. Nothing of ours is here.

`stream_uvatradier.py HTTP WSS KEY WRONG ACCOUNT`: begins when a line comes on stdin; the package writes to stdout what
it hears. When that is over, one more stream has the key WRONG; its words go to stderr.
"""

import contextlib
import sys

import uvatradier  # type: ignore[import-untyped]

http, wss, key, wrong, account = sys.argv[1:]


def opened(secret: str) -> uvatradier.Stream:
    stream = uvatradier.Stream(account, secret, live_trade=True)
    stream.BASE_URL = f"{http}/tradier"
    stream.WEBSOCKET_URL = f"{wss}/tradier-ws"
    return stream


sys.stdin.readline()
opened(key).stream_market_events(["AAPL"], ["trade", "quote"])
with contextlib.redirect_stdout(sys.stderr):
    opened(wrong).stream_market_events(["AAPL"])
