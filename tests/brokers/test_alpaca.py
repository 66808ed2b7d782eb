"""What Alpaca's definition says beyond its rows: environments, logins, symbols, a partner's OAuth, answers."""

import pytest

from proxy.brokers import builtin
from proxy.gate.scopes import Match
from tests.brokers.near import table

ALPACA = builtin("alpaca")
TRADING, DATA, BROKER = (table("alpaca", api) for api in ("trading", "data", "broker"))


def test_paper_trading_reads_live_market_data_and_nothing_else_of_live() -> None:
    """Each environment has its own trading host; data and its streams are the live ones for both."""
    hosts = {
        name: {api: str(origin) for api, origin in environment.api_servers.items()}
        for name, environment in ALPACA.environments.items()
    }
    data = {"data": "data.alpaca.markets", "stream": "stream.data.alpaca.markets"}
    sandbox = {"data": "data.sandbox.alpaca.markets", "stream": "stream.data.sandbox.alpaca.markets"}
    assert {
        "live": {"trading": "api.alpaca.markets", "broker": "broker-api.alpaca.markets", **data},
        "paper": {"trading": "paper-api.alpaca.markets", **data},
        "sandbox": {"broker": "broker-api.sandbox.alpaca.markets", **sandbox},
    } == hosts
    for environment in ALPACA.environments.values():
        assert {str(origin) for origin in environment.api_servers.values()} == {
            host.text for host in environment.api_hosts
        }


@pytest.mark.parametrize(
    ("environment", "logins"),
    [
        ("live", ["connect", "keys", "client-credentials", "broker-basic"]),
        ("paper", ["connect", "keys", "broker-basic"]),
        ("sandbox", ["keys", "client-credentials", "broker-basic"]),
    ],
)
def test_each_environment_has_its_logins(environment: str, logins: list[str]) -> None:
    """Connect where there is a trading account, client credentials where there is an address for them."""
    assert logins == list(ALPACA.environments[environment].logins)


@pytest.mark.parametrize(
    ("login", "apis"),
    [
        ("connect", ["trading", "data", "stream"]),
        ("keys", ["trading", "data", "stream"]),
        ("client-credentials", ["data", "broker", "stream"]),
        ("broker-basic", ["broker", "stream"]),
    ],
)
def test_each_credential_is_taken_by_some_apis(login: str, apis: list[str]) -> None:
    """As documented: no login is worth something at both the Trading and the Broker API."""
    assert apis == [api for api in ALPACA.apis if ALPACA.login(login).serves(api)]


def test_connect_is_a_code_flow_whose_token_has_no_end() -> None:
    """Secret in the form, no PKCE, no scope for what everybody may read; `env` says which account."""
    login = ALPACA.login("connect")
    assert ("code", "form", False, " ") == (login.kind, login.client_auth, login.pkce, login.scope_separator)
    assert (None, None) == (login.expires_in, login.refresh_token_life)
    assert ("account:write", "trading", "data") == login.sends_scopes
    for name in ("live", "paper"):
        endpoints = ALPACA.environments[name].endpoints(login)
        assert (("env", name),) == endpoints.authorize_fields
        assert "https://app.alpaca.markets/oauth/authorize" == endpoints.authorize_url
        assert "https://api.alpaca.markets/oauth/token" == endpoints.token_url


def test_client_credentials_are_minted_again_before_they_end() -> None:
    """At 80 % of 15 minutes, with the secret in the form, and no scope at all."""
    login = ALPACA.login("client-credentials")
    assert ("client-credentials", "form", 899, 0.8) == (
        login.kind,
        login.client_auth,
        login.expires_in,
        login.renew_at,
    )
    assert () == login.sends_scopes
    addresses = [ALPACA.environments[name].endpoints(login).token_url for name in ("live", "sandbox")]
    assert [f"https://authx.{host}alpaca.markets/v1/oauth2/token" for host in ("", "sandbox.")] == addresses


def test_keys_go_where_alpaca_wants_them() -> None:
    """Your own pair in two headers, a partner's as user and password."""
    keys, basic = ALPACA.login("keys"), ALPACA.login("broker-basic")
    assert ("headers", ("APCA-API-KEY-ID", "APCA-API-SECRET-KEY")) == (keys.placement.kind, keys.placement.names)
    assert ("basic", 2, 2) == (basic.placement.kind, basic.placement.parts, len(basic.asks))


@pytest.mark.parametrize(
    ("raw", "row"),
    [
        ("/v2/assets/BTC%2FUSD", "assets_one"),
        ("/v2/positions/BTC%2FUSD", "positions_one"),
        ("/v2/assets/BRK.B", "assets_one"),
        ("/v2/assets/fixed_income/us_treasuries", "assets_fixed_income_us_treasuries"),
        ("/v2/orders:by_client_order_id?client_order_id=x", "orders_by_client_order_id"),
        ("/v2/watchlists:by_name?name=Primary%20Watchlist", "watchlists_by_name"),
        ("/stream", "trading_stream"),
        ("/stream/", "trading_stream_slash"),
    ],
)
def test_colons_and_pairs_of_crypto_are_taken_as_they_are(raw: str, row: str) -> None:
    """A colon is a plain letter; an encoded slash belongs to the symbol."""
    found = TRADING.decide("GET", raw)
    assert isinstance(found, Match)
    assert row == found.row.id


@pytest.mark.parametrize(
    ("raw", "refusal"),
    [
        ("/v2/assets/BTC%2fUSD", "ambiguous-target"),
        ("/v2/assets/BTC/USD", "scope-denied"),
        ("/v2/assets/BTC%2FUSD%2FX", "ambiguous-target"),
        ("/v2/assets/%2FUSD", "ambiguous-target"),
        ("/v2/orders%3Aby_client_order_id", "ambiguous-target"),
        ("/v2/watchlists:by_id", "scope-denied"),
        ("/v2/assets/BTC%2F..", "ambiguous-target"),
        ("/oauth/token", "scope-denied"),
    ],
)
def test_other_spellings_are_refused(raw: str, refusal: str) -> None:
    """One byte sequence for one call."""
    assert refusal == TRADING.decide("GET", raw)


def test_a_partners_oauth_is_four_rows_of_one_scope() -> None:
    """The two that carry an application's secret have it filled in here."""
    rows = {row.id: row for row in BROKER.rows}
    assert {"client", "token", "authorize", "revoke"} == ALPACA.partner_oauth.keys()
    found = {call: rows[row] for call, row in ALPACA.partner_oauth.items()}
    assert {"broker:oauth"} == {row.scope for row in found.values()}
    assert {"token", "authorize"} == {call for call, row in found.items() if row.fills == ("client_secret",)}
    assert found["token"].buffered
    assert {row.id for row in found.values()} == {row.id for row in BROKER.rows if row.scope == "broker:oauth"}


def test_documents_are_large_and_estimates_place_nothing() -> None:
    """10 MiB for an upload; the estimate of an order is no order, and keeps the scope of one."""
    rows = {row.id: row for row in BROKER.rows}
    assert 10 * 1024 * 1024 == rows["broker_accounts_documents_upload_post"].body_limit
    estimate = rows["broker_trading_accounts_orders_estimation_post"]
    assert (False, "broker:trading.write") == (estimate.mutating, estimate.scope)
    assert ("idempotency-key",) == ALPACA.add_headers
    assert all(row.mutating for row in BROKER.rows if row.method != "GET" and row is not estimate)


@pytest.mark.parametrize(
    ("status", "body", "refused"),
    [
        (401, '{"code":40110000,"message":"request is not authorized"}', True),
        (401, '{"code": 40110000, "message": "request is not authorized."}', True),
        (401, '{"message":"unauthorized."}', True),
        (401, '{"code":40110000,"message":"token is not authorized for this scope"}', False),
        (403, '{"code":40310000,"message":"insufficient buying power"}', False),
        (403, '{"message":"forbidden."}', False),
        (401, "", False),
    ],
)
def test_a_refused_token_is_told_from_a_missing_scope(status: int, body: str, *, refused: bool) -> None:
    """One code stands for both; only for the first a new token helps, and neither proves that nothing was done."""
    assert refused == any(rule.matches(status, None, body.encode()) for rule in ALPACA.token_refused)
    assert not ALPACA.refusal_proves_nonexecution


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, '{"error":"invalid_grant"}', "dead_token"),
        (401, '{"error":"invalid_client","fields":[]}', "misconfigured"),
        (401, '{"code":40110000,"message":"invalid_client"}', "misconfigured"),
        (429, '{"error":"quota_exceeded"}', "try_later"),
        (502, "", "try_later"),
        (400, '{"error":"unknown_error"}', None),
    ],
)
def test_answers_of_the_token_endpoints_are_told_apart(status: int, body: str, kind: str | None) -> None:
    """Connect's and those of authx."""
    kinds = [
        name
        for name in ("dead_token", "misconfigured", "try_later")
        if any(rule.matches(status, "application/json", body.encode()) for rule in getattr(ALPACA, name))
    ]
    assert ([kind] if kind else []) == kinds
