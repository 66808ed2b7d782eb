"""Two servers on one database under load: how long after `halt` the last order is let through, and what a silent
database stops.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from proxy.admin import call
from proxy.store.postgres import PostgresStore
from tests.callers import Wire, eventually
from tests.database import Server, start
from tests.house import ORDER
from tests.product import ACCOUNT, run
from tests.replicas import CALL, SCOPES, Fleet, Replica, fleet

pytestmark = pytest.mark.timing

Figure = Callable[[object], None]
ORDERS = f"/questrade/v1/accounts/{ACCOUNT}/orders"
TRADING = [*SCOPES, "trade"]
PAUSE = 0.02  # seconds between two orders of one program


@dataclass
class Desk:
    """Programs that place orders and read, all the time. `last`: when (monotonic) a server's last order was answered
    by the broker. `words` counts everything that was answered.
    """

    here: Fleet
    last: dict[int, float] = field(default_factory=dict)
    words: Counter[str] = field(default_factory=Counter)
    over: bool = False

    async def trade(self, replica: Replica) -> None:
        wire = Wire(replica.url)
        while not self.over:
            reply = await wire.call("POST", ORDERS, self.here.key, ORDER)
            assert reply is not None
            if reply.status == 200:
                self.last[replica.number] = time.monotonic()
            self.words[f"order {reply.status} {reply.ours or ''}".strip()] += 1
            await asyncio.sleep(PAUSE)
        await wire.close()

    async def look(self, replica: Replica) -> None:
        wire = Wire(replica.url)
        while not self.over:
            reply = await wire.call("GET", CALL, self.here.key)
            assert reply is not None
            self.words[f"read {reply.status}"] += 1
            await asyncio.sleep(PAUSE / 4)
        await wire.close()


@asynccontextmanager
async def busy(here: Fleet, traders: int, lookers: int) -> AsyncIterator[Desk]:
    """So many programs of both kinds at each server, once orders get through on all."""
    desk = Desk(here)
    async with asyncio.TaskGroup() as group:
        for replica in here.replicas:
            for _ in range(traders):
                group.create_task(desk.trade(replica))
            for _ in range(lookers):
                group.create_task(desk.look(replica))
        try:
            await served(desk)
            yield desk
        finally:
            desk.over = True


async def served(desk: Desk, seconds: float = 10) -> None:
    """Return once each server has let an order through."""
    began = time.monotonic()
    async for _ in eventually(seconds):
        if all(desk.last.get(replica.number, 0) > began for replica in desk.here.replicas):
            return
    raise AssertionError(desk.words)


async def halted(desk: Desk, replica: Replica) -> dict[int, float]:
    """Halt at one server; how many seconds after the answer the last order was let through, by server."""
    answer = await call(replica.socket, "halt", {"by": "anna@desk", "reason": "test"}, timeout=10)
    came = time.monotonic()
    assert answer["stored"], answer
    await asyncio.sleep(1.5)
    return {number: last - came for number, last in desk.last.items()}


async def measure(here: Fleet, times: int, figure: Figure) -> None:
    """Halt and resume so many times, by turns at each server."""
    worst = {"the server that was asked": -9.0, "the other": -9.0}
    async with busy(here, 4, 2) as desk:
        for turn in range(times):
            asked = here.replicas[turn % len(here.replicas)]
            for number, seconds in (await halted(desk, asked)).items():
                who = "the server that was asked" if number == asked.number else "the other"
                worst[who] = max(worst[who], seconds)
            before = (await here.state())["orders"]
            await asyncio.sleep(0.3)
            assert before == (await here.state())["orders"]
            await call(asked.socket, "resume", {"by": "anna@desk", "reason": "test"}, timeout=10)
            await served(desk)
    told = ", ".join(f"{who} {seconds:+.2f} s" for who, seconds in worst.items())
    figure(f"{times} halts, last order let through after the command's return: {told}; {dict(desk.words)}")
    assert worst["the server that was asked"] <= 0.2
    assert worst["the other"] <= 1.0
    assert {"order 200", "order 403 halted", "read 200"} == set(desk.words)


async def test_a_halt_stops_two_servers_within_a_second(state_dir: Path, database: str, figure: Figure) -> None:
    """Under load, and on the server that was asked at once; reads go on."""
    async with fleet(state_dir, database, scopes=TRADING) as here:
        await measure(here, 1, figure)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_twenty_halts_stop_two_servers_within_a_second(state_dir: Path, database: str, figure: Figure) -> None:
    """And once by the command line itself, as a person types it."""
    async with fleet(state_dir, database, scopes=TRADING) as here:
        await measure(here, 20, figure)
        async with busy(here, 4, 2) as desk:
            home = here.replicas[0].home
            done = await asyncio.to_thread(
                run, home, "-c", "../config.yaml", "halt", "--reason", "test", environ=here.replicas[0].environ
            )
            came = time.monotonic()
            assert 0 == done.code, done.output
            await asyncio.sleep(1.5)
            figure(f"by the command line: {max(desk.last.values()) - came:+.2f} s")
            assert max(desk.last.values()) - came <= 1.0


@pytest.fixture
def server(postgres: Server) -> Iterator[Server]:
    """A PostgreSQL that a test may stop. Skipped where there is none."""
    server = start()
    yield server
    server.remove()


async def ask(here: Fleet, replica: Replica, method: str, target: str, body: Any = None) -> tuple[int, str | None]:
    wire = Wire(replica.url)
    reply = await wire.call(method, target, here.key, body)
    await wire.close()
    assert reply is not None
    return reply.status, reply.ours


async def test_orders_wait_while_the_database_is_silent(state_dir: Path, server: Server, figure: Figure) -> None:
    """From 5 s on nobody knows what others have halted: 503 for new orders; reads and cancels go on."""
    dsn = await asyncio.to_thread(server.create)
    await PostgresStore.migrate(dsn)
    async with fleet(state_dir, dsn, count=1, scopes=TRADING) as here:
        (replica,) = here.replicas
        wire = Wire(replica.url)
        placed = await wire.call("POST", ORDERS, here.key, ORDER)
        await wire.close()
        assert placed is not None
        assert 200 == placed.status, placed.body
        await asyncio.to_thread(server.stop)
        gone = time.monotonic()
        assert (200, None) == await ask(here, replica, "POST", ORDERS, ORDER)
        async for _ in eventually(10, pause=0.1):
            if (await ask(here, replica, "POST", ORDERS, ORDER)) == (503, "store-silent"):
                break
        silent = time.monotonic() - gone
        assert (503, "store-silent") == await ask(here, replica, "POST", ORDERS, ORDER)
        assert (200, None) == await ask(here, replica, "GET", CALL)
        order_id = placed.document["orderId"]
        assert (200, None) == await ask(here, replica, "DELETE", f"{ORDERS}/{order_id}")
        await asyncio.to_thread(server.start)
        came = time.monotonic()
        async for _ in eventually(5, pause=0.05):
            if (await ask(here, replica, "POST", ORDERS, ORDER)) == (200, None):
                break
        back = time.monotonic() - came
        figure(
            f"orders were refused {silent:.1f} s after the database stopped, and taken {back:.1f} s after its return"
        )
        assert 4 <= silent <= 6
        assert back <= 2
