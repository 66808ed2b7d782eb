"""When a grant is renewed, and when a person is told that a login ends."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.clock import Now
from proxy.secret import Secret
from proxy.tokens.answer import Terms
from proxy.tokens.grant import Grant
from proxy.tokens.schedule import End, Plan, backoff, end_of, plan

NOW = Now(1_772_557_200.0, 5_000.0)
DAY = 86400.0
HELD = Grant("mine", 4, "login-1", access_token=Secret("A"), refreshed=NOW.wall, expires=NOW.wall + DAY, life=DAY)
TERMS = Terms((), min_life=60.0)


@pytest.mark.parametrize("life", [1.0, 60.0, 300.0, 1800.0, 86400.0])
@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_a_plan_puts_the_advisory_point_before_the_mandatory_one(life: float, jitter: float) -> None:
    """At two thirds give or take a tenth, and at the life less a minute or a fifth."""
    made = plan(replace(HELD, refreshed=NOW.wall - 10, life=life), NOW, lambda: jitter, 0.66)
    born = NOW.boot - 10

    assert 0.66 * life * (0.9 + 0.2 * jitter) == pytest.approx(made.advisory - born)
    assert life - min(60, life / 5) == pytest.approx(made.mandatory - born)
    assert made.advisory < made.mandatory
    assert 12 * 3600 * (0.9 + 0.2 * jitter) == pytest.approx(made.keep_alive - born)


def test_of_two_plans_the_earlier_of_each_time_counts() -> None:
    """Only when the pair was issued stays as it was known first."""
    one, other = Plan(1.0, 20.0, 30.0, 400.0), Plan(0.0, 10.0, 35.0, 300.0)

    assert Plan(1.0, 10.0, 30.0, 300.0) == one.hurried(other)
    assert Plan(0.0, 10.0, 30.0, 300.0) == other.hurried(one)


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_back_off_grows_to_a_minute_and_to_five_after_half_an_hour(jitter: float) -> None:
    """Half of each step is certain."""
    part = 0.5 + 0.5 * jitter

    assert [part * step for step in (2, 4, 8, 16, 32, 60, 60)] == [backoff(n, 0, lambda: jitter) for n in range(1, 8)]
    assert (part * 60, part * 300) == (backoff(99, 1800, lambda: jitter), backoff(99, 1801, lambda: jitter))


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("renew_at", [0.1, 0.8, 0.99])
def test_a_definition_says_when_to_renew_and_nothing_passes_the_mandatory_point(renew_at: float, jitter: float) -> None:
    """The tenth that spreads renewals may not carry one beyond it."""
    made = plan(replace(HELD, life=900.0), NOW, lambda: jitter, renew_at)

    assert min(renew_at * 900 * (0.9 + 0.2 * jitter), 840) == pytest.approx(made.advisory - NOW.boot)
    assert made.advisory <= made.mandatory


def test_a_token_without_an_end_has_no_point_at_which_it_is_renewed() -> None:
    """Of itself; it still has an age."""
    made = plan(replace(HELD, expires=math.inf, life=math.inf), NOW, lambda: 0.5, 0.66)

    assert (math.inf, math.inf, NOW.boot) == (made.advisory, made.mandatory, made.born)


SEVEN_DAYS = replace(TERMS, refresh_token_life=7 * DAY, life_counts_from="login")
ROTATING = replace(HELD, refresh_token=Secret("R"), logged_in=NOW.wall - DAY)


@pytest.mark.parametrize(
    ("grant", "terms", "wall"),
    [
        (HELD, TERMS, NOW.wall + DAY),
        (replace(HELD, expires=math.inf, life=math.inf), TERMS, None),
        (replace(HELD, refresh_token=Secret("R")), TERMS, None),
        (HELD, replace(TERMS, minting=True), None),
        (replace(HELD, access_token=None), TERMS, None),
        (ROTATING, SEVEN_DAYS, NOW.wall + 6 * DAY),
        (ROTATING, replace(SEVEN_DAYS, life_counts_from="issue"), None),
        (ROTATING, replace(SEVEN_DAYS, refresh_token_life=None), None),
        (replace(ROTATING, logged_in=0.0), SEVEN_DAYS, None),
        (replace(ROTATING, refresh_token=None), SEVEN_DAYS, NOW.wall + DAY),
        (replace(ROTATING, refresh_token=None, logged_in=NOW.wall - 6.5 * DAY), SEVEN_DAYS, NOW.wall + DAY / 2),
        (replace(ROTATING, refresh_token=None, access_token=None), SEVEN_DAYS, None),
    ],
    ids=[
        "ending", "endless", "rotating", "minting", "empty", "of the login", "of each issue", "for ever",
        "login not known", "whichever is earlier", "the login is earlier", "revoked",
    ],
)  # fmt: skip
def test_a_grant_ends_where_only_a_person_can_go_on(grant: Grant, terms: Terms, wall: float | None) -> None:
    """Whatever renews itself has no end of that kind."""
    end = end_of(grant, terms, NOW)

    assert wall == (end.at.wall if end else None)
    assert end is None or end.of_login == (wall != grant.expires)


@pytest.mark.parametrize("step", [-DAY * 40, -10.0, 0.0, 10.0, DAY / 2])
def test_an_end_comes_by_whichever_clock_is_first(step: float) -> None:
    """A wall clock that was stepped back before a start prolongs nothing beyond the whole life."""
    now = Now(NOW.wall + step, NOW.boot)
    end = end_of(HELD, TERMS, now)

    assert end is not None
    assert min(DAY, DAY - step) == end.left(now)
    assert -1.0 == end.left(Now(now.wall, end.at.boot + 1))
    assert -1.0 == end.left(Now(end.at.wall + 1, now.boot))


def test_warnings_come_at_a_twelfth_a_forty_eighth_and_a_two_hundred_eighty_eighth() -> None:
    """Of a day: two hours, half an hour and five minutes before."""
    end = End(Now(NOW.wall + DAY, NOW.boot + DAY), DAY, of_login=False)
    counts = {
        left: end.warnings(Now(NOW.wall + DAY - left, NOW.boot)) for left in (7201, 7200, 1801, 1800, 301, 300, 0)
    }

    assert {7201: 0, 7200: 1, 1801: 1, 1800: 2, 301: 2, 300: 3, 0: 3} == counts


@pytest.mark.parametrize(("left", "wait"), [(DAY, DAY - 7200), (7201, 1), (7200, 5400), (300, 300), (1, 1), (0, 0)])
def test_the_next_look_is_at_the_next_warning_or_the_end(left: float, wait: float) -> None:
    """A timer for each, none in between."""
    end = End(Now(NOW.wall + DAY, NOW.boot + DAY), DAY, of_login=False)

    assert wait == pytest.approx(end.look_in(Now(NOW.wall + DAY - left, NOW.boot + DAY - left)), abs=0.002)


@given(st.floats(60, 1e9), st.floats(0, 1))
def test_looking_whenever_told_to_misses_no_warning_and_never_spins(life: float, part: float) -> None:
    """From any moment of any life: at most a look for each thing to see, and two more for rounding."""
    end = End(Now(NOW.wall + life, NOW.boot + life), life, of_login=False)
    at, seen, looks = life * part, [], 0
    while (wait := end.look_in(Now(NOW.wall + at, NOW.boot + at))) > 0:
        at, looks = at + wait, looks + 1
        seen.append(end.warnings(Now(NOW.wall + at, NOW.boot + at)))

    assert looks <= 10
    assert seen == sorted(seen)
    assert end.left(Now(NOW.wall + at, NOW.boot + at)) <= 0
