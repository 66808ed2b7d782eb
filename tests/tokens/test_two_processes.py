"""Whatever happens to the processes that share one grant, its token is neither lost nor posted twice.

A model of broker, stores, journals and mortal processes, driven by Hypothesis. What must hold is checked after each
step, and at the end everything heals: then each process serves, or says that a login is needed and why.
"""

import asyncio
import errno
import logging
from collections.abc import Coroutine
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from proxy.store import StoreError
from proxy.store.memory import MemoryStore
from proxy.tokens.grant import State
from proxy.tokens.lease import TTL
from proxy.tokens.redemption import DRAIN
from tests.tokens.bank import Bank, Mishap, Post
from tests.tokens.mortal import InlineLoop, Process
from tests.tokens.support import HOUR, LIFE, MINUTE

WHO = st.integers(0, 1)
MISHAPS = st.builds(
    Mishap,
    kind=st.sampled_from(["ok", "lost-before", "lost-after", "not-sent", "5xx", "429"]),
    delay=st.sampled_from([0.0, 3.0, 12.0, 25.0, 40.0]),
    orphan=st.booleans(),
)
SPANS = st.sampled_from([0.0, 0.3, 2.5, 12.0, 31.0, MINUTE, 125.0, 10 * MINUTE, 1100.0, LIFE, 3 * HOUR, 13 * HOUR])


class Overheard(logging.Handler):
    """Hears of flights that ended by a fault of ours: nobody else is told."""

    def __init__(self, bank: Bank) -> None:
        super().__init__()
        self.bank = bank

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.msg, dict) and "fault of ours" in record.msg["event"]:
            self.bank.faults.append(str(record.msg))


class Custody(RuleBasedStateMachine):
    """One process on a store of its own."""

    count: ClassVar[int] = 1
    shared: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.loop = InlineLoop()
        self.bank = Bank(self.loop.time, judge=self._judge)
        self.store = MemoryStore(shared=self.shared, now=self.loop.time)
        self.processes = [Process(number, self.bank, self.store) for number in range(self.count)]
        self.overheard = Overheard(self.bank)
        logging.getLogger("tokens").addHandler(self.overheard)
        self.manual = 0
        self.stored = 0
        for process in self.processes:
            self.run(process.start())
        self.log_in(0)
        self.run(asyncio.sleep(1))

    def run(self, work: Coroutine[None, None, None]) -> None:
        self.loop.run_until_complete(work)
        for process in self.processes:
            self.loop.run_until_complete(process.bury())

    def do(self, process: Process, work: Coroutine[None, None, None]) -> None:
        """Let a process do something that may take its time, or be cut off."""
        process.work(self.loop.create_task(work))
        self.run(asyncio.sleep(0))

    def living(self, who: int) -> Process | None:
        process = self.processes[who % self.count]
        return process if process.alive else None

    # -- what happens -------------------------------------------------------------------------------------------------

    @rule(who=WHO, count=st.integers(1, 3))
    def call(self, who: int, count: int) -> None:
        """Clients call."""
        if process := self.living(who):
            for _ in range(count):
                self.do(process, process.call())

    @rule(seconds=SPANS)
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.run(asyncio.sleep(seconds))

    @rule(who=WHO, minutes=st.integers(1, 40))
    def work(self, who: int, minutes: int) -> None:
        """A client that calls every minute."""
        for _ in range(minutes):
            self.call(who, 1)
            self.wait(MINUTE)

    @rule(mishap=MISHAPS)
    def prepare(self, mishap: Mishap) -> None:
        """The next token request meets something."""
        self.bank.mishaps.append(mishap)

    @rule()
    def revoke_access(self) -> None:
        """The broker ends the access token before its time."""
        self.bank.access = None

    @rule()
    def steal(self) -> None:
        """Another program redeems the token."""
        self.bank.steal()

    @rule(who=WHO, points=st.integers(0, 14))
    def doom(self, who: int, points: int) -> None:
        """A process will be killed at some point of what it does next."""
        if process := self.living(who):
            process.fuse.left = points

    @rule(who=WHO)
    def kill(self, who: int) -> None:
        """A process is killed while it waits for something, or for nothing."""
        if process := self.living(who):
            process.fuse.blow()
            self.run(process.bury())

    @rule(who=WHO)
    def stop(self, who: int) -> None:
        """A process is stopped as an operator would: a redeem that is out gets its time."""
        if process := self.living(who):
            self.run(process.stop())

    @precondition(lambda self: not all(process.alive for process in self.processes))
    @rule(lasts=st.none() | st.integers(0, 14))
    def restart(self, lasts: int | None) -> None:
        """What is dead starts, if it has a store."""
        for process in self.processes:
            if not process.alive:
                self.run(self._start(process, lasts))

    async def _start(self, process: Process, lasts: int | None) -> None:
        try:
            await process.start(lasts)
        except StoreError:
            assert process.store_is_down or lasts is not None

    @rule(who=WHO, down=st.booleans())
    def store_turns(self, who: int, down: bool) -> None:
        """One process loses the store, or gets it back."""
        self.run(self._turn(self.processes[who % self.count], down=down))

    @rule(down=st.booleans())
    def store_turns_for_all(self, down: bool) -> None:
        """All of them do."""
        for process in self.processes:
            self.run(self._turn(process, down=down))

    async def _turn(self, process: Process, *, down: bool) -> None:
        process.let_store_be(down=down)

    @rule(who=WHO, call=st.sampled_from(["pwrite", "datasync"]), full=st.booleans())
    def fill_disk(self, who: int, call: str, full: bool) -> None:
        """A disk takes nothing, or takes it and cannot promise to keep it; or there is room again."""
        disk = self.processes[who % self.count].disk
        disk.heal()
        if full:
            disk.fail(call, errno.ENOSPC, times=1000)

    @rule(who=WHO, seconds=st.sampled_from([-HOUR, -45.0, 45.0, HOUR]))
    def step_clock(self, who: int, seconds: float) -> None:
        """Somebody sets a machine's wall clock."""
        self.processes[who % self.count].clock.step += seconds

    @rule(who=WHO)
    def log_in(self, who: int) -> None:
        """A person makes a token on the broker's page and pastes it."""
        if process := self.living(who):
            self.manual += 1
            self.bank.manual = f"M{self.manual}"
            self.do(process, process.log_in(self.bank.manual))

    @rule(who=WHO)
    def hear(self, who: int) -> None:
        """A process notices that the store has changed."""
        if process := self.living(who):
            self.do(process, process.hear())

    @rule(who=WHO)
    def adopt(self, who: int) -> None:
        """An operator says that the newest token held there may be tried."""
        if process := self.living(who):
            self.do(process, process.adopt())

    # -- what must hold -----------------------------------------------------------------------------------------------

    def _judge(self, post: Post) -> str | None:
        """What is wrong with this post, at the moment when it leaves."""
        out = [other for other in self.bank.posts if other.ended is None]
        if out:
            return f"two posts at once: {out[0]} and {post}"
        before = next((other for other in reversed(self.bank.posts) if other.token == post.token), None)
        if before is None or post.told or before.fate == "later":
            return None
        if before.sender != post.sender and post.begun < before.begun + TTL - DRAIN:
            return f"posted before the other's time was over: {post} after {before}"
        if before.fate == "lost":
            return None
        sender = self.processes[before.sender]
        hindered = sender.store_is_down or any(at >= before.begun for at in sender.troubles)
        if hindered and (before.sender != post.sender or before.fate == "unkept"):
            return None  # what it knows it could not tell
        return f"posted again: {post} after {before}"

    @invariant()
    def nothing_went_wrong(self) -> None:
        """No two posts at once, no token twice, no call refused with a live token in hand."""
        assert [] == self.bank.faults

    @invariant()
    def the_newest_token_is_held(self) -> None:
        """Store or a journal has what the broker issued last, unless its answer was lost."""
        newest = self.bank.newest
        kept = newest is not None and newest.fate == "kept"
        # The journals first: reading the store gives flights a turn, which may commit and free a slot.
        bodies = [item.answer.body for process in self.processes for item in process.found if item.answer is not None]
        stored = self._stored_token()
        if kept and newest is not None:
            assert newest.brought == stored or any(f'"{newest.brought}"'.encode() in body for body in bodies)

    def _stored_token(self) -> str | None:
        grant = self.loop.run_until_complete(self.processes[0].stored())
        assert grant.generation >= self.stored
        self.stored = grant.generation
        return grant.refresh_token.reveal() if grant.refresh_token else None

    @invariant()
    def generations_never_go_back(self) -> None:
        """Of a process, over all of its lives."""
        for process in self.processes:
            if process.alive:
                assert process.generation <= process.keeper._held.grant.generation
                process.generation = process.keeper._held.grant.generation

    def teardown(self) -> None:
        """All is well again: each process serves, or says what to do."""
        try:
            self._heal()
            self._end()
        finally:
            logging.getLogger("tokens").removeHandler(self.overheard)
            self.loop.close()

    def _heal(self) -> None:
        self.bank.mishaps.clear()
        for process in self.processes:
            process.fuse.left = None
            process.disk.heal()
        self.store_turns_for_all(down=False)
        self.restart(None)
        for _ in range(36):
            for who in range(self.count):
                self.hear(who)
                self.call(who, 1)
            self.wait(5 * MINUTE)
            self.nothing_went_wrong()
        newest = self.bank.newest
        for process in self.processes:
            standing = process.keeper.standing()
            told = standing.state in {State.NEEDS_LOGIN, State.NONE} and standing.reason and standing.fix
            assert process.served or told, standing
            assert process.served or newest is None or newest.fate != "kept", standing

    def _end(self) -> None:
        for process in self.processes:
            process.fuse.blow()
            self.run(process.bury())


def proven(machine: type[Custody]) -> None:
    """Run it: a little of it in each run of the tests, a lot in `make soak`."""
    examples = settings.default.max_examples if settings.default is not None else 60
    run_state_machine_as_test(machine, settings=settings(max_examples=max(20, examples // 3), stateful_step_count=25))


@pytest.mark.hypothesis
def test_one_process_on_a_store_of_its_own_loses_nothing() -> None:
    """Kills, outages, lost answers, a foreign redemption, stepped clocks, logins, in any order."""
    proven(Custody)


class SharedCustody(Custody):
    """Two processes on one store."""

    count = 2
    shared = True


@pytest.mark.hypothesis
def test_two_processes_on_one_store_lose_nothing() -> None:
    """The same, while either may be where the other is not, and know what it does not."""
    proven(SharedCustody)
