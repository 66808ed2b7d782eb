"""What a person is told: the state, why, and what to type."""

from dataclasses import replace

import pytest

from proxy.brokers import builtin
from proxy.tokens.grant import Event, State
from proxy.tokens.rotation import Outcome
from proxy.tokens.standing import fix, foreign_host, login_advice

QUESTRADE = builtin("questrade")
LIVE = QUESTRADE.environments["live"]


@pytest.mark.parametrize("state", list(State))
def test_a_fix_is_a_command_where_something_needs_doing(state: State) -> None:
    """It names the grant, and there is none where waiting is enough."""
    text = fix(state, "mine")
    if state in (State.NONE, State.NEEDS_LOGIN):
        assert "bearerd login mine" == text
    elif state is State.STOPPED:
        assert text is not None
        assert ("bearerd reload" in text, "bearerd login mine" in text) == (True, True)
    else:
        assert None is text


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome(Event.TOKEN_DEAD, "x"), ["Questrade refused this token", "make a new one at https://"]),
        (Outcome(Event.ANSWER_LOST, "no answer"), ["no answer; the token may be spent", "Make a new one at https://"]),
        (Outcome(Event.NOTHING_SENT, "refused"), ["refused. The token was probably not spent", "in a minute"]),
        (Outcome(Event.TRY_LATER, "a 503"), ["a 503. The token was probably not spent"]),
        (Outcome(Event.NOT_CONFIGURED, "a 401"), ["a 401. "]),
    ],
)
def test_advice_on_a_login_says_whether_the_pasted_token_is_still_good(outcome: Outcome, words: list[str]) -> None:
    """And where a new one is made."""
    text = login_advice(outcome, QUESTRADE, LIVE)

    assert words == [word for word in words if word in text]


def test_advice_does_without_a_login_page() -> None:
    """Not every environment has one."""
    text = login_advice(Outcome(Event.TOKEN_DEAD), QUESTRADE, replace(LIVE, login_page=None))

    assert text.endswith("make a new one")


def test_a_foreign_host_is_named_with_the_key_that_would_allow_it() -> None:
    """Word for word as in the configuration."""
    text = foreign_host("api.evil.example", QUESTRADE, LIVE)

    assert "the broker named api.evil.example as its API server" in text
    assert "unless brokers.questrade.environments.live.api_hosts lists it" in text
