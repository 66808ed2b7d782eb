"""Trails, read back without a key: orders as one, torn tails left out, and what somebody looks for."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from proxy.audit import record as records
from proxy.audit.reading import Wanted, backwards, directories, firsts, joined, last, lines, newest, refused, size
from proxy.audit.reading import records as read_records
from proxy.audit.trail import Trail
from proxy.audit.trailfile import name_of
from proxy.store import UnsafeFile
from tests.audit.trails import DAY, INSTALL, HandClock, order, read, vault


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    """A trail on a real disk: 1 to 5 in one file, 6 to 8 in the next."""
    return asyncio.run(written(tmp_path))


async def written(tmp_path: Path) -> Path:
    clock = HandClock()
    trail = Trail(tmp_path / "audit", vault(), INSTALL, clock=clock)
    await trail.open()
    trail.put("call", records.call(read()))
    number = trail.put("intent", records.intent(order()))
    clock.wall += 2
    trail.put("outcome", records.outcome(order(intent=number, status=200, outcome="broker")))
    trail.put("intent", records.intent(order(request_id="o2", mount="tradier")))
    clock.wall += DAY
    trail.put("call", records.call(read(client="notebook", status=403, outcome="halted")))
    trail.put("act", '"who":"uid 0","act":"halt","about":{}')
    await trail.close()
    return trail.directory


def test_the_lines_are_those_of_the_files(trail: Path) -> None:
    """In order; from some number on without the files before."""
    whole = b"".join((trail / name_of(first)).read_bytes() for first in (1, 6))
    assert whole == b"".join(lines(trail))
    assert [7, 8] == [fields["seq"] for fields in read_records(trail, 7)]
    assert [trail] == directories(trail.parent)
    assert [] == directories(trail.parent / "none")


def test_the_newest_are_read_from_the_end(trail: Path) -> None:
    """Over as many files as it takes, by number; what is added changes the size."""
    assert [7, 8] == [fields["seq"] for fields in newest(trail, 2)]
    assert [5, 6, 7, 8] == [fields["seq"] for fields in newest(trail, 4)]
    assert [1, 2, 4, 5, 6, 7, 8] == [fields["seq"] for fields in newest(trail, 99)]
    assert [] == newest(trail, 0)
    assert 8 == last(trail)
    before = size(trail)
    with (trail / name_of(6)).open("ab") as file:
        file.write(b"x")
    assert before < size(trail)


def test_what_was_torn_is_left_out(trail: Path) -> None:
    """A line that is being written, one that is none, and whatever the next file goes on after."""
    with (trail / name_of(1)).open("ab") as file:
        file.write(b'{"seq":6,"time":1,"kind":"ghost"}\n\xff\n')
    with (trail / name_of(6)).open("ab") as file:
        file.write(b'not json\n{"seq":9')
    assert list(range(1, 9)) == [fields["seq"] for fields in read_records(trail)]


def test_a_file_that_goes_meanwhile_is_passed_over(trail: Path) -> None:
    """The retention may run at any time."""
    found = lines(trail)
    next(found)
    numbers = firsts(trail)
    (trail / name_of(numbers[1])).unlink()
    assert 4 == len(list(found))


def test_a_file_that_others_can_write_is_not_read(trail: Path) -> None:
    """As everywhere in the state directory."""
    os.chmod(trail / name_of(1), 0o666)  # noqa: PTH101, S103
    with pytest.raises(UnsafeFile, match="chmod 600"):
        list(lines(trail))


def test_an_order_is_one_record(trail: Path) -> None:
    """With the time of its intent; one that nobody wrote an outcome for is unknown, and comes last."""
    found = [fields for fields in joined(read_records(trail)) if fields.get("mutating")]
    assert [("o1", "broker", 200, 4), ("o2", "unknown", None, 5)] == [
        (fields["id"], fields["outcome"], fields.get("status"), fields["seq"]) for fields in found
    ]
    assert 1_795_000_000.0 == found[0]["time"]
    lonely = {"kind": "outcome", "seq": 9, "time": 1.0, "intent": 2, "outcome": "broker"}
    assert [lonely | {"kind": "call"}] == list(joined([lonely])), "its intent was retired"


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({}, [1, 2, 4, 6, 7, 8, 5]),
        ({"client": "notebook"}, [7]),
        ({"mount": "tradier"}, [5]),
        ({"outcome": "halted"}, [7]),
        ({"outcome": "unknown"}, [5]),
        ({"account": "145"}, [2, 4, 7, 5]),
        ({"account": "26598145"}, [2, 4, 7, 5]),
        ({"account": "45"}, [2, 4, 7, 5]),
        ({"account": "146"}, []),
        ({"account": ""}, []),
        ({"request": "o2"}, [5]),
        ({"since": 1_795_000_000.0 + DAY}, [6, 7, 8]),
        ({"until": 1_795_000_000.0 + DAY, "mount": "questrade"}, [2, 4]),
        ({"orders": True}, [4, 5]),
        ({"acts": True}, [8]),
        ({"refused": True}, [7]),
        ({"refused": True, "orders": True}, []),
    ],
    ids=str,
)
def test_what_is_looked_for(trail: Path, wanted: dict[str, Any], numbers: list[int]) -> None:
    """Each condition alone; of an account the end that is shown, or the whole number."""
    found = [fields["seq"] for fields in joined(read_records(trail)) if Wanted(**wanted).fits(fields)]
    assert numbers == found


def test_orders_whose_client_was_told_that_nobody_knows_are_found_as_unknown() -> None:
    """Beside those that have no outcome at all, and no others."""
    kept = {"kind": "call", "time": 1.0}
    found = [
        outcome
        for outcome in ("unknown", "outcome-unknown", "broker", None)
        if Wanted(outcome="unknown").fits({**kept, "outcome": outcome})
    ]
    assert ["unknown", "outcome-unknown"] == found
    assert not Wanted(outcome="outcome-unknown").fits({**kept, "outcome": "unknown"})


@pytest.mark.parametrize(
    ("kind", "outcome", "expected"),
    [
        ("call", "scope-denied", True), ("call", "broker-timeout", True), ("call", "outcome-unknown", False),
        ("call", "unknown", False), ("call", "aborted", False), ("call", "broker", False), ("call", "here", False),
        ("act", "failed", False), ("ended", None, False),
    ],
)  # fmt: skip
def test_what_is_a_refusal(kind: str, outcome: str | None, expected: bool) -> None:
    """A call that bearerd answered with no; never one of which nobody knows whether it was sent."""
    assert expected is refused({"kind": kind, "outcome": outcome})


def test_a_trail_is_read_backwards(trail: Path) -> None:
    """File by file from the newest on; no more than was said, and never half a line."""
    assert [[6, 7, 8], [1, 2, 3, 4, 5]] == [[each["seq"] for each in piece] for piece in backwards(trail, 1 << 20)]
    line = len((trail / name_of(6)).read_bytes().splitlines(keepends=True)[-1])
    assert [[8]] == [[each["seq"] for each in piece] for piece in backwards(trail, line + 1)]
    assert [[]] == list(backwards(trail, line - 1))
    assert [] == list(backwards(trail, 0))


def test_a_trail_that_is_retired_meanwhile_is_read_on(trail: Path) -> None:
    """Files go from the oldest on; what is left is all there is. One that others may read is refused."""
    pieces = backwards(trail, 1 << 20)
    next(pieces)
    (trail / name_of(1)).unlink()
    assert [] == list(pieces)
    (trail / name_of(6)).chmod(0o644)
    with pytest.raises(UnsafeFile):
        list(backwards(trail, 1 << 20))
