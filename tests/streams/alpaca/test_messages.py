"""Alpaca's data frames: cut, joined and transcribed without changing what they say."""

import json
from contextlib import suppress
from typing import Any

import msgpack  # type: ignore[import-untyped]  # there are no stubs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.streams.alpaca.messages import (
    AUTHENTICATED,
    CONNECTED,
    FILL,
    MOST_CHANNELS,
    Auth,
    Change,
    Faulty,
    Form,
    Piece,
    Slicer,
    Unreadable,
    control,
    error,
    joined,
    packed,
    parted,
    read_request,
    symbols_of,
)

AT = msgpack.Timestamp(1614009104, 208000000)
TRADE = {"T": "t", "i": 96921, "S": "AAPL", "x": "D", "p": 126.55, "s": 1, "t": AT, "c": ["@", "I"], "z": "C"}
NEWS = {"T": "n", "id": 1, "headline": "é", "created_at": AT, "symbols": ["AAPL", "MSFT", "AAPL", 7]}
SYMBOLS = st.sampled_from(["A", "BB", "BTC/USD", "*"])
MESSAGES = st.dictionaries(
    st.sampled_from(["S", "p", "c", "x", "symbols", "t"]),
    SYMBOLS | st.floats(allow_nan=False) | st.lists(SYMBOLS, max_size=2) | st.integers(0, 2**40) | st.none(),
    max_size=4,
).map(lambda rest: {"T": "t", **rest})


def _pieces(frame: bytes) -> list[Piece]:
    return [piece for piece in Slicer().cut(frame) if isinstance(piece, Piece)]


@pytest.mark.parametrize(
    ("message", "vector"),
    [
        (CONNECTED, "9182a154a773756363657373a36d7367a9636f6e6e6563746564"),
        (AUTHENTICATED, "9182a154a773756363657373a36d7367ad61757468656e74696361746564"),
    ],
    ids=["connected", "authenticated"],
)
def test_control_frames_are_the_brokers_own_bytes(message: dict[str, Any], vector: str) -> None:
    """What Alpaca sends first is sent here byte for byte."""
    assert bytes.fromhex(vector) == control(message, binary=True)
    assert json.dumps([message], separators=(",", ":")) == control(message, binary=False)


def test_errors_have_the_brokers_words() -> None:
    """A code says what the documentation says for it, and a text of ours replaces that."""
    assert [{"T": "error", "code": 407, "msg": "slow client"}] == json.loads(control(error(407), binary=False))
    assert "ours" == error(500, "ours")["msg"]


@given(st.lists(MESSAGES, max_size=5))
def test_pieces_joined_are_the_frame_that_came(messages: list[dict[str, Any]]) -> None:
    """Cutting loses and changes nothing, however many messages there are."""
    frame = msgpack.packb(messages)
    pieces = _pieces(frame)

    assert frame == joined(pieces, binary=True)
    assert messages == [msgpack.unpackb(piece.packed) for piece in pieces]
    assert messages == json.loads(joined(pieces, binary=False))


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 65535, 65536])
def test_every_length_of_an_array_is_written(count: int) -> None:
    """The header fits the number of messages on both sides of each of its sizes."""
    assert msgpack.packb([{"T": "t"}] * count) == joined(
        [Piece("t", (), msgpack.packb({"T": "t"}))] * count, binary=True
    )


def test_a_slicer_serves_one_frame_after_the_other() -> None:
    """Places are counted from each frame's own beginning."""
    slicer = Slicer()
    for count in (1, 3, 200, 2):
        frame = msgpack.packb([{**TRADE, "i": at} for at in range(count)])
        assert frame == joined([piece for piece in slicer.cut(frame) if isinstance(piece, Piece)], binary=True)


def test_a_piece_knows_what_it_is_about() -> None:
    """Kind and symbol of market data, all symbols of news, each once; control messages come unpacked."""
    trade, news, odd, nothing, said = Slicer().cut(
        msgpack.packb([TRADE, NEWS, {"T": 5, "S": "X"}, {"T": "zz"}, CONNECTED])
    )

    assert isinstance(trade, Piece)
    assert isinstance(news, Piece)
    assert isinstance(odd, Piece)
    assert isinstance(nothing, Piece)
    assert ("t", ("AAPL",)) == (trade.kind, trade.symbols)
    assert ("n", ("AAPL", "MSFT")) == (news.kind, news.symbols)
    assert ("", ("X",)) == (odd.kind, odd.symbols)
    assert ("zz", ()) == (nothing.kind, nothing.symbols)
    assert CONNECTED == said


def test_a_json_client_reads_times_as_the_broker_writes_them() -> None:
    """A MessagePack time becomes RFC 3339, and the order of members stays."""
    [piece] = _pieces(msgpack.packb([TRADE]))

    assert piece.text == (
        '{"T":"t","i":96921,"S":"AAPL","x":"D","p":126.55,"s":1,"t":"2021-02-22T15:51:44.208Z","c":["@","I"],"z":"C"}'
    )
    assert piece.text is piece.text


BROKEN = {
    "empty": b"",
    "cut": msgpack.packb([TRADE])[:-1],
    "more": msgpack.packb([TRADE]) + b"\x00",
    "two": msgpack.packb([TRADE]) * 2,
    "map": msgpack.packb(TRADE),
    "no map inside": msgpack.packb([1]),
    "a list as key": b"\x91\x81\x91\x01\x02",
    "never used byte": b"\x91\xc1",
    "huge array": b"\xdd\xff\xff\xff\xff",
    "huge string": b"\x91\xdb\xff\xff\xff\xff",
    "deep": b"\x91" * 2000,
    "json": b'[{"T":"t"}]',
}


@pytest.mark.parametrize("frame", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_array_of_messages_is_refused(frame: bytes) -> None:
    """A broken frame is said to be one, and the next good one is cut as if nothing had been."""
    slicer = Slicer()
    with pytest.raises(Unreadable):
        slicer.cut(frame)
    assert 1 == len(slicer.cut(msgpack.packb([TRADE])))


@given(st.binary(max_size=60))
def test_no_frame_breaks_the_slicer(frame: bytes) -> None:
    """Whatever comes is cut or refused."""
    slicer = Slicer()
    with suppress(Unreadable):
        slicer.cut(frame)
    assert 1 == len(slicer.cut(msgpack.packb([TRADE])))


def test_a_headline_that_is_no_utf8_passes() -> None:
    """Text that is broken at the broker's stays as it is in MessagePack and is mended in JSON."""
    message = b"\x82\xa1T\xa1t\xa1S\xa3A\xffB"
    [piece] = _pieces(b"\x91" + message)

    assert message == piece.packed
    assert {"T": "t", "S": "A\ufffdB"} == json.loads(piece.text)


AUTHS = {
    "key pair": {"action": "auth", "key": "local", "secret": "KEY"},
    "connect": {"action": "auth", "key": "oauth", "secret": "KEY"},
    "authx": {"secret": "KEY", "key": "access_token", "action": "auth"},
}


@pytest.mark.parametrize("asked", AUTHS.values(), ids=AUTHS.keys())
def test_an_auth_is_read_in_both_codecs(asked: dict[str, str]) -> None:
    """The secret names the client, whatever the key says, and no repr shows it."""
    for frame in (json.dumps(asked), json.dumps(asked).encode(), msgpack.packb(asked)):
        assert Auth(asked["key"], "KEY") == read_request(frame)
    assert "KEY" not in repr(Auth("KEY", "KEY"))


def test_the_vector_of_an_auth_is_read() -> None:
    """The bytes that the official SDKs send."""
    frame = bytes.fromhex("83a6616374696f6ea461757468a36b6579a14ba6736563726574a153")
    assert Auth("K", "S") == read_request(frame)


def test_a_subscription_is_read_as_sdks_send_it() -> None:
    """Lists of symbols, each once; Go's SDK sends nil where it has none."""
    asked = {"action": "subscribe", "trades": ["AAPL", "*", "AAPL"], "quotes": None, "bars": []}
    for frame in (json.dumps(asked), msgpack.packb(asked)):
        assert Change(add=True, wanted={"trades": ("AAPL", "*"), "quotes": (), "bars": ()}) == read_request(frame)
    assert Change(add=False, wanted={}) == read_request('{"action":"unsubscribe"}')


WRONG: dict[str, str | bytes] = {
    "nothing": "",
    "no json": "subscribe",
    "no map": "[]",
    "number": "5",
    "no action": "{}",
    "other action": '{"action":"listen"}',
    "no secret": '{"action":"auth","key":"K"}',
    "no key": '{"action":"auth","secret":"S"}',
    "secret is a number": '{"action":"auth","key":"K","secret":5}',
    "text for a list": '{"action":"subscribe","trades":"AAPL"}',
    "number for a symbol": '{"action":"subscribe","trades":[1]}',
    "empty symbol": '{"action":"subscribe","trades":[""]}',
    "long symbol": json.dumps({"action": "subscribe", "trades": ["A" * 65]}),
    "line end": '{"action":"subscribe","trades":["A\\n"]}',
    "long channel": json.dumps({"action": "subscribe", "c" * 65: []}),
    "many channels": json.dumps({"action": "subscribe", **{f"c{at}": [] for at in range(MOST_CHANNELS + 1)}}),
    "deep": '{"action":' * 100_000,
    "cut": b"\x83",
    "rest": b"\x80\x80",
    "unhashable": b"\x81\x91\x01\x02",
    "bytes for a key": b"\x81\xc4\x06action\xa4auth",
    "no utf-8": b"\x81\xa1\xff\xa1A",
    "deep binary": b"\x91" * 2000,
}


@pytest.mark.parametrize("frame", WRONG.values(), ids=WRONG.keys())
def test_what_is_no_request_is_refused_as_the_broker_does(frame: str | bytes) -> None:
    """Code 400, `invalid syntax`, and nothing of what was sent."""
    with pytest.raises(Faulty, match=r"^invalid syntax$") as caught:
        read_request(frame)
    assert 400 == caught.value.code


@given(st.binary(max_size=40) | st.text(max_size=40))
def test_no_request_breaks_the_reader(frame: str | bytes) -> None:
    """Whatever comes is read or refused."""
    with suppress(Faulty):
        read_request(frame)


def test_many_channels_at_the_limit_are_read() -> None:
    """As many as are allowed, and symbols as long as are allowed."""
    asked = {"action": "subscribe", **{f"c{at}": ["A" * 64] for at in range(MOST_CHANNELS)}}
    assert isinstance(read_request(json.dumps(asked)), Change)


@given(st.dictionaries(SYMBOLS, st.lists(SYMBOLS, unique=True, max_size=5), max_size=3), st.booleans())
def test_a_request_says_what_was_asked(wanted: dict[str, list[str]], add: bool) -> None:
    """What the broker reads is what was wanted, each symbol once."""
    asked: dict[str, list[str]] = {}
    for part in parted(Change(add=add, wanted=wanted)):
        read = read_request(packed(part))
        assert isinstance(read, Change)
        assert add == read.add
        for channel, symbols in read.wanted.items():
            asked.setdefault(channel, []).extend(symbols)
    assert {channel: symbols for channel, symbols in wanted.items() if symbols} == asked


def test_a_large_request_is_sent_in_parts() -> None:
    """No frame to the broker is larger than what its WebSocket library takes by default."""
    parts = parted(Change(add=True, wanted={"quotes": [f"SPXW240327P{at:08}" for at in range(10_000)]}))
    frames = [packed(part) for part in parts]

    assert 1 < len(frames)
    assert all(len(frame) < 2 * FILL for frame in frames)


def test_confirmations_take_the_brokers_form() -> None:
    """Its channels in its order, empty ones if it sends those, and only what it has confirmed."""
    form, confirmed = Form(), {"trades": frozenset({"AAPL", "MSFT"}), "bars": frozenset({"*"})}
    assert not form.known
    form.learn(confirmed)
    assert form.known
    own = {"bars": ("*",), "trades": ("MSFT", "XX"), "quotes": ("AAPL",)}

    assert {"T": "subscription", "trades": ["MSFT"], "bars": ["*"]} == form.confirmation(own, confirmed)
    assert ["X"] == form.confirmation({"bars": ("X",)}, confirmed)["bars"]  # somebody has all of them
    assert {"T": "subscription"} == form.confirmation({}, confirmed)

    form.learn({"trades": frozenset(), "quotes": frozenset(), "corrections": frozenset()})
    said = form.confirmation(own, {**confirmed, "corrections": frozenset({"MSFT"})})
    assert said == {"T": "subscription", "trades": ["MSFT"], "quotes": [], "corrections": ["MSFT"], "bars": ["*"]}
    assert ["T", "trades", "quotes", "corrections", "bars"] == list(said)


def test_an_empty_confirmation_is_a_form_too() -> None:
    """A broker that says nothing of channels has been understood all the same."""
    form = Form()
    form.learn({})
    assert form.known
    assert {"T": "subscription"} == form.confirmation({"trades": ("A",)}, {})


def test_a_confirmation_is_read_with_care() -> None:
    """Lists of texts are symbols, all else is passed over."""
    said = {"T": "subscription", "trades": ["AAPL", 5], "quotes": "AMD", "bars": []}
    assert {"trades": frozenset({"AAPL"}), "bars": frozenset()} == symbols_of(said)
