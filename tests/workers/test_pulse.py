"""Signs of life: who gives none is noticed, unless the one who listens did not run either."""

import asyncio

import pytest

from proxy.workers.link import Link, Message, pair
from proxy.workers.pulse import CLOSING, SILENCE, Ear, Pulse
from tests.workers.house import until

BOTH_LOOPS = True


async def test_a_sign_is_given_every_so_often_and_none_is_piled_up() -> None:
    """One at once; while nobody reads, one waits; when it is over, nothing goes on."""
    ours, theirs = pair()
    got: list[Message] = []
    near, far = Link(ours, lambda _: None), Link(theirs, got.append)
    near.open()
    Pulse(near).start(0.01)
    await asyncio.sleep(0.1)
    far.open()
    await until(lambda: len(got) >= 3)
    assert {message.kind for message in got} == {"alive"}
    near.say("much", blob=b"x" * 1_000_000)
    assert near.waiting
    before = len(near._out)
    far._loop.remove_reader(theirs.fileno())  # type: ignore[union-attr]
    await asyncio.sleep(0.05)
    assert len(near._out) == before
    near.close()
    far.close()
    await asyncio.sleep(0.03)


def looks(ear: Ear, count: int, took: float = 1.0, *, over: bool = False) -> list[bool]:
    return [ear.look(took, 1.0, over=over) for _ in range(count)]


def test_who_is_silent_for_long_enough_hangs() -> None:
    """Each word counts; one that was never heard has the time that a start may take, or as long as it likes."""
    ear = Ear(SILENCE, 90.0)
    assert not any(looks(ear, 89))
    ear.heard()
    assert looks(ear, 8) == [False] * 7 + [True]
    ear.heard()
    assert not any(looks(ear, 7))
    assert not any(looks(Ear(SILENCE, 0.0), 1000))
    assert any(looks(Ear(SILENCE, 90.0), 90))


def test_one_that_has_hung_up_has_time_to_end() -> None:
    """It closes its files, and says nothing any more."""
    ear = Ear(SILENCE, 0.0)
    ear.heard()
    assert looks(ear, int(CLOSING), over=True)[-2:] == [False, True]


@pytest.mark.parametrize("pause", [2.0, 10.0, 1000.0])
def test_a_pause_of_the_one_who_listens_does_not_count(pause: float) -> None:
    """After it the others are heard first: a late look decides nothing, however long they were silent."""
    ear = Ear(SILENCE, 90.0)
    ear.heard()
    assert looks(ear, 7) == [False] * 7
    assert not ear.look(pause, 1.0, over=False)
    assert not any(looks(ear, 100, pause))
    ear.heard()
    assert not ear.look(1.0, 1.0, over=False)
