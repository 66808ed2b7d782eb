"""The life-cycle as a table, and what a grant is: tokens, origin and times that the store gives back as they were."""

import itertools
import json
import math
from dataclasses import replace

import pytest

from proxy.brokers import Origin
from proxy.clock import Now
from proxy.secret import Secret
from proxy.tokens.grant import DAY, HOUR, NEXT, SERVING, Event, Grant, Serving, State, after, hash_of, token_hash

NOW = Now(1_772_557_200.0, 5_000.0)
API = Origin("api01.iq.questrade.com", 443)
BEFORE = Grant("questrade", 4, "login-1", "questrade/live", Secret("R-old"), Secret("A-old"), API, 1.0, 2.0, 3.0)

# Custody's table, drawn anew: from, event, to.
TABLE = """
    none         PEER_IS_NEWER   fresh
    fresh        RENEWAL_WANTED  due
    fresh        PEER_IS_NEWER   fresh
    fresh        TOKEN_DEAD      needs-login
    fresh        NOT_CONFIGURED  stopped
    fresh        EXPIRED         needs-login
    fresh        DOUBTFUL_STORE  quarantined
    due          RENEWAL_WANTED  due
    due          INTENT_DURABLE  redeeming
    due          PEER_IS_NEWER   fresh
    due          ANSWER_LOST     uncertain
    due          TOKEN_DEAD      needs-login
    due          NOT_CONFIGURED  stopped
    due          EXPIRED         needs-login
    due          DOUBTFUL_STORE  quarantined
    redeeming    ANSWER_KEPT     answered
    redeeming    NOTHING_SENT    due
    redeeming    ANSWER_LOST     uncertain
    redeeming    TRY_LATER       due
    redeeming    TOKEN_DEAD      needs-login
    redeeming    NOT_CONFIGURED  stopped
    answered     COMMITTED       fresh
    answered     PEER_IS_NEWER   fresh
    answered     DOUBTFUL_STORE  quarantined
    uncertain    OLD_TOKEN_LIVES due
    uncertain    LAST_TRY        due
    uncertain    PEER_IS_NEWER   fresh
    uncertain    TOKEN_DEAD      needs-login
    uncertain    EXPIRED         needs-login
    uncertain    DOUBTFUL_STORE  quarantined
    stopped      TRY_AGAIN       due
    stopped      ADOPTED         due
    stopped      PEER_IS_NEWER   fresh
    stopped      TOKEN_DEAD      needs-login
    stopped      EXPIRED         needs-login
    stopped      DOUBTFUL_STORE  quarantined
    quarantined  ADOPTED         due
    quarantined  PEER_IS_NEWER   fresh
    quarantined  TOKEN_DEAD      needs-login
    quarantined  EXPIRED         needs-login
    needs-login  ADOPTED         due
    needs-login  PEER_IS_NEWER   fresh
    needs-login  NOT_OVER        fresh
"""
DRAWN = {(State(a), Event[b]): State(c) for a, b, c in (line.split() for line in TABLE.split("\n") if line.strip())}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_every_pair_of_state_and_event_leads_where_the_table_says(state: State, event: Event) -> None:
    """A login and a revocation count everywhere; what is not drawn is an error, never a guess."""
    always = {Event.LOGGED_IN: State.ANSWERED, Event.REVOKED: State.NONE}
    expected = DRAWN.get((state, event), always.get(event))
    if expected is None:
        with pytest.raises(LookupError, match=state.value):
            after(state, event)
    else:
        assert expected is after(state, event)


def test_every_state_can_be_reached_and_left() -> None:
    """From `none`, by events alone; and there is no event that the table never uses."""
    reached = {State.NONE}
    for _ in State:
        reached |= {after for (state, _), after in NEXT.items() if state in reached}

    assert set(State) == reached
    assert set(State) - {State.NONE} == {state for (state, _), after in NEXT.items() if after is not state} - {
        State.NONE
    }
    assert set(Event) == {event for _, event in NEXT}


def test_only_a_login_leads_out_of_a_dead_end_that_needs_one() -> None:
    """Apart from a newer pair that somebody else holds, a clock that was wrong, and an operator's word."""
    ways = {(state, event) for (state, event), after in NEXT.items() if after is not State.NONE}

    assert {Event.LOGGED_IN, Event.PEER_IS_NEWER} == {event for state, event in ways if state is State.NONE}
    assert {Event.LOGGED_IN, Event.PEER_IS_NEWER, Event.NOT_OVER, Event.ADOPTED} == {
        event for state, event in ways if state is State.NEEDS_LOGIN
    }
    assert {Event.LOGGED_IN, Event.PEER_IS_NEWER, Event.ADOPTED, Event.TOKEN_DEAD, Event.EXPIRED} == {
        event for state, event in ways if state is State.QUARANTINED
    }


def test_what_a_call_gets_is_defined_for_every_state() -> None:
    """Three states need a person."""
    assert set(State) == set(SERVING)
    assert {State.NONE, State.NEEDS_LOGIN, State.QUARANTINED} == {
        state for state, what in SERVING.items() if what is Serving.LOGIN
    }


def test_a_hash_names_a_token_without_telling_it() -> None:
    """SHA-256 in hex, as every journal and mark of before has it."""
    known = "504d42c976f828511afd155a4ca3dbf9b772c683a1865948a6d2df5dcae89284"

    assert known == BEFORE.token_hash == token_hash(Secret("R-old")) == hash_of("R-old")


@pytest.mark.parametrize(
    "half", [replace(BEFORE, access_token=None), replace(BEFORE, origin=None)], ids=["no token", "no origin"]
)
def test_half_a_pair_is_none(half: Grant) -> None:
    """A token goes nowhere without its origin, nor an origin without its token."""
    assert None is half.pair(NOW)


def test_a_pair_ends_at_the_same_moment_on_both_clocks() -> None:
    """What the wall clock leaves of it is counted from now on the other one."""
    pair = replace(BEFORE, expires=NOW.wall + 100, life=1800.0).pair(NOW)

    assert pair is not None
    assert Now(NOW.wall + 100, NOW.boot + 100) == pair.expires
    assert (4, 1800.0) == (pair.generation, pair.life)


def test_a_grant_that_nobody_has_filled_is_of_no_time() -> None:
    """Nothing of it counts as issued, or as alive; and days and hours are those of the clock."""
    empty = Grant("questrade")

    assert (0, 0.0, 0.0, 0.0, 0.0, 0) == (
        empty.generation, empty.refreshed, empty.expires, empty.life, empty.logged_in, empty.epoch,
    )  # fmt: skip
    assert None is empty.pair(NOW)
    assert (86_400.0, 3_600.0) == (DAY, HOUR)


def test_a_grant_without_a_refresh_token_has_no_hash() -> None:
    """Never the hash of something else, that a mark could be taken for."""
    assert "" == Grant("questrade").token_hash


ENDLESS = Grant(
    "alpaca",
    2,
    "login-9",
    "alpaca/paper",
    None,
    Secret("A"),
    API,
    1.0,
    math.inf,
    math.inf,
    "connect",
    5.0,
    ("data",),
    3,
)


@pytest.mark.parametrize("grant", [Grant("questrade", 7), BEFORE, ENDLESS], ids=["empty", "rotating", "endless"])
def test_a_record_holds_the_whole_grant_as_plain_json(grant: Grant) -> None:
    """There and back, the name and generation apart; JSON has no infinity, and none is needed."""
    record = json.loads(json.dumps(grant.to_record(), allow_nan=False))

    assert grant == Grant.from_record(grant.name, grant.generation, record)


def test_a_record_of_before_there_were_logins_is_read() -> None:
    """It knows neither the login's name, nor when it was, nor scopes, nor of doubtful stores."""
    record = BEFORE.to_record()
    for key in ("login", "logged_in", "scopes", "epoch"):
        del record[key]

    assert BEFORE == Grant.from_record("questrade", 4, record)


def test_a_pair_without_an_end_lives_by_every_clock() -> None:
    """However far either has gone."""
    pair = ENDLESS.pair(NOW)

    assert pair is not None
    assert (True, math.inf) == (pair.alive(Now(1e12, 1e12)), pair.remaining(NOW))


def test_no_repr_of_a_grant_shows_a_token() -> None:
    """Nor of its pair."""
    text = repr((BEFORE, BEFORE.pair(NOW)))

    assert [] == [token for token in ("R-old", "A-old") if token in text]


@pytest.mark.parametrize(
    ("wall", "boot", "alive", "remaining"),
    [
        (0, 0, True, 100), (99, 99, True, 1), (100, 99, False, 0), (99, 100, False, 0), (-500, 40, True, 60),
        (500, 1, False, -400),
    ],
)  # fmt: skip
def test_a_pair_dies_by_whichever_clock_comes_first(wall: float, boot: float, remaining: float, *, alive: bool) -> None:
    """A clock that was stepped back prolongs nothing."""
    grant = replace(BEFORE, refreshed=NOW.wall, expires=NOW.wall + 100, life=100.0)
    pair = grant.pair(NOW)
    now = Now(NOW.wall + wall, NOW.boot + boot)

    assert pair is not None
    assert (alive, remaining) == (pair.alive(now), pair.remaining(now))


def test_a_pair_that_is_loaded_after_a_step_back_lives_no_longer_than_its_life() -> None:
    """The wall clock says that it was issued in the future."""
    pair = replace(BEFORE, expires=NOW.wall + 86400, life=1800.0).pair(NOW)

    assert pair is not None
    assert 1800 == pair.remaining(NOW)
