"""How long a failed redeem is waited for, and when trying ends."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.tokens.patience import Patience


@given(st.lists(st.floats(0, 1), min_size=10, max_size=10))
def test_any_jitter_allows_at_most_six_tries_in_the_first_minute(jitters: list[float]) -> None:
    """The first try is one of them; trying never ends by itself."""
    rolls = itertools.cycle(jitters)
    patience, now, tries = Patience(lambda: next(rolls)), 0.0, 0
    while now <= 60:
        tries += 1
        patience.failed(now)
        assert now < patience.retry_at <= now + 60
        now = patience.retry_at

    assert 5 <= tries <= 6


@pytest.mark.parametrize(
    ("asked", "waited"), [(None, 2), (1.0, 2), (100.0, 100), (3600.0, 3600), (1e9, 3600), (0.0, 2)]
)
def test_the_brokers_wish_counts_up_to_an_hour(asked: float | None, waited: float) -> None:
    """Our own pause is the least."""
    patience = Patience(lambda: 1.0)
    patience.failed(50, retry_after=asked)

    assert 50 + waited == patience.retry_at


def test_the_long_pauses_come_half_an_hour_after_the_first_failure() -> None:
    """Of this outage: one that has ended counts no more."""
    patience = Patience(lambda: 1.0)
    for start in (1000.0, 90_000.0):
        for now in (0, *[100] * 8, 1800):
            patience.failed(start + now)
        assert start + 1800 + 60 == patience.retry_at
        patience.failed(start + 1801)
        assert start + 1801 + 300 == patience.retry_at
        patience.succeeded(start + 1900)


def test_twelve_refusals_in_a_row_are_too_many() -> None:
    """An outage or a success in between starts the count anew."""
    patience = Patience(lambda: 1.0)
    ends: list[Callable[[], None]] = [lambda: patience.failed(0), lambda: patience.succeeded(0), patience.reset]
    for end in ends:
        for _ in range(11):
            patience.failed(0, refused=True)
        assert not patience.refused_too_often
        end()

    for _ in range(12):
        patience.failed(0, refused=True)
    assert patience.refused_too_often


def test_the_fourth_useless_pair_in_a_row_is_one_too_many() -> None:
    """They come a minute apart; a good one starts the count anew."""
    patience = Patience(lambda: 1.0)
    for end in (patience.pair_usable, patience.reset):
        for now in (0, 60, 120):
            patience.succeeded(now)
            patience.pair_unusable(now)
            assert (now + 60, False) == (patience.retry_at, patience.unusable_too_often)
        end()

    for _ in range(4):
        patience.pair_unusable(0)
    assert patience.unusable_too_often


def test_rotations_are_counted_over_a_day() -> None:
    """The oldest are forgotten; no limit is none."""
    patience = Patience(lambda: 1.0)
    for hour in range(10):
        patience.succeeded(hour * 3600.0)

    assert [True, False, False] == [patience.rotated_too_often(9 * 3600.0, limit) for limit in (10, 11, 0)]
    assert [True, False] == [patience.rotated_too_often(26 * 3600.0, limit) for limit in (8, 9)]
    patience.reset()
    assert not patience.rotated_too_often(26 * 3600.0, 1)


def test_a_rest_is_an_hour_and_a_success_or_a_person_ends_every_wait() -> None:
    """`retry_at` is back at the beginning of time."""
    patience = Patience(lambda: 1.0)
    ends: list[Callable[[], None]] = [lambda: patience.succeeded(10), patience.reset]
    for end in ends:
        patience.rest(10)
        assert 3610 == patience.retry_at
        end()
        assert (0, 0) == (patience.retry_at, patience.failures)


def test_what_fails_here_is_looked_at_again_within_seconds_and_sooner_for_a_call() -> None:
    """However often; a broker's pause is not shortened by anybody."""
    patience = Patience(lambda: 1.0)
    for now in (0.0, 4000.0):
        patience.hindered(now)
        assert (now + 5, True, 0) == (patience.retry_at, patience.local, patience.failures)
        patience.hasten(now)
        assert now + 1 == patience.retry_at
        patience.hasten(now + 0.5)
        assert now + 1 == patience.retry_at

    patience.rest(0)
    patience.hasten(0)
    assert (3600, False) == (patience.retry_at, patience.local)
