import re
from pathlib import Path

import pytest

from proxy.brokers import Broker, builtin
from proxy.brokers.reading import extend, read_broker
from proxy.brokers.section import Section
from proxy.config import Problem, parse_yaml

PLAIN = """\
title: Plain OAuth 2
login: code
scopes: {read: Read, write: Write}
environments:
  live:
    token_url: https://login.plain.test/token
    authorize_url: https://login.plain.test/authorize
    api_hosts: [api.plain.test]
    api_server: https://api.plain.test
refresh_token_life: 86400
expires_in: 3600
dead_token: [{json: {error: invalid_grant}}]
rate_limits: {calls: {per_second: 2.5}}
add_headers: [idempotency-key]
user_agent: plain/1.0
params: {account: "[0-9]{8}", symbol: "[A-Z][A-Z.]{0,9}"}
rows:
  - {id: a, method: GET, path: "/v1/{account}", scope: read, rate: calls, query: [x], max_body: 5}
  - {id: b, method: POST, path: "/v1/{account}", scope: write, mutating: true, body_without: [y]}
  - {id: c, method: GET, path: /v1/s, scope: read, when_query: {on: "true"}, enum: {m: [p, q]}, streaming: true}
"""


def _read(text: str, base: Path = Path("/etc/bearerd")) -> tuple[Broker | None, list[str]]:
    problems: list[Problem] = []
    document = parse_yaml(text, "plain.yaml")
    broker = read_broker(Section(document, (), problems), "plain", base)
    return broker, [str(problem) for problem in [*document.problems, *problems]]


def test_one_file_describes_a_plain_oauth_2_broker() -> None:
    """A definition is enough for a broker that bearerd has never heard of."""
    broker, problems = _read(PLAIN)
    assert [] == problems
    assert broker is not None
    live = broker.environments["live"]
    assert ("plain", "Plain OAuth 2", "code") == (broker.name, broker.title, broker.login)
    assert "api.plain.test" == str(live.api_server)
    assert (86400, 3600, 2.5) == (broker.refresh_token_life, broker.expires_in, broker.rate_limits["calls"].per_second)
    assert (("idempotency-key",), "plain/1.0") == (broker.add_headers, broker.user_agent)
    assert not broker.kills_old_token
    assert not broker.refusal_proves_nonexecution
    first, second, third = broker.table.rows
    assert ("a", ("x",), 5, "calls") == (first.id, first.query, first.body_limit, first.rate)
    assert (True, ("y",)) == (second.mutating, second.body_without)
    assert ((("on", "true"),), (("m", ("p", "q")),), True) == (third.when_query, third.enum, third.streaming)


MISTAKES = [
    ("title: Plain OAuth 2\n", "", "title: is missing"),
    ("title:", "tittle:", ":1:1: tittle: unknown key 'tittle', did you mean 'title'?"),
    ("login: code", "login: cod", ":2:8: login: is not one of paste, code, did you mean 'code'?"),
    ("https://login.plain.test/token", "http://login.plain.test/token", ":6:16: environments.live.token_url: must"),
    ("login.plain.test/token", "me@login.plain.test/token", ":6:16: environments.live.token_url: must be"),
    ("login.plain.test/token", "login.plain.test/token?x", ":6:16: environments.live.token_url: must be"),
    ("    token_url: https://login.plain.test/token\n", "", ":5:3: environments.live.token_url: is missing"),
    ("    authorize_url: https://login.plain.test/authorize\n", "", ":5:3: environments.live.authorize_url: is"),
    ("api_hosts: [api.plain.test]", "api_hosts: [api.plain.*]", ":8:17: environments.live.api_hosts.0: "),
    ("api_hosts: [api.plain.test]", "api_hosts: [other.test]", ":9:17: environments.live.api_server: is not among"),
    ("api_server: https://api.plain.test", "api_server: api.plain.test", ":9:17: environments.live.api_server: is no"),
    ("login.plain.test/token", "login.plain.test:65536/token", "environments.live.token_url: has no valid port"),
    ("login.plain.test/token", "login.plain.test:0/token", ":6:16: environments.live.token_url: has no valid port"),
    ("    api_server", "    ca_file: ~nobody/x\n    api_server", ":9:14: environments.live.ca_file: must be a path"),
    ("plain/1.0", '"plain\\r\\nx: y"', ":15:13: user_agent: must be 1 to 256 printable ASCII characters"),
    ("    api_server", "    max_life: 3\n    api_server", ":9:5: environments.live.max_life: unknown key 'max_life'"),
    ("    api_server", "    min_life: 1h\n    api_server", ":9:15: environments.live.min_life: must be a number"),
    ("    api_server", "    max_rotations_per_day: 1.5\n    api_server", ":9:28: environments.live.max_rotations"),
    ("refresh_token_life: 86400\n", "", "refresh_token_life: is missing"),
    ("[{json: {error: invalid_grant}}]", "[{}]", "dead_token.0: says nothing about the answer"),
    ("[{json: {error: invalid_grant}}]", "[{json: {error: true}}]", ":12:29: dead_token.0.json.error: must be text"),
    ("[{json: {error: invalid_grant}}]", "[{code: 400}]", ":12:15: dead_token.0.code: unknown key 'code'"),
    ("per_second: 2.5", "per_minute: 2", ":13:23: rate_limits.calls.per_minute: unknown key 'per_minute'"),
    ("[idempotency-key]", "[authorization]", ":14:15: add_headers.0: is no header that may be added"),
    ("[idempotency-key]", "[x-method-override]", ":14:15: add_headers.0: is no header that may be added"),
    ("[idempotency-key]", "[x-forwarded-for]", ":14:15: add_headers.0: is no header that may be added"),
    ("[idempotency-key]", "[Idempotency-Key]", ":14:15: add_headers.0: is no header that may be added"),
    ("scope: write, mutating", "scope: wriet, mutating", "rows.1.scope: no such scope is declared"),
    ("rate: calls", "rate: cals", "rows.0.rate: no such rate is declared, did you mean 'calls'?"),
    ("mutating: true", "mutates: true", "rows.1.mutates: unknown key 'mutates', did you mean 'mutating'?"),
    ("mutating: true", 'mutating: "true"', "rows.1.mutating: must be true or false, not text"),
    ('on: "true"', "on: true", "rows.2.when_query.on: must be text, not true or false, put it in quotes"),
    ("method: POST", "method: post", ":19:5: rows.1: b: method 'post' is none of"),
    ("id: b, ", "", ":19:5: rows.1.id: is missing"),
    ("id: b", "id: a", "rows.1.path: row a: another row has this id"),
    ("/v1/s", '"/v1/{nobody}"', "rows.2.path: row c: the capture {nobody} has no type"),
    ('"[0-9]{8}"', '"[0-9]+"', ":16:19: params.account: is no type: `+` has no upper bound"),
    ("method: POST", "method: GET", "rows.1.path: row b: it takes the same calls as a"),
    ("path: /v1/s", "path: /token", "rows: row c takes GET /token, where tokens are handed out, remove the row"),
    ("path: /v1/s", "path: /authorize", "rows: row c takes GET /authorize, where tokens are handed out"),
    ("  - {id: c", "  - 7\n  - {id: c", ":20:5: rows.2: must be a mapping, not a number"),
]  # fmt: skip


@pytest.mark.parametrize(("right", "wrong", "said"), MISTAKES)
def test_each_mistake_is_named_with_its_place(right: str, wrong: str, said: str) -> None:
    """A wrong definition is an error with path, line, column and what to do."""
    assert right in PLAIN
    _, problems = _read(PLAIN.replace(right, wrong, 1))
    assert any(said in problem.replace("error: ", "", 1) for problem in problems), problems
    assert all(problem.startswith("plain.yaml") for problem in problems)


def test_all_mistakes_come_at_once() -> None:
    """Mistakes in different places don't hide each other."""
    text = PLAIN
    for right, wrong in (
        ("title:", "tittle:"),
        ("rate: calls", "rate: cals"),
        ("per_second", "per_sec"),
        ("code", "cod"),
    ):
        text = text.replace(right, wrong, 1)
    broker, problems = _read(text)
    assert broker is None
    assert {"1", "2", "13", "18"} <= {found[1] for each in problems if (found := re.match(r"plain\.yaml:(\d+):", each))}


def test_a_name_leads_to_a_private_address_only_where_it_is_listed() -> None:
    """One by one, by name: what a user adds for a lab says nothing about the hosts that were there before."""
    broker, problems = _extend("environments: {live: {private_hosts: [simulator, lab.internal]}}")
    assert [] == problems
    assert frozenset({"simulator", "lab.internal"}) == broker.environments["live"].private_hosts
    assert frozenset() == broker.environments["practice"].private_hosts


@pytest.mark.parametrize("name", ["", "lab:9443", "*.internal", "Lab", "a_b", "-a", "https://lab"])
def test_what_is_no_name_is_no_private_host(name: str) -> None:
    """A pattern or an address has no place there."""
    _, problems = _extend(f'environments: {{live: {{private_hosts: ["{name}"]}}}}')
    assert 1 == len(problems)
    assert "is no host name" in problems[0] or "empty" in problems[0], problems


def _extend(text: str) -> tuple[Broker, list[str]]:
    problems: list[Problem] = []
    document = parse_yaml(text, "config.yaml")
    broker = extend(Section(document, (), problems), builtin("questrade"), Path("/etc/bearerd"))
    return broker, [str(problem) for problem in [*document.problems, *problems]]


def test_a_user_adds_an_environment_of_their_own() -> None:
    """A lab has its own hosts, CA and times; relative files start at the configuration."""
    broker, problems = _extend(
        """\
environments:
  lab: {token_url: "https://127.0.0.1:9443/oauth2/token", api_hosts: ["127.0.0.1:*"], ca_file: lab-ca.pem,
        min_life: 1, renew_cooldown: 0, max_rotations_per_day: 0}
"""
    )
    assert [] == problems
    lab = broker.environments["lab"]
    assert "/etc/bearerd/lab-ca.pem" == lab.ca_file
    assert (1, 0, 0) == (lab.min_life, lab.renew_cooldown, lab.max_rotations_per_day)
    assert {"live", "practice", "lab"} == set(broker.environments)
    assert broker.table.rows == builtin("questrade").table.rows


def test_a_user_completes_a_built_in_environment() -> None:
    """What the user names is added to or replaces the built-in value; all else stays."""
    broker, problems = _extend(
        'environments: {practice: {api_hosts: ["api##.practice.test"]}, live: {min_life: 90, api_hosts: ["x.test"]}}'
    )
    assert [] == problems
    practice, live = broker.environments["practice"], broker.environments["live"]
    assert ["api##.practice.test"] == [host.text for host in practice.api_hosts]
    assert "https://practicelogin.questrade.com/oauth2/token" == practice.token_url
    assert ["api##.iq.questrade.com", "x.test"] == [host.text for host in live.api_hosts]
    assert (90, 120) == (live.min_life, live.renew_cooldown)
    assert "https://login.questrade.com/oauth2/revoke" == live.revoke_url


def test_a_user_adds_rows_scopes_and_types() -> None:
    """More rows become part of the same table, with scopes and capture types of their own."""
    broker, problems = _extend(
        """\
scopes: {beta: Calls that are not documented}
params: {list: "[a-z]{1,20}"}
rows:
  - {id: watchlists, method: GET, path: "/v1/watchlists/{list}", scope: beta}
  - {id: activities_slash, method: GET, path: "/v1/accounts/{account}/activities/", scope: read_acc, rate: account}
"""
    )
    assert [] == problems
    assert 31 == len(broker.table.rows)
    assert "beta" in broker.scopes
    assert 1 == len(broker.table.rows_at("GET", (b"v1", b"watchlists", b"mine")))
    assert 1 == len(broker.table.rows_at("GET", (b"v1", b"accounts", b"26598145", b"activities", b"")))


def test_a_row_that_takes_only_refused_calls_may_be_added() -> None:
    """Beside a built-in row: a word where it has digits, another method, another value of a name that decides."""
    _, problems = _extend(
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
    ],
)  # fmt: skip
def test_a_wrong_extension_is_named_with_its_place(text: str, said: str) -> None:
    """What cannot be added to a built-in broker is an error, and the broker stays as it was."""
    broker, problems = _extend(text)
    assert any(said in problem.replace("error: ", "", 1) for problem in problems), problems
    assert {row.id for row in builtin("questrade").table.rows} <= {row.id for row in broker.table.rows}
