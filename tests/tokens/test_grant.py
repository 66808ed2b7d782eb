"""The life-cycle as a table, and what a token answer becomes: whatever is wrong with it, the refresh token is kept."""

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.brokers import HostPattern, Origin
from proxy.clock import Now
from proxy.secret import Secret
from proxy.tokens.grant import (
    NEXT,
    SERVING,
    Event,
    Grant,
    Serving,
    State,
    Terms,
    after,
    backoff,
    plan,
    read_answer,
    token_hash,
)

NOW = Now(1_772_557_200.0, 5_000.0)
API = Origin("api01.iq.questrade.com", 443)
TERMS = Terms((HostPattern.parse("api##.iq.questrade.com"),), min_life=60.0, refresh_token_life=3 * 86400.0)
BEFORE = Grant("questrade", 4, "login-1", "questrade/live", Secret("R-old"), Secret("A-old"), API, 1.0, 2.0, 3.0)
FIELDS = {
    "access_token": "A-new",
    "api_server": "https://api02.iq.questrade.com/",
    "expires_in": 1800,
    "refresh_token": "R-new",
    "token_type": "Bearer",
}
BODY = json.dumps(FIELDS).encode()

# Custody's table, drawn anew: from, event, to.
TABLE = """
    fresh        RENEWAL_WANTED  due
    fresh        PEER_IS_NEWER   fresh
    fresh        NOT_CONFIGURED  stopped
    due          RENEWAL_WANTED  due
    due          INTENT_DURABLE  redeeming
    due          PEER_IS_NEWER   fresh
    due          NOT_CONFIGURED  stopped
    redeeming    ANSWER_KEPT     answered
    redeeming    NOTHING_SENT    due
    redeeming    ANSWER_LOST     uncertain
    redeeming    TRY_LATER       due
    redeeming    TOKEN_DEAD      needs-login
    redeeming    NOT_CONFIGURED  stopped
    answered     COMMITTED       fresh
    answered     PEER_IS_NEWER   fresh
    uncertain    OLD_TOKEN_LIVES due
    uncertain    LAST_TRY        due
    uncertain    PEER_IS_NEWER   fresh
    stopped      TRY_AGAIN       due
    stopped      PEER_IS_NEWER   fresh
    needs-login  PEER_IS_NEWER   fresh
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
    """Apart from a newer pair that somebody else holds."""
    ways = {(state, event) for (state, event), after in NEXT.items() if after is not State.NONE}

    assert {Event.LOGGED_IN} == {event for state, event in ways if state is State.NONE}
    assert {Event.LOGGED_IN, Event.PEER_IS_NEWER} == {event for state, event in ways if state is State.NEEDS_LOGIN}


def test_what_a_call_gets_is_defined_for_every_state() -> None:
    """Only two states need a person."""
    assert set(State) == set(SERVING)
    assert {State.NONE, State.NEEDS_LOGIN} == {state for state, what in SERVING.items() if what is Serving.LOGIN}


def test_an_answer_becomes_the_next_generation() -> None:
    """Everything of it in one value."""
    parsed = read_answer(BODY, BEFORE, TERMS, NOW)

    assert parsed is not None
    new = Origin("api02.iq.questrade.com", 443)
    expected = Grant(
        "questrade",
        5,
        "login-1",
        "questrade/live",
        Secret("R-new"),
        Secret("A-new"),
        new,
        NOW.wall,
        NOW.wall + 1800,
        1800,
    )
    assert (expected, None) == (parsed.grant, parsed.refused_host)


@pytest.mark.parametrize("cut", range(len(BODY)))
def test_a_truncated_answer_yields_its_refresh_token_from_the_closing_quote_on(cut: int) -> None:
    """Before that it tells no token, and the answer counts as lost: the old one is never taken for good."""
    parsed = read_answer(BODY[:cut], BEFORE, TERMS, NOW)
    if cut < BODY.index(b"R-new") + len(b'R-new"'):
        assert parsed is None
    else:
        assert parsed is not None
        assert (Secret("R-new"), Secret("A-new")) == (parsed.grant.refresh_token, parsed.grant.access_token)
        assert "api02.iq.questrade.com" == str(parsed.grant.origin)


def test_a_truncated_answer_in_another_order_keeps_what_came_whole() -> None:
    """The refresh token alone is enough."""
    parsed = read_answer(b'{"refresh_token" : "R\\u002fx" , "access_token": "A-n', BEFORE, TERMS, NOW)

    assert parsed is not None
    assert (Secret("R/x"), None) == (parsed.grant.refresh_token, parsed.grant.access_token)
    assert (API, 300.0) == (parsed.grant.origin, parsed.grant.life)


@pytest.mark.parametrize(
    ("value", "life"),
    [
        (1800, 1800), (1799.5, 1799.5), ("300", 300), ("0000300", 300), (60, 60), (59, 60), (1, 60), ("1", 60),
        (1e9, 86400), (86401, 86400), ("999999999", 86400), (10**400, 300), (-(10**400), 300),
        (None, 300), (-1, 300), (0, 300), (-0.0, 300), (float("nan"), 300), (float("inf"), 300), (True, 300),
        (False, 300), ("abc", 300), ("", 300),
        ("-5", 300), ("1e3", 300), ("\u0661\u0662", 300), ("9" * 10, 300), ([], 300), ({}, 300),
    ],
)  # fmt: skip
def test_a_junk_life_becomes_300_seconds_and_a_sound_one_is_clamped(value: object, life: float) -> None:
    """To a minute at least and a day at most."""
    parsed = read_answer(json.dumps(FIELDS | {"expires_in": value}).encode(), BEFORE, TERMS, NOW)

    assert parsed is not None
    assert (life, NOW.wall + life) == (parsed.grant.life, parsed.grant.expires)
    assert Secret("R-new") == parsed.grant.refresh_token


def test_a_missing_life_becomes_300_seconds() -> None:
    """Or the environment's least life, if that is more."""
    body = json.dumps({key: value for key, value in FIELDS.items() if key != "expires_in"}).encode()

    lives = [read_answer(body, BEFORE, replace(TERMS, min_life=least), NOW) for least in (60.0, 900.0)]
    assert [300, 900] == [parsed.grant.life for parsed in lives if parsed]


@pytest.mark.parametrize(
    ("text", "origin", "refused"),
    [
        ('"https://api02.iq.questrade.com"', "api02.iq.questrade.com", None),
        ('"https://api02.iq.questrade.com/"', "api02.iq.questrade.com", None),
        ('"https://api02.iq.questrade.com/v1"', "api02.iq.questrade.com", None),
        ('"https://api02.iq.questrade.com/v1/"', "api02.iq.questrade.com", None),
        (r'"https:\/\/api02.iq.questrade.com\/"', "api02.iq.questrade.com", None),
        ('"https://api02.iq.questrade.com.evil.example/"', None, "api02.iq.questrade.com.evil.example"),
        ('"https://user@api02.iq.questrade.com/"', None, "an unusable api_server"),
        ('""', None, "an unusable api_server"),
        ("17", None, "an unusable api_server"),
        ("null", "api01.iq.questrade.com", None),
    ],
)
def test_an_api_server_is_pinned_and_costs_no_token(text: str, origin: str | None, refused: str | None) -> None:
    """Refused: both tokens are kept, and there is no origin that a bearer could be sent to."""
    body = b'{"refresh_token": "R-new", "access_token": "A-new", "api_server": %s}' % text.encode()
    parsed = read_answer(body, BEFORE, TERMS, NOW)

    assert parsed is not None
    assert (origin, refused) == (parsed.grant.origin and str(parsed.grant.origin), parsed.refused_host)
    assert (Secret("R-new"), Secret("A-new")) == (parsed.grant.refresh_token, parsed.grant.access_token)


def test_the_last_good_origin_is_pinned_too() -> None:
    """The definition may have changed since; without any origin there is no pair."""
    body = b'{"refresh_token": "R", "access_token": "A"}'
    moved = read_answer(body, replace(BEFORE, origin=Origin("old.example", 443)), TERMS, NOW)
    named = read_answer(body, replace(BEFORE, origin=None), replace(TERMS, api_server=API), NOW)

    assert moved is not None
    assert (None, None) == (moved.grant.origin, moved.grant.pair(NOW))
    assert named is not None
    assert API == named.grant.origin


def test_an_answer_without_a_refresh_token_keeps_the_old_one() -> None:
    """As RFC 6749 has it, if the answer is whole."""
    parsed = read_answer(b'{"access_token": "A-new"}', BEFORE, TERMS, NOW)

    assert parsed is not None
    assert Secret("R-old") == parsed.grant.refresh_token


@pytest.mark.parametrize("token", [None, "", 5, True, [], ["R-list"], {"R": "dict"}])
def test_a_refresh_token_that_is_no_text_counts_as_none(token: object) -> None:
    """The old one stands, as it does without the field; and nothing raises."""
    parsed = read_answer(json.dumps(FIELDS | {"refresh_token": token}).encode(), BEFORE, TERMS, NOW)

    assert parsed is not None
    assert Secret("R-old") == parsed.grant.refresh_token


def test_the_answer_s_own_refresh_token_counts_and_no_other_beside_it() -> None:
    """Salvage, which takes the first that it finds, is for bodies that broke off."""
    body = json.dumps({"asked": {"refresh_token": "R-asked", "access_token": "A-asked"}} | FIELDS).encode()
    parsed = read_answer(body, BEFORE, TERMS, NOW)

    assert parsed is not None
    assert (Secret("R-new"), Secret("A-new")) == (parsed.grant.refresh_token, parsed.grant.access_token)


def test_a_grant_without_a_refresh_token_has_no_hash() -> None:
    """Never the hash of something else, that a mark could be taken for."""
    assert "" == Grant("questrade").token_hash


@pytest.mark.parametrize(
    "token", ["x" * 8000, "with space", "tab\t", "é", "\U0001f511", '"quoted"', "a\\b", "+/=", "\n"]
)
def test_an_odd_refresh_token_is_kept_as_it_is(token: str) -> None:
    """It goes into a form, where any text can; there is no second one."""
    parsed = read_answer(json.dumps(FIELDS | {"refresh_token": token}).encode(), BEFORE, TERMS, NOW)

    assert parsed is not None
    assert Secret(token) == parsed.grant.refresh_token
    assert 64 == len(token_hash(Secret(token)))


@pytest.mark.parametrize("token", ["", "a b", "a\r\nHost: evil", "é", "x" * 5000, 7, None, ["A"], {"A": 1}])
def test_an_access_token_that_no_header_can_hold_is_not_served(token: object) -> None:
    """The refresh token beside it is kept."""
    parsed = read_answer(json.dumps(FIELDS | {"access_token": token}).encode(), BEFORE, TERMS, NOW)

    assert parsed is not None
    assert (None, None) == (parsed.grant.access_token, parsed.grant.pair(NOW))
    assert Secret("R-new") == parsed.grant.refresh_token


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"<html>", b'"R"', b"{" * 5000, b"\xff\xfe", b'{"a":1'])
def test_a_body_without_a_token_is_no_answer(body: bytes) -> None:
    """The keeper then treats the answer as lost."""
    assert None is read_answer(body, BEFORE, TERMS, NOW)


@given(
    st.binary(max_size=300) | st.builds(lambda a, b: a + b, st.sampled_from([BODY, BODY[:90]]), st.binary(max_size=40))
)
def test_no_bytes_make_it_raise(body: bytes) -> None:
    """Whatever comes is a pair or nothing."""
    parsed = read_answer(body, BEFORE, TERMS, NOW)

    assert parsed is None or 5 == parsed.grant.generation


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda leaf: st.lists(leaf) | st.dictionaries(st.text(), leaf),
)


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), JSON))
def test_no_value_of_any_field_costs_the_refresh_token(changes: dict[str, object]) -> None:
    """I7, for any JSON in any field; and the record of it can be stored and read again."""
    changes.pop("refresh_token", None)
    parsed = read_answer(json.dumps(FIELDS | changes).encode(), BEFORE, TERMS, NOW)

    assert parsed is not None
    assert Secret("R-new") == parsed.grant.refresh_token
    record = json.loads(json.dumps(parsed.grant.to_record(), allow_nan=False))
    assert parsed.grant == Grant.from_record("questrade", 5, record)


@pytest.mark.parametrize("grant", [Grant("questrade", 7), BEFORE])
def test_a_record_holds_the_whole_grant(grant: Grant) -> None:
    """There and back, the name and generation apart."""
    assert grant == Grant.from_record(grant.name, grant.generation, grant.to_record())


def test_no_repr_shows_a_token() -> None:
    """Neither of a grant nor of its pair or its answer."""
    parsed = read_answer(BODY, BEFORE, TERMS, NOW)
    assert parsed is not None
    text = repr((BEFORE, parsed, parsed.grant.pair(NOW)))

    assert [] == [token for token in ("R-old", "A-old", "R-new", "A-new") if token in text]


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


@pytest.mark.parametrize("life", [1.0, 60.0, 300.0, 1800.0, 86400.0])
@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_a_plan_puts_the_advisory_point_before_the_mandatory_one(life: float, jitter: float) -> None:
    """At two thirds give or take a tenth, and at the life less a minute or a fifth."""
    made = plan(replace(BEFORE, refreshed=NOW.wall - 10, life=life), NOW, lambda: jitter)
    born = NOW.boot - 10

    assert 0.66 * life * (0.9 + 0.2 * jitter) == pytest.approx(made.advisory - born)
    assert life - min(60, life / 5) == pytest.approx(made.mandatory - born)
    assert made.advisory < made.mandatory
    assert 12 * 3600 * (0.9 + 0.2 * jitter) == pytest.approx(made.keep_alive - born)


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_back_off_grows_to_a_minute_and_to_five_after_half_an_hour(jitter: float) -> None:
    """Half of each step is certain."""
    part = 0.5 + 0.5 * jitter

    assert [part * step for step in (2, 4, 8, 16, 32, 60, 60)] == [backoff(n, 0, lambda: jitter) for n in range(1, 8)]
    assert (part * 60, part * 300) == (backoff(99, 1800, lambda: jitter), backoff(99, 1801, lambda: jitter))
