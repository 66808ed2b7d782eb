"""How long, and when, in words."""

import time

import pytest

from proxy.spans import ago, clock_time, daytime, span, zone


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-3, "0 s"), (12.4, "12 s"), (60, "1m"), (1499, "24m"), (11520, "3h12m"), (3600, "1h00m"), (187200, "2d4h")],
)
def test_a_span_has_at_most_two_units(seconds: float, expected: str) -> None:
    """Short lengths in seconds, long ones in days and hours."""
    assert expected == span(seconds)


def test_what_never_happened_has_no_age() -> None:
    """None is `never`."""
    assert "never" == ago(None, 100.0)
    assert "5 s ago" == ago(95.0, 100.0)


def test_a_moment_names_its_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The person's own zone, by name."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()

    assert "2026-11-21 09:14 UTC" == clock_time(1795252440.0)


def test_a_time_of_day_stands_without_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is told once, beside it."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()

    assert ("14:44:05", "IST") == (daytime(1795252445.0), zone(1795252445.0))
