"""A program of a person's own: both streams of tradier-api-client, side by side. Nothing of ours is here.

`stream_tradier.py HTTP WS KEY WRONG ACCOUNT`: tells on stdout, line by line, what each of them hears and what the
package logs, as `[stream, channel, what]`; first the addresses that sessions name. One more stream has the key WRONG.
"""

import json
import logging
import sys
import threading
from collections.abc import Callable

import requests
from tradier_api_client import RestClient  # type: ignore[import-untyped]
from tradier_api_client.streaming import StreamingClient  # type: ignore[import-untyped]

http, ws, key, wrong, account = sys.argv[1:]
quiet = threading.Lock()
NUMBER = {"trade": "cvol", "quote": "bidsz", "timesale": "seq"}


def tell(stream: str, channel: str, what: object) -> None:
    with quiet:
        sys.stdout.write(json.dumps([stream, channel, what]) + "\n")
        sys.stdout.flush()


class Told(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        error = f": {record.exc_info[1]}" if record.exc_info else ""
        tell(record.name, "log", record.getMessage() + error)


def teller(stream: str) -> Callable[[str], None]:
    def heard(text: str) -> None:
        message = json.loads(text)
        if message.get("event") == "order":
            tell(stream, "orders", f"{message['status']} {message['id']}")
        elif message.get("type") in NUMBER:
            tell(stream, message["type"], int(message[NUMBER[message["type"]]]))

    return heard


def opened(name: str, kind: str, secret: str) -> StreamingClient:
    logger = logging.getLogger(name)
    logger.addHandler(Told())
    return StreamingClient(
        main_api_key=secret,
        base_url=f"{http}/tradier/v1",
        stream_base_url=f"{ws}/tradier-ws/v1",
        main_account_id=account,
        stream_type=kind,
        events_callback=teller(name),
        irrecoverable_callback=lambda *story: tell(name, "log", f"irrecoverable: {story}"),
        logger=logger,
        reconnect_base_delay_seconds=0.2,
    )


rest = RestClient(base_url=f"{http}/tradier/v1", api_key=key, account_number=account)
tell("sessions", "market", rest.create_market_session(key)["stream"]["url"])
tell("sessions", "account", rest.create_account_session(key)["stream"]["url"])
opened("market", "market", key).start_listening(["AAPL"], list(NUMBER))
opened("account", "account", key).start_listening()
try:
    opened("account, wrong key", "account", wrong).start_listening()
except requests.HTTPError as error:
    tell("account, wrong key", "log", str(error))
sys.stdin.read()
