"""A wall clock that is off is noticed: by a step, and by what brokers say."""

from dataclasses import dataclass
from typing import Any

import pytest

from proxy.clock import Now
from proxy.tokens.skew import Skew, jumped

START = 1_772_557_200.0  # 2026-03-03 17:00:00 UTC
HOST = "login.broker.example"


@dataclass
class HandClock:
    """Moved by hand: `sleep` moves both clocks, `step` the wall clock alone."""

    wall: float = START
    boot: float = 5_000.0

    def now(self) -> Now:
        return Now(self.wall, self.boot)

    def sleep(self, seconds: float) -> None:
        self.wall += seconds
        self.boot += seconds

    def step(self, seconds: float) -> None:
        self.wall += seconds


@pytest.fixture
def clock() -> HandClock:
    """A clock that stands at its start."""
    return HandClock()


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [record.msg for record in caplog.records if isinstance(record.msg, dict)]


@pytest.mark.parametrize(("step", "seen"), [(30, False), (-30, False), (31, True), (-31, True), (86400, True)])
def test_a_step_of_more_than_thirty_seconds_is_a_jump(step: float, seen: bool, clock: HandClock) -> None:
    """Less is what a time service does, and no reason to plan anew."""
    before = clock.now()
    clock.sleep(300)
    clock.step(step)

    assert seen is bool(jumped(before, clock.now()))


def test_a_jump_is_told_once(clock: HandClock, caplog: pytest.LogCaptureFixture) -> None:
    """With how far it went; a suspended machine does not jump, since both clocks count on."""
    skew = Skew(clock)
    clock.sleep(3 * 86400)
    assert not skew.look()
    clock.step(-3600)
    clock.sleep(0.5)

    assert [True, False, False] == [skew.look() for _ in range(3)]
    (line,) = lines(caplog)
    assert ("the wall clock was set; renewals are planned anew", -3600) == (line["event"], line["by"])
    assert [] == skew.warnings


@pytest.mark.parametrize(
    ("date", "took", "wrong"),
    [
        (0, 0, False),
        (60, 0, False),
        (-60, 0, False),
        (61, 0, True),
        (-61, 0, True),
        (25, 30, False),
        (-61, 30, True),
        (91, 30, True),
        (90, 30, False),
    ],
)
def test_a_broker_s_date_may_lie_anywhere_between_request_and_answer(
    date: float, took: float, wrong: bool, clock: HandClock
) -> None:
    """And a minute to either side."""
    skew, asked = Skew(clock), clock.now()
    clock.sleep(took)
    skew.compare(HOST, START + date, asked)

    assert wrong is bool(skew.warnings)


def test_clocks_that_differ_are_told_once_with_both_times_and_what_to_do(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Until they agree again."""
    skew = Skew(clock)
    for _ in range(3):
        skew.compare(HOST, START + 7200, clock.now())
    (warning,) = skew.warnings
    assert f"says 2026-03-03 17:00:00 UTC, and {HOST} says 2026-03-03 19:00:00 UTC" in warning
    assert "timedatectl set-ntp true" in warning
    assert "chronyc makestep" in warning
    (line,) = lines(caplog)
    assert ("the clocks differ", HOST, "2026-03-03 19:00:00 UTC") == (line["event"], line["host"], line["theirs"])

    clock.step(7200)
    skew.compare(HOST, START + 7200, clock.now())
    assert [] == skew.warnings


def test_a_wall_clock_that_is_set_while_an_answer_is_awaited_is_no_difference(clock: HandClock) -> None:
    """How long it took is told by the time since boot."""
    skew, asked = Skew(clock), clock.now()
    clock.step(3600)
    clock.sleep(2)
    skew.compare(HOST, clock.wall - 1, asked)

    assert [] == skew.warnings


def test_brokers_are_told_apart(clock: HandClock) -> None:
    """One whose own clock is off does not hide another."""
    skew = Skew(clock)
    skew.compare("b.example", START + 100, clock.now())
    skew.compare("a.example", START - 100, clock.now())
    skew.compare("c.example", START, clock.now())

    assert ["a.example", "b.example"] == [
        host for warning in skew.warnings for host in ("a.example", "b.example") if host in warning
    ]
