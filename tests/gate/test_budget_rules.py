"""The rules of pacing, against a broker that counts as brokers do, whatever happens in whatever order.

- No more calls reach the broker in any of its windows than it allows: it never has to refuse one.
- Nobody waits without need: if the broker has room that is kept for nobody, the next call goes.
- Kinds in front go first, and clients share evenly.

Time is the machine's own; a call is counted by the broker at some moment after its sending, and answered later still.
"""

import math
from dataclasses import dataclass
from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from proxy.gate.budget import Budget, Spec
from proxy.gate.ratehead import Heard
from proxy.gate.turns import KINDS, LOWER, ORDER, READ, Turns

CLIENTS = "abc"
LONG = 1e6  # patience: no call is sent because its wait would be too long, and no reserve is kept
EPOCH = 1_800_000_000.0
LIMITS = ((1.0, 3), (60.0, 8))
_LAG = 0.3  # seconds after a window's end until it is counted on, and the coarseness of our own count


@dataclass
class Limit:
    """One window of the broker. `anchored`: it begins with its first call; else at multiples of its length."""

    length: float
    limit: int
    anchored: bool
    offset: float
    began: float = -math.inf
    used: int = 0

    def look(self, now: float) -> None:
        if now >= self.began + self.length:
            self.used = 0
            steps = math.floor((now - self.offset) / self.length)
            self.began = now if self.anchored else self.offset + steps * self.length

    def count(self, now: float) -> bool:
        """Whether this call is one too many."""
        self.look(now)
        self.used += 1
        return self.used > self.limit


@dataclass(eq=False)
class Call:
    client: str
    answer: Heard | None = None


@dataclass
class Broker:
    """Its limits, and what its headers tell of the last of them."""

    tells: bool
    windows: list[Limit]
    refused: int = 0

    def count(self, now: float, call: Call) -> None:
        over = [window.count(now) for window in self.windows]
        self.refused += any(over)
        told = self.windows[-1]
        reset = b"%d" % math.ceil((EPOCH + told.began + told.length) * 1000)
        call.answer = Heard(None, told.limit - told.used, reset) if self.tells else Heard()


class Pacing(RuleBasedStateMachine):
    """A budget and its queue, driven by hand."""

    patience = LONG
    reserve = 0.0
    first = LOWER

    @initialize(tells=st.booleans(), anchored=st.booleans(), offset=st.floats(0, 60), known=st.booleans())
    def begin(self, tells: bool, anchored: bool, offset: float, known: bool) -> None:
        self.now = 1000.0
        self.broker = Broker(tells, [Limit(*limit, anchored, offset) for limit in LIMITS])
        told = LIMITS[-1][0] if tells else None
        clients = frozenset(CLIENTS) if known else frozenset[str]()
        self.budget = Budget(
            Spec(limits=LIMITS, told=told, patience=self.patience, reserve=self.reserve, orders=True, clients=clients)
        )
        self.turns: Turns[Call] = Turns()
        self.waiting: list[tuple[int, Call]] = []
        self.sent: list[Call] = []
        self.counted: list[Call] = []

    def pump(self) -> None:
        admit = partial(self.budget.admit, self.now)
        while (call := self.turns.next(admit)) is not None:
            kind = next(kind for kind, each in self.waiting if each is call)
            assert not [each for each, _ in self.waiting if each < kind], "a kind in front was overtaken"
            self.waiting.remove((kind, call))
            self.sent.append(call)

    @rule(client=st.sampled_from(CLIENTS), kind=st.sampled_from(KINDS), times=st.integers(1, 5))
    def call(self, client: str, kind: int, times: int) -> None:
        """Calls come in."""
        kind = max(kind, self.first)
        for _ in range(times):
            call = Call(client)
            self.waiting.append((kind, call))
            self.turns.add(kind, client, call)
        self.pump()

    @rule(seconds=st.sampled_from([0.01, 0.2, 0.5, 1.0, 1.5, 20.0, 61.0]))
    def pass_time(self, seconds: float) -> None:
        """Time passes, and a timer wakes whoever may go."""
        self.now += seconds
        self.pump()

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def reach(self, data: st.DataObject) -> None:
        """A call reaches the broker, in any order."""
        call = self.sent.pop(data.draw(st.integers(0, len(self.sent) - 1)))
        self.broker.count(self.now, call)
        self.counted.append(call)

    @precondition(lambda self: self.sent)
    @rule()
    def reach_and_answer_all(self) -> None:
        """A fast broker."""
        for call in self.sent:
            self.broker.count(self.now, call)
        self.counted += self.sent
        self.sent = []
        while self.counted:
            call = self.counted.pop()
            self.budget.finish(self.now, call.client, call.answer, wall=EPOCH + self.now)
        self.pump()

    @precondition(lambda self: self.counted)
    @rule(data=st.data(), lost=st.booleans())
    def answer(self, data: st.DataObject, lost: bool) -> None:
        """An answer arrives, or never will."""
        call = self.counted.pop(data.draw(st.integers(0, len(self.counted) - 1)))
        self.budget.finish(self.now, call.client, None if lost else call.answer, wall=EPOCH + self.now)
        self.pump()

    @precondition(lambda self: self.sent)
    @rule()
    def fail(self) -> None:
        """A call could not be sent after all."""
        self.budget.give_back(self.sent.pop().client)
        self.pump()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """Somebody does not wait any longer."""
        kind, call = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        self.turns.remove(kind, call.client, call)
        self.pump()

    @invariant()
    def the_broker_never_has_to_refuse(self) -> None:
        assert 0 == self.broker.refused

    @invariant()
    def the_books_agree(self) -> None:
        assert len(self.sent) + len(self.counted) == self.budget.out
        assert len(self.waiting) == len(self.turns)

    @invariant()
    def a_promise_is_kept(self) -> None:
        """Whoever is next can go at the moment that was told for them."""
        if self.sent or self.counted:
            return
        for client, kind in self.turns.heads():
            moment = self.budget.when(self.now, client, kind)
            assert moment > self.now, "it could go now"
            assert moment <= self.now + LIMITS[-1][0] + _LAG

    def teardown(self) -> None:
        """In the end everybody has their turn, as fast as the broker allows."""
        if not hasattr(self, "now"):
            return
        self.reach_and_answer_all()
        began, left = self.now, len(self.waiting)
        while self.waiting:
            if self.sent:
                self.reach_and_answer_all()
                self.the_broker_never_has_to_refuse()
                continue
            heads = list(self.turns.heads())
            self.now = max(self.now, min(self.budget.when(self.now, client, kind) for client, kind in heads))
            before = len(self.waiting)
            self.pump()
            assert len(self.waiting) < before, "the moment that was promised has come, and nobody goes"
        kept = 2 * int(LIMITS[-1][1] * self.reserve)
        windows = math.ceil(left / (LIMITS[-1][1] - kept)) + 2
        assert self.now - began <= windows * (LIMITS[-1][0] + _LAG)


class Reserved(Pacing):
    """Calls that give up after 2 s, parts of the limit kept for orders and other clients, and nothing that lowers risk:
    that would go whatever the books say."""

    patience = 2.0
    reserve = 0.25
    first = ORDER


def _run(machine: type[Pacing], examples: int) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=40, deadline=None))


MACHINES = pytest.mark.parametrize("machine", [Pacing, Reserved], ids=["plain", "reserved"])


@MACHINES
def test_the_rules_hold(machine: type[Pacing]) -> None:
    """Whatever is sent, answered, lost, given back or given up."""
    _run(machine, 40)


@MACHINES
@pytest.mark.soak
@pytest.mark.timeout(900)
def test_the_rules_hold_for_long(machine: type[Pacing]) -> None:
    """The same, many times over."""
    _run(machine, 3_000)


def test_work_conserving_without_reserve() -> None:
    """As long as there is room, nobody waits: of n calls at once exactly as many go as the limit has."""
    for count in range(1, 12):
        budget, turns = Budget(Spec(limits=LIMITS[1:])), Turns[int]()
        for number in range(count):
            turns.add(READ, CLIENTS[number % 3], number)
        gone = 0
        while turns.next(partial(budget.admit, 0.0)) is not None:
            gone += 1
        assert min(count, 8) == gone
