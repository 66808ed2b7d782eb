"""Counting calls against the rate limits."""

from proxy.simulator.questrade.rates import RateLimits
from tests.simulator.support import NOON


def test_headers_count_down_over_the_hour() -> None:
    """Remaining follows the hourly limit of the category; reset is the start of the next hour."""
    rates = RateLimits()

    assert {"X-RateLimit-Remaining": "29999", "X-RateLimit-Reset": str(int(NOON) + 3600)} == rates.count(
        "account", NOON
    ).headers()
    assert 29_998 == rates.count("account", NOON + 5).remaining
    assert 14_999 == rates.count("market", NOON + 5).remaining
    assert 29_999 == rates.count("account", NOON + 3600).remaining


def test_the_thirty_first_account_call_of_a_second_is_over() -> None:
    """30 account and 20 market data calls a second pass; the next second starts anew."""
    rates = RateLimits(enforce=True)

    assert [False] * 30 + [True] == [rates.count("account", NOON).over for _ in range(31)]
    assert [False] * 20 + [True] == [rates.count("market", NOON + 0.5).over for _ in range(21)]
    assert int(NOON) + 1 == rates.count("market", NOON + 0.9).reset
    assert not rates.count("market", NOON + 1).over


def test_the_hourly_limit_is_enforced_until_the_hour_is_over() -> None:
    """Remaining stays at 0, and reset names the next hour."""
    rates = RateLimits(enforce=True)
    for number in range(15_000):
        assert not rates.count("market", NOON + number // 20).over

    late = rates.count("market", NOON + 1000)
    assert (0, int(NOON) + 3600, True) == (late.remaining, late.reset, late.over)
    assert not rates.count("market", NOON + 3600).over


def test_another_limit_takes_the_place_of_all() -> None:
    """Three in ten seconds, and no second is too full."""
    rates = RateLimits(enforce=True, limit=(3, 10.0))
    counted = [rates.count("market", NOON + 1) for _ in range(4)]

    assert [(2, False), (1, False), (0, False), (0, True)] == [(each.remaining, each.over) for each in counted]
    assert {int(NOON) + 10} == {each.reset for each in counted}
    assert not rates.count("market", NOON + 10).over


def test_without_enforcement_nothing_is_over_and_some_remain() -> None:
    """A load test gets no 429, nor headers that tell its client to stop."""
    rates = RateLimits()
    last = [rates.count("market", NOON) for _ in range(15_001)][-1]

    assert (1, False) == (last.remaining, last.over)
