"""All points of an act, one after the other, and the table of what came of them."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash import tracing
from tests.crash.judging import PHASES, Verdict
from tests.crash.tracing import Point
from tests.crash.yard import SQLITE, Yard, yard

TELLING = {"pwrite64", "fdatasync", "fsync", "sendto", "recvfrom", "connect", "fcntl", "epoll_wait", "rename", "unlink"}
TRIES = 3  # to meet a call that not every run makes

Choice = Callable[[Sequence[Point]], Sequence[Point]]


@dataclass
class Sweep:
    """What came of all points."""

    title: str
    calls: int
    points: Sequence[Point]
    verdicts: list[Verdict] = field(default_factory=list)
    missed: list[Point] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        return [f"{verdict}: {wrong}" for verdict in self.verdicts for wrong in verdict.wrong]

    @property
    def unmet(self) -> set[tuple[str, str]]:
        """Thread and name of calls that were not met in any run."""
        met = {(verdict.point.call.thread, verdict.point.call.name) for verdict in self.verdicts if verdict.point}
        return {(point.call.thread, point.call.name) for point in self.points} - met

    def __str__(self) -> str:
        corrupt = sum(verdict.corrupt for verdict in self.verdicts)
        old = sum("acknowledged" in wrong for verdict in self.verdicts for wrong in verdict.wrong)
        lost = [verdict for verdict in self.verdicts if verdict.state == "lost"]
        head = (
            f"{self.title}: {self.calls} calls, {len(self.verdicts)} points: {corrupt} corrupt, "
            f"{old} acknowledged but old, {len(lost)} lost in the window, {len(self.wrong)} wrong; "
            f"{len(self.missed)} calls not made again in {TRIES} runs"
        )
        return "\n".join([head, *(self._row(phase) for phase in PHASES), *(f"  uncertain: {each}" for each in lost)])

    def _row(self, phase: str) -> str:
        there = [verdict for verdict in self.verdicts if verdict.phase == phase]
        cells = Counter((verdict.point.fault if verdict.point else "", verdict.state) for verdict in there)
        return f"  {phase:14} " + (
            ", ".join(f"{fault} {n} {state}" for (fault, state), n in sorted(cells.items())) or "-"
        )


def few(points: Sequence[Point]) -> Sequence[Point]:
    """The middle one of each kind of call that changes something outside the process, or waits for that."""
    kinds: dict[object, list[Point]] = {}
    for point in points:
        if point.call.name in TELLING and not (point.on and point.fault == "EIO"):
            kinds.setdefault((point.call.thread, point.call.name, point.fault, point.on), []).append(point)
    return [kind[len(kind) // 2] for kind in kinds.values()]


def at_files(points: Sequence[Point]) -> Sequence[Point]:
    """A kill at each call on a file of custody's, and a few faults."""
    faults = [point for point in few(points) if point.fault != "KILL"]
    return [*(point for point in points if point.fault == "KILL" and "/state/" in point.call.target), *faults]


def few_kills(points: Sequence[Point]) -> Sequence[Point]:
    return [point for point in few(points) if point.fault == "KILL"]


async def sweep(
    title: str,
    directory: Path,
    strace: str,
    choose: Choice = list,
    *,
    act: str = "rotate",
    stores: Sequence[str] = (SQLITE, SQLITE),
) -> Sweep:
    """`stores`: one for each run at a time."""
    async with AsyncExitStack() as opened:
        yards = [
            await opened.enter_async_context(yard(directory / f"{lane}", strace, store))
            for lane, store in enumerate(stores)
        ]
        calls = await yards[0].calls(act)
        points = choose([*tracing.kills(calls), *tracing.faults(calls, "state")])
        done = Sweep(title, len(calls), points)
        await _run(done, yards, points, act)
        return done


async def _run(done: Sweep, yards: Sequence[Yard], points: Iterable[Point], act: str) -> None:
    """Each point in one of the yards; one that was not met is tried again."""
    waiting = iter(points)

    async def lane(yard: Yard) -> None:
        for point in waiting:
            for _ in range(TRIES):
                verdict = await yard.run(point, act)
                if verdict.hit or verdict.wrong:
                    done.verdicts.append(verdict)
                    break
            else:
                done.missed.append(point)

    async with asyncio.TaskGroup() as group:
        for yard in yards:
            group.create_task(lane(yard))
