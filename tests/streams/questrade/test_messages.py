"""What a client asked for, and what of a message is its own."""

import pytest

from proxy.errors import Refusal
from proxy.streams.questrade.messages import MOST_IDS, asked_ids, query_for, read, together
from proxy.streams.questrade.rawjson import Unreadable

TEXT = '{"quotes": [{"symbolId":8049,"bidPrice":10.50} , {"bidPrice":1e2, "symbolId":9292},{"symbolId":8049}],"x":1}'


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"ids=8049&stream=true&mode=WebSocket", (8049,)),
        (b"stream=true&ids=9292,8049,9292&mode=WebSocket", (8049, 9292)),
        (b"ids=8049%2C9292%2c1", (1, 8049, 9292)),
    ],
)
def test_the_ids_of_a_query_are_canonical(query: bytes, expected: tuple[int, ...]) -> None:
    """Sorted, each once, whichever way the comma is written (iqtrade encodes it)."""
    assert expected == asked_ids(query)
    assert expected == asked_ids(query_for(expected))


@pytest.mark.parametrize(
    "query",
    [
        None, b"", b"ids=", b"ids", b"ids=a", b"ids=1,,2", b"ids=1,", b"ids=-1", b"ids=1&ids=2", b"ids=1&IDS=2",
        b"ids=1&%69ds=2", b"ids=12345678901", b"ids=%31", b"ids=" + b",".join(b"%d" % n for n in range(MOST_IDS + 1)),
    ],
    ids=lambda query: repr(query)[:24],
)  # fmt: skip
def test_a_query_that_can_be_read_otherwise_is_refused(query: bytes | None) -> None:
    """What the broker could take for other symbols than we would."""
    with pytest.raises(Refusal) as refused:
        asked_ids(query)
    assert "bad-request" == refused.value.kind.name


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ({8049, 9292}, TEXT),
        ({8049, 9292, 1}, TEXT),
        ({9292}, '{"quotes": [{"bidPrice":1e2, "symbolId":9292}],"x":1}'),
        ({8049}, '{"quotes": [{"symbolId":8049,"bidPrice":10.50},{"symbolId":8049}],"x":1}'),
        ({1}, None),
        (set(), None),
    ],
    ids=["all", "more", "one", "twice", "another", "none"],
)
def test_a_message_is_cut_to_the_symbols_of_a_client(ids: set[int], expected: str | None) -> None:
    """Quotes are the broker's own text; whoever asked for all of them gets its very message."""
    found = read(TEXT)
    assert found is not None
    assert (frozenset({8049, 9292}), expected) == (found.ids, found.about(ids))


@pytest.mark.parametrize("text", ['{"success": true}', '{"code":1017,"message":"no"}', "{}"])
def test_other_messages_are_nobodys_quotes(text: str) -> None:
    """They go to everyone, or to who waits for them."""
    assert read(text) is None


def test_an_empty_list_is_about_nobody() -> None:
    """There is nothing in it to give away, and nothing to give."""
    found = read('{"quotes":[]}')
    assert found is not None
    assert found.about({8049}) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"quotes":{}}', '{"quotes":[1]}', '{"quotes":[{}]}', '{"quotes":[{"symbolId":"8049"}]}', "pong", "[]",
        '{"quotes":[{"symbolId":true}]}', '{"quotes":[],"quotes":[]}', '{"quotes":[],"Quotes":[]}', '{"quotes":[]',
    ],
)  # fmt: skip
def test_what_cannot_be_told_apart_is_unreadable(text: str) -> None:
    """Nobody may get it: it could be somebody else's."""
    with pytest.raises(Unreadable):
        read(text)


def test_quotes_of_several_messages_become_one() -> None:
    """As the broker begins a stream: everything in one message."""
    found = read(together(['{"symbolId":1,"p":1.0}', '{"symbolId":2}']))
    assert found is not None
    assert ((1, '{"symbolId":1,"p":1.0}'), (2, '{"symbolId":2}')) == found.items
