"""A body, whole or as it comes: in order, to its end, with as little of it waiting as may be."""

import asyncio

import pytest

from proxy.outbound import Lost
from proxy.relay.pool.answer import ENOUGH, ComingAnswer, PooledAnswer


class Line:
    """A connection that is told when to stop."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def hold(self) -> None:
        self.said.append("hold")

    def go_on(self) -> None:
        self.said.append("go on")

    def abort(self) -> None:
        self.said.append("abort")


async def test_a_whole_answer_is_read_in_parts() -> None:
    """What `start` has not taken comes in chunks; it stays what it is."""
    answer = PooledAnswer(200, [], b"0123456789")
    assert (b"0123", False) == await answer.start(4)
    assert [b"456789"] == [piece async for piece in answer.chunks()]
    assert (b"", True) == await answer.start(4)
    assert b"0123456789" == answer.whole
    assert (b"", True) == await PooledAnswer(204, [], b"").start(10)


async def test_a_coming_answer_is_read_as_it_comes() -> None:
    """What waits comes in one piece; then each piece when it is there."""
    line = Line()
    answer = ComingAnswer(200, [], line)
    answer.feed(b"01")
    answer.feed(b"23")
    assert (b"012", False) == await answer.start(3)
    pieces = answer.chunks()
    assert b"3" == await anext(pieces)
    asyncio.get_running_loop().call_later(0.01, answer.feed, b"45")
    assert b"45" == await anext(pieces)
    asyncio.get_running_loop().call_later(0.01, answer.end)
    assert [] == [piece async for piece in pieces]
    answer.close()
    assert [] == line.said


async def test_its_end_is_known_to_start() -> None:
    """Also when it comes later, and when just as much was asked for."""
    answer = ComingAnswer(200, [], Line())
    answer.feed(b"0123")
    asyncio.get_running_loop().call_later(0.01, answer.end)
    assert (b"0123", True) == await answer.start(100)
    answer = ComingAnswer(200, [], Line())
    answer.feed(b"0123")
    answer.end()
    assert (b"0123", True) == await answer.start(4)


async def test_what_breaks_off_is_lost_behind_what_has_come() -> None:
    """Each who reads is told, each time."""
    answer = ComingAnswer(200, [], Line())
    answer.feed(b"01")
    answer.fail(Lost("gone"))
    assert (b"01", False) == await answer.start(2)
    for _ in range(2):
        with pytest.raises(Lost, match="gone"):
            await answer.start(1)
    with pytest.raises(Lost, match="gone"):
        [piece async for piece in answer.chunks()]


async def test_little_waits_of_a_body_that_nobody_reads() -> None:
    """The connection is held once, and goes on when what waited was taken."""
    line = Line()
    answer = ComingAnswer(200, [], line)
    for _ in range(4):
        answer.feed(b"x" * ENOUGH)
    assert ["hold"] == line.said
    assert 4 * ENOUGH == len(await anext(answer.chunks()))
    assert ["hold", "go on"] == line.said


async def test_a_body_that_nobody_wants_takes_its_connection_along() -> None:
    """Unless it had come to its end."""
    line = Line()
    ComingAnswer(200, [], line).close()
    assert ["abort"] == line.said
    line = Line()
    answer = ComingAnswer(200, [], line)
    answer.end()
    answer.close()
    answer.close()
    assert [] == line.said
