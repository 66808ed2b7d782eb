"""MessagePack in JSON: every value that Alpaca sends reads the same in both."""

import json
import math
from datetime import UTC, datetime, timedelta

import msgpack  # type: ignore[import-untyped]  # there are no stubs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.streams.alpaca.transcript import as_json

TIMES = [
    (msgpack.Timestamp(1614009104, 208000000), "2021-02-22T15:51:44.208Z"),
    (msgpack.Timestamp(1614009105, 335689322), "2021-02-22T15:51:45.335689322Z"),
    (msgpack.Timestamp(1614021300, 0), "2021-02-22T19:15:00Z"),
    (msgpack.Timestamp(0, 1), "1970-01-01T00:00:00.000000001Z"),
    (msgpack.Timestamp(-1, 500000000), "1969-12-31T23:59:59.5Z"),
]
NUMBERS = [
    (136.0, "136"),
    (87.66, "87.66"),
    (0.1 + 0.2, "0.30000000000000004"),
    (-0.0, "-0"),
    (0.0, "0"),
    (1e20, "100000000000000000000"),
    (1e21, "1e+21"),
    (1e-7, "1e-07"),
    (math.nan, "null"),
    (math.inf, "null"),
    (-math.inf, "null"),
    (2**64 - 1, "18446744073709551615"),
    (True, "true"),
    (False, "false"),
    (None, "null"),
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(("moment", "text"), TIMES, ids=[text for _, text in TIMES])
def test_a_time_is_written_as_go_writes_it(moment: msgpack.Timestamp, text: str) -> None:
    """RFC 3339 in UTC with as many decimals as are needed, nine at most."""
    assert f'"{text}"' == as_json(moment)


@pytest.mark.parametrize(("number", "text"), NUMBERS, ids=[f"{at}-{text}" for at, (_, text) in enumerate(NUMBERS)])
def test_a_number_is_written_in_its_shortest_form(number: object, text: str) -> None:
    """A whole float has no decimals, and what is no number is null."""
    assert text == as_json(number)


@given(VALUES)
def test_what_json_can_hold_reads_back_the_same(value: object) -> None:
    """Whatever a message holds, a JSON reader gets the values that a MessagePack reader gets."""
    assert msgpack.unpackb(msgpack.packb(value)) == json.loads(as_json(value))


@given(st.integers(-62135596800, 253402300799), st.integers(0, 999_999_999))
def test_every_nanosecond_of_the_calendar_survives(seconds: int, nanoseconds: int) -> None:
    """The text names the second and the nanosecond that came."""
    second, _, decimals = json.loads(as_json(msgpack.Timestamp(seconds, nanoseconds))).removesuffix("Z").partition(".")

    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds) == datetime.fromisoformat(f"{second}+00:00")
    assert nanoseconds == int(decimals.ljust(9, "0"))
    assert not decimals.endswith("0")


def test_what_json_has_no_word_for_is_still_json() -> None:
    """A time beyond the calendar and an unknown extension are null, bytes are base64, keys are text."""
    odd = {1: b"\xff\x00", "far": msgpack.Timestamp(2**60), "ext": msgpack.ExtType(5, b"x"), None: 1.5}

    assert {"1": "/wA=", "far": None, "ext": None, "null": 1.5} == json.loads(as_json(odd))
