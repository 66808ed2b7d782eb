"""The machine's clocks, read in one place."""

import time

import pytest

from proxy.clock import Now, SystemClock


def test_a_reading_holds_unix_time_and_time_since_boot() -> None:
    """Both in seconds, and both go on."""
    clock = SystemClock()
    first, second = clock.now(), clock.now()

    assert time.time() == pytest.approx(first.wall, abs=5)  # noqa: TID251  held against the clock itself
    assert first.boot <= second.boot
    assert 0 < first.boot


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="only Linux counts time in suspend")
def test_the_boot_clock_counts_through_suspend() -> None:
    """It is the one that no sleep of the machine stops."""
    assert time.clock_gettime(time.CLOCK_BOOTTIME) == pytest.approx(SystemClock().now().boot, abs=5)


def test_a_reading_does_not_change() -> None:
    """It is passed on for a whole decision."""
    assert Now(1.0, 2.0) == Now(wall=1.0, boot=2.0)
    assert hash(Now(1.0, 2.0)) == hash(Now(1.0, 2.0))
    with pytest.raises(AttributeError):
        Now(1.0, 2.0).wall = 3.0  # type: ignore[misc]
