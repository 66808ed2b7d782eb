"""Which events there are, and which of them a client asks for."""

import json
from collections.abc import Sequence

import pytest

from proxy.simulator.alpaca import events
from proxy.simulator.alpaca.answers import Refused
from proxy.simulator.alpaca.events import Events, OfOrders, number_of, ulid
from proxy.simulator.alpaca.routes import Call
from proxy.simulator.alpaca.updates import Updates
from tests.simulator.alpaca.support import call
from tests.simulator.support import NOON


def _parsed(blocks: Sequence[bytes]) -> list[dict[str, object]]:
    return [json.loads(block.partition(b"data: ")[2]) for block in blocks]


def _asked(query: str = "", *, numbered: bool = True, named: bool = False, last: str | None = None) -> Events:
    given = call(query)
    asked = Call(
        given.method, {}, query, b"", given.now, given.account, {} if last is None else {"last-event-id": last}
    )
    found = events.stream(events.activity, numbered=numbered, named=named)(asked)
    assert isinstance(found, Events)
    return found


def test_cursors_are_numbers_in_the_old_family_and_ulids_in_the_new() -> None:
    """One event after the other, each later than the one before; the old ones hold a ULID too."""
    old, new = (_parsed(_asked("since_id=0", numbered=numbered).begin(4)) for numbered in (True, False))

    assert [1, 2, 3, 4, 5, 6, 7] == [event["event_id"] for event in old]
    assert [event["event_ulid"] for event in old] == [event["event_id"] for event in new]
    assert sorted(str(event["event_id"]) for event in new) == [event["event_id"] for event in new]
    assert sorted(str(event["at"]) for event in new) == [event["at"] for event in new]


def test_without_a_cursor_there_is_no_past() -> None:
    """As documented: what happens next is all."""
    found = _asked()
    assert [] == found.begin(10)
    assert [14, 15] == [event["event_id"] for event in _parsed(found.further(12))]
    assert [] == found.further(12)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("since_id=2", [3, 4, 5]),
        ("since_id=9", []),
        ("since_id=1&until_id=3", [2, 3]),
        (f"since_ulid={ulid(NOON, 4)}", [5]),
        ("since=2026-01-01", [1, 2, 3, 4, 5]),
        ("since=2026-03-03T12:00:00-05:00", [4, 5]),
        ("since=2026-01-01&until=2026-03-03", [1, 2, 3]),
    ],
)
def test_what_a_cursor_asks_for(query: str, expected: list[int]) -> None:
    """By number, ULID or time; the event that a cursor names does not come again."""
    assert expected == [event["event_id"] for event in _parsed(_asked(query).begin(2))]


def test_a_last_event_id_is_heeded_where_events_have_names() -> None:
    """Those of corporate actions have, and say so in a line of their own; others have none."""
    found = _asked(named=True, last=ulid(NOON, 3))
    (block,) = found.begin(1)
    assert block.startswith(b"id: ")
    assert 4 == number_of(block[4:30].decode())
    assert [] == _asked(named=False, last="3").begin(1)


@pytest.mark.parametrize("kind", ["", "_id", "_ulid"])
def test_until_needs_since(kind: str) -> None:
    """As documented."""
    with pytest.raises(Refused, match="40010000"):
        _asked(f"until{kind}=2026-03-03")


@pytest.mark.parametrize(
    "query", ["since_id=1&since=2026-03-03", "since_id=x", "since_id=-1", "since=yesterday", "since_ulid=IL"]
)
def test_cursors_that_make_no_sense_are_refused(query: str) -> None:
    """Two at a time, or what is none."""
    with pytest.raises(Refused, match="40010000"):
        _asked(query)


def test_a_stream_ends_where_it_was_asked_to() -> None:
    """With its event, or when its time is over."""
    numbered = _asked("since_id=0&until_id=5")
    assert (4, False) == (len(numbered.begin(1)), numbered.over(NOON))
    assert (1, True) == (len(numbered.further(9)), numbered.over(NOON))
    timed = _asked("since=2026-03-01&until=2026-03-03T12:00:00-05:00")
    assert (False, True) == (timed.over(NOON - 1), timed.over(NOON))
    assert (True, False) == (timed.ends, _asked("since_id=0").ends)


def test_ulids_sort_by_time() -> None:
    """26 characters of Crockford's alphabet."""
    one, other = ulid(1.0, 9), ulid(2.0, 1)

    assert one < other
    assert "01ARZ3NDEK" == ulid(1469922850.259, 0)[:10]
    assert (9, 1) == (number_of(one), number_of(other))


def test_events_of_orders_are_those_of_the_account() -> None:
    """Of a partner's customers all."""
    updates = Updates()
    for account in ("a", "b", "a"):
        updates.add(account, "new", {"id": account}, NOON)
    mine, every = (Events(OfOrders(updates, who), numbered=False, since=0) for who in ("a", None))

    assert (["a", "a"], ["a", "b", "a"]) == tuple(
        [event["account_id"] for event in _parsed(stream.begin(0))] for stream in (mine, every)
    )
