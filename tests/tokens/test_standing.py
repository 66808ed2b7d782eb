"""What a person is told: the state, why, and what to type."""

from dataclasses import replace

import pytest

from proxy.brokers import Environment, builtin
from proxy.clock import Now
from proxy.secret import Secret
from proxy.tokens.grant import Event, State
from proxy.tokens.oauth import Exchange, Mint, Refresh, Wish
from proxy.tokens.rotation import Outcome
from proxy.tokens.schedule import End
from proxy.tokens.standing import aging, doubt, ended, ending, fix, foreign_host, login_advice, moment, span

QUESTRADE = builtin("questrade")
LIVE = QUESTRADE.environments["live"]


@pytest.mark.parametrize("state", list(State))
def test_a_fix_is_a_command_where_something_needs_doing(state: State) -> None:
    """It names the grant, and there is none where waiting is enough."""
    text = fix(state, "mine")
    if state in (State.NONE, State.NEEDS_LOGIN):
        assert "bearerd login mine" == text
    elif state is State.QUARANTINED:
        assert text is not None
        assert ("bearerd adopt mine " in text, "bearerd login mine" in text) == (True, True)
    elif state is State.STOPPED:
        assert text is not None
        assert ("bearerd reload" in text, "bearerd login mine" in text) == (True, True)
    else:
        assert None is text


PASTED = Refresh(Secret("R"))
CODE = Exchange(Secret("C"))
DEAD = Outcome(Event.TOKEN_DEAD, "refused")


def advice(outcome: Outcome, wish: Wish, environment: Environment = LIVE) -> str:
    return login_advice(outcome, wish, broker=QUESTRADE, environment=environment, login=QUESTRADE.login())


@pytest.mark.parametrize(
    ("outcome", "wish", "words"),
    [
        (DEAD, PASTED, ["Questrade refused this token", "make a new one at https://"]),
        (
            Outcome(Event.ANSWER_LOST, "no answer"),
            PASTED,
            ["no answer; the token may be spent", "Make a new one at https://"],
        ),
        (Outcome(Event.NOTHING_SENT, "off"), PASTED, ["off. The token was probably not spent", "in a minute"]),
        (Outcome(Event.TRY_LATER, "a 503"), PASTED, ["a 503. The token was probably not spent"]),
        (Outcome(Event.NOT_CONFIGURED, "a 401"), PASTED, ["a 401. "]),
        (DEAD, CODE, ["refused. A code works once, for 10 min: log in again"]),
        (Outcome(Event.ANSWER_LOST, "no answer"), CODE, ["no answer. Its code is given up: log in again"]),
        (Outcome(Event.NOT_CONFIGURED, "look at x"), Mint(), ["look at x"]),
        (Outcome(Event.TRY_LATER, "a 503"), Mint(), ["a 503. Nothing was spent: try again in a minute"]),
    ],
    ids=[
        "dead", "lost", "not sent", "later", "misconfigured", "dead code", "lost code", "refused client", "mint later",
    ],
)  # fmt: skip
def test_advice_on_a_login_says_whether_what_was_brought_is_still_good(
    outcome: Outcome, wish: Wish, words: list[str]
) -> None:
    """And where a new one is made."""
    text = advice(outcome, wish)

    assert words == [word for word in words if word in text]


def test_advice_does_without_a_login_page() -> None:
    """Not every environment has one, and one may have lost the login altogether."""
    pageless = replace(LIVE.logins["refresh-token"], login_page=None)
    for logins in ({"refresh-token": pageless}, {}):
        assert advice(DEAD, PASTED, replace(LIVE, logins=logins)).endswith("make a new one")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (7 * 86400, "7 days"), (2 * 86400, "2 days"), (86400, "24 h"), (7200, "2 h"), (3600, "1 h"), (1800, "30 min"),
        (60, "1 min"), (59, "59 s"), (0.2, "0 s"), (-5, "0 s"),
    ],
)  # fmt: skip
def test_a_span_of_time_is_told_in_the_largest_unit_that_fits(seconds: float, text: str) -> None:
    """As a person would say it."""
    assert text == span(seconds)


def test_an_end_is_told_before_and_after_with_its_time_and_what_to_type() -> None:
    """In UTC; whose end it is decides the reason."""
    at = Now(1_772_557_200.0, 0.0)
    token, login = End(at, 86400.0, of_login=False), End(at, 7 * 86400.0, of_login=True)

    assert "2026-03-03 17:00 UTC" == moment(at.wall)
    assert "the login ends in 2 h, at 2026-03-03 17:00 UTC; before that: bearerd login mine" == ending(
        token, 7200, "mine"
    )
    assert "the access token ended at 2026-03-03 17:00 UTC, and nothing here can renew it" == ended(token, QUESTRADE)
    assert (
        "Questrade ends a login after 7 days, however often it is renewed; this one at 2026-03-03 17:00 UTC"
        == ended(login, QUESTRADE)
    )


def test_a_refresh_token_that_is_not_renewed_is_told_of_from_half_of_its_life_on() -> None:
    """Since when, until when, and what to do; also when it is too late."""
    renewed, day = 1_772_557_200.0, 86400.0
    dies = renewed + 3 * day
    assert aging(renewed, dies, renewed + 1.49 * day, "mine") is None
    assert aging(renewed, dies, renewed + 2 * day, "mine") == (
        "the refresh token was last renewed 2 days ago, at 2026-03-03 17:00 UTC, and dies in 24 h, "
        "at 2026-03-06 17:00 UTC; find out why it is not renewed, or log in anew: bearerd login mine"
    )
    assert "and has probably died at 2026-03-06 17:00 UTC;" in str(aging(renewed, dies, dies, "mine"))


def test_a_doubt_names_the_time_and_the_command() -> None:
    """It is no verdict."""
    text = "the broker refused the token (401) at 2026-03-03 17:00 UTC; if that goes on: bearerd login mine"

    assert text == doubt(1_772_557_200.0, "mine")


def test_a_foreign_host_is_named_with_the_key_that_would_allow_it() -> None:
    """Word for word as in the configuration."""
    text = foreign_host("api.evil.example", QUESTRADE, LIVE)

    assert "the broker named api.evil.example as its API server" in text
    assert "unless brokers.questrade.environments.live.api_hosts lists it" in text
