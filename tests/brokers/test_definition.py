import pytest

from proxy.brokers import builtin
from proxy.brokers.definition import BEARER, AnswerRule, Api, Endpoints, Environment, Login, Placement
from proxy.gate.scopes import Row, ScopeTable

JSON = (
    b'{"error": "invalid_grant", "code": 7, "flag": true, "deep": {"error": "x", "list": [1]}, "a.b": "c", "no": null}'
)


@pytest.mark.parametrize(
    ("rule", "status", "body", "expected"),
    [
        (AnswerRule(), 400, b"", False),
        (AnswerRule(status=400), 400, b"x", True),
        (AnswerRule(status=400), 401, b"x", False),
        (AnswerRule(text="Bad Request"), 500, b" Bad Request\n", True),
        (AnswerRule(text="Bad Request"), 400, b"Bad Request!", False),
        (AnswerRule(text="Bad Request"), 400, b"bad request", False),
        (AnswerRule(contains="Request"), 400, b"Bad Request!", True),
        (AnswerRule(contains="Request", status=401), 400, b"Bad Request!", False),
        (AnswerRule(contains="nope"), 400, b"Bad Request!", False),
        (AnswerRule(json=(("error", "invalid_grant"),)), 400, JSON, True),
        (AnswerRule(json=(("error", "invalid_grant"), ("code", 7))), 400, JSON, True),
        (AnswerRule(json=(("code", "7"),)), 400, JSON, True),
        (AnswerRule(json=(("code", 8),)), 400, JSON, False),
        (AnswerRule(json=(("flag", "True"),)), 400, JSON, False),
        (AnswerRule(json=(("missing", "None"),)), 400, JSON, False),
        (AnswerRule(json=(("error", "x"),)), 400, JSON, False),
        (AnswerRule(json=(("deep.error", "x"),)), 400, JSON, True),
        (AnswerRule(json=(("deep.error", "y"),)), 400, JSON, False),
        (AnswerRule(json=(("deep.error.x", "x"),)), 400, JSON, False),
        (AnswerRule(json=(("deep.list", "[1]"),)), 400, JSON, False),
        (AnswerRule(json=(("deep", "x"),)), 400, JSON, False),
        (AnswerRule(json=(("a.b", "c"),)), 400, JSON, True),
        (AnswerRule(json=(("no", "None"),)), 400, JSON, False),
        (AnswerRule(json=(("error", "x"),)), 400, b"not json", False),
        (AnswerRule(json=(("error", "x"),)), 400, b"[" * 100_000, False),
        (AnswerRule(json=(("error", "x"),)), 400, b'"error"', False),
        (AnswerRule(text="\ufffd"), 400, b"\xff", True),
    ],
)
def test_a_rule_holds_if_all_its_parts_do(rule: AnswerRule, status: int, body: bytes, *, expected: bool) -> None:
    """Status, text and members, also below others, must all fit; a rule without parts fits nothing; no body raises."""
    assert expected == rule.matches(status, "application/json", body)


@pytest.mark.parametrize(
    ("placement", "parts"),
    [
        (BEARER, 1),
        (Placement("basic"), 2),
        (Placement("headers", ("X-Id", "X-Secret")), 2),
        (Placement("headers", ("X-Key",)), 1),
        (Placement("query", ("apikey",)), 1),
    ],
)
def test_a_placement_knows_how_many_values_it_takes(placement: Placement, parts: int) -> None:
    """A user and a password, one for each header, or one."""
    assert parts == placement.parts


def test_a_login_serves_the_apis_that_it_names_or_all() -> None:
    """A login that names none is good for every API."""
    assert Login("x", "code").serves("main")
    assert [True, False] == [Login("x", "code", apis=("a",)).serves(api) for api in ("a", "b")]


def test_an_apis_scopes_are_those_of_the_rows_that_some_scope_opens() -> None:
    """A denied row adds none."""
    rows = [Row("a", "GET", "/a", "read"), Row("b", "POST", "/b", "", deny=True), Row("c", "GET", "/c", "read")]
    assert {"read"} == Api("main", ScopeTable(rows, {})).scopes


def test_a_broker_without_a_name_gives_the_first() -> None:
    """Of its APIs and of its logins; a name that is none raises."""
    broker = builtin("tradier")
    assert ("rest", "ws") == (broker.api().name, broker.api("ws").name)
    assert ("personal", "code") == (broker.login().name, broker.login("code").name)
    with pytest.raises(LookupError):
        broker.api("main")
    with pytest.raises(LookupError):
        broker.login("main")


def test_an_environment_has_the_endpoints_of_its_logins_only() -> None:
    """Asked for another login, it raises."""
    environment = Environment("lab", logins={"x": Endpoints("https://t.test/t")})
    assert "https://t.test/t" == environment.endpoints(Login("x", "code")).token_url
    with pytest.raises(LookupError):
        environment.endpoints(Login("y", "code"))
