"""What the market data sockets carry."""

import pytest

from proxy.simulator.alpaca import feeds
from proxy.simulator.alpaca.feeds import CRYPTO, JSON, MSGPACK, NEWS, OPTIONS, STOCKS, TEST, Feed, Moment

NOW = Moment(1_772_557_234_123_456_789)


@pytest.mark.parametrize(
    ("path", "feed"),
    [
        ("/v2/sip", STOCKS),
        ("/v2/iex", STOCKS),
        ("/v2/delayed_sip", STOCKS),
        ("/v2/test", TEST),
        ("/v1beta3/crypto/us", CRYPTO),
        ("/v1beta2/crypto", CRYPTO),
        ("/v1beta1/opra", OPTIONS),
        ("/v1beta1/indicative", OPTIONS),
        ("/v1beta1/news", NEWS),
        ("/v2/nasdaq", None),
        ("/v2/iex/", None),
        ("/v1beta1/opra/x", None),
    ],
)
def test_which_path_is_which_feed(path: str, feed: Feed | None) -> None:
    """Exactly those that the definition has."""
    assert feed is feeds.feed_of(path)


@pytest.mark.parametrize(
    ("feed", "channel", "name"),
    [
        (STOCKS, "trades", "i"),
        (STOCKS, "quotes", "bs"),
        (STOCKS, "bars", "v"),
        (STOCKS, "updatedBars", "v"),
        (STOCKS, "dailyBars", "v"),
        (STOCKS, "lulds", "u"),
        (CRYPTO, "trades", "i"),
        (CRYPTO, "quotes", "bs"),
        (CRYPTO, "bars", "v"),
        (OPTIONS, "trades", "s"),
        (OPTIONS, "quotes", "bs"),
    ],
)
def test_the_beat_stands_in_every_message(feed: Feed, channel: str, name: str) -> None:
    """So that a test sees what is missing, what is there twice, and what is out of order."""
    made = feed.messages([(channel, "X")], range(7, 10), NOW, JSON)
    assert [("X", 7), ("X", 8), ("X", 9)] == [(message["S"], message[name]) for message in made]


def test_the_beat_in_what_counts_otherwise() -> None:
    """Statuses have a reason, order books levels."""
    (status,) = STOCKS.messages([("statuses", "X")], [7], NOW, JSON)
    (book,) = CRYPTO.messages([("orderbooks", "X/USD")], [7], NOW, JSON)
    assert ("7", [{"p": 99.96, "s": 7}]) == (status["rc"], book["b"])


def test_a_star_stands_for_everything_once() -> None:
    """Whoever asks for a symbol and for all gets it once."""
    made = STOCKS.messages([("bars", "*"), ("bars", "AAPL"), ("bars", "X")], [1], NOW, JSON)
    symbols = [message["S"] for message in made]
    assert (len(symbols), {"AAPL", "SPY", "X"}) == (len(set(symbols)), set(symbols) & {"AAPL", "SPY", "X"})


def test_one_article_a_beat() -> None:
    """For whoever follows what it is about, or all; each in turn."""
    count = len(NEWS.pool)
    every = NEWS.messages([("news", "*"), ("news", "AAPL")], range(count), NOW, JSON)
    one = NEWS.messages([("news", "AAPL")], range(count), NOW, JSON)
    assert [feeds.FIRST_ARTICLE + beat for beat in range(count)] == [article["id"] for article in every]
    assert [["AAPL"]] == [article["symbols"] for article in one]


def test_times_in_both_codecs() -> None:
    """To the nanosecond: a text in JSON, a timestamp of MessagePack's own; bars begin at a minute."""
    pairs = [("trades", "X"), ("bars", "X")]
    written = JSON.decode(JSON.encode(STOCKS.messages(pairs, [1], NOW, JSON)).decode())
    packed = MSGPACK.decode(MSGPACK.encode(STOCKS.messages(pairs, [1], NOW, MSGPACK)))
    assert isinstance(written, list)
    assert isinstance(packed, list)
    assert ["2026-03-03T17:00:34.123456789Z", "2026-03-03T17:00:00.000000000Z"] == [each["t"] for each in written]
    assert [NOW.nanoseconds, NOW.minute().nanoseconds] == [each["t"].to_unix_nano() for each in packed]


@pytest.mark.parametrize(("codec", "frame"), [(JSON, b"{}"), (JSON, "{"), (MSGPACK, "{}"), (MSGPACK, b"\xc1")])
def test_a_frame_of_the_wrong_kind_is_none(codec: feeds.Codec, frame: str | bytes) -> None:
    """JSON is text, MessagePack binary."""
    with pytest.raises(ValueError):  # noqa: PT011  whatever it says
        codec.decode(frame)


@pytest.mark.parametrize(
    ("symbol", "good"),
    [("AAPL", True), ("BRK.B", True), ("BTC/USD", True), ("*", True), ("", False), ("A B", False), (7, False)],
)
def test_what_a_symbol_is(symbol: object, good: bool) -> None:
    """Anything that looks like one is traded here."""
    assert good is feeds.is_symbol(symbol)
