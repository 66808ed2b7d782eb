"""Which stored tokens are ours to post and to show, and what a login starts from."""

from dataclasses import replace

import pytest

from proxy.brokers.definition import Placement
from proxy.secret import Secret
from proxy.tokens.descent import anew, place_of, stranger
from proxy.tokens.grant import Grant
from proxy.tokens.holding import Holding
from tests.tokens.support import KEYS, LIVE, PASTED, QUESTRADE, WALL, LoopClock, broker_with


async def holding() -> Holding:
    return Holding("questrade", broker=QUESTRADE, environment=LIVE, login=PASTED, clock=LoopClock(), jitter=lambda: 0.5)


async def test_a_place_is_a_broker_an_environment_and_a_login() -> None:
    """A token is worth nothing elsewhere."""
    assert "questrade/live/refresh-token" == place_of(await holding())


@pytest.mark.parametrize(
    ("issuer", "login", "words"),
    [
        ("questrade/live", "refresh-token", None), ("", "", None),
        ("questrade/practice", "refresh-token", "the login was for questrade/practice"),
        ("questrade/live", "code", "the login was by 'code'"),
    ],
    ids=["ours", "of old", "other environment", "other login"],
)  # fmt: skip
async def test_a_grant_of_another_place_is_a_stranger(issuer: str, login: str, words: str | None) -> None:
    """It says why."""
    reason = stranger(await holding(), Grant("questrade", 1, issuer=issuer, login=login))

    assert (words is None) is (reason is None)
    assert (words or "") in (reason or "")


@pytest.mark.parametrize(("secret", "strange"), [("KEY:SECRET", False), ("one-part", True)])
async def test_a_plain_secret_of_another_form_is_a_stranger(secret: str, *, strange: bool) -> None:
    """It cannot be sent as the definition says now."""
    login = replace(KEYS, placement=Placement("headers", ("X-Key", "X-Secret")))
    broker = broker_with(login)
    held = Holding(
        "keys",
        broker=broker,
        environment=broker.environments["live"],
        login=login,
        clock=LoopClock(),
        jitter=lambda: 0.5,
    )

    assert strange is (stranger(held, Grant("keys", 1, access_token=Secret(secret))) is not None)


async def test_a_login_keeps_the_name_and_the_count_of_the_grant_before_it() -> None:
    """Nothing else."""
    held = await holding()
    held.grant = Grant("questrade", 7, "login-1", "questrade/live", Secret("R"), Secret("A"), epoch=1)

    expected = Grant("questrade", 7, "login-2", "questrade/live", login="refresh-token", logged_in=WALL, epoch=2)
    assert expected == anew(held, "login-2", WALL, 2)
