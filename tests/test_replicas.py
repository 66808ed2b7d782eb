"""Several servers on one database, under load: one POST however many ask, no call lost to a stop or a restart."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.store.postgres import PostgresStore
from tests.balancer import Balancer
from tests.callers import eventually
from tests.database import Bouncer, Server, start
from tests.replicas import CALL, Fleet, Replica, fleet

pytestmark = pytest.mark.timing

SQLITE = "sqlite:r0/state/store.db"
Figure = Callable[[object], None]


# -- one POST, however many ask

REFUSED, OVER = "refused by the broker", "over by the clock"


async def one_post(here: Fleet, figure: Figure, *rows: tuple[int, str]) -> None:
    """So many calls at once, after the broker has ended the token, or after its time is up by every server's clock."""
    hour, posted = 0.0, 0
    for callers, how in rows:
        before = await here.state()
        if how == REFUSED:
            await here.command("/expire")
        else:
            hour += 3600
            for replica in here.replicas:
                replica.step(hour)
        balancer = Balancer(here.replicas, CALL, here.key)
        began = time.monotonic()
        await balancer.burst(callers)
        took = time.monotonic() - began
        found = await here.state()
        posted = found["token_posts"] - before["token_posts"]
        figure(f"{callers} callers, {len(here.replicas)} processes, {how}: {posted} POST, {took:.2f} s")
        assert (1, callers) == (posted, balancer.tally.total), balancer.tally
        assert found["rotations"] == before["rotations"] + 1
        assert 0 == found["reused_refresh_tokens"]
        posted = found["token_posts"]
    await asyncio.sleep(0.5)
    assert posted == (await here.state())["token_posts"], "somebody came later with a second one"


async def test_one_process_posts_once_for_all_callers(state_dir: Path, figure: Figure) -> None:
    """On the embedded store."""
    async with fleet(state_dir, SQLITE, count=1, stepped=True) as here:
        await one_post(here, figure, (100, REFUSED), (500, OVER))


async def test_four_processes_post_once_for_all_callers(state_dir: Path, database: str, figure: Figure) -> None:
    """On one database: the lease is given to one of them, the others take over what it brings."""
    async with fleet(state_dir, database, count=4, stepped=True) as here:
        await one_post(here, figure, (100, OVER), (500, REFUSED))


async def test_four_processes_post_once_through_a_pooler(
    state_dir: Path, database: str, bouncer: Bouncer, figure: Figure
) -> None:
    """The same through PgBouncer in transaction mode, where each transaction may be on another connection."""
    async with fleet(state_dir, bouncer.through(database), count=4, stepped=True) as here:
        await one_post(here, figure, (100, REFUSED))


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("store", "count"), [("sqlite", 1), ("postgresql", 4), ("pgbouncer", 4)])
async def test_one_post_for_all_callers_again_and_again(
    state_dir: Path, database: str, bouncer: Bouncer, *, store: str, count: int, figure: Figure
) -> None:
    """Ten times 100 and 500 callers, by turns after a refusal and at the end of the token's time."""
    stores = {"sqlite": SQLITE, "postgresql": database, "pgbouncer": bouncer.through(database)}
    async with fleet(state_dir, stores[store], count=count, stepped=True) as here:
        await one_post(here, figure, *[(100, REFUSED), (100, OVER), (500, REFUSED), (500, OVER)] * 5)


# -- stops and restarts


async def redeeming(here: Fleet) -> Replica:
    """The replica whose token request is out."""
    async for _ in eventually(10):
        for replica in here.replicas:
            if replica.states()[-1] == "redeeming":
                return replica
    raise AssertionError([replica.states() for replica in here.replicas])


def aborted(replica: Replica) -> int:
    """Calls whose answer was cut off, as the present process counts them itself."""
    assert replica.program is not None
    return replica.program.err.count('"outcome": "aborted"')


async def rolling(here: Fleet, balancer: Balancer, seconds: float) -> None:
    """Restart one after the other, the first while its token request is out; serve all the while, and after it."""
    await asyncio.sleep(seconds)
    await here.command("/faults", fault="token-slow")
    await here.command("/expire")
    first = await redeeming(here)
    for replica in (first, *(other for other in here.replicas if other is not first)):
        good = dict(balancer.tally.good)
        assert 0 == await replica.stop()
        assert 0 == aborted(replica)
        assert replica is not first or replica.states()[-1] == "fresh", "its redeem was not cut, and its pair is stored"
        await asyncio.sleep(seconds)
        others = [other.number for other in here.replicas if other is not replica]
        assert all(balancer.tally.good[number] > good[number] for number in others), "the other goes on"
        await replica.restart()
        await asyncio.sleep(seconds)


async def restart_both(directory: Path, store: str, times: int, seconds: float, figure: Figure) -> None:
    async with fleet(directory, store) as here:
        balancer, over = Balancer(here.replicas, CALL, here.key, heeds=True, pace=0.05), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(balancer.run(32, over.is_set))
            try:
                for _ in range(times):
                    await rolling(here, balancer, seconds)
            finally:
                over.set()
        found = await here.state()
        figure(f"{balancer.tally}; {found['rotations']} rotations, {found['token_posts']} token POSTs")
        assert [] == balancer.tally.others
        assert {} == balancer.tally.excused
        assert 0 == found["reused_refresh_tokens"]
        assert found["token_posts"] == found["rotations"]


async def test_a_rolling_restart_fails_no_call(state_dir: Path, database: str, figure: Figure) -> None:
    """SIGTERM under load, once in the midst of a slow token request: nothing is aborted, that request is not cut."""
    await restart_both(state_dir, database, 1, 0.3, figure)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_twenty_rolling_restarts_fail_no_call(state_dir: Path, database: str, figure: Figure) -> None:
    """The same 20 times."""
    await restart_both(state_dir, database, 20, 3, figure)


@pytest.mark.soak
@pytest.mark.timeout(180)
async def test_an_answer_that_came_during_a_pause_is_not_lost(state_dir: Path) -> None:
    """Frozen for longer than a token request may take, as a paused container is; the answer waits in the socket."""
    async with fleet(state_dir, SQLITE, count=1, slow=2) as here:
        await here.command("/faults", fault="token-slow")
        await here.command("/expire")
        balancer = Balancer(here.replicas, CALL, here.key)
        async with asyncio.TaskGroup() as group:
            group.create_task(balancer.burst(5))
            replica = await redeeming(here)
            await asyncio.sleep(0.5)
            async with replica.paused():
                await asyncio.sleep(36)
        async for _ in eventually(10):
            if (await replica.mount())["state"] == "fresh":
                break
        assert "fresh" == (await replica.mount())["state"], replica.told()
        found = await here.state()
        assert (2, 2, 0) == tuple(found[name] for name in ("token_posts", "rotations", "reused_refresh_tokens"))


# -- without the database


@pytest.fixture
def server(postgres: Server) -> Iterator[Server]:
    """A PostgreSQL that a test may stop. Skipped where there is none."""
    server = start()
    yield server
    server.remove()


async def migrated(server: Server) -> str:
    """A new database with our tables in it."""
    dsn = await asyncio.to_thread(server.create)
    await PostgresStore.migrate(dsn)
    return dsn


async def without(directory: Path, server: Server, absence: float, figure: Figure) -> None:
    """A token that falls due while the database is away, and lives on: nothing is spent, nothing fails."""
    life = int(2 * absence)
    async with fleet(directory, await migrated(server), life=life) as here:
        born = time.monotonic()
        balancer, over = Balancer(here.replicas, CALL, here.key, pace=0.05), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(balancer.run(16, over.is_set))
            try:
                await asyncio.sleep(born + 0.4 * life - time.monotonic())
                posts = (await here.state())["token_posts"]
                await asyncio.to_thread(server.stop)
                await asyncio.sleep(born + 0.85 * life - time.monotonic())
                assert ["due", "due"] == [(await replica.mount())["state"] for replica in here.replicas]
                assert posts == (await here.state())["token_posts"], "something was redeemed without the store"
                await asyncio.to_thread(server.start)
                came = time.monotonic()
                await here.until_all(lambda mount: mount["generation"] == 2 and mount["state"] == "fresh", 5)
                took = time.monotonic() - came
            finally:
                over.set()
        figure(f"{absence:g} s without a database: {balancer.tally}; all have the next pair {took:.2f} s after it")
        assert [] == balancer.tally.others
        assert 1 == (await here.state())["token_posts"] - posts


async def test_calls_go_on_without_the_database(state_dir: Path, server: Server, figure: Figure) -> None:
    """For 4 s."""
    await without(state_dir, server, 4, figure)


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_calls_go_on_without_the_database_for_a_minute(state_dir: Path, server: Server, figure: Figure) -> None:
    """For 60 s."""
    await without(state_dir, server, 60, figure)


async def test_an_answer_that_finds_no_database_is_stored_within_a_second_of_its_return(
    state_dir: Path, server: Server, figure: Figure
) -> None:
    """The database goes while the token request is out: the pair is served from the journal, peers spend nothing."""
    async with fleet(state_dir, await migrated(server)) as here:
        await here.command("/faults", fault="token-slow")
        await here.command("/expire")
        asking = Balancer(here.replicas[:1], CALL, here.key)
        async with asyncio.TaskGroup() as group:
            group.create_task(asking.burst(20))
            holder = await redeeming(here)
            await asyncio.to_thread(server.stop)
        assert (20, holder) == (asking.tally.total, here.replicas[0]), asking.tally
        peers = Balancer(here.replicas[1:], CALL, here.key)
        async with asyncio.TaskGroup() as group:
            group.create_task(peers.burst(20))
            await asyncio.sleep(2)
            before = await here.state()
            assert "answered" == (await holder.mount())["state"]
            await asyncio.to_thread(server.start)
            came = time.monotonic()
            async for _ in eventually(5):
                if (await holder.mount())["state"] == "fresh":
                    break
            took = time.monotonic() - came
        figure(f"stored {took:.2f} s after the database was back; the peer's calls: {peers.tally}")
        assert took <= 1.0
        assert 20 == peers.tally.total, peers.tally
        found = await here.state()
        assert (before["token_posts"], 0) == (found["token_posts"], found["reused_refresh_tokens"])
