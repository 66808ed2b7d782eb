"""What all streaming clients go through together: prices and orders, sockets of the brokers that break, keys that end.

They are programs of a person's own (`scripts/stream_*`), side by side on one bearerd; each tells what it hears.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.gate.clients import new_key
from tests.clients import tradier
from tests.clients.alpaca import ORDER, new_id
from tests.clients.conftest import HERE
from tests.clients.listening import LOG, Line, Listening, listening, until
from tests.clients.product import LIMIT_ORDER, Demo
from tests.clients.trap import Trap
from tests.product import ACCOUNT as QUESTRADE
from tests.product import command, send

WRONG = new_key(lambda count: bytes(range(count))).reveal()
CONTRACT = "AAPL260515C00230000"
IDS = ("8049", "27426")
SLOW, FAST = 10, 100  # messages a second of each channel
ENOUGH = 100  # messages of each channel, before the brokers' sockets are cut and after
PATIENCE = 80.0  # seconds for all of it, on a busy machine
PY, OLD, NODE = "alpaca-py", "alpaca-trade-api", "npm 4"
TRADIER, UVA, IQ = "tradier-api-client", "uvatradier", "iqtrade"
Of = tuple[str, str]  # a program and a stream of it

STOCKS, CRYPTO = ("trades", "quotes", "bars"), ("trades", "orderbooks")
PRICES: Mapping[Of, Sequence[str]] = {
    (PY, "stocks"): STOCKS,
    (PY, "crypto"): CRYPTO,
    (PY, "news"): ("news",),
    (PY, "options"): ("trades", "quotes"),
    (OLD, "stocks"): STOCKS,
    (OLD, "crypto"): ("trades",),
    (OLD, "news"): ("news",),
    (NODE, "stocks"): STOCKS,
    (NODE, "crypto"): CRYPTO,
    (NODE, "news"): ("news",),
    (NODE, "options"): ("trades",),
    (TRADIER, "market"): ("trade", "quote", "timesale"),
    (IQ, "quotes"): IDS,
}
ORDERS: Mapping[str, Sequence[Of]] = {
    "alpaca": [(PY, "orders"), (OLD, "orders"), (NODE, "orders")],
    "tradier": [(TRADIER, "account")],
    "questrade": [(IQ, "orders")],
}
STREAMS = [*PRICES, *(of for streams in ORDERS.values() for of in streams)]
# What an SDK says where messages may be missing. npm 4 has words of its own for each number of an error.
MISSED = "messages may have been missed for"
GAP = {PY: MISSED, OLD: MISSED, NODE: "internal error", TRADIER: "Close status code: 1012", IQ: MISSED}
# The same on streams of orders, which have no words for it.
AGAIN = {PY: "received 1012", OLD: "received 1012", NODE: "disconnected", TRADIER: "Close status code: 1012",
         IQ: "closed: received 1012"}  # fmt: skip
# What it says when its key is removed; and how it tells that a key does not count.
ENDED = {PY: "received 4401", OLD: "received 4401", NODE: "disconnected", TRADIER: "Close status code: 4401",
         IQ: "closed: received 4401"}  # fmt: skip
REFUSED = {PY: "auth", OLD: "auth", NODE: "auth failed", TRADIER: "401 Client Error: Unauthorized",
           IQ: '{"code": 1017, "message": "Access token is invalid"}'}  # fmt: skip


@dataclass
class Course:
    """What happens. `placed`: what became of each broker's orders, between one cut and the next."""

    demo: Demo
    programs: dict[str, Listening]
    patience: float  # seconds, for all of it
    placed: dict[str, list[list[str]]] = field(default_factory=lambda: {broker: [] for broker in ORDERS})
    removed: dict[str, int] = field(default_factory=dict)  # each program's lines when its key was removed
    _began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds."""
        return max(0.0, self._began + self.patience - time.monotonic())

    def run(self, cuts: int) -> None:
        """Prices and orders, before each cut and after it."""
        for cut in range(cuts + 1):
            if cut:
                self.cut()
            self.wait_for_prices()
            self.place_some()

    def of(self, of: Of, channel: str) -> list[Any]:
        return self.programs[of[0]].of(of[1], channel)

    def wait_for_prices(self) -> None:
        """First some in every channel, then enough, as fast as they come."""
        channels = [(of, channel) for of, channels in PRICES.items() for channel in channels]
        for rate, count in ((SLOW, 1), (FAST, ENOUGH)):
            self.turn(rate)
            self._wait_for({each: len(self.of(*each)) + count for each in channels})
        self.turn(SLOW)

    def _wait_for(self, wanted: Mapping[tuple[Of, str], int]) -> None:
        until(lambda: all(len(self.of(*each)) >= count for each, count in wanted.items()), self.left)

    def turn(self, rate: int) -> None:
        """At every broker."""
        for broker in ORDERS:
            command(self.demo.report["control"], "/stream", broker, rate=rate)

    def place_some(self) -> None:
        """Orders until everybody hears of them, and then five that everybody has to hear of."""
        for broker in ORDERS:
            self.placed[broker].append([])
            while not self._heard(broker, 0.2) and self.left:
                self._place(broker)
            for _ in range(5):
                self._place(broker)
        for broker in ORDERS:
            self._heard(broker, self.left)

    def _place(self, broker: str) -> None:
        """An order that is cancelled at once."""
        demo = self.demo
        if broker == "alpaca":
            name = new_id()
            order = demo.ask("alpaca", "/v2/orders", "POST", {**ORDER, "client_order_id": name})["id"]
            path, happens = f"{demo.at('alpaca')}/v2/orders/{order}", ("new", "canceled")
        elif broker == "tradier":
            base = f"/v1/accounts/{tradier.ACCOUNT}/orders"
            name = demo.ask("tradier", f"{base}?{tradier.ORDER}", "POST")["order"]["id"]
            path, happens = f"{demo.at('tradier')}{base}/{name}", ("open", "canceled")
        else:
            name = demo.place(LIMIT_ORDER).document["orderId"]
            path, happens = f"{demo.url}/v1/accounts/{QUESTRADE}/orders/{name}", ("Accepted", "Canceled")
        assert 2 == send("DELETE", path, Authorization=f"Bearer {demo.trader_key}").status // 100
        self.placed[broker][-1] += [f"{event} {name}" for event in happens]

    def _heard(self, broker: str, seconds: float) -> bool:
        """Whether all hear of the newest order in time."""
        newest = self.placed[broker][-1][-1:]
        return bool(newest) and until(lambda: all(newest[0] in self.of(of, "orders") for of in ORDERS[broker]), seconds)

    def cut(self) -> None:
        """Every socket at a broker breaks."""
        for broker in ORDERS:
            count = send("GET", f"{self.demo.report['control']}/stream").document[broker]["open"]
            if count:
                command(self.demo.report["control"], "/faults", broker, fault="stream-drop", times=count)

    def remove(self, numbers: set[int], *programs: str) -> None:
        """The keys of these programs."""
        for name in programs:
            self.removed[name] = len(self.programs[name].lines)
        for number in numbers:
            self.demo.bearerd("clients", "remove", "trader", "--key", str(number), "--yes")

    def after(self, of: Of) -> list[Line]:
        """What a stream tells once its key has been removed."""
        name, stream = of
        return [line for line in self.programs[name].lines[self.removed[name] :] if line[0] == stream]

    def stream_uvatradier(self) -> None:
        """It comes last: a new market session ends the streams of the one before."""
        uva = self.programs[UVA]
        until(lambda: any(ENDED[TRADIER] in str(what) for _, _, what in self.after((TRADIER, "market"))), self.left)
        uva.go_on()
        until(lambda: len(uva.of("", LOG)) > 2 * ENOUGH, self.left)

    def wait_for_refusals(self) -> None:
        """Everybody has tried once more."""
        until(lambda: all(any(REFUSED[of[0]] in str(what) for _, _, what in self.after(of)) for of in STREAMS), 10)
        until(lambda: "401" in self.programs[UVA].errors, 10)


def keys(demo: Demo) -> set[int]:
    """The numbers of the client's keys."""
    listed = json.loads(demo.bearerd("clients", "list", "trader", "--json"))
    return {key["number"] for key in listed["clients"][0]["listed"]}


def commands(demo: Demo, node: str, legacy: str, key: str, other: str) -> dict[str, list[str]]:
    """Each program. alpaca-trade-api finds in the environment all that it needs."""
    http, wss = demo.report["url"], demo.report["url_tls"].replace("https", "wss")
    ws, scripts = http.replace("http", "ws"), HERE / "scripts"
    python = [sys.executable, "-u", "-P"]
    return {
        PY: [*python, str(scripts / "stream_alpaca_py.py"), ws, key, WRONG, CONTRACT],
        OLD: [legacy, "-P", str(scripts / "stream_alpaca_trade_api.py"), WRONG],
        NODE: [node, str(scripts / "stream_alpaca4.cjs"), ws, key, WRONG, CONTRACT],
        TRADIER: [*python, str(scripts / "stream_tradier.py"), http, ws, key, WRONG, tradier.ACCOUNT],
        UVA: [*python, str(scripts / "stream_uvatradier.py"), http, wss, other, WRONG, tradier.ACCOUNT],
        IQ: [*python, str(scripts / "stream_questrade.py"), demo.url, key, WRONG, ",".join(IDS)],
    }


@contextmanager
def held(demo: Demo, trap: Trap, tools: tuple[str, str], home: Path, cuts: int = 1) -> Iterator[Course]:
    """All of it, once. Nothing here fails if something does not come: the tests say what."""
    before = keys(demo)
    key = demo.bearerd("clients", "add", "trader").strip()
    own = keys(demo) - before
    other = demo.bearerd("clients", "add", "trader").strip()
    last = keys(demo) - before - own
    variables = json.loads(demo.bearerd("env", "alpaca", "alpaca-stream", "--json", BEARERD_KEY=key))["variables"]
    environ = {**trap.environ, "SSL_CERT_FILE": demo.report["ca_file"]}
    with ExitStack() as running:
        for broker in ORDERS:
            running.callback(command, demo.report["control"], "/stream", broker, rate=1)
            running.callback(command, demo.report["control"], "/faults", broker, fault="none")
        programs = {
            name: running.enter_context(listening(line, home / name, environ | (variables if name == OLD else {})))
            for name, line in commands(demo, *tools, key, other).items()
        }
        course = Course(demo, programs, PATIENCE * cuts)
        course.run(cuts)
        course.remove(own, PY, OLD, NODE, TRADIER, IQ)
        course.turn(FAST)
        course.stream_uvatradier()
        course.remove(last, UVA)
        course.wait_for_refusals()
        yield course
