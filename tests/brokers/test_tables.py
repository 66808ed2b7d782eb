"""The rows of a definition, as one table for each API."""

import pytest

from tests.brokers.plain import PLAIN, extend_text, good, read_text, spoilt

SEVERAL = PLAIN.replace("api_server: https://api.plain.test", "api_servers: {x: https://x.test, y: https://y.test}")
SEVERAL = (
    SEVERAL[: SEVERAL.index("rows:")]
    + """\
apis:
  x:
    rows:
      - {id: a, method: GET, path: "/v1/{account}", scope: read}
      - {id: d, method: POST, path: "/v1/{account}/move", deny: true}
      - {id: w, method: GET, path: /v1/stream, scope: read, websocket: true}
  y:
    rows:
      - {id: b, method: GET, path: "/v1/b/{account}", scope: write, sent_prefix: [/v1/b, /b]}
      - {id: f, method: POST, path: /v1/f, scope: write, fills: [client_secret]}
"""
)


def test_each_api_has_a_table_and_scopes_of_its_own() -> None:
    """The first one is the default; a row that is denied needs no scope, and gives none."""
    broker = good(SEVERAL)
    assert ["x", "y"] == list(broker.apis)
    assert "x" == broker.api().name
    assert [{"read"}, {"write"}] == [broker.api(name).scopes for name in ("x", "y")]
    _, denied, socket = broker.api("x").table.rows
    sent, filled = broker.api("y").table.rows
    assert (True, "", True) == (denied.deny, denied.scope, socket.websocket)
    assert (("/v1/b", "/b"), ("client_secret",)) == (sent.sent_prefix, filled.fills)


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("scope: write, mutating", "scope: wriet, mutating", "rows.1.scope: no such scope is declared"),
        ("rate: calls", "rate: cals", "rows.0.rate: no such rate is declared, did you mean 'calls'?"),
        ("mutating: true", "mutates: true", "rows.1.mutates: unknown key 'mutates', did you mean 'mutating'?"),
        ("mutating: true", 'mutating: "true"', "rows.1.mutating: must be true or false, not text"),
        ('on: "true"', "on: true", "rows.2.when_query.on: must be text, not true or false, put it in quotes"),
        ("method: POST", "method: post", ":16:5: rows.1: b: method 'post' is none of"),
        ("id: b, ", "", ":16:5: rows.1.id: is missing"),
        ("id: b", "id: a", "rows.1.path: row a: another row has this id"),
        ("/v1/s", '"/v1/{nobody}"', "rows.2.path: row c: the capture {nobody} has no type"),
        ('"[0-9]{8}"', '"[0-9]+"', ":13:19: params.account: is no type: `+` has no upper bound"),
        ("method: POST", "method: GET", "rows.1.path: row b: it takes the same calls as a"),
        ("scope: write, mutating", "mutating", ":16:5: rows.1.scope: is missing"),
        ("mutating: true", "deny: true", ":16:5: rows.1: b: it is denied, so that no scope may open it"),
        ("mutating: true", "sent_prefix: [/v1]", ":16:64: rows.1.sent_prefix: must be two texts"),
        (
            "path: /v1/s",
            f"path: /v1/s/{'x/' * 9}y, sent_prefix: [/v1, /a/b/c]",
            "rows.2: c: what sent_prefix makes of the path has more than 12 segments",
        ),
        ("mutating: true", "sent_prefix: [/v2, /x]", ":16:5: rows.1: b: sent_prefix must begin with the constant"),
        ("mutating: true", "websocket: true", ":16:5: rows.1: b: a WebSocket is opened by a GET"),
        ("rows:", "apis: {}\nrows:", "rows: stands beside `apis`, write `rows:` for one API, or `apis:` for several"),
        ("rows:", "row:", "rows: is missing, write `rows:` for one API, or `apis:` for several"),
    ],
)
def test_each_mistake_in_a_row_is_named_with_its_place(right: str, wrong: str, said: str) -> None:
    """A wrong row is an error with path, line, column and what to do."""
    problems = spoilt(right, wrong)
    assert any(said in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("id: b", "id: a", "apis.y.rows.0.id: a row of another API is called a"),
        ("  y:\n    rows:", "  y:\n    row:", "apis.y.row: unknown key 'row', did you mean 'rows'?"),
        ("path: /v1/f", "path: /token", "apis: row f takes POST /token, where tokens are handed out"),
        ("/v1/b/{account}", "/v1/token", "apis.y.rows.0: b: sent_prefix must begin with the constant"),
    ],
)
def test_mistakes_between_apis_are_found(right: str, wrong: str, said: str) -> None:
    """Names stand for one row of the broker, and no API has a row where tokens are handed out."""
    assert right in SEVERAL
    _, problems = read_text(SEVERAL.replace(right, wrong, 1))
    assert any(said in problem.replace("error: ", "") for problem in problems), problems


def test_two_paths_may_be_sent_as_one() -> None:
    """Clients that differ in how they begin a path reach the same call."""
    second = '- {id: b2, method: GET, path: "/v2/b/{account}", scope: write, sent_prefix: [/v2/b, /b]}\n      - {id: f,'
    assert {"b", "b2"} < {row.id for row in good(SEVERAL.replace("- {id: f,", second)).api("y").table.rows}


@pytest.mark.parametrize("broker", ["alpaca"])
@pytest.mark.parametrize(
    ("row", "loser"),
    [
        ("method: POST, path: /x/transfers, sent_prefix: [/x, /v2/wallets]", "wallets_transfers_post"),
        ('method: POST, path: "/x/{mine}", sent_prefix: [/x, /v2/wallets]', "wallets_transfers_post"),
        ("method: POST, path: /x/orders, sent_prefix: [/x, /v2]", "orders_post"),
        ("method: POST, path: /V2/orders", "orders_post"),
        ('method: DELETE, path: "/v2/Positions/{mine}"', "positions_one_delete"),
        ('method: DELETE, path: "/V2/{mine}"', "orders_delete"),
        ("method: POST, path: /v2/orders/", "orders_post"),
        ("method: POST, path: /v2/wallets/transfers/", "wallets_transfers_post"),
    ],
)
def test_no_row_opens_a_built_in_rows_call_by_another_name(broker: str, row: str, loser: str) -> None:
    """Neither with another scope, nor as harmless, nor where nothing opens it."""
    text = (
        f'params: {{mine: "[a-z]{{1,20}}"}}\napis: {{trading: {{rows: [{{id: mine, {row}, scope: "account:read"}}]}}}}'
    )
    _, problems = extend_text(text, broker)
    assert any(f"row mine: it would send calls of the built-in row {loser}" in each for each in problems), problems


def test_a_row_may_call_a_built_in_rows_call_by_another_name_under_its_rules() -> None:
    """For a client that begins its paths otherwise."""
    row = 'id: mine, method: PATCH, path: "/orders/{order_id}", scope: trading, sent_prefix: [/orders, /v2/orders]'
    row += ", mutating: true"
    order = "order: {kind: change, form: change}"
    assert [] == extend_text(f"apis: {{trading: {{rows: [{{{row}, {order}}}]}}}}", "alpaca")[1]
    for other in ("order: {kind: lower}", "order: none", "rate: trading"):
        problems = extend_text(f"apis: {{trading: {{rows: [{{{row}, {other}}}]}}}}", "alpaca")[1]
        assert ["it would send calls of the built-in row orders_one_patch" in each for each in problems] == [True]


def test_a_path_that_is_sent_as_another_reaches_no_token_endpoint() -> None:
    """What counts is what the broker would see."""
    text = SEVERAL.replace('"/v1/b/{account}"', "/v1/b/token").replace("[/v1/b, /b]", "[/v1/b, /]")
    assert any("cannot be sent as the start of a path" in problem for problem in read_text(text)[1])
    text = SEVERAL.replace('"/v1/b/{account}"', "/v1/b/token").replace("[/v1/b, /b]", "[/v1/b/token, /token]")
    assert any("row b takes GET /token, where tokens are handed out" in problem for problem in read_text(text)[1])


def test_a_user_adds_rows_to_one_of_several_apis() -> None:
    """Below the API's name; without one nobody could say which is meant."""
    row = "{id: mine, method: GET, path: /v2/mine, scope: data}"
    broker, problems = extend_text(f"apis: {{data: {{rows: [{row}]}}}}", "alpaca")
    assert [] == problems
    assert "mine" == broker.api("data").table.rows[-1].id
    assert len(broker.api().table.rows) == len([row for row in broker.api().table.rows if row.id != "mine"])
    _, problems = extend_text(f"rows: [{row}]", "alpaca")
    assert ["config.yaml:1:1: rows: there are several APIs, write them below apis: {trading: …}"] == problems


@pytest.mark.parametrize(
    "row",
    [
        "{id: x, method: POST, path: /v2/wallets/transfers, scope: trading}",
        "{id: x, method: POST, path: /v2/wallets/transfers, scope: trading, when_query: {a: b}}",
        '{id: x, method: DELETE, path: "/v2/wallets/whitelists/904837e3-3b76-47ec-b432-046db621571b", scope: trading}',
    ],
)
def test_a_call_that_is_denied_is_not_opened_by_a_users_row(row: str) -> None:
    """What no documented scope covers stays refused, whatever a configuration adds."""
    broker, problems = extend_text(f"apis: {{trading: {{rows: [{row}]}}}}", "alpaca")
    assert 1 == len(problems)
    assert "row x: it" in problems[0]
    assert {"x"}.isdisjoint(each.id for each in broker.api().table.rows) or "built-in row" in problems[0]


def test_a_user_may_deny_calls_of_their_own() -> None:
    """A row without a scope is a call that is told of and refused."""
    broker, problems = extend_text("rows: [{id: beta, method: POST, path: /v1/beta, deny: true}]")
    assert [] == problems
    assert broker.api().table.rows[-1].deny
