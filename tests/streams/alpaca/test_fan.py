"""Who gets which message: each client exactly its own, in the broker's order, and what is alike is encoded once."""

import json
from dataclasses import dataclass, field
from typing import Any

import msgpack  # type: ignore[import-untyped]  # there are no stubs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.relay.frames import encoded
from proxy.streams.alpaca.fan import LARGEST, Fan
from proxy.streams.alpaca.messages import CHANNELS, KNOWN, Piece, Slicer

SMALL, MEDIUM = 126, 127  # what a frame's second byte says of its length (RFC 6455, section 5.2)


@dataclass(eq=False)
class Reader:
    """A client's end that keeps what it is given."""

    binary: bool = True
    frames: list[bytes] = field(default_factory=list)
    room: int = 100_000
    refused: int = 0

    def push(self, frame: bytes) -> bool:
        self.frames += [frame][: self.room]
        self.room -= 1
        return self.room >= 0

    def full(self) -> None:
        self.refused += 1

    @property
    def heard(self) -> list[dict[str, Any]]:
        return [message for frame in self.frames for message in read(frame, binary=self.binary)]


def read(frame: bytes, *, binary: bool) -> list[dict[str, Any]]:
    """The messages of a whole frame, header and all."""
    assert frame[0] == (0x82 if binary else 0x81)
    payload = frame[{SMALL: 4, MEDIUM: 10}.get(frame[1], 2) :]
    assert frame == encoded(payload if binary else payload.decode())
    messages: list[dict[str, Any]] = msgpack.unpackb(payload) if binary else json.loads(payload)
    return messages


def pieces(*messages: dict[str, Any]) -> list[Piece]:
    """Messages as they come out of the broker's frame."""
    return [piece for piece in Slicer().cut(msgpack.packb(list(messages))) if isinstance(piece, Piece)]


def test_each_client_gets_what_it_listens_to() -> None:
    """By channel and symbol, with `*` for every symbol; who listens to both gets it once."""
    fan, apple, all_trades, both, quotes = Fan(), Reader(), Reader(binary=False), Reader(), Reader()
    for reader in (apple, all_trades, both, quotes):
        fan.add(reader)
    fan.listen(apple, {"trades": ["AAPL"]})
    fan.listen(all_trades, {"trades": ["*"]})
    fan.listen(both, {"trades": ["*", "AAPL"], "quotes": ["MSFT"]})
    fan.listen(quotes, {"quotes": ["*"], "trades": []})
    first, second = {"T": "t", "S": "AAPL"}, {"T": "t", "S": "MSFT"}
    third, fourth = {"T": "q", "S": "MSFT"}, {"T": "b", "S": "AAPL"}

    fan.deliver(pieces(first, second, third, fourth))

    assert [first] == apple.heard
    assert [first, second] == all_trades.heard
    assert [first, second, third] == both.heard
    assert [third] == quotes.heard
    assert [1, 1, 1, 1] == [len(reader.frames) for reader in (apple, all_trades, both, quotes)]


def test_what_is_alike_is_encoded_once() -> None:
    """Clients with the same messages get the very same bytes, though they listen to other things besides."""
    fan, readers = Fan(), [Reader() for _ in range(3)]
    for number, reader in enumerate(readers):
        fan.add(reader)
        fan.listen(reader, {"trades": ["AAPL", "MSFT"], "bars": [f"S{number}"]})

    fan.deliver(pieces({"T": "t", "S": "AAPL"}))
    fan.deliver(pieces({"T": "t", "S": "AAPL"}, {"T": "t", "S": "MSFT"}))
    fan.listen(readers[2], {"quotes": ["AAPL"]})
    fan.deliver(pieces({"T": "t", "S": "AAPL"}, {"T": "q", "S": "AAPL"}, {"T": "t", "S": "MSFT"}))

    assert readers[0].frames[0] is readers[1].frames[0] is readers[2].frames[0]
    assert readers[0].frames[1] is readers[1].frames[1] is readers[2].frames[1]
    assert readers[0].frames[2] is readers[1].frames[2]
    assert ["t", "q", "t"] == [message["T"] for message in read(readers[2].frames[2], binary=True)]


def test_corrections_and_cancels_come_with_trades() -> None:
    """Nobody subscribes to them; who does all the same gets them without trades."""
    fan, trades, quotes, corrections = Fan(), Reader(), Reader(), Reader()
    for reader, channel in ((trades, "trades"), (quotes, "quotes"), (corrections, "corrections")):
        fan.add(reader)
        fan.listen(reader, {channel: ["AAPL"]})

    fan.deliver(pieces({"T": "c", "S": "AAPL"}, {"T": "x", "S": "AAPL"}, {"T": "c", "S": "MSFT"}))

    assert ["c", "x"] == [message["T"] for message in trades.heard]
    assert [] == quotes.heard
    assert ["c"] == [message["T"] for message in corrections.heard]


def test_news_has_many_symbols_and_comes_once() -> None:
    """One message for who listens to any of its symbols; one without symbols only for who listens to all."""
    fan, apple, both, everything, other = Fan(), Reader(), Reader(), Reader(), Reader()
    for reader, symbols in ((apple, ["AAPL"]), (both, ["AAPL", "MSFT"]), (everything, ["*"]), (other, ["TSLA"])):
        fan.add(reader)
        fan.listen(reader, {"news": symbols})

    fan.deliver(pieces({"T": "n", "id": 1, "symbols": ["AAPL", "MSFT"]}, {"T": "n", "id": 2, "symbols": []}))

    assert [[1], [1], [1, 2], []] == [
        [message["id"] for message in it.heard] for it in (apple, both, everything, other)
    ]


def test_a_kind_that_nobody_knows_is_not_lost() -> None:
    """It goes to an unknown channel of its symbol, else to any channel of it, and without a symbol to all."""
    fan, trades, fresh, silent = Fan(), Reader(), Reader(), Reader()
    for reader in (trades, fresh, silent):
        fan.add(reader)
    fan.listen(trades, {"trades": ["AAPL"]})
    fan.deliver(pieces({"T": "zz", "S": "AAPL", "n": 1}))
    fan.listen(fresh, {"depths": ["AAPL"]})
    fan.deliver(pieces({"T": "zz", "S": "AAPL", "n": 2}, {"T": "yy", "n": 3}, {"n": 4}))
    late = Reader()
    fan.add(late)
    fan.deliver(pieces({"T": "yy", "n": 5}))

    assert [[1, 3, 4, 5], [2, 3, 4, 5], [3, 4, 5], [5]] == [
        [message["n"] for message in reader.heard] for reader in (trades, fresh, silent, late)
    ]


def test_who_leaves_hears_no_more() -> None:
    """Nor counts for what anybody listens to; to leave twice is fine."""
    fan, stays, leaves = Fan(), Reader(), Reader()
    for reader in (stays, leaves):
        fan.add(reader)
        fan.listen(reader, {"trades": ["AAPL"], "quotes": ["*"]})
    fan.listen(leaves, {"bars": ["*"]})
    fan.deliver(pieces({"T": "t", "S": "AAPL"}))

    fan.remove(leaves)
    fan.remove(leaves)
    fan.deliver(pieces({"T": "t", "S": "AAPL"}, {"T": "b", "S": "AAPL"}))

    assert [2, 1] == [len(stays.heard), len(leaves.heard)]
    assert {"trades": ("AAPL",), "quotes": ("*",), "bars": ()} == fan.union()


def test_a_large_array_is_sent_in_frames_that_sdks_take() -> None:
    """A frame stays under 64 KiB unless one message alone is larger; the order stays."""
    fan, packed, text = Fan(), Reader(), Reader(binary=False)
    for reader in (packed, text):
        fan.add(reader)
        fan.listen(reader, {"news": ["*"]})
    sent = [{"T": "n", "id": at, "content": "x" * size} for at, size in enumerate([40_000, 20_000, 40_000, 99_000, 5])]

    fan.deliver(pieces(*sent))

    assert sent == packed.heard == text.heard
    assert [2, 1, 1, 1] == [len(read(frame, binary=True)) for frame in packed.frames]
    assert all(len(frame) <= LARGEST + 100 for at, frame in enumerate(packed.frames) if at != 2)


def test_caches_do_not_grow_with_what_the_broker_sends() -> None:
    """Kinds and symbols that come are forgotten beyond a bound, and the right ones still hear."""
    fan, reader = Fan(kept=100), Reader()
    fan.add(reader)
    fan.listen(reader, {"trades": ["*"]})

    fan.deliver(pieces(*[{"T": f"k{at}", "S": "A"} for at in range(200)]))
    fan.deliver(pieces(*[{"T": "t", "S": f"S{at}"} for at in range(250)]))

    assert len(fan._audiences) <= 70
    assert len(fan._audiences["t"]) <= 100
    assert 200 + 250 == len(reader.heard)


CHANNEL = st.sampled_from(["trades", "quotes", "news", "depths"])
SYMBOL = st.sampled_from(["A", "B", "*"])
WANTED = st.dictionaries(CHANNEL, st.lists(SYMBOL, unique=True, max_size=3), max_size=3)
MESSAGE = st.fixed_dictionaries(
    {"T": st.sampled_from(["t", "q", "c", "n", "zz"])},
    optional={"S": st.sampled_from(["A", "B"]), "symbols": st.lists(st.sampled_from(["A", "B", "C"]), max_size=3)},
)
STEP = (
    st.tuples(st.just("listen"), st.integers(0, 3), WANTED)
    | st.tuples(st.just("unlisten"), st.integers(0, 3), WANTED)
    | st.tuples(st.just("leave"), st.integers(0, 3), st.none())
    | st.tuples(st.just("deliver"), st.none(), st.lists(MESSAGE, max_size=4))
)


class Naive:
    """The same in the plainest words: a set of pairs for each client, and a look at each of them for each message."""

    def __init__(self, count: int) -> None:
        self.sets: list[set[tuple[str, str]] | None] = [set() for _ in range(count)]
        self.heard: list[list[dict[str, Any]]] = [[] for _ in range(count)]

    def hears(self, own: set[tuple[str, str]], message: dict[str, Any]) -> bool:
        named = {message["S"]} if "S" in message else set(message.get("symbols", ()))
        channels = CHANNELS.get(message["T"])
        if channels is None:
            if not named:
                return True
            strange = any(
                channel not in KNOWN and symbol in named | {"*"} for each in self.sets for channel, symbol in each or ()
            )
            return any((channel not in KNOWN or not strange) and symbol in named | {"*"} for channel, symbol in own)
        return any(channel in channels and symbol in named | {"*"} for channel, symbol in own)

    def step(self, what: str, who: int | None, given_: Any) -> None:
        if who is None:
            for message in given_:
                for own, heard in zip(self.sets, self.heard, strict=True):
                    if own is not None and self.hears(own, message):
                        heard.append(message)
        elif what == "leave":
            self.sets[who] = None
        elif (own := self.sets[who]) is not None:
            pairs = {(channel, symbol) for channel, symbols in given_.items() for symbol in symbols}
            self.sets[who] = own | pairs if what == "listen" else own - pairs


@given(st.lists(STEP, max_size=15))
def test_the_fan_agrees_with_the_plainest_model(steps: list[tuple[str, int | None, Any]]) -> None:
    """Whatever is subscribed, dropped, left and sent, in whatever order."""
    fan, naive, readers = Fan(), Naive(4), [Reader(binary=at % 2 == 0) for at in range(4)]
    for reader in readers:
        fan.add(reader)
    for what, who, given_ in steps:
        if who is None:
            fan.deliver(pieces(*given_))
        elif what == "leave":
            fan.remove(readers[who])
        elif naive.sets[who] is not None:
            (fan.listen if what == "listen" else fan.unlisten)(readers[who], given_)
        naive.step(what, who, given_)

    assert naive.heard == [reader.heard for reader in readers]
    held = set[tuple[str, str]]().union(*(own for own in naive.sets if own))
    assert held == {(channel, symbol) for channel, symbols in fan.union().items() for symbol in symbols}
    for reader, own in zip(readers, naive.sets, strict=True):
        if own is not None:
            assert own == {(channel, symbol) for channel, symbols in fan.own(reader).items() for symbol in symbols}


def test_what_a_seat_does_not_hold_is_passed_over() -> None:
    """To drop what was never asked for changes nothing, and a stranger has nothing of its own."""
    fan, reader = Fan(), Reader()
    fan.add(reader)
    fan.unlisten(reader, {"trades": ["AAPL"]})
    fan.unlisten(Reader(), {"trades": ["AAPL"]})
    assert {} == {channel: symbols for channel, symbols in fan.own(reader).items() if symbols}
    with pytest.raises(KeyError):
        fan.own(Reader())
