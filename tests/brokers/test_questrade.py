"""What Questrade's definition says beyond its rows: streams, environments, logins, the rules of custody, answers."""

import pytest

from proxy.brokers import builtin
from proxy.gate.scopes import Denied
from proxy.gate.target import parse
from tests.brokers.near import table

QUESTRADE = builtin("questrade")
TABLE = table("questrade", "main")
ROWS = TABLE.rows

AMBIGUOUS = [
    "/v1/accounts/", "/v1/accounts%2F", "/v1/%61ccounts", "/v1/accounts/../time", "/v1/accounts//time",
    "/v1/accounts;x=1",
    "/v1/accounts%00", "/v1/accounts/26598145/orders/%37", "/v1/accounts\\", "/v1/time%20",
    "/v1/time?_method=DELETE", "/v1/time%",
]  # fmt: skip
WRONG = [
    "/v1/accoutns/26598145/activities", "/v1/Accounts", "/v1/accounts/2659814/orders", "/v1/markets/quotes/1,2",
    "/v1/quotes",
    "/v1/accounts/26598145/order/7", "/v1/symbols/searches", "/", "/v1", "/oauth2/token", "/v1/accounts@evil.test",
    "/v1/orders",
]  # fmt: skip


@pytest.mark.parametrize("raw", AMBIGUOUS)
def test_a_bad_form_is_ambiguous(raw: str) -> None:
    """What could be read in two ways is 400 and never 403."""
    assert "ambiguous-target" == TABLE.decide("GET", raw)


@pytest.mark.parametrize("raw", WRONG)
def test_a_clear_target_without_a_row_is_denied(raw: str) -> None:
    """A well-formed target with a wrong value is 403."""
    assert "scope-denied" == TABLE.decide("GET", raw)


def test_streams_can_be_opened_by_their_own_rows_only() -> None:
    """The other calls of markets take neither `stream` in the query nor, where there is one, in the body."""
    closed = {row.id: (row.query_without, row.body_without) for row in ROWS if row.query_without}
    posts = (("stream",), ("stream", "mode"))
    assert {"quote": (("stream",), ()), "quotes_options": posts, "quotes_strategies": posts} == closed
    assert {"quotes_stream", "notifications"} == {row.id for row in ROWS if row.rewrites == "stream_port"}


@pytest.mark.parametrize(
    ("raw", "offered"),
    [
        ("/v1/notifications", "`mode=WebSocket`"),
        ("/v1/notifications?mode=RawSocket", "`mode=WebSocket`"),
        ("/v1/markets/quotes?ids=8049&stream=true", "`stream=true` and `mode=WebSocket`"),
        ("/v1/markets/quotes?ids=8049&stream=true&mode=RawSocket", "`stream=true` and `mode=WebSocket`"),
        ("/v1/markets/quotes?ids=8049&mode=WebSocket", "`stream=true` and `mode=WebSocket`"),
        ("/v1/markets/quotes?ids=8049&stream=True&mode=WebSocket", "`stream=true` and `mode=WebSocket`"),
    ],
)
def test_a_stream_is_a_web_socket_and_the_refusal_says_so(raw: str, offered: str) -> None:
    """A raw socket's port would lead nowhere; which mode no `mode` means is not documented."""
    denied = QUESTRADE.api().table.match("GET", parse(f"/questrade{raw}".encode()))
    assert isinstance(denied, Denied)
    assert denied.reason.endswith(f"there is one for {offered}")


def test_the_environments_are_the_documented_ones() -> None:
    """Live names its API hosts; practice has none, so an answer's host is refused until the user lists it."""
    live, practice = QUESTRADE.environments["live"], QUESTRADE.environments["practice"]
    pasted = live.endpoints(QUESTRADE.login())
    assert "https://login.questrade.com/oauth2/token" == pasted.token_url
    assert "https://login.questrade.com/oauth2/revoke" == pasted.revoke_url
    assert "https://login.questrade.com/oauth2/authorize" == live.endpoints(QUESTRADE.login("code")).authorize_url
    assert ["api##.iq.questrade.com"] == [host.text for host in live.api_hosts]
    assert "https://practicelogin.questrade.com/oauth2/token" == practice.endpoints(QUESTRADE.login()).token_url
    assert ["refresh-token"] == list(practice.logins)
    assert () == practice.api_hosts
    assert (frozenset(), frozenset()) == (live.private_hosts, practice.private_hosts)
    assert (60.0, 120.0, 200) == (live.min_life, live.renew_cooldown, live.max_rotations_per_day)
    assert (4, 4) == (live.token_concurrency, practice.token_concurrency)


def test_the_rules_of_custody_are_set() -> None:
    """Questrade kills the old access token, its refusals prove that nothing happened, refresh tokens live 3 days."""
    assert QUESTRADE.kills_old_token
    assert QUESTRADE.refusal_proves_nonexecution
    assert QUESTRADE.api_server_in_answer
    for login in QUESTRADE.logins.values():
        assert (3 * 24 * 3600, "issue") == (login.refresh_token_life, login.life_counts_from)
    assert "refresh-token" == QUESTRADE.login().kind
    code = QUESTRADE.login("code")
    assert ("code", "none", ",", False) == (code.kind, code.client_auth, code.scope_separator, code.pkce)
    assert "/oauth2/token" == QUESTRADE.emulated_token_path
    assert (30, 30_000) == (QUESTRADE.rate_limits["account"].per_second, QUESTRADE.rate_limits["account"].per_hour)
    assert (20, 15_000) == (QUESTRADE.rate_limits["market"].per_second, QUESTRADE.rate_limits["market"].per_hour)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b"Bad Request", "dead_token"),
        (400, b"Bad Request\r\n", "dead_token"),
        (400, b'{"Bad Request": "Token is invalid or expired."}', "dead_token"),
        (400, b'{"error":"invalid_grant"}', "dead_token"),
        (400, b'{"error":"invalid_client"}', "misconfigured"),
        (401, b'{"error":"invalid_client","error_description":"x"}', "misconfigured"),
        (400, b'{"error":"unsupported_grant_type"}', "misconfigured"),
        (200, b"<html>We're making some changes</html>", "try_later"),
        (503, b"Bad Request", "try_later"),
        (500, b"", "try_later"),
        (429, b'{"code":1006}', "try_later"),
        (403, b"Forbidden", None),
        (403, b"Bad Request", None),
        (400, b"<html>Bad Request</html>", None),
        (400, b"", None),
        (400, b'{"error":"server_error"}', None),
        (404, b"Bad Request", None),
        (200, b'{"access_token":"x"}', None),
    ],
)
def test_answers_of_the_token_endpoint_are_told_apart(status: int, body: bytes, kind: str | None) -> None:
    """Only the known answers mean a dead token; a blocked User-Agent's 403 and unknown 400s do not."""
    kinds = [
        name
        for name in ("dead_token", "misconfigured", "try_later")
        if any(rule.matches(status, "text/plain", body) for rule in getattr(QUESTRADE, name))
    ]
    assert ([kind] if kind else []) == kinds


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, b'{"code":1017,"message":"Access token is invalid"}', "token_refused"),
        (401, b'{"code":"1017","message":"Access token is invalid"}', "token_refused"),
        (401, b'{"code":1014,"message":"Missing authorization header"}', "header_missing"),
        (401, b"", None),
        (401, b'{"code":10170}', None),
        (401, b'[{"code":1017}]', None),
        (403, b'{"code":1016}', None),
        (200, b'{"code":1017}', None),
    ],
)
def test_a_refused_token_is_told_from_other_401s(status: int, body: bytes, kind: str | None) -> None:
    """Only 401 with code 1017 renews; 1014 is our own mistake."""
    kinds = [
        name
        for name in ("token_refused", "header_missing")
        if any(rule.matches(status, None, body) for rule in getattr(QUESTRADE, name))
    ]
    assert ([kind] if kind else []) == kinds
