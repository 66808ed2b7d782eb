"""What Tradier's definition says beyond its rows: environments, logins, the beta alias, answers."""

import pytest

from proxy.brokers import builtin
from proxy.gate.scopes import Match
from tests.brokers.near import table

TRADIER = builtin("tradier")
REST = table("tradier", "rest")


def test_anybody_can_log_in_with_a_personal_token() -> None:
    """It is the default, in both environments, asked for once and without an end; OAuth is for partners, and live."""
    login = TRADIER.login()
    assert ("personal", "secret", "bearer", None) == (login.name, login.kind, login.placement.kind, login.expires_in)
    assert ["personal", "code"] == list(TRADIER.environments["live"].logins)
    assert ["personal"] == list(TRADIER.environments["sandbox"].logins)


def test_the_code_login_is_as_documented() -> None:
    """Scopes with commas, no response_type, no redirect, Basic, a day's token; the refresh token never dies."""
    login = TRADIER.login("code")
    assert ("code", "basic", ",", False) == (login.kind, login.client_auth, login.scope_separator, login.pkce)
    assert {"response_type", "redirect_uri"} == login.omits
    assert (600, 86_400, None) == (login.code_life, login.expires_in, login.refresh_token_life)
    endpoints = TRADIER.environments["live"].endpoints(login)
    assert [f"https://api.tradier.com/v1/oauth/{last}" for last in ("authorize", "accesstoken", "refreshtoken")] == [
        endpoints.authorize_url, endpoints.token_url, endpoints.refresh_url,
    ]  # fmt: skip
    assert endpoints.revoke_url is None


def test_each_api_has_its_own_host() -> None:
    """The sandbox has no HTTP stream; what its other hosts lack, Tradier refuses."""
    hosts = {
        name: {api: str(origin) for api, origin in environment.api_servers.items()}
        for name, environment in TRADIER.environments.items()
    }
    assert {
        "live": {"rest": "api.tradier.com", "stream": "stream.tradier.com", "ws": "ws.tradier.com"},
        "sandbox": {"rest": "sandbox.tradier.com", "ws": "sandbox-ws.tradier.com"},
    } == hosts
    assert not TRADIER.api_server_in_answer
    assert [120, 120, 60] == [TRADIER.rate_limits[name].per_minute for name in ("standard", "market", "trading")]


def test_fundamentals_below_v1_are_sent_where_they_are() -> None:
    """A client whose base address ends in /v1 reaches /beta; nothing else of the path changes."""
    found = REST.decide("GET", "/v1/beta/markets/fundamentals/ratios?symbols=AAPL")
    assert isinstance(found, Match)
    assert b"/beta/markets/fundamentals/ratios" == found.row.sent(b"/v1/beta/markets/fundamentals/ratios")
    assert 7 == sum(row.sent_prefix is not None for row in REST.rows)
    assert "scope-denied" == REST.decide("GET", "/v1/beta/markets/quotes")


def test_a_post_that_only_reads_changes_nothing() -> None:
    """Quotes with many symbols come as a form; the scope is that of the GET."""
    rows = {row.id: row for row in REST.rows}
    assert ("market", False) == (rows["quotes_post"].scope, rows["quotes_post"].mutating)
    assert {"trade"} == {row.scope for row in REST.rows if "/orders" in row.path and row.mutating}


FAULT = '{"fault":{"faultstring":"x","detail":{"errorcode":"%s"}}}'


@pytest.mark.parametrize(
    ("status", "body", "refused"),
    [
        (401, FAULT % "keymanagement.service.invalid_access_token", True),
        (401, FAULT % "keymanagement.service.access_token_expired", True),
        (500, FAULT % "keymanagement.service.access_token_expired", False),
        (401, FAULT % "keymanagement.service.InvalidAPICallAsNoApiProductMatchFound", False),
        (500, FAULT % "steps.servicecallout.ExecutionFailed", False),
        (401, "Unauthorized", False),
        (400, "order already in finalized state: filled", False),
    ],
)
def test_a_refused_token_is_told_by_the_gateways_code(status: int, body: str, *, refused: bool) -> None:
    """With 401 only: a 500 may hide anything. A token of the other environment is not mended by a new one."""
    assert refused == any(rule.matches(status, None, body.encode()) for rule in TRADIER.token_refused)
    assert not TRADIER.refusal_proves_nonexecution


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, '{"ErrorCode":"invalid_request","Error":"Invalid Authorization Code"}', "dead_token"),
        (400, '{"ErrorCode" : "invalid_request", "Error" :"Invalid Refresh Token"}', "dead_token"),
        (400, '{"error":"invalid_grant"}', "dead_token"),
        (401, '{"ErrorCode":"invalid_client","Error":"ClientId is Invalid"}', "misconfigured"),
        (401, FAULT % "oauth.v2.InvalidClientIdentifier", "misconfigured"),
        (503, "", "try_later"),
        (429, "Quota Violation 1369168800001", "try_later"),
        (400, '{"ErrorCode":"invalid_request","Error":"Required param : grant_type"}', None),
        (403, "Forbidden", None),
    ],
)
def test_answers_of_the_token_endpoint_are_told_apart(status: int, body: str, kind: str | None) -> None:
    """The gateway's own form, and that of RFC 6749."""
    kinds = [
        name
        for name in ("dead_token", "misconfigured", "try_later")
        if any(rule.matches(status, "application/json", body.encode()) for rule in getattr(TRADIER, name))
    ]
    assert ([kind] if kind else []) == kinds
