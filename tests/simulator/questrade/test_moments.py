"""Times, as written and as read."""

import pytest

from proxy.simulator.questrade import moments
from proxy.simulator.questrade.answers import Mistake
from tests.simulator.support import NOON


def test_times_are_eastern_with_microseconds() -> None:
    """In winter the offset is -05:00, in summer -04:00."""
    assert "2026-03-03T12:00:00.140000-05:00" == moments.written(NOON + 0.14)
    assert "2026-07-01T13:00:00.000000-04:00" == moments.written(NOON + 120 * moments.DAY)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-03T12:00:00-05:00",
        "2026-03-03T17:00:00.000Z",
        "2026-03-03T17:00:00.000000+00:00",
        "2026-03-03T12:00:00.00-05:00",
    ],
)
def test_what_clients_send_is_understood(text: str) -> None:
    """The forms that public clients use all mean the same moment."""
    assert moments.read(text) == NOON


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("2026-03-03T17:00:00 00:00", 1002),  # a plus sign that a client did not escape
        ("2026-03-03T12:00:00-0", 1002),
        ("2026-03-03T12:00:00", 1002),
        ("2026-03-03 12:00:00-05:00", 1002),
        ("yesterday", 1002),
        ("", 1002),
        ("0001-01-01T00:00:00+23:59", None),
        ("2026-03-03T12:00:00.1234567-05:00", 1003),
    ],
)
def test_malformed_and_over_long_times_are_mistakes(text: str, code: int | None) -> None:
    """1002 for what is no time with an offset, 1003 for more digits than there are microseconds."""
    if code is None:
        moments.read(text)
        return
    with pytest.raises(Mistake) as mistake:
        moments.read(text)

    assert code == mistake.value.code


def test_a_span_is_all_of_today_by_default() -> None:
    """From 00:00 to just before midnight, Eastern."""
    start, end = moments.span({}, NOON)

    assert ("2026-03-03T00:00:00.000000-05:00", "2026-03-03T23:59:59.999999-05:00") == (
        moments.written(start),
        moments.written(end),
    )


def test_a_span_that_ends_before_it_starts_is_a_mistake() -> None:
    """Equal ends are a span, of nothing."""
    early, late = "2026-03-03T12:00:00Z", "2026-03-03T12:00:01Z"

    assert 0 == (span := moments.span({"startTime": early, "endTime": early}, NOON))[1] - span[0]
    with pytest.raises(Mistake):
        moments.span({"startTime": late, "endTime": early}, NOON)
