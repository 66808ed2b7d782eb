"""One hook, told one thing after the other, whatever the other end does. Times are moved by hand or made short."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from proxy.alerts.notice import Answer, Notice, Trouble, denied
from proxy.alerts.post import Pace, Post
from proxy.hooks import Hook
from tests.alerts.receivers import HandClock, hook, trouble, webhook

QUICK = Pace(first=0.005, longest=0.02, rest=900.0, tries=3, room=5)
YES, NO = Answer(ok=True, said="204 No Content"), Answer(ok=False, said="500 Internal Server Error")
KEY = "login-needed/questrade"
DENIED = {"mount": "questrade", "client": "bot", "guard": "hours"}


@dataclass
class Other:
    """The other end: gives its answers, the last of them for ever."""

    answers: list[Answer] = field(default_factory=lambda: [YES])
    heard: list[Notice] = field(default_factory=list)
    took: list[Notice] = field(default_factory=list)
    hold: asyncio.Event | None = None

    async def __call__(self, _hook: Hook, notice: Notice) -> Answer:
        self.heard.append(notice)
        if self.hold is not None:
            await self.hold.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.took += [notice] * answer.ok
        return answer

    def knows(self) -> dict[str, str]:
        """What is wrong, and in which version, by all that it has answered yes to."""
        found: dict[str, str] = {}
        for each in self.took:
            assert each.trouble is not None
            if each.kind == "problem":
                found[each.key] = each.trouble.version
            else:
                found.pop(each.key)
        return found

    @property
    def events(self) -> list[str]:
        return [each.event for each in self.heard]


@dataclass
class Scene:
    post: Post
    other: Other
    clock: HandClock

    def see(self, *troubles: Any) -> None:
        self.post.reconcile({each.key: each for each in troubles})

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not true():  # noqa: ASYNC110
                await asyncio.sleep(0.002)

    async def quiet(self) -> None:
        """Until nothing waits."""
        await self.until(lambda: not self.post.waiting)


@asynccontextmanager
async def scene(*answers: Answer, pace: Pace = QUICK, told: Any = None, **more: Any) -> AsyncIterator[Scene]:
    other, clock = Other(list(answers) or [YES]), HandClock()
    post = Post(
        hook(webhook("x"), **more), other, clock, map(str, count()).__next__, told=told, pace=pace, jitter=lambda: 1.0
    )
    task = asyncio.get_running_loop().create_task(post.run())
    try:
        yield Scene(post, other, clock)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_trouble_is_told_once_and_its_end_once() -> None:
    """Each look sees the same; what was told is what a restart would find."""
    async with scene() as it:
        for _ in range(3):
            it.see(trouble())
        await it.quiet()
        assert ({KEY}, ["login-needed"]) == (set(it.post.told), it.other.events)
        for _ in range(3):
            it.see()
        await it.quiet()
        assert ({}, ["login-needed", "login-needed-resolved"]) == (it.post.told, it.other.events)


async def test_another_version_is_told_anew() -> None:
    """It has become worse, or another halt of the same target."""
    async with scene() as it:
        for version in ("a", "a", "b"):
            it.see(trouble(version=version))
            await it.quiet()
        assert ["login-needed"] * 2 == it.other.events


async def test_a_restart_tells_nothing_twice() -> None:
    """What an earlier process has told is known; what has ended meanwhile is told."""
    async with scene(told={KEY: trouble()}) as it:
        it.see(trouble())
        await asyncio.sleep(0.02)
        assert [] == it.other.events
        it.see()
        await it.quiet()
        assert ["login-needed-resolved"] == it.other.events


async def test_only_what_was_asked_for() -> None:
    """Other events are not for this hook, nor are their ends."""
    async with scene(events=("halted",)) as it:
        it.see(trouble(), trouble("halted", "*:*:*"))
        await it.quiet()
        it.see()
        await it.quiet()
        assert ["halted", "resumed"] == it.other.events


async def test_what_is_still_wrong_is_repeated_if_asked_for() -> None:
    """Every hour here, with its number; without `repeat` never."""
    async with scene(repeat=3600.0) as it:
        for _ in range(3):
            it.see(trouble())
            await it.quiet()
            it.clock.go(3600)
        assert [0, 1, 2] == [each.repeat for each in it.other.heard]
        assert 1 == len({each.key for each in it.other.heard})
        assert 3 == len({each.id for each in it.other.heard})


async def test_what_fails_is_tried_again_under_the_same_id() -> None:
    """Twice 500, then it is delivered; the order of what waits is kept."""
    async with scene(NO, NO, YES) as it:
        it.see(trouble())
        it.post.put(denied(DENIED, 1, 0, "d", 0))
        await it.quiet()
        assert ["login-needed"] * 3 + ["guard-denied"] == it.other.events
        assert 1 == len({each.id for each in it.other.heard[:3]})
        found = it.post.standing()
        assert (2, 2, 0, None) == tuple(found[name] for name in ("delivered", "failed", "given_up", "failing_since"))


async def test_waits_grow_and_retry_after_is_heeded_up_to_a_limit() -> None:
    """1, 2, 4 … up to the longest; what the other end asks for counts if it is longer, and not if it is absurd."""
    waits: list[float] = []
    pace = Pace(first=1.0, longest=10.0)
    post = Post(hook(webhook("x")), Other(), HandClock(), str, pace=pace, jitter=lambda: 1.0)
    for retry_after in (0, 0, 3, 0, 0, 99_999):
        post.heard("x", NO)
        waits.append(post.wait(retry_after))
    assert [1, 2, 4, 8, 10, 10] == waits
    post.heard("x", YES)
    post.heard("x", NO)
    assert (7, 1) == (post.wait(7), post.wait(0))
    slow = Post(hook(webhook("x")), Other(), HandClock(), str, pace=pace, jitter=lambda: 0.0)
    slow.heard("x", NO)
    assert 0.5 == slow.wait(0)


async def test_a_dead_hook_gives_up_and_hears_of_it_later() -> None:
    """Three tries; then again after a quarter of an hour, if it is still wrong; not if it is over by then."""
    async with scene(NO) as it:
        it.see(trouble())
        await it.quiet()
        assert (3, 1) == (len(it.other.heard), it.post.counts["given-up"])
        it.clock.go(899)
        it.see(trouble())
        await it.quiet()
        assert 3 == len(it.other.heard)
        it.clock.go(1)
        it.other.answers = [YES]
        it.see(trouble())
        await it.quiet()
        assert (4, {KEY}) == (len(it.other.heard), set(it.post.told))


async def test_the_end_of_what_was_never_told_is_no_news() -> None:
    """Given up, and over before it was tried again: nothing is sent."""
    async with scene(NO) as it:
        it.see(trouble())
        await it.quiet()
        it.clock.go(901)
        it.see()
        await it.quiet()
        it.see()
        assert ["login-needed"] * 3 == it.other.events


async def test_an_end_that_was_given_up_is_told_later() -> None:
    """Whoever was told that something is wrong must hear that it is over."""
    async with scene(YES, NO, NO, NO, YES) as it:
        it.see(trouble())
        await it.quiet()
        it.see()
        await it.quiet()
        assert {KEY} == set(it.post.told)
        it.see()
        it.clock.go(901)
        it.see()
        await it.quiet()
        assert ({}, 5) == (it.post.told, len(it.other.heard))


async def test_who_is_gone_is_asked_once() -> None:
    """410: no second try."""
    async with scene(Answer(ok=False, said="410 Gone", again=False)) as it:
        it.see(trouble())
        await it.quiet()
        assert (1, 1) == (len(it.other.heard), it.post.counts["given-up"])


async def test_more_troubles_than_room_are_told_one_after_the_other() -> None:
    """Room for five beside the one that hangs: nothing grows, nothing is lost or waits for a quarter of an hour."""
    async with scene() as it:
        it.other.hold = asyncio.Event()
        troubles = [trouble(subject=str(number)) for number in range(40)]
        it.see(*troubles[:1])
        await it.until(lambda: len(it.other.heard) == 1)
        for _ in range(3):
            it.see(*troubles)
        assert (6, 0) == (it.post.waiting, it.post.counts["dropped"])
        it.other.hold.set()
        for seen in (troubles, ()):
            for _ in range(9):
                await it.quiet()
                it.clock.go(1)
                it.see(*seen)
        assert [*map(str, range(40))] * 2 == [each.about["grant"] for each in it.other.heard]
        assert (0, {}) == (it.post.counts["dropped"], it.post.told)


async def test_too_much_that_happens_drops_the_oldest_and_says_so() -> None:
    """Nobody would see it again at the next look."""
    async with scene() as it:
        it.other.hold = asyncio.Event()
        for number in range(40):
            it.post.put(denied(DENIED | {"client": str(number)}, 1, 0.0, str(number), 0.0))
            await asyncio.sleep(0)
        assert (6, 34) == (it.post.waiting, it.post.counts["dropped"])
        it.other.hold.set()
        await it.quiet()
        assert ["0", "35", "36", "37", "38", "39"] == [each.id for each in it.other.heard]


async def test_what_was_overtaken_and_dropped_is_not_told_later() -> None:
    """The later version is told once, and that is all."""
    async with scene(pace=Pace(room=2)) as it:
        it.other.hold = asyncio.Event()
        first, worse, other = trouble(version="a"), trouble(version="b"), trouble(subject="other")
        it.see(trouble(subject="held"))
        await it.until(lambda: len(it.other.heard) == 1)
        it.see(trouble(subject="held"), first)
        it.see(trouble(subject="held"), worse)
        it.see(trouble(subject="held"), worse, other)
        assert 1 == it.post.counts["dropped"]
        it.other.hold.set()
        await it.quiet()
        it.clock.go(901)
        it.see(trouble(subject="held"), worse, other)
        await it.quiet()
        assert ["held", "questrade", "other"] == [each.about["grant"] for each in it.other.heard]


async def test_a_test_that_is_heard_ends_the_waiting() -> None:
    """Nobody who has mended a receiver waits five minutes."""
    async with scene(NO, YES, pace=Pace(first=300.0)) as it:
        it.see(trouble())
        await it.until(lambda: len(it.other.heard) == 1)
        await it.until(lambda: not it.post.busy)
        it.post.heard("test", YES)
        await it.quiet()
        assert 2 == len(it.other.heard)


async def test_a_fault_of_ours_silences_nobody() -> None:
    """An exception counts as a failed try."""

    class Broken(Other):
        async def __call__(self, _hook: Hook, notice: Notice) -> Answer:
            await super().__call__(_hook, notice)
            if len(self.heard) == 1:
                raise RuntimeError("a bug")
            return YES

    other = Broken()
    post = Post(hook(webhook("x")), other, HandClock(), map(str, count()).__next__, pace=QUICK)
    task = asyncio.get_running_loop().create_task(post.run())
    post.reconcile({KEY: trouble()})
    async with asyncio.timeout(5):
        while KEY not in post.told:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
    task.cancel()
    assert (2, "bearerd failed") == (len(other.heard), NO.said and "bearerd failed")


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_the_other_end_knows_in_the_end(seed: int) -> None:
    """Troubles that come, change and go, tries that fail, a queue that overflows, and restarts in between.

    Once it answers again, it has heard of everything that is wrong and of nothing else, and waits for nothing.
    """
    chance = random.Random(seed)  # noqa: S311  the same in each run
    other, clock, ids = Other(), HandClock(), count()
    wrong: dict[str, Trouble] = {}
    told: dict[str, Trouble] = {}
    pace = Pace(first=0.0, longest=0.0, rest=900.0, tries=2, room=4)
    for _ in range(6):
        post = Post(hook(webhook("x")), other, clock, lambda: str(next(ids)), told=told, pace=pace)
        task = asyncio.get_running_loop().create_task(post.run())
        for _ in range(40):
            name = chance.choice("abcdefg")
            wrong = {key: each for key, each in wrong.items() if each.subject != name}
            if chance.random() < 0.6:
                each = trouble(subject=name, version=chance.choice("xy"))
                wrong[each.key] = each
            other.answers = [chance.choice((YES, NO, NO, Answer(ok=False, said="410 Gone", again=False)))]
            clock.go(chance.choice((1, 1, 600)))
            post.reconcile(wrong)
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
        if chance.random() < 0.5:
            other.answers = [YES]
            for _ in range(12):
                clock.go(901)
                post.reconcile(wrong)
                await asyncio.sleep(0.002)
            assert (0, {key: each.version for key, each in wrong.items()}) == (post.waiting, other.knows())
        told = dict(post.told)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
