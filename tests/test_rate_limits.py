"""Brokers that enforce their rate limits, and several programs on one grant: bearerd keeps them within, and fairly.

The simulators count and refuse as the brokers do; some have a smaller limit here, so that its windows end soon.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.app import App
from proxy.config import parse_yaml
from proxy.simulator import Simulator
from tests.everybroker import in_front_of
from tests.house import port_of
from tests.ownhouse import own_house

ALPACA_ORDER = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
QUOTE = "/v1/markets/quotes/8049"


@dataclass(frozen=True)
class Reply:
    """`ours`: bearerd refused, and the broker has not heard of it."""

    status: int
    ours: bool
    retry_after: float | None
    document: Any = None


@dataclass
class Desk:
    """Several programs, each with a key, on one mount in front of one broker."""

    app: App
    broker: Simulator
    keys: Mapping[str, str]
    session: aiohttp.ClientSession
    replies: list[Reply] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{port_of(self.app.doors.listeners[0])}/here"

    async def call(self, client: str, path: str, method: str = "GET", body: object = None) -> Reply:
        headers = {"Authorization": f"Bearer {self.keys[client]}"}
        async with self.session.request(method, self.url + path, json=body, headers=headers) as answer:
            text = await answer.read()
            retry = answer.headers.get("Retry-After")
            ours = "bearerd" in answer.headers.get("Proxy-Status", "")
            document = json.loads(text) if ours else None
            self.replies.append(Reply(answer.status, ours, None if retry is None else float(retry), document))
            return self.replies[-1]

    @property
    def calls(self) -> Counter[str]:
        """What the broker has seen."""
        calls = self.broker.state()["calls"]
        assert isinstance(calls, dict)
        return Counter(calls)

    @property
    def reached(self) -> int:
        """Calls that the broker has seen."""
        return self.calls.total()

    async def until(self, seen: Callable[[Counter[str]], object]) -> None:
        """Wait until the broker has seen that."""
        while not seen(self.calls):  # noqa: ASYNC110  a simulator tells nobody
            await asyncio.sleep(0.01)

    def check_that_the_broker_refused_none(self) -> None:
        assert [] == [reply for reply in self.replies if reply.status == 429 and not reply.ours]

    def metric(self, line: str) -> float:
        found = [text for text in self.app.rendered_metrics().decode().splitlines() if text.startswith(line)]
        return float(found[0].rpartition(" ")[2])


@asynccontextmanager
async def desk(
    directory: Path,
    broker: str,
    login: str,
    scopes: Sequence[str],
    *,
    clients: Sequence[str] = ("a", "b", "c"),
    pacing: Mapping[str, float] | None = None,
    **knobs: object,
) -> AsyncIterator[Desk]:
    """Logged in; `knobs` are the simulator's options."""
    more = {"clients": {name: {"here": list(scopes)} for name in clients}, "limits": {"pacing": dict(pacing or {})}}
    async with AsyncExitStack() as stack:
        front = in_front_of(directory, broker, login, knobs=knobs, more=more, scopes=list(scopes))
        app, simulator = await stack.enter_async_context(front)
        secret = simulator.links().logins[login]
        await app.operations.login("here", secret.get("secret") or secret.get("refresh_token") or "")
        keys = {name: (await app.operations.clients_add(name))["key"] for name in clients}
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Desk(app, simulator, keys, session)


async def test_the_broker_refuses_nobody_and_nobody_starves(tmp_path: Path) -> None:
    """Questrade's 20 a second: of three programs one asks three times as much as the others, for three seconds."""
    served: Counter[str] = Counter()
    async with desk(tmp_path, "questrade", "refresh-token", ["read_md"], enforce_rate_limits=True) as house:

        async def ask(client: str, until: float) -> None:
            while asyncio.get_running_loop().time() < until:
                reply = await house.call(client, QUOTE)
                # In the first second there is room for whoever comes first, and at the end not all ask on.
                served[client] += reply.status == 200 and until - 2 < asyncio.get_running_loop().time() < until
                if reply.ours:
                    await asyncio.sleep(0.1)

        until = asyncio.get_running_loop().time() + 3
        async with asyncio.TaskGroup() as group:
            for client, loops in (("a", 27), ("b", 9), ("c", 9)):
                for _ in range(loops):
                    group.create_task(ask(client, until))

        house.check_that_the_broker_refused_none()
        assert {200} == {reply.status for reply in house.replies if not reply.ours}
        # A second in which the first answers are awaited, and the part of one at the end, are not full.
        assert 25 <= house.reached <= 100
        assert max(served.values()) - min(served.values()) <= 5
        assert min(served.values()) >= 5
        assert house.metric('bearerd_paced_total{grant="ada",outcome="waited"}') > 10
        assert 14_000 < house.metric('bearerd_rate_remaining{category="market",grant="ada"}') < 15_000


async def test_the_limit_is_learnt_from_the_broker(tmp_path: Path) -> None:
    """It allows 5 in 2 s where the definition says 120 a minute: after its first answer no call too many is sent."""
    async with desk(tmp_path, "tradier", "personal", ["market"], pacing={"wait": 8}, limit=(5, 2.0)) as house:
        await house.call("a", "/v1/markets/clock")
        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(house.call("abc"[number % 3], "/v1/markets/clock"))
        assert Counter({200: 9}) == Counter(reply.status for reply in house.replies)
        assert 9 == house.reached
        (rate,) = house.app.operations.status()["mounts"][0]["rates"]
        assert ("market", 5) == (rate["category"], rate["limit"])


async def test_orders_are_sent_first(tmp_path: Path) -> None:
    """Four reads wait for the next four places when an order and a cancel come: two of them wait on."""
    scopes = ["account:read", "trading"]
    async with desk(tmp_path, "alpaca", "keys", scopes, pacing={"wait": 15}, limit=(4, 2.0)) as house:
        await house.call("a", "/v2/clock")
        async with asyncio.TaskGroup() as group:
            for _ in range(7):
                group.create_task(house.call("a", "/v2/clock"))
            await house.until(lambda calls: calls["GET /v2/clock"] == 4)
            group.create_task(house.call("b", "/v2/orders", "POST", ALPACA_ORDER))
            group.create_task(house.call("c", "/v2/orders", "DELETE"))
            await house.until(lambda calls: calls["POST /v2/orders"] and calls["DELETE /v2/orders"])
            assert house.calls["GET /v2/clock"] <= 6
        house.check_that_the_broker_refused_none()
        assert 10 == house.reached == len(house.replies)


async def test_a_call_that_cannot_be_in_time_is_refused_with_the_time_to_wait(tmp_path: Path) -> None:
    """At once, and nothing is sent; after exactly that time it goes."""
    async with desk(
        tmp_path, "tradier", "personal", ["market"], clients=("a",), pacing={"wait": 0}, limit=(2, 2.0)
    ) as house:
        for _ in range(2):
            assert 200 == (await house.call("a", "/v1/markets/clock")).status
        refused = await house.call("a", "/v1/markets/clock")
        assert (429, True, 2) == (refused.status, refused.ours, house.reached)
        assert "category market" in refused.document["message"]
        assert refused.retry_after is not None
        assert 1 <= refused.retry_after <= 4
        await asyncio.sleep(refused.retry_after)
        assert 200 == (await house.call("a", "/v1/markets/clock")).status
        house.check_that_the_broker_refused_none()


async def test_the_brokers_own_429_passes_untouched_and_closes_the_budget(tmp_path: Path) -> None:
    """Another program uses the grant: the client sees what the broker says, and the next call waits until it may."""
    async with desk(tmp_path, "questrade", "refresh-token", ["read_md"], enforce_rate_limits=True) as house:
        assert 200 == (await house.call("a", QUOTE)).status
        house.broker.faults.add("api-429")
        theirs = await house.call("a", QUOTE)
        assert (429, False) == (theirs.status, theirs.ours)
        began = asyncio.get_running_loop().time()
        assert 200 == (await house.call("b", QUOTE)).status
        assert 0.05 < asyncio.get_running_loop().time() - began < 3


async def test_without_enforcement_a_simulator_is_not_paced(tmp_path: Path) -> None:
    """Its environment says `rate_limits: none`: thirty calls at once are none too many for Questrade's 20 a second."""
    async with desk(tmp_path, "questrade", "refresh-token", ["read_md"], clients=("a",)) as house:
        await asyncio.gather(*(house.call("a", QUOTE) for _ in range(60)))
        assert Counter({200: 60}) == Counter(reply.status for reply in house.replies)
        (rate,) = house.app.operations.status()["mounts"][0]["rates"]
        assert (None, None) == (rate["limit"], rate["remaining"])


OWN = """
brokers:
  desk:
    title: My Desk
    scopes: {read: Reading}
    logins: {token: {kind: secret}}
    environments: {live: {api_server: "https://api.desk.example"}}
    params: {}
    rate_limits: {calls: {}}
    rate_headers: {limit: RateLimit-Limit, remaining: RateLimit-Remaining, reset: RateLimit-Reset}
    rows: [{id: accounts, method: GET, path: /v1/accounts, scope: read, rate: calls}]
mounts: {desk: {broker: desk, environment: live, scopes: [read]}}
limits: {pacing: {wait: 0}}
"""
OWN_SIMULATOR = """
name: desk
title: My Desk
login: {kind: secret, secret: [a-desk-token]}
calls: [{method: GET, path: /v1/accounts, json: []}]
"""


async def test_an_own_broker_says_it_in_its_own_headers(tmp_path: Path) -> None:
    """Its definition names them; nobody knows the limit before the first answer, and a reset counts from now."""
    config, rights = parse_yaml(OWN, "config.yaml").data, {"desk": ["read"]}
    async with own_house(tmp_path, config, OWN_SIMULATOR, rights, limit=(2, 30.0)) as house:
        await house.app.operations.login("desk", "a-desk-token")
        assert [200, 200] == [(await house.call("GET", "/desk/v1/accounts")).status for _ in range(2)]
        refused = await house.call("GET", "/desk/v1/accounts")
        assert (429, "paced") == refused.problem
        assert "31" == refused.one("Retry-After")
        assert "0" not in refused.all("RateLimit-Remaining")
        house.clock.passed += 31
        answered = await house.call("GET", "/desk/v1/accounts")
        assert (200, "1") == (answered.status, answered.one("RateLimit-Remaining"))
        assert {"GET /v1/accounts": 3} == house.seen("calls")


async def test_a_client_library_that_repeats_gets_through(tmp_path: Path) -> None:
    """alpaca-py repeats after a 429, three times and three seconds apart: it never hears of the limit."""
    trading = pytest.importorskip("alpaca.trading.client")
    async with desk(
        tmp_path, "alpaca", "keys", ["account:read"], clients=("a",), pacing={"wait": 0}, limit=(1, 2.0)
    ) as house:
        client = trading.TradingClient(oauth_token=house.keys["a"], url_override=house.url)
        clocks = [await asyncio.to_thread(client.get_clock) for _ in range(2)]
        assert all(clock.timestamp for clock in clocks)
        assert 2 == house.reached
        assert 1 <= house.metric('bearerd_paced_total{grant="ada",outcome="refused"}') <= 2
