"""The rows of every broker that comes with bearerd: each is allowed by its own call, and by nothing near it."""

import csv
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.brokers import builtin, builtin_names
from proxy.gate.scopes import Match, Row
from proxy.gate.target import parse
from tests.brokers.near import CAPTURES, HERE, Table, query_of, table, tables

JUNK = ("", "False=False", "startTime=2026-01-01T00%3A00%3A00%2B00%3A00&ids=1%2C2", "a;b=c&&=")
MOUNTS = ("/mount", "/mount/", "", "/")
FLAGS = ("mutating", "streaming", "inferred", "deny", "websocket")

each_row = pytest.mark.parametrize(
    ("each", "row"), [(each, row) for each in tables() for row in each.rows], ids=lambda of: getattr(of, "id", str(of))
)


def _line(api: str, row: Row) -> dict[str, str]:
    return {
        "api": api,
        "id": row.id,
        "method": row.method,
        "path": row.path,
        "when": "&".join(f"{name}={value}" for name, value in row.when_query),
        "scope": row.scope,
        "rate": row.rate or "",
        **{flag: "yes" if getattr(row, flag) else "" for flag in FLAGS},
        "sent": row.sent(row.path.encode()).decode() if row.sent_prefix else "",
        "fills": " ".join(row.fills),
    }


@pytest.mark.parametrize(("broker", "rows"), [("questrade", 29), ("tradier", 55), ("alpaca", 292)])
def test_the_rows_are_those_of_the_public_table(broker: str, rows: int) -> None:
    """All rows agree with the committed table in path, scope, rate category, flags and what is sent."""
    found = [_line(api.name, row) for api in builtin(broker).apis.values() for row in api.table.rows]
    lines = list(csv.DictReader((HERE / f"{broker}_rows.csv").read_text(encoding="utf-8").splitlines()))
    assert rows == len(found)
    assert sorted(lines, key=lambda line: line["id"]) == sorted(found, key=lambda line: line["id"])


def test_every_broker_has_a_public_table() -> None:
    """A definition that is added without one would go untested."""
    assert set(builtin_names()) == CAPTURES.keys()
    for name in builtin_names():
        params = {param for api in builtin(name).apis.values() for param in api.table.params}
        assert params == CAPTURES[name].keys()


@each_row
def test_each_row_takes_its_own_call(each: Table, row: Row) -> None:
    """Under a mount or at the root, with any value that fits and anything else in the query; kept byte for byte."""
    for which in range(5):
        raw = each.path(row, which)
        values = dict(zip(row.segments, raw[1:].split("/"), strict=True))
        for junk in JUNK:
            asked = "&".join(part for part in (junk, query_of(row)) if part)
            whole = raw + (f"?{asked}" if asked else "")
            for mount in MOUNTS:
                target = parse((mount + whole).encode(), mount=None if mount.startswith("/m") else "mount")
                found = builtin(each.broker).api(each.api).table.match(row.method, target)
                assert isinstance(found, Match), whole
                assert row == found.row
                assert whole.encode() == target.sent
                assert [(name, values[f"{{{name}}}"].encode()) for name in row.captures] == list(found.captures)


@each_row
def test_near_misses_of_each_row_are_refused(each: Table, row: Row) -> None:
    """Another method, case, length, digit or query value is refused, unless it is the call of another row."""
    misses = list(each.near(row))
    assert 5 <= len(misses)
    assert [] == [miss for miss in misses if isinstance(each.decide(*miss), Match)]


def test_no_row_goes_without_its_tests() -> None:
    """Every row of every definition has its own call and five others that are refused, or the build fails."""
    everywhere = {
        (name, api.name, row.id)
        for name in builtin_names()
        for api in builtin(name).apis.values()
        for row in api.table.rows
    }
    assert everywhere == {(each.broker, each.api, row.id) for each in tables() for row in each.rows}
    for each in tables():
        for row in each.rows:
            asked = f"?{query_of(row)}" if query_of(row) else ""
            found = each.decide(row.method, each.path(row) + asked)
            assert isinstance(found, Match)
            assert row == found.row
            refused = [miss for miss in each.near(row) if not isinstance(each.decide(*miss), Match)]
            assert 5 <= len(refused), row.id


TOKEN_PATHS = [
    ("questrade", ["/oauth2/token", "/oauth2/authorize", "/oauth2/revoke"]),
    ("tradier", ["/v1/oauth/authorize", "/v1/oauth/accesstoken", "/v1/oauth/refreshtoken", "/oauth/authorize"]),
    ("alpaca", ["/oauth/token", "/oauth/authorize", "/v1/oauth2/token", "/v1/oauth2/authorize", "/v1/oauth2/revoke"]),
]


@pytest.mark.parametrize(("broker", "paths"), TOKEN_PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_no_row_reaches_a_token_endpoint(broker: str, paths: list[str], method: str) -> None:
    """On none of its APIs: no client gets at tokens through us."""
    for each in (each for each in tables() if each.broker == broker):
        for path in paths:
            for other in (path, path + "/", path.title(), path.upper(), path + "/x"):
                assert not isinstance(each.decide(method, other), Match)


def test_calls_of_one_api_are_no_calls_of_another() -> None:
    """Alpaca's broker calls are refused at its trading API, and the partner's OAuth everywhere but there."""
    trading, broker, data = (table("alpaca", api) for api in ("trading", "broker", "data"))
    for method, path in (("POST", "/v1/oauth/token"), ("GET", "/v1/accounts"), ("POST", "/v1/journals")):
        assert isinstance(broker.decide(method, path), Match)
        assert "scope-denied" == trading.decide(method, path) == data.decide(method, path)
    assert "scope-denied" == broker.decide("GET", "/v2/account") == data.decide("POST", "/v2/orders")


def test_what_has_no_scope_is_matched_and_denied() -> None:
    """Moving crypto, and minting, at Alpaca: rows that no scope opens, and that name no scope."""
    denied = [(row.method, row.path) for each in tables() for row in each.rows if row.deny]
    wallets = [("POST", "transfers"), ("POST", "whitelists"), ("DELETE", "whitelists/{whitelisted_address_id}")]
    expected = [(method, f"/v2{under}/wallets/{path}") for under in ("", "/perpetuals") for method, path in wallets]
    assert sorted([*expected, ("POST", "/v2/tokenization/mint")]) == sorted(denied)
    assert {""} == {row.scope for each in tables() for row in each.rows if row.deny}


def _pieces(each: Table) -> st.SearchStrategy[list[str]]:
    words = sorted({segment for row in each.rows for segment in each.path(row)[1:].split("/")})
    signs = ("/", "/", "/", "//", ".", "..", "%2F", "%2e", ";", ":", "@", "+", "x", "%", "?", "&", "=", "%26", "%3A")
    query = ("stream=true", "Stream=true", "mode=WebSocket", "stateFilter=Open", "ids=1%2C2")
    return st.lists(st.one_of(st.sampled_from(words), st.sampled_from((*signs, *query))), max_size=12)


def _drawn() -> Iterator[tuple[Table, st.SearchStrategy[list[str]]]]:
    return ((each, _pieces(each)) for each in tables())


@given(data=st.data(), drawn=st.sampled_from(list(_drawn())), method=st.sampled_from(["GET", "POST", "DELETE", "HEAD"]))
def test_what_matches_is_in_the_table_and_sent_as_it_is(
    data: st.DataObject, drawn: tuple[Table, st.SearchStrategy[list[str]]], method: str
) -> None:
    """For any mix of pieces: a refusal, or exactly the bytes of a call that the committed table has."""
    each, pieces = drawn
    raw = "/" + "".join(data.draw(pieces))
    found = each.decide(method, raw)
    if isinstance(found, Match):
        path = raw.partition("?")[0].replace("//", "/", 1)
        line = next(line for line in each.lines if line["id"] == found.row.id)
        forms = {name: form for name, (form, _) in CAPTURES[each.broker].items()}
        form = re.sub(r"\{(\w+)\}", lambda name: f"(?:{forms[name[1]]})", line["path"])
        assert method == line["method"]
        assert re.fullmatch(form, path, re.ASCII)
        assert raw.replace("//", "/", 1).encode() == parse(raw.encode(), mount="mount").sent
        # Only the stream's row lets a call through whose query anybody could read as one.
        if each.broker == "questrade" and line["path"] == "/v1/markets/quotes" and line["method"] == "GET":
            assert ("stream=true" in raw) == (line["when"] == "stream=true")
