"""A definition as a whole, and what a user adds to a built-in one."""

import re

import pytest

from proxy.brokers import builtin
from tests.brokers.plain import PLAIN, extend_text, good, read_text, spoilt


def test_one_file_describes_a_plain_oauth_2_broker() -> None:
    """A definition is enough for a broker that bearerd has never heard of."""
    broker = good()
    live, login = broker.environments["live"], broker.login()
    assert ("plain", "Plain OAuth 2", "code") == (broker.name, broker.title, login.name)
    assert "api.plain.test" == str(live.api_servers["main"])
    assert ["api.plain.test"] == [host.text for host in live.api_hosts]
    assert "https://login.plain.test/token" == live.endpoints(login).token_url
    rate = broker.rate_limits["calls"]
    assert (86400, 3600, 2.5, 100) == (login.refresh_token_life, login.expires_in, rate.per_second, rate.per_minute)
    assert (("idempotency-key",), "plain/1.0") == (broker.add_headers, broker.user_agent)
    assert not broker.kills_old_token
    assert not broker.refusal_proves_nonexecution
    assert not broker.api_server_in_answer
    assert {"read", "write"} == broker.api().scopes
    first, second, third = broker.api("main").table.rows
    assert ("a", ("x",), 5, "calls") == (first.id, first.query, first.body_limit, first.rate)
    assert (True, ("y",)) == (second.mutating, second.body_without)
    assert ((("on", "true"),), (("m", ("p", "q")),), True) == (third.when_query, third.enum, third.streaming)


MISTAKES = [
    ("title: Plain OAuth 2\n", "", "title: is missing"),
    ("title:", "tittle:", ":1:1: tittle: unknown key 'tittle', did you mean 'title'?"),
    ("logins: {code", "logins: {1: {}, code", ":3:10: logins.1.kind: is missing"),
    ("logins: {code", "logins: {a_b: {kind: secret}, code", ":3:10: logins.a_b: 'a_b' is no name, use lower-case"),
    ("environments:\n", "environments:\n  Live: {}\n", ":5:3: environments.Live: 'Live' is no name"),
    ("logins:", "logins: {}\nlogin_s:", ":3:1: logins: is empty, name at least one"),
    ("rows:", "apis: {}\nrow:", ":14:1: apis: is empty, name at least one"),
    ("logins:", "login: code\nlogins:", ":3:1: login: unknown key 'login', did you mean 'logins'?"),
    ("https://login.plain.test/token", "http://login.plain.test/token", ":6:16: environments.live.token_url: must"),
    ("    token_url: https://login.plain.test/token\n", "", ":5:3: environments.live.token_url: is missing"),
    ("plain/1.0", '"plain\\r\\nx: y"', ":12:13: user_agent: must be 1 to 256 printable ASCII characters"),
    ("dead_token: [{json: {error: invalid_grant}}]\n", "", "dead_token: is missing"),
    ("[{json: {error: invalid_grant}}]", "[{}]", "dead_token.0: says nothing about the answer"),
    ("[{json: {error: invalid_grant}}]", "[{json: {error: true}}]", ":9:29: dead_token.0.json.error: must be text"),
    ("[{json: {error: invalid_grant}}]", "[{code: 400}]", ":9:15: dead_token.0.code: unknown key 'code'"),
    ("per_second: 2.5", "per_day: 2", ":10:23: rate_limits.calls.per_day: unknown key 'per_day'"),
    ("[idempotency-key]", "[authorization]", ":11:15: add_headers.0: is no header that may be added"),
    ("[idempotency-key]", "[x-method-override]", ":11:15: add_headers.0: is no header that may be added"),
    ("[idempotency-key]", "[x-forwarded-for]", ":11:15: add_headers.0: is no header that may be added"),
    ("[idempotency-key]", "[Idempotency-Key]", ":11:15: add_headers.0: is no header that may be added"),
    ("user_agent", "partner_oauth: {token: z}\nuser_agent", ":12:24: partner_oauth.token: there is no row 'z'"),
    ("user_agent", "partner_oauth: {tokens: a}\nuser_agent", ":12:17: partner_oauth.tokens: unknown key 'tokens'"),
    ("path: /v1/s", "path: /token", "rows: row c takes GET /token, where tokens are handed out, remove the row"),
    ("path: /v1/s", "path: /authorize", "rows: row c takes GET /authorize, where tokens are handed out"),
    ("path: /v1/s", "path: /v1/token, sent_prefix: [/v1/token, /token]", "rows: row c takes GET /token, where tokens"),
    ("  - {id: c", "  - 7\n  - {id: c", ":17:5: rows.2: must be a mapping, not a number"),
]  # fmt: skip


@pytest.mark.parametrize(("right", "wrong", "said"), MISTAKES)
def test_each_mistake_is_named_with_its_place(right: str, wrong: str, said: str) -> None:
    """A wrong definition is an error with path, line, column and what to do."""
    problems = spoilt(right, wrong)
    assert any(said in problem for problem in problems), problems


def test_a_client_puts_nothing_where_a_login_has_its_credential() -> None:
    """Not even while the grant is of another login."""
    text = PLAIN.replace("logins: {", "logins: {pair: {kind: secret, placement: {headers: [X-Key]}}, ")
    _, problems = read_text(text.replace("[idempotency-key]", "[etag, x-key]"))
    assert ["plain.yaml:11:21: error: add_headers.1: carries a login's credential, remove it"] == problems


def test_rows_of_one_api_may_stand_in_two_places() -> None:
    """Beside the API's name, and without it: all of them count."""
    rows = "[{id: x, method: GET, path: /v1/x, scope: read_acc}]"
    broker, problems = extend_text(f"rows: {rows}\napis: {{main: {{rows: {rows.replace('x', 'y')}}}}}")
    assert [] == problems
    assert {"x", "y"} <= {row.id for row in broker.api().table.rows}


def test_all_mistakes_come_at_once() -> None:
    """Mistakes in different places don't hide each other."""
    text = PLAIN
    for right, wrong in (
        ("title:", "tittle:"),
        ("rate: calls", "rate: cals"),
        ("per_second", "per_sec"),
        ("kind: code", "kind: cod"),
    ):
        text = text.replace(right, wrong, 1)
    broker, problems = read_text(text)
    assert broker is None
    assert {"1", "3", "10", "15"} <= {found[1] for each in problems if (found := re.match(r"plain\.yaml:(\d+):", each))}


def test_a_user_adds_an_environment_of_their_own() -> None:
    """A lab has its own hosts, CA and times; relative files start at the configuration."""
    broker, problems = extend_text(
        """\
environments:
  lab: {token_url: "https://127.0.0.1:9443/oauth2/token", api_hosts: ["127.0.0.1:*"], ca_file: lab-ca.pem,
        min_life: 1, renew_cooldown: 0, max_rotations_per_day: 0, token_concurrency: 2}
"""
    )
    assert [] == problems
    lab = broker.environments["lab"]
    assert "/etc/bearerd/lab-ca.pem" == lab.ca_file
    assert (1, 0, 0, 2) == (lab.min_life, lab.renew_cooldown, lab.max_rotations_per_day, lab.token_concurrency)
    assert {"live", "practice", "lab"} == set(broker.environments)
    assert broker.api().table.rows == builtin("questrade").api().table.rows


def test_a_user_completes_a_built_in_environment() -> None:
    """What the user names is added to or replaces the built-in value; all else stays."""
    broker, problems = extend_text(
        'environments: {practice: {api_hosts: ["api##.practice.test"]}, live: {min_life: 90, api_hosts: ["x.test"]}}'
    )
    assert [] == problems
    practice, live = broker.environments["practice"], broker.environments["live"]
    assert ["api##.practice.test"] == [host.text for host in practice.api_hosts]
    login = broker.login()
    assert "https://practicelogin.questrade.com/oauth2/token" == practice.endpoints(login).token_url
    assert ["api##.iq.questrade.com", "x.test"] == [host.text for host in live.api_hosts]
    assert (90, 120) == (live.min_life, live.renew_cooldown)
    assert "https://login.questrade.com/oauth2/revoke" == live.endpoints(login).revoke_url


def test_a_user_adds_rows_scopes_and_types() -> None:
    """More rows become part of the same table, with scopes and capture types of their own."""
    broker, problems = extend_text(
        """\
scopes: {beta: Calls that are not documented}
params: {list: "[a-z]{1,20}"}
rows:
  - {id: watchlists, method: GET, path: "/v1/watchlists/{list}", scope: beta}
  - {id: activities_slash, method: GET, path: "/v1/accounts/{account}/activities/", scope: read_acc, rate: account}
"""
    )
    assert [] == problems
    assert 31 == len(broker.api().table.rows)
    assert "beta" in broker.scopes
    assert 1 == len(broker.api().table.rows_at("GET", (b"v1", b"watchlists", b"mine")))
    assert 1 == len(broker.api().table.rows_at("GET", (b"v1", b"accounts", b"26598145", b"activities", b"")))


def test_a_row_that_takes_only_refused_calls_may_be_added() -> None:
    """Beside a built-in row: a word where it has digits, another method, another value of a name that decides."""
    _, problems = extend_text(
        """\
params: {word: "[a-z]{1,20}"}
rows:
  - {id: a, method: GET, path: "/v1/accounts/{account}/orders/recent", scope: read_acc}
  - {id: b, method: PUT, path: "/v1/accounts/{account}/orders/{order}", scope: trade}
  - {id: c, method: GET, path: /v1/markets/quotes, scope: read_md, when_query: {stream: "false"}}
  - {id: d, method: GET, path: "/v1/symbols/{word}", scope: read_acc}
"""
    )
    assert [] == problems


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tokens: {}", ":1:1: tokens: unknown key 'tokens'"),
        ("kills_old_token: false", ":1:1: kills_old_token: is fixed for a built-in broker"),
        ("environments: {lab: {api_hosts: []}}", ":1:16: environments.lab.token_url: is missing"),
        ("environments: {lab: {token_url: x}}", ":1:33: environments.lab.token_url: must be an https:// address"),
        ('params: {account: "[0-9]{9}"}', ":1:10: params.account: is a type of the built-in broker"),
        ("rows: [{id: time, method: GET, path: /v1/x, scope: read_acc}]", "rows.0.path: row time: another row has"),
        ("rows: [{id: t2, method: GET, path: /v1/time, scope: trade}]", "rows.0.path: row t2: it takes the same cal"),
        ("rows: [{id: t, method: GET, path: /oauth2/token, scope: trade}]", "rows: row t takes GET /oauth2/token"),
        ("rows: [{id: t, method: POST, path: /oauth2/revoke, scope: trade, when_query: {a: b}}]", "row t takes POST"),
        ('params: {n: "[0-9]{1,9}"}\nrows: [{id: t, method: GET, path: "/v1/symbols/{n}", scope: trade}]',
         "rows.0.path: row t: it and symbol could take the same target"),
        ("rows: [{id: t, method: POST, path: /OAuth2/Token, scope: trade}]", "rows: row t takes POST /oauth2/token"),
        ("rows: [{id: t, method: POST, path: /oauth2/token/, scope: trade}]", "rows: row t takes POST /oauth2/token"),
        ("rows: [{id: t, method: POST, path: /v1/accounts/26598145/orders, scope: read_acc}]",
         ":1:36: rows.0.path: row t: it would take calls of the built-in row order_new, remove it"),
        ('rows: [{id: t, method: DELETE, path: "/v1/accounts/26598145/orders/{order}", scope: read_acc}]',
         "it would take calls of the built-in row order_cancel"),
        ('rows: [{id: t, method: POST, path: "/v1/accounts/{account}/orders", scope: read_acc, when_query: {a: b}}]',
         "it would take calls of the built-in row order_new"),
        ('rows: [{id: t, method: GET, path: /v1/markets/quotes, scope: read_acc, when_query: {stream: "true", a: b}}]',
         "it would take calls of the built-in row quotes"),
        ("rows: {}", ":1:1: rows: must be a list, not a mapping"),
        ("logins: {own: {kind: secret}}", ":1:1: logins: is fixed for a built-in broker"),
        ("apis: {other: {rows: []}}", ":1:8: apis.other: there is no API 'other', known: main"),
    ],
)  # fmt: skip
def test_a_wrong_extension_is_named_with_its_place(text: str, said: str) -> None:
    """What cannot be added to a built-in broker is an error, and the broker stays as it was."""
    broker, problems = extend_text(text)
    assert any(said in problem for problem in problems), problems
    assert {row.id for row in builtin("questrade").api().table.rows} <= {row.id for row in broker.api().table.rows}
