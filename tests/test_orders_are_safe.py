"""Orders with numbers of their own through everything that can go wrong on the way: each reaches the broker's book at
most once, and what the client is told about it is never wrong.

Three simulated brokers, each with a bearerd of its own: faults of the broker and of a gateway before it, connections
that are cut after any number of bytes, either way, tokens that die, brokers that move, halts, clients that are slow or
leave. The quantity of an order is its number, so that the book says how often it was executed.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from proxy.app import App
from proxy.brokers import Origin
from proxy.gate.halt import EVERYTHING, Halt
from proxy.simulator import NotSupported, Simulator
from proxy.simulator.alpaca.broker import Alpaca
from proxy.simulator.questrade.broker import Questrade
from proxy.simulator.tradier.broker import Tradier
from tests.callers import Wire, ask
from tests.everybroker import in_front_of
from tests.product import ACCOUNT, Reply
from tests.replicas import Fleet, Replica, fleet
from tests.shears import Cut, Shears

Figure = Callable[[object], None]

PATIENCE = 0.8  # seconds for a broker to answer
PAUSE = 0.1  # seconds after a refusal; 1 s after a 503
TRADERS = 8  # programs that place orders at the same time
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
# What a client may conclude from what it gets: so often was the order executed.
ONCE, NEVER, UNKNOWN = "once", "never", "unknown"
NOTHING_SENT = {400, 401, 403, 408, 413, 429, 503}  # of ours


@dataclass(frozen=True)
class Market:
    """A broker, how one logs in there, and how an order is written. `say` are faults of its own."""

    login: str
    mount: Mapping[str, Any]
    say: tuple[str, ...]

    def order(self, number: int) -> tuple[str, bytes]:
        """Media type and body."""
        raise NotImplementedError

    def target(self, simulator: Simulator) -> str:
        raise NotImplementedError

    def taken(self, document: Any) -> bool:
        """Whether a 2xx says that the order was taken."""
        raise NotImplementedError

    def book(self, simulator: Any) -> Counter[int]:
        """How often each number stands in the broker's book."""
        raise NotImplementedError

    def port(self, simulator: Any) -> int:
        """Where the API is now."""
        raise NotImplementedError


class OfQuestrade(Market):
    def order(self, number: int) -> tuple[str, bytes]:
        terms = {"symbolId": 8049, "action": "Buy", "orderType": "Limit", "timeInForce": "Day", "limitPrice": 1}
        return JSON, json.dumps(terms | {"quantity": number}).encode()

    def target(self, simulator: Simulator) -> str:
        return f"/v1/accounts/{simulator.links().accounts[0]}/orders"

    def taken(self, document: Any) -> bool:
        return "orderId" in document and "code" not in document

    def book(self, simulator: Any) -> Counter[int]:
        return Counter(order.record["totalQuantity"] for order in simulator._book._orders.values())

    def port(self, simulator: Any) -> int:
        return int(simulator._home.port)


class OfTradier(Market):
    def order(self, number: int) -> tuple[str, bytes]:
        terms = {"class": "equity", "symbol": "AAPL", "side": "buy", "type": "limit", "duration": "day", "price": 0.01}
        return FORM, urlencode(terms | {"quantity": number}).encode()

    def target(self, simulator: Simulator) -> str:
        return f"/v1/accounts/{simulator.links().accounts[0]}/orders"

    def taken(self, document: Any) -> bool:
        return bool(document.get("order", {}).get("status") == "ok")

    def book(self, simulator: Any) -> Counter[int]:
        return Counter(int(order["quantity"]) for order in simulator.book._orders.values())

    def port(self, simulator: Any) -> int:
        return int(simulator._rest.port)


class OfAlpaca(Market):
    def order(self, number: int) -> tuple[str, bytes]:
        terms = {"symbol": "AAPL", "side": "buy", "type": "limit", "time_in_force": "day", "limit_price": "0.01"}
        return JSON, json.dumps(terms | {"qty": str(number)}).encode()

    def target(self, simulator: Simulator) -> str:
        return f"/v1/trading/accounts/{simulator.links().accounts[1]}/orders"

    def taken(self, document: Any) -> bool:
        return "id" in document

    def book(self, simulator: Any) -> Counter[int]:
        books = [account.book for account in simulator.customers.accounts.values()]
        return Counter(int(float(str(order["qty"]))) for book in books for order in book._orders.values())

    def port(self, simulator: Any) -> int:
        return int(simulator.url("broker").rpartition(":")[2])


MARKETS: Mapping[str, Market] = {
    "questrade": OfQuestrade(
        "refresh-token",
        {"scopes": ["read_acc", "trade"]},
        ("api-401-1017", "api-403-1016", "api-500", "order-200-error"),
    ),
    "tradier": OfTradier(
        "code",
        {"scopes": ["read", "trade"]},
        ("api-401-invalid", "api-401-expired", "api-500-expired", "api-502", "order-200-error"),
    ),
    "alpaca": OfAlpaca(
        "client-credentials",
        {"api": "broker", "scopes": ["broker:trading.read", "broker:trading.write"]},
        ("api-401", "api-401-gateway", "api-500", "api-504-html", "order-403", "order-422"),
    ),
}
BROKEN = (
    "api-429", "api-hang", "api-hang-after", "api-drop", "api-drop-before-answer", "api-close",
    "api-close-before-answer", "api-close-after-head", "api-truncated", "api-early", "api-slow", "api-drip",
    "api-gateway-502", "api-gateway-504",
)  # fmt: skip


@dataclass
class Floor:
    """One broker's part: what each order's client concludes, and what is wrong with what it was told."""

    market: Market
    app: App
    simulator: Simulator
    chance: random.Random
    told: dict[int, str] = field(default_factory=dict)
    words: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.app.doors.url

    def cut(self) -> Cut | None:
        """What becomes of the next connection to the broker."""
        if self.chance.random() < 0.8:
            return None
        up = self.chance.random() < 0.5
        # The handshake takes some 600 bytes up and 1,500 down, the call and its answer the next thousand.
        after = self.chance.randrange(0, 1800 if up else 3500)
        return Cut(up, after, self.chance.choice(["reset", "close", "stall"]))

    async def mischief(self) -> None:
        """What goes wrong before the next order, if anything does."""
        dice = self.chance.random()
        if dice < 0.42:
            self.simulator.faults.add(self.chance.choice((*BROKEN, *self.market.say)))
        elif dice < 0.50:
            self.simulator.expire()
            if self.chance.random() < 0.3:
                self.simulator.faults.add("token-slow")
        elif dice < 0.54:
            try:
                self.simulator.move_api_server()
            except NotSupported:
                self.simulator.expire()
        elif dice < 0.57:
            halts = self.app.halts
            await halts.halt(Halt(*EVERYTHING, cancels_too=False, by="test", since=0.0))
            await asyncio.sleep(0.05)
            await halts.resume(None)

    async def trade(self, numbers: list[int]) -> None:
        """Place the orders of these numbers, one after the other; each once."""
        while numbers:
            number = numbers.pop()
            await self.mischief()
            await self.place(number)

    async def place(self, number: int) -> None:
        kind, body = self.market.order(number)
        wire = Wire(self.url)
        target = "/here" + self.market.target(self.simulator)
        head = wire.request("POST", target, Accept=JSON, Content_Type=kind, Content_Length=str(len(body)))
        whole = head + body
        manner, middle = self.chance.random(), len(whole) - len(body) // 2
        try:
            await wire.send(whole[:middle])
            if manner < 0.06:
                await asyncio.sleep(0.05)  # a client that is slow
            elif manner < 0.10:
                self.conclude(number, NEVER, "left in mid-order")
                return
            await wire.send(whole[middle:])
            if manner > 0.95:
                await asyncio.sleep(self.chance.random() * 0.05)
                self.conclude(number, UNKNOWN, "left before the answer")
                return
            reply = await wire.reply(method="POST")
            self.conclude(number, *self.read(number, reply))
        finally:
            await wire.close()
        if reply is not None and reply.ours not in (None, "outcome-unknown"):
            # Nothing was sent. As programs do, so that not all orders meet the same refusal.
            await asyncio.sleep(1 if reply.status == HTTPStatus.SERVICE_UNAVAILABLE else PAUSE)

    def conclude(self, number: int, what: str, word: str) -> None:
        self.told[number] = what
        self.words[f"{word} → {what}"] += 1

    def read(self, number: int, reply: Reply | None) -> tuple[str, str]:
        """What a client has to think, and in a word why."""
        if reply is None:
            self.problems.append(f"order {number} got no answer")
            return UNKNOWN, "cut off"
        word = f"{reply.status} {reply.ours or 'of the broker'}"
        again = reply.headers.get("retry-after")
        if reply.status in (502, 504):
            self.problems.append(f"order {number} got a gateway's status: {word}")
        if reply.ours == "outcome-unknown":
            if again is not None:
                self.problems.append(f"order {number}: its outcome is unknown, and it should be sent again: {again}")
            return UNKNOWN, word
        if reply.ours is not None:
            if reply.status not in NOTHING_SENT:
                self.problems.append(f"order {number}: {word}")
            return NEVER, word
        if reply.status >= 300:
            return NEVER, word  # these brokers execute nothing that they refuse
        return (ONCE if self.market.taken(reply.document) else NEVER), word

    async def look(self) -> None:
        """Reads all the while, which want tokens and meet faults too."""
        target = "/here" + self.market.target(self.simulator)
        wire = Wire(self.url)
        try:
            while True:
                await wire.call("GET", target, None, Accept="application/json")
                await asyncio.sleep(0.1)
        finally:
            await wire.close()

    def settle(self) -> None:
        """Hold what clients think against the book."""
        book = self.market.book(self.simulator)
        for number, what in sorted(self.told.items()):
            times = book[number]
            if times > 1 or (what, times) in ((ONCE, 0), (NEVER, 1)):
                self.problems.append(f"order {number} was executed {times} times; its client thinks {what}")
            if what is UNKNOWN:
                self.words[f"unknown, executed {times}"] += 1
        strangers = set(book) - set(self.told)
        if strangers:
            self.problems.append(f"orders that nobody has placed: {sorted(strangers)}")


@asynccontextmanager
async def floor(directory: Path, broker: str, seed: int) -> AsyncIterator[tuple[Floor, Shears]]:
    """A broker, a bearerd that has logged in, and shears between them."""
    market = MARKETS[broker]
    knobs = {"slow": 0.1} | ({"rotates": True, "partner": True} if broker == "tradier" else {})
    async with AsyncExitStack() as stack:
        app, simulator = await stack.enter_async_context(
            in_front_of(directory, broker, market.login, knobs=knobs, **market.mount)
        )
        assert isinstance(simulator, Questrade | Tradier | Alpaca)
        if market.login == "code":
            begun = await app.operations.login_begin("here")
            await app.operations.login_complete("here", simulator.approve(begun["authorize_url"]))
        else:
            await app.operations.login("here", simulator.links().refresh_token)
        found = Floor(market, app, simulator, random.Random(seed))  # noqa: S311  no secret
        shears = await stack.enter_async_context(Shears(lambda: market.port(simulator), found.cut))
        relay = app.gateway.policy.mounts["here"].relay
        relay._place = replace(relay._place, origin=Origin("127.0.0.1", shears.port), total=PATIENCE, idle=PATIENCE)
        yield found, shears


async def trade_through_everything(directory: Path, broker: str, orders: int, seed: int, figure: Figure) -> None:
    async with floor(directory, broker, seed) as (here, shears):
        numbers = list(range(orders, 0, -1))
        looking = asyncio.get_running_loop().create_task(here.look())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(TRADERS):
                    group.create_task(here.trade(numbers))
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        while here.app.gateway.serving.in_flight:  # noqa: ASYNC110  calls whose clients have left
            await asyncio.sleep(0.05)
        here.settle()
        rotations = here.simulator.state()["rotations"]
        figure(
            f"{broker}: {orders} orders, {shears.cuts} cuts, {rotations} rotations; {dict(sorted(here.words.items()))}"
        )
        assert [] == here.problems
        assert orders == len(here.told)
        # It would prove little if nothing, or everything, went wrong.
        told = Counter(here.told.values())
        least = orders // 50
        assert min(told[ONCE], told[NEVER], told[UNKNOWN]) >= least, told
        assert min(here.words["unknown, executed 0"], here.words["unknown, executed 1"]) >= least, here.words


@pytest.mark.parametrize("broker", MARKETS)
async def test_every_order_is_executed_at_most_once(state_dir: Path, broker: str, figure: Figure) -> None:
    """50 orders at each broker, and no client is told anything wrong."""
    await trade_through_everything(state_dir, broker, 50, 7, figure)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("broker", "orders"), [("questrade", 700), ("tradier", 650), ("alpaca", 650)])
async def test_two_thousand_orders_are_executed_at_most_once(
    state_dir: Path, broker: str, orders: int, figure: Figure
) -> None:
    """The same with 2,000."""
    await trade_through_everything(state_dir, broker, orders, 2026, figure)


# -- kills of bearerd itself


async def trade_at(here: Fleet, replica: Replica, numbers: list[int], told: dict[int, str]) -> None:
    """Place orders until there are none left. A server that is down takes none, and the order is tried again."""
    market, target = MARKETS["questrade"], f"/questrade/v1/accounts/{ACCOUNT}/orders"
    while numbers:
        number, wire = numbers.pop(), Wire(replica.url)
        body = json.loads(market.order(number)[1])
        try:
            await wire.send(wire.request("POST", target, here.key, body))
        except OSError:  # nobody listened
            numbers.append(number)
            await asyncio.sleep(PAUSE)
            continue
        told[number] = UNKNOWN
        reply = await wire.reply(method="POST")
        await wire.close()
        if reply is not None and reply.ours != "outcome-unknown":
            told[number] = ONCE if reply.status == HTTPStatus.OK else NEVER


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_orders_survive_kills_of_the_server(state_dir: Path, figure: Figure) -> None:
    """`kill -9` ten times under load: nothing that the next process does sends an order again."""
    async with fleet(state_dir, "sqlite:r0/state/store.db", count=1, scopes=["read_acc", "read_md", "trade"]) as here:
        (replica,) = here.replicas
        numbers, told = list(range(3000, 0, -1)), dict[int, str]()
        async with asyncio.TaskGroup() as group:
            for _ in range(TRADERS):
                group.create_task(trade_at(here, replica, numbers, told))
            for _ in range(10):
                await asyncio.sleep(0.5)
                await replica.kill()
                await replica.restart()
            await asyncio.sleep(0.5)
            numbers.clear()
        window = urlencode(
            {"startTime": "2000-01-01T00:00:00Z", "endTime": "2100-01-01T00:00:00Z", "stateFilter": "All"}
        )
        reply = await ask(replica.url, "GET", f"/questrade/v1/accounts/{ACCOUNT}/orders?{window}", here.key)
        book = Counter(order["totalQuantity"] for order in reply.document["orders"])
        figure(f"{len(told)} orders, 10 kills: {dict(Counter(told.values()))}, {book.total()} in the book")
        assert set(book) <= set(told)
        assert 1 == max(book.values())
        assert [] == [number for number, what in told.items() if (what, book[number]) in ((ONCE, 0), (NEVER, 1))]
        assert UNKNOWN in told.values()
