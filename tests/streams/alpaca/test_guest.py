"""A client's end: answered in its codec, told what is due to it, and stopped when it does not read."""

import json
from typing import Any

import msgpack  # type: ignore[import-untyped]  # there are no stubs
import pytest

from proxy.errors import Refusal
from proxy.relay.frames import Message
from proxy.streams import codes
from proxy.streams.alpaca.guest import Guest
from proxy.streams.alpaca.messages import Change, error
from proxy.streams.client import SocketEnded
from tests.streams.databroker import Line

GAP = error(500, "bearerd: messages may have been missed for 1.0 s (the broker's socket was reopened)")


def messages(line: Line, *, binary: bool = True) -> list[dict[str, Any]]:
    """What was written to it; all frames here are short."""
    read = msgpack.unpackb if binary else json.loads
    return [message for frame in line.frames for message in read(frame[2 if frame[1] < 126 else 4 :])]


def test_it_is_spoken_to_in_its_codec() -> None:
    """The same words, binary or text."""
    for binary in (True, False):
        line = Line()
        own = Guest(line, binary=binary)
        own.greet()
        own.welcomed()
        own.welcomed()
        assert ["connected", "authenticated"] == [message["msg"] for message in messages(line, binary=binary)]
        assert [0x82 if binary else 0x81] * 2 == [frame[0] for frame in line.frames]


def test_who_does_not_read_hears_a_last_word() -> None:
    """407 fits in where nothing else does; then close 1008, and nothing more."""
    line = Line(room=10)
    own = Guest(line, binary=True)
    assert not own.push(b"x" * 100)
    own.full()
    own.full()
    own.say(GAP)

    assert [error(407)] == messages(line)
    assert (codes.LIMIT, "slow client") == line.said


def test_who_has_gone_is_left_alone() -> None:
    """No frame, and its own code stands."""
    line = Line(ended=SocketEnded(1000))
    own = Guest(line, binary=True)
    own.full()
    own.refuse(error(402), codes.UNKNOWN_CLIENT, "no")
    assert own.over
    assert ([], None) == (line.frames, line.said)


def test_an_error_that_is_no_answer_waits_for_the_answer() -> None:
    """SDKs take the first error for the answer to the change that they wait for (alpaca-trade-api-go)."""
    line = Line()
    own = Guest(line, binary=True)
    own.interrupt(GAP)
    own.outstanding = 2
    own.interrupt(GAP)
    own.answered({"T": "subscription", "trades": ["A"]})
    own.answered(error(405))
    own.answered({"T": "subscription"})

    assert ["error", "subscription", "error", "error", "subscription"] == [each["T"] for each in messages(line)]
    assert [500, 405, 500] == [each["code"] for each in messages(line) if each["T"] == "error"]


def test_a_refusal_has_words_that_sdks_know() -> None:
    """Auth failed, insufficient subscription, connection limit; and ours where Alpaca has none."""
    for kind, code, close in (
        ("unknown-client", 402, codes.UNKNOWN_CLIENT),
        ("scope-denied", 409, codes.NOT_ALLOWED),
        ("paced", 406, codes.LIMIT),
        ("halted", 500, codes.HALTED),
        ("draining", 500, codes.STOPPING),
    ):
        line = Line()
        Guest(line, binary=True).turn_away(Refusal(kind, "the detail"))
        assert [code] == [message["code"] for message in messages(line)]
        assert (close, "the detail") == line.said


def test_an_end_without_words_is_possible() -> None:
    """When the server stops, the code says enough."""
    line = Line()
    Guest(line, binary=True).refuse(None, codes.STOPPING, "bearerd stops")
    assert ([], (codes.STOPPING, "bearerd stops")) == (line.frames, line.said)


async def test_what_it_asks_goes_to_its_hub() -> None:
    """Changes in order, also before it is welcome; pings are answered on the way, pongs pass by."""
    line, asked = Line(), list[tuple[Guest, Change]]()
    line.asked = [
        Message("ping", b"there?"),
        Message("pong", b"here"),
        Message("text", '{"action":"subscribe","trades":["AAPL"]}'),
        Message("binary", msgpack.packb({"action": "unsubscribe", "trades": ["AAPL"]})),
        Message("text", "nonsense"),
    ]
    own = Guest(line, binary=True)

    class Hub:
        def ask(self, guest: Guest, change: Change) -> None:
            asked.append((guest, change))

    with pytest.raises(SocketEnded):
        await own.attend(Hub(), None)

    assert [(own, True), (own, False)] == [(guest, change.add) for guest, change in asked]
    assert 2 == own.outstanding
    assert [b"there?"] == line.pongs
    assert [error(400)] == messages(line)
