"""A small bot that reads accounts and quotes through bearerd, and takes each kind of "no" as it is meant.

It needs nothing but Python. It never places an order: an order may be sent again only after a look at the open ones,
and what that takes is the business of a bot that trades.

    BEARERD_URL=http://127.0.0.1:8080  BEARERD_KEY_FILE=bot.key  python3 bot.py --symbols AAPL,MSFT --every 30

Exit codes: 0 after SIGTERM or with --once, 1 if --once got no answer, 2 for a wrong setting, 3 if bearerd refuses what
the bot asks for: somebody has to change the configuration or the key, and asking again would change nothing.
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import signal
import sys
import threading
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds between two tries; doubled each time
PATIENCE = 15.0  # seconds for one answer

stopping = threading.Event()


class Refused(Exception):
    """Asking again is useless until somebody has changed something."""


class Later(Exception):
    """It may work in `seconds`, or after a pause of one's own choice if that is None."""

    def __init__(self, reason: str, seconds: float | None = None) -> None:
        super().__init__(reason)
        self.seconds = seconds


def say(text: str) -> None:
    print(text, flush=True)


class Client:
    """Calls bearerd with a client key, one at a time, on one connection that is kept."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.netloc, timeout=PATIENCE)
        self._base = parts.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}", "Accept": "application/json", "User-Agent": "sample-bot/1"}

    def close(self) -> None:
        """The connection; the next call opens another."""
        self._connection.close()

    def get(self, path: str) -> Any:
        """The JSON at `path`. Raises `Refused` or `Later`; reads can be repeated at will."""
        try:
            self._connection.request("GET", self._base + path, headers=self._headers)
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as fault:
            self.close()
            raise Later(f"bearerd is not there ({type(fault).__name__})") from None
        if answer.status == HTTPStatus.OK:
            try:
                return json.loads(body)
            except ValueError:
                raise Later("200 from the broker, and no JSON") from None
        raise judge(answer.status, answer.headers, body)


def judge(status: int, headers: Any, body: bytes) -> Exception:
    """What an answer other than 200 means for this bot.

    `Proxy-Status: bearerd; …` marks what bearerd says itself; without it, it is the broker's own answer.
    """
    ours = "Proxy-Status" in headers
    reason = f"{status} from {'bearerd' if ours else 'the broker'}: {told(body)}"
    if status in (400, 403, 404, 421) or (ours and status == HTTPStatus.UNAUTHORIZED):
        return Refused(reason)
    # 429: too fast, for us or for the broker. 503 with a time: nothing was sent, it may go soon. 503 without one: a
    # person has to log in, which takes as long as it takes. 401 from the broker: it no longer takes the login. Others:
    # something failed on the way. A read may be tried again after all of them.
    after = headers.get("Retry-After", "")
    return Later(reason, max(FIRST_PAUSE, float(after)) if after.isdecimal() else None)


def told(body: bytes) -> str:
    """What a refusal says, and what helps."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return "no reason given"
    message = str(document.get("message") or document.get("title") or "no reason given")
    return f"{message}; to fix: {document['fix']}" if document.get("fix") else message


def look(client: Client, mount: str, symbols: list[str]) -> None:
    """One round: the accounts, and a quote for each symbol."""
    accounts = client.get(f"/{mount}/v1/accounts")["accounts"]
    numbers = []
    for symbol in symbols:
        found = client.get(f"/{mount}/v1/symbols/search?prefix={quote(symbol, safe='')}")["symbols"]
        numbers += [str(each["symbolId"]) for each in found if each["symbol"] == symbol]
    quotes = client.get(f"/{mount}/v1/markets/quotes?ids={','.join(numbers)}")["quotes"] if numbers else []
    prices = ", ".join(f"{each['symbol']} {each['lastTradePrice']}" for each in quotes)
    say(f"{len(accounts)} accounts; {prices or 'no quotes'}")


def run(client: Client, wish: argparse.Namespace) -> int:
    """Rounds until SIGTERM. After a failure the pause grows, unless bearerd says how long to wait."""
    failures = 0
    while not stopping.is_set():
        pause = wish.every
        try:
            look(client, wish.mount, wish.symbols)
            if wish.once:
                return 0
            failures = 0
        except Later as later:
            failures += 1
            grown = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1))
            # Not all at the same moment, where there are many bots.
            pause = later.seconds if later.seconds is not None else grown * random.uniform(0.7, 1.0)  # noqa: S311
            say(f"{later}; again in {pause:.0f} s")
            if wish.once and failures >= wish.tries:
                return 1
        except Refused as refused:
            say(f"{refused}; asking again would not help")
            return 3
        stopping.wait(pause)
    say("stopped")
    return 0


def key_of(environ: Any) -> str:
    """The client key: from a file, or from the environment, where more programs can read it."""
    file = environ.get("BEARERD_KEY_FILE")
    key = (Path(file).read_text("ascii") if file else str(environ["BEARERD_KEY"])).strip()
    if not key.startswith("brd_") or not key.isascii() or len(key.split()) != 1:
        raise ValueError  # as a header it would be refused, by an error that shows it
    return key


def main() -> int:
    parser = argparse.ArgumentParser(description="Read accounts and quotes through bearerd.")
    parser.add_argument("--mount", default="questrade", help="the mount to call, one of Questrade's")
    parser.add_argument("--symbols", default="AAPL", type=lambda text: text.split(","), help="comma-separated")
    parser.add_argument("--every", default=30.0, type=float, help="seconds from one round to the next")
    parser.add_argument("--once", action="store_true", help="end after the first round that worked")
    parser.add_argument("--tries", default=10, type=int, help="with --once: failures until it gives up")
    wish = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        client = Client(os.environ.get("BEARERD_URL", "http://127.0.0.1:8080"), key_of(os.environ))
    except (KeyError, OSError, ValueError) as fault:
        say(f"no client key: set BEARERD_KEY_FILE or BEARERD_KEY ({type(fault).__name__})")
        return 2
    with contextlib.closing(client):
        return run(client, wish)


if __name__ == "__main__":
    sys.exit(main())
