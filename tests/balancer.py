"""Programs that call several servers in turn, as a load balancer has them do, and what they saw."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tests.callers import Wire

PAUSE = 0.02  # seconds that a program waits after anything but a 200
NO_ANSWER = frozenset({"connection refused", "stale connection", "cut off"})
NOTHING_SENT = frozenset({"connection refused", "stale connection", "503 draining"})  # may be sent elsewhere


class Target(Protocol):
    """One server behind the balancer."""

    number: int

    @property
    def url(self) -> str: ...

    def was_down(self, since: float, until: float) -> bool:
        """Whether it was killed, or told to end, or not up yet, at any time (monotonic) of these."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call that got no 200: when it began and ended (monotonic), at which server, and what came of it.

    `why` is what a refusal of bearerd's own said.
    """

    began: float
    ended: float
    number: int
    word: str
    why: str = ""

    @property
    def seconds(self) -> float:
        return self.ended - self.began


@dataclass
class Tally:
    """What all programs saw. `others` are the calls without a 200 that the balancer did not send elsewhere.

    `excused` are those of them without any answer whose server was killed while they were under way, or was down.
    `moved`: how often the balancer went on to the next server, by why.
    """

    good: Counter[int] = field(default_factory=Counter)
    others: list[Call] = field(default_factory=list)
    excused: Counter[str] = field(default_factory=Counter)
    moved: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.good.total()

    def words(self) -> dict[str, int]:
        return dict(Counter(call.word for call in self.others))

    def __str__(self) -> str:
        took = sorted(self.seconds)
        at = took[int(len(took) * 0.999)] * 1000 if took else 0
        parts = [f"{self.total} answers {dict(sorted(self.good.items()))}", f"p99.9 {at:.0f} ms"]
        named = (("others", self.words()), ("excused", dict(self.excused)), ("moved on", dict(self.moved)))
        return ", ".join(parts + [f"{name} {found}" for name, found in named if found])


class Balancer:
    """Sends each call to the next server in turn.

    - `heeds` False: as one without health checks does; a server that is down gets its share too;
    - `heeds` True: a call that surely was not sent (connection refused, kept-alive connection closed meanwhile, 503
      `draining`) goes to the next server at once, and a server that took no connection is left out for a second, as
      long as there are others.

    `pace`: seconds that each program waits after a 200.
    """

    def __init__(
        self, targets: Sequence[Target], target: str, key: str, *, heeds: bool = False, pace: float = 0.0
    ) -> None:
        self.tally = Tally()
        self._targets = targets
        self._target, self._key, self._heeds, self._pace = target, key, heeds, pace
        self._out: dict[int, float] = {}  # server → until when it is left out
        self._heard: dict[Wire, float] = {}  # connection → when its last answer came

    async def run(self, callers: int, until: Callable[[], bool]) -> None:
        """So many programs at once that call all the time, each on connections of its own."""
        async with asyncio.TaskGroup() as group:
            for number in range(callers):
                group.create_task(self._program(number, until))

    async def _program(self, number: int, until: Callable[[], bool]) -> None:
        wires = {target.number: Wire(target.url) for target in self._targets}
        try:
            while not until():
                number += 1
                await asyncio.sleep(self._pace if await self._one(number, wires) else PAUSE)
        finally:
            for wire in wires.values():
                await wire.close()

    async def burst(self, callers: int) -> None:
        """So many calls at the same moment, over connections that are open already."""
        wires = [Wire(self._turn(number).url) for number in range(callers)]
        try:
            for number, wire in enumerate(wires):
                await wire.call("GET", "/", None)
                assert wire.connected, number
            async with asyncio.TaskGroup() as group:
                for number, wire in enumerate(wires):
                    group.create_task(self._one(number, {self._turn(number).number: wire}))
        finally:
            for wire in wires:
                await wire.close()

    def _turn(self, number: int) -> Target:
        return self._targets[number % len(self._targets)]

    def _choose(self, number: int) -> Target:
        now = time.monotonic()
        for offset in range(len(self._targets)):
            found = self._turn(number + offset)
            if self._out.get(found.number, 0) <= now:
                return found
        return min(self._targets, key=lambda target: self._out[target.number])  # back soonest

    async def _one(self, number: int, wires: dict[int, Wire]) -> bool:
        """One call, sent elsewhere if that can be. Whether it got its 200."""
        began = time.monotonic()
        tries = 2 * len(self._targets) if self._heeds else 1
        for left in reversed(range(tries)):
            target = self._choose(number)
            wire = wires[target.number]
            word, why = await self._send(wire)
            if word == "200":
                self.tally.good[target.number] += 1
                self.tally.seconds.append(time.monotonic() - began)
                return True
            if not left or word not in NOTHING_SENT:
                call = Call(began, time.monotonic(), target.number, word, why)
                self._note(call, target, self._heard.get(wire, began))
                return False
            self.tally.moved[word] += 1
            number += 1
            if word != "stale connection":
                self._out[target.number] = time.monotonic() + 1
        return False

    async def _send(self, wire: Wire) -> tuple[str, str]:
        used = wire.connected
        try:
            reply = await wire.call("GET", self._target, self._key)
        except ConnectionRefusedError:
            return "connection refused", ""
        except (OSError, EOFError):
            reply = None
        if reply is None:
            await wire.close()
            return ("stale connection" if used else "cut off"), ""
        self._heard[wire] = time.monotonic()
        why = json.loads(reply.body)["detail"] if reply.ours and reply.body.startswith(b"{") else ""
        return f"{reply.status} {reply.ours or ''}".strip(), why

    def _note(self, call: Call, target: Target, heard: float) -> None:
        if call.word in NO_ANSWER and target.was_down(min(heard, call.began), call.ended):
            self.tally.excused[call.word] += 1
        else:
            self.tally.others.append(call)
