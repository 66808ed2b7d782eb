"""How a definition says that one is let in."""

import pytest

from proxy.brokers import Endpoints, Login, Placement
from proxy.brokers.logins import meant_for
from tests.brokers.plain import PLAIN, good, spoilt

CODE = "{kind: code, client_auth: basic, expires_in: 3600, refresh_token_life: 86400}"
ALL = Endpoints("https://t.test/t", "https://t.test/r", "https://t.test/a", "https://t.test/v", "https://t.test/p")


def _login(text: str) -> Login:
    return good(PLAIN.replace(f"{{code: {CODE}}}", f"{{code: {CODE}, mine: {text}}}")).login("mine")


def test_a_code_flow_says_how_it_is_gone_through() -> None:
    """Every key of a login has its place."""
    login = _login(
        '{kind: code, title: Mine, apis: [main], client_auth: form, pkce: true, scope_separator: ",", '
        "sends_scopes: [read], omits: [scope], code_life: 60, expires_in: never, refresh_token_life: 604800, "
        "life_counts_from: login, renew_at: 0.8}"
    )
    assert ("mine", "code", "Mine", ("main",)) == (login.name, login.kind, login.title, login.apis)
    assert ("form", True, ",", ("read",)) == (
        login.client_auth,
        login.pkce,
        login.scope_separator,
        login.sends_scopes,
    )
    assert (frozenset({"scope"}), 60, None) == (login.omits, login.code_life, login.expires_in)
    assert (604_800, "login", 0.8) == (login.refresh_token_life, login.life_counts_from, login.renew_at)
    assert Placement() == login.placement
    assert () == login.asks


def test_what_is_not_said_has_a_default() -> None:
    """Tokens of 5 minutes, no client authentication, refresh tokens that never die, all scopes and all APIs."""
    login = _login("{kind: refresh-token}")
    assert (300, None, "none", None) == (
        login.expires_in,
        login.refresh_token_life,
        login.client_auth,
        login.sends_scopes,
    )
    assert login.serves("anything")
    assert ("refresh token",) == login.asks


@pytest.mark.parametrize(
    ("text", "placement", "asks"),
    [
        ("{kind: secret}", Placement(), ("token",)),
        ("{kind: secret, placement: basic}", Placement("basic"), ("user name", "password")),
        (
            "{kind: secret, placement: {headers: [X-Id, X-Secret]}, asks: [id, secret]}",
            Placement("headers", ("X-Id", "X-Secret")),
            ("id", "secret"),
        ),
        ("{kind: secret, placement: {query: apikey}}", Placement("query", ("apikey",)), ("apikey",)),
    ],
)
def test_a_plain_secret_goes_where_the_broker_wants_it(text: str, placement: Placement, asks: tuple[str, ...]) -> None:
    """Without OAuth, without an end, with as many questions as it has parts."""
    login = _login(text)
    assert (placement, asks, None) == (login.placement, login.asks, login.expires_in)
    assert len(asks) == login.placement.parts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{kind: cod}", "logins.mine.kind: is not one of refresh-token, code, client-credentials, secret, did you"),
        ("{title: x}", "logins.mine.kind: is missing"),
        ("{kind: code, client_secret: x}", "logins.mine.client_secret: unknown key"),
        ("{kind: code, apis: [man]}", "logins.mine.apis.0: 'man' is not declared here, did you mean 'main'?"),
        ("{kind: code, sends_scopes: [all]}", "logins.mine.sends_scopes.0: 'all' is not declared here, known here: re"),
        ("{kind: code, omits: [state]}", "logins.mine.omits.0: 'state' is not declared here"),
        ("{kind: code, expires_in: 0}", "logins.mine.expires_in: is too small, write seconds, or `never`"),
        ("{kind: code, expires_in: nevr}", "logins.mine.expires_in: must be a number"),
        ("{kind: code, renew_at: 1}", "logins.mine.renew_at: must be from 0.1 to 0.95"),
        ("{kind: code, placement: basic}", "logins.mine.placement: has several parts"),
        ("{kind: code, scope_separator: ;}", "logins.mine.scope_separator: is not one of"),
        ("{kind: client-credentials}", "logins.mine.client_auth: is missing: client credentials are sent as"),
        ("{kind: secret, expires_in: 5}", "logins.mine.expires_in: says nothing of a plain secret"),
        ("{kind: secret, asks: [a, b]}", "logins.mine.asks: names 2 values, the placement 1"),
        ("{kind: secret, placement: {}}", "logins.mine.placement: must name either headers or one query parameter"),
        ("{kind: secret, placement: {headers: [a], query: b}}", "logins.mine.placement: must name either headers or"),
        ("{kind: secret, placement: {headers: [X-Key, x-key]}}", "logins.mine.placement.headers: names a header twice"),
        ("{kind: secret, placement: {headers: [Host]}}", "logins.mine.placement.headers.0: is no header that may"),
        ("{kind: secret, placement: {headers: [a_b]}}", "logins.mine.placement.headers.0: is no header that may"),
        ("{kind: secret, placement: {query: a=b}}", "logins.mine.placement.query: is no name of a parameter"),
        ("{kind: secret, placement: head}", "logins.mine.placement: is not one of bearer, basic"),
    ],
)
def test_each_mistake_in_a_login_is_named_with_its_place(text: str, said: str) -> None:
    """A wrong login is an error with path, line, column and what to do."""
    problems = spoilt(CODE, f"{CODE}, mine: {text}")
    assert any(said in problem for problem in problems), problems
    assert all(":3:" in problem for problem in problems)


@pytest.mark.parametrize(
    "name",
    [
        "authorization", "Cookie", "cookie2", "HOST", "Content-Length", "content-type", "Accept-Encoding", "Connection",
        "Upgrade", "TE", "Trailer", "Transfer-Encoding", "Keep-Alive", "Expect", "Range", "Via", "Forwarded",
        "User-Agent", "X-Forwarded-For", "X-HTTP-Method-Override", "Proxy-Authorization", "Sec-Fetch-Site",
    ],
)  # fmt: skip
def test_no_credential_goes_into_a_header_that_means_something_else(name: str) -> None:
    """What frames or routes a request is not a definition's to write, in no letter case."""
    problems = spoilt(CODE, f"{CODE}, mine: {{kind: secret, placement: {{headers: [{name}]}}}}")
    assert any("placement.headers.0: is no header that may" in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("kind", "kept"),
    [
        ("code", ALL),
        ("refresh-token", Endpoints(ALL.token_url, ALL.refresh_url, None, ALL.revoke_url, ALL.login_page)),
        ("client-credentials", Endpoints(ALL.token_url, None, None, ALL.revoke_url, ALL.login_page)),
        ("secret", Endpoints(login_page=ALL.login_page)),
    ],
)
def test_each_kind_of_login_has_the_addresses_that_it_uses(kind: str, kept: Endpoints) -> None:
    """What an environment says for all of them is not meant for each; a plain secret needs no address at all."""
    login = Login("x", kind)  # type: ignore[arg-type]
    assert kept == meant_for(login, ALL)
    assert (kind == "secret") == (meant_for(login, Endpoints()) is not None)
