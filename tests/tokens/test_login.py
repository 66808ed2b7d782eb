"""Logins over a broker's page: what the address holds, and what a good answer brings."""

from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from proxy.brokers.definition import Endpoints
from proxy.secret import Secret
from proxy.store import StoreError
from proxy.tokens.login import Pending, challenge, member_named
from tests.tokens.logindesk import ADA, BACK, BOB, CODE, ENDPOINTS, LOGIN, Desk, answer, asked


@pytest.fixture(name="desk")
def _desk() -> Desk:
    return Desk()


# -- the address that opens a login


async def test_the_address_asks_for_a_code(desk: Desk) -> None:
    """With everything that RFC 6749 wants, and a state of 256 bits."""
    begun = await desk.begin()
    query = asked(begun)
    state = query.pop("state")

    assert begun.authorize_url.startswith("https://login.example/authorize?response_type=code&")
    assert {"response_type": "code", "client_id": "app", "redirect_uri": BACK, "scope": "read trade"} == query
    assert len(state) >= 43
    assert state != asked(await desk.begin())["state"]
    assert (BACK, 600) == (begun.redirect_uri, begun.expires_in)
    assert state not in repr(begun)


async def test_a_broker_may_want_less_and_more(desk: Desk) -> None:
    """Tradier's takes neither type nor address, and commas; Alpaca's has an `env`; a query of its own stays."""
    login = replace(LOGIN, omits=frozenset({"response_type", "redirect_uri"}), scope_separator=",")
    endpoints = replace(
        ENDPOINTS, authorize_url="https://login.example/authorize?v=1", authorize_fields=(("env", "paper"),)
    )
    query = asked(await desk.begin(replace(ADA, login=login, endpoints=endpoints)))
    del query["state"]

    assert {"v": "1", "env": "paper", "client_id": "app", "scope": "read,trade"} == query


async def test_without_scopes_none_are_named(desk: Desk) -> None:
    """An empty `scope` would be a wish for nothing."""
    assert "scope" not in asked(await desk.begin(replace(ADA, scopes=())))


async def test_fields_of_a_definition_never_replace_the_state(desk: Desk) -> None:
    """Whatever a definition sends along."""
    endpoints = replace(ENDPOINTS, authorize_fields=(("state", "fixed"), ("client_id", "other")))
    query = asked(await desk.begin(replace(ADA, endpoints=endpoints)))

    assert "fixed" != query["state"]
    assert "app" == query["client_id"]


def test_the_challenge_is_the_one_of_the_rfc() -> None:
    """RFC 7636, appendix B."""
    assert "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" == challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")


@pytest.mark.parametrize(("code_life", "expected"), [(30, 600), (600, 600), (1800, 1800)])
async def test_a_person_has_ten_minutes_at_least(desk: Desk, code_life: float, expected: float) -> None:
    """However short a code lives: that begins only when the person has logged in."""
    assert expected == (await desk.begin(replace(ADA, login=replace(LOGIN, code_life=code_life)))).expires_in


async def test_where_the_broker_has_pkce_the_code_is_bound_to_us(desk: Desk) -> None:
    """The challenge goes out, the verifier comes with the exchange; without PKCE there is neither."""
    desk.known["ada"] = replace(ADA, login=replace(LOGIN, pkce=True))
    begun = await desk.begin(desk.known["ada"])
    taken = await desk.take(answer(begun))

    assert taken.exchange.verifier is not None
    assert 43 <= len(taken.exchange.verifier.reveal()) <= 128  # RFC 7636, section 4.1
    assert (challenge(taken.exchange.verifier.reveal()), "S256") == (
        asked(begun)["code_challenge"],
        asked(begun)["code_challenge_method"],
    )
    assert None is (await desk.take(answer(await desk.begin(BOB)))).exchange.verifier


async def test_a_grant_without_an_authorize_address_begins_nothing(desk: Desk) -> None:
    """It is a mistake of ours to ask."""
    with pytest.raises(LookupError):
        await desk.begin(replace(ADA, endpoints=Endpoints("https://login.example/token")))


async def test_what_is_kept_is_sealed(desk: Desk) -> None:
    """Neither state nor verifier can be read in the store."""
    state = asked(await desk.begin(replace(ADA, login=replace(LOGIN, pkce=True))))["state"]
    (row,) = await desk.store.read_all("login/")

    assert "login/ada" == row.name
    assert state.encode() not in row.sealed


# -- a good answer


async def test_a_good_answer_becomes_an_exchange(desk: Desk) -> None:
    """The code, the address that it was asked for with, and whose it is."""
    begun = await desk.begin()
    taken = await desk.take(answer(begun))

    assert ("ada", begun.id) == (taken.grant, taken.id)
    assert (Secret(CODE), BACK) == (taken.exchange.code, taken.exchange.redirect_uri)
    assert "canary" not in repr(taken)
    assert not await desk.waits()


async def test_a_query_alone_and_the_right_name_will_do(desk: Desk) -> None:
    """As people paste it."""
    begun = await desk.begin()

    assert "ada" == (await desk.take("?" + urlsplit(answer(begun)).query, "ada")).grant


async def test_the_broker_s_own_issuer_is_no_reason_to_refuse(desk: Desk) -> None:
    """RFC 9207: where one is given, it is compared."""
    assert "ada" == (await desk.take(answer(await desk.begin(), iss="https://login.example"))).grant
    desk.known["ada"] = wanted = replace(ADA, endpoints=replace(ENDPOINTS, token_url="https://token.example/token"))
    for issuer in ("https://login.example", "https://token.example"):
        assert "ada" == (await desk.take(answer(await desk.begin(wanted), iss=issuer))).grant


async def test_a_redirect_address_that_was_not_named_is_not_sent(desk: Desk) -> None:
    """A broker that has it registered does not want it with the exchange either."""
    desk.known["ada"] = replace(ADA, login=replace(LOGIN, omits=frozenset({"redirect_uri"})))

    assert None is (await desk.take(answer(await desk.begin(desk.known["ada"])))).exchange.redirect_uri


async def test_two_grants_wait_side_by_side(desk: Desk) -> None:
    """Each answer finds its own."""
    ada, bob = await desk.begin(ADA), await desk.begin(BOB)

    assert "bob" == (await desk.take(answer(bob))).grant
    assert "ada" == (await desk.take(answer(ada))).grant


async def test_a_login_says_how_long_it_waits(desk: Desk) -> None:
    """By its id; nothing once it is over."""
    begun = await desk.begin()
    desk.clock.pass_by(100)

    assert (begun.id, 500.0) == await desk.logins().waiting("ada")
    await desk.take(answer(begun))
    assert None is await desk.logins().waiting("ada")
    assert None is await desk.logins().waiting("bob")  # who never began one


async def test_a_store_that_fails_takes_no_answer(desk: Desk) -> None:
    """And the login waits on."""
    begun = await desk.begin()
    desk.store.failure = StoreError("the disk is full")
    with pytest.raises(StoreError):
        await desk.take(answer(begun))
    desk.store.failure = None

    assert "ada" == (await desk.take(answer(begun))).grant


def test_a_pending_login_does_not_show_its_secrets() -> None:
    """Its repr may end up in a log."""
    pending = Pending("id", "canary-state", "canary-verifier", BACK, "https://a/", "app", 0, 0, "", 600)

    assert "canary" not in repr(pending)


async def test_a_member_is_found_by_its_state_without_looking_through_the_others(desk: Desk) -> None:
    """There may be very many: the state names it, and still every byte of it must be right."""
    ann = replace(ADA, grant="ada/ann")
    begun = await desk.begin(ann)
    state = asked(begun)["state"]
    assert state.endswith(".ada/ann")
    assert ("ada/ann", None) == (member_named(answer(begun)), member_named(answer(await desk.begin())))

    desk.known = {"ada": ADA, "ada/ann": ann, "ada/bob": replace(ADA, grant="ada/bob")}
    wrong = state[:-10] + ("x" if state[-10] != "x" else "y") + state[-9:]
    for forged in (wrong, state.replace("/ann", "/bob"), ".ada/ann", state.partition(".")[0]):
        assert None is (await desk.refused(answer(begun, state=forged))).grant
    assert "ada/ann" == (await desk.take(answer(begun))).grant
    assert "used already" in str(await desk.refused(answer(begun)))


@pytest.mark.parametrize("text", ["", "x", "?state=", "?state=abc", "?state=a.b", "https://[", "?state=a&state=b.c/d"])
def test_an_answer_that_names_no_member(text: str) -> None:
    """Whatever it is, it is left to the ordinary way, which refuses what it cannot read."""
    assert None is member_named(text)
