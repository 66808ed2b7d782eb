"""Two servers on one database, 64 programs, a rotation about each second, and everything goes wrong all the time.

What happens: `kill -9` of a server and its start, a restart of the database (in order, or as after a crash), a lost
answer of the token endpoint, a slow one, a server that is frozen for a while, a wall clock that is set wrong.

**A call has failed** if it did not get its 200, and one of these is so:

- the answer is neither bearerd's `token-unavailable` or `login-needed` nor the broker's 401; or there is no answer, and
  its server was not down at any time since the last answer over the same connection (a server that is killed takes its
  connections along);
- it is one of these three, and when it came some running process had for a second or more had a pair whose access token
  the broker took (not counting time without the database, by which the others learn of it, nor time in which the
  machine let this test wait, too). That is judged by the broker's ledger (`tests/ledger.py`): a pair counts from its
  delivery until the broker ends its access token. Nobody has a pair whose answer was lost or is on its way; and none is
  counted from the moment in which a server is killed (or frozen) while a token request of it is out, or its answer not
  in the store yet, until that server is back or a person has logged in. A broker's 401 does not count either if two
  pairs were issued during the call: it is sent again once, with a newer one.

**Tokens.** Each token POST is a rotation, or the one further try after a lost answer: an answer that the broker was
told to lose, or that was out when its server was killed. Only such a try posts a token again that is spent. After it a
person logs in anew, which is counted.
"""

import asyncio
import contextlib
import math
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from proxy.admin import ServerGone
from proxy.store.postgres import PostgresStore
from tests.balancer import Balancer, Call
from tests.callers import eventually
from tests.database import Server, start
from tests.ledger import Ledger
from tests.replicas import CALL, Fleet, Replica, fleet

pytestmark = pytest.mark.timing

LIFE, PROGRAMS, PACE = 2, 64, 0.1
SLOW = 0.8  # seconds that the broker's slow answers take
OUT = ("redeeming", "answered")  # states in which only its own process has the newest pair, if anybody has
LAWFUL = ("503 token-unavailable", "503 login-needed", "401")  # the last one is the broker's own
JUMPS = (-7200.0, -45.0, -3.0, 2.0, 45.0, 7200.0)


class Calm:
    """Mishaps may come together; a login is to be left alone."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._mishaps = 0

    @asynccontextmanager
    async def disturbed(self) -> AsyncIterator[None]:
        """A mishap lasts."""
        async with self._changed:
            self._mishaps += 1
        try:
            yield
        finally:
            async with self._changed:
                self._mishaps -= 1
                self._changed.notify_all()

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """No mishap lasts, and none begins."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._mishaps)
            yield  # and the lock is held, without which none begins


@dataclass
class Soak:
    """What is done to the servers, and what came of it. `lost`: the numbers of the rotations whose pair nobody got."""

    here: Fleet
    server: Server
    ledger: Ledger
    seed: int
    done: Counter[str] = field(default_factory=Counter)
    lost: set[int] = field(default_factory=set)
    again: int = 0  # tries after a lost answer that were cut off, and had to be made again
    away: list[tuple[float, float]] = field(default_factory=list)  # when there was no database
    logins: int = 0
    over: bool = False
    calm: Calm = field(default_factory=Calm)
    mishaps: list[tuple[float, float, str]] = field(default_factory=list)  # from, until, what
    pauses: tuple[float, float] = (0.2, 1.0)  # seconds between mishaps

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311

    # -- what goes wrong

    async def kill(self) -> str:
        replica = self.chance.choice(self.here.replicas)
        async with self.calm.disturbed():
            at = time.monotonic()
            await replica.kill()
            state = replica.states()[-1]
            number = (await self.here.state())["rotations"]
            await asyncio.sleep(self.chance.uniform(0, 1))
            await replica.restart()
            self.done["kill"] += 1
            self.done["kill in mid-rotation"] += state in OUT
            cost = await self.judge(replica, state, number)
        if state in OUT or cost:
            await self.login()
            self.ledger.dark(at - 0.2, time.monotonic() + 1)
        return f"kill {replica.number} ({state})"

    async def judge(self, replica: Replica, state: str, number: int) -> bool:
        """Whether the pair of rotation `number` was lost with a server that was killed in this state.

        What it logged last may not have been written any more: it can have been further on.
        """
        if await self.standing([replica], "fresh", "needs-login") == "fresh":
            return False
        if number != (await self.here.state())["rotations"]:
            return False  # what it brought was used since then
        known = number in self.lost
        assert state != "answered" or known, f"its answer was in the journal\n{self.told()}"
        self.again += known and state in OUT
        self.lost.add(number)
        return not known or state in OUT

    async def freeze(self) -> str:
        replica = self.chance.choice(self.here.replicas)
        at = time.monotonic()
        async with self.calm.disturbed(), replica.paused():
            await asyncio.sleep(self.chance.uniform(0.2, 2.5))
            state = replica.states()[-1]
        self.done["freeze"] += 1
        if state in OUT:
            self.ledger.dark(at - 0.2, time.monotonic() + 1)
        return f"freeze {replica.number} ({state})"

    async def jump(self) -> str:
        replica, off = self.chance.choice(self.here.replicas), self.chance.choice(JUMPS)
        async with self.calm.disturbed():
            replica.step(off)
            await asyncio.sleep(self.chance.uniform(0.5, 2.5))
            replica.step(0)
        self.done["clock jump"] += 1
        return f"clock of {replica.number} {off:+.0f} s"

    async def restart_database(self) -> str:
        crash = self.chance.random() < 0.5
        async with self.calm.disturbed():
            began = time.monotonic()
            await asyncio.to_thread(self.server.kill_immediate if crash else self.server.stop)
            await asyncio.sleep(self.chance.uniform(0, 1.5))
            await asyncio.to_thread(self.server.start)
            self.away.append((began, time.monotonic()))
        what = "database crash" if crash else "database restart"
        self.done[what] += 1
        return what

    async def slow_answer(self) -> str:
        before = self.ledger.last["rotations"]
        self.ledger.next_is_dark(SLOW)
        await self.here.command("/faults", fault="token-slow")
        await self.past("rotations", before)
        await asyncio.sleep(SLOW)
        self.done["slow answer"] += 1
        return "slow answer"

    async def lost_answer(self) -> str:
        """And the login that it costs."""
        async with self.calm.kept():  # or the try after another answer was lost would be what is lost
            await self.login_if_needed()
            before = self.ledger.last["reused_refresh_tokens"]
            await self.here.command("/faults", fault="token-drop-after")
            await self.past("reused_refresh_tokens", before)
            self.lost.add(self.ledger.last["rotations"])
        await self.standing(self.here.replicas, "needs-login")
        await self.login()
        self.done["lost answer"] += 1
        return "lost answer"

    async def past(self, counter: str, before: int) -> None:
        async for _ in eventually(30):
            if self.ledger.last[counter] > before:
                return
        raise AssertionError(f"nobody asked for a token\n{self.told()}")

    def told(self) -> str:
        return "\n".join([f"seed {self.seed}, {dict(self.done)}", *(each.told() for each in self.here.replicas)])

    async def standing(self, replicas: Sequence[Replica], *wanted: str) -> str:
        """The grant's state at one of them, once it is one of these, or somebody else has logged in."""
        found, logins = "", self.logins
        async for _ in eventually(40, pause=0.05):
            for replica in replicas:
                with contextlib.suppress(ServerGone):
                    found = (await replica.mount())["state"]
                if found in wanted or self.logins > logins:
                    return found
        raise AssertionError(f"it is {found}\n{self.told()}")

    async def login(self) -> None:
        """Where one is needed, and nobody did it meanwhile."""
        async with self.calm.kept():
            await self.login_if_needed()

    async def login_if_needed(self) -> None:
        for replica in self.here.replicas:
            if (await replica.mount())["state"] == "needs-login":
                await self.here.login(replica)
                self.logins += 1
                return

    # -- one after the other

    async def servers(self) -> None:
        """What happens to one server at a time."""
        await self.go_on((self.kill, self.freeze, self.jump))

    async def others(self) -> None:
        """What happens to all of them."""
        await self.go_on((self.restart_database, self.slow_answer, self.lost_answer))

    async def go_on(self, deeds: tuple[Callable[[], Awaitable[str]], ...]) -> None:
        """Each once, in any order, and again until the time is up."""
        while not self.over:
            for deed in self.chance.sample(deeds, len(deeds)):
                await asyncio.sleep(self.chance.uniform(*self.pauses))
                began = time.monotonic()
                told = await deed()
                self.mishaps.append((began, time.monotonic(), told))

    # -- what came of it

    def failed(self, calls: list[Call]) -> list[str]:
        """The calls that have failed, in words."""
        found = []
        for call in calls:
            since = self.ledger.held_since(call.ended) if call.word in LAWFUL else -math.inf
            twice = call.word == "401" and self.ledger.issued(call.began, call.ended) > 1
            if since is None or twice:
                continue
            age = math.inf
            if since != -math.inf:
                away = sum(max(0.0, min(end, call.ended) - max(begin, since)) for begin, end in self.away)
                age = call.ended - since - away - self.ledger.late(since, call.ended)
            if age >= 1:
                held = "" if age == math.inf else f", {age:.1f} s after a pair was there"
                took = f"after {call.seconds:.1f} s{held}"
                found.append(f"{call.ended:.1f}: {call.word} by {call.number} {took} {self.amid(call)}: {call.why}")
        return found

    def amid(self, call: Call) -> str:
        """What went wrong around a call."""
        near = [
            f"{what} {began - call.ended:+.1f}…{ended - call.ended:+.1f} s"
            for began, ended, what in self.mishaps
            if ended > call.began - 5 and began < call.ended
        ]
        return f"({', '.join(near)})"


async def nothing_is_lost(here: Fleet, soak: Soak, found: dict[str, Any]) -> None:
    """Posts, rotations and generations add up to what was lost on purpose. `found` is what the broker has counted."""
    tries = found["reused_refresh_tokens"]
    assert len(soak.lost) == soak.logins
    assert len(soak.lost) <= tries <= len(soak.lost) + soak.again
    assert found["token_posts"] == found["rotations"] + tries
    await here.until_all(lambda mount: mount["state"] == "fresh", 20)
    missing = (await here.state())["rotations"] - max([(await each.mount())["generation"] for each in here.replicas])
    assert missing - len(soak.lost) in (0, 1), "a pair was lost that nobody misses"  # 1: it is on its way


def _some(lines: list[str]) -> list[str]:
    """At most 60 of them, from all over the time."""
    return lines[:: max(1, len(lines) // 60)]


async def endure(directory: Path, server: Server, seconds: float, figure: Callable[[object], None]) -> None:
    dsn = await asyncio.to_thread(server.create)
    await PostgresStore.migrate(dsn)
    async with fleet(directory, dsn, life=LIFE, slow=SLOW, stepped=True) as here:
        ledger = Ledger(here.control, LIFE)
        soak = Soak(here, server, ledger, random.SystemRandom().randrange(10**6))
        if seconds > 60:
            soak.pauses = (1.0, 6.0)
        balancer = Balancer(here.replicas, CALL, here.key, pace=PACE)
        began = time.monotonic()
        quiet = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(ledger.keep(quiet.is_set))
            group.create_task(balancer.run(PROGRAMS, quiet.is_set))
            await asyncio.sleep(1)
            try:
                async with asyncio.TaskGroup() as deeds:
                    deeds.create_task(soak.servers())
                    deeds.create_task(soak.others())
                    await asyncio.sleep(seconds)
                    soak.over = True
                await here.until_all_serve()
                await asyncio.sleep(1)
            finally:
                quiet.set()
        failed, tally = soak.failed(balancer.tally.others), balancer.tally
        found = await here.state()
        figure(
            f"seed {soak.seed}, {time.monotonic() - began:.0f} s: {tally}; {len(failed)} failed; {dict(soak.done)}; "
            f"a good token within reach {ledger.lit(began, time.monotonic()):.0%} of the time; "
            f"{found['rotations']} rotations, {found['token_posts']} token POSTs, {len(soak.lost)} answers lost, "
            f"{found['reused_refresh_tokens']} tokens posted again, {soak.logins} logins"
        )
        assert [] == failed, "\n".join(_some(failed))
        assert found["rotations"] >= seconds / 4
        await nothing_is_lost(here, soak, found)


@pytest.fixture
def server(postgres: Server) -> Iterator[Server]:
    """A PostgreSQL that a test may stop. Skipped where there is none."""
    server = start()
    yield server
    server.remove()


@pytest.mark.timeout(180)
async def test_two_servers_endure_everything_once(
    state_dir: Path, server: Server, figure: Callable[[object], None]
) -> None:
    """Each kind of mishap, which takes some 15 s."""
    await endure(state_dir, server, 4, figure)


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_two_servers_endure_everything_for_ten_minutes(
    state_dir: Path, server: Server, figure: Callable[[object], None]
) -> None:
    """Again and again, for 600 s."""
    await endure(state_dir, server, 600, figure)
