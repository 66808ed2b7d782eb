import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import process_time
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gate.scopes import Denied, Match, Row, ScopeTable, TableError, alike, disguised
from proxy.gate.target import parse

PARAMS = {
    "account": "[0-9]{8}",
    "order": "[0-9]{1,18}",
    "symbol": "[A-Z][A-Z0-9.]{0,11}",
    "pair": "[A-Z]{3}%2F[A-Z]{3}",
}


def _row(name: str, call: str, **fields: object) -> Row:
    method, _, path = call.partition(" ")
    return Row(**{"id": name, "method": method, "path": path, "scope": "read"} | fields)  # type: ignore[arg-type]


def _table(*rows: Row) -> ScopeTable:
    return ScopeTable(rows, PARAMS)


def _decide(table: ScopeTable, call: str) -> str | Denied:
    method, _, raw = call.partition(" ")
    found = table.match(method, parse(raw.encode(), mount="m"))
    return found.row.id if isinstance(found, Match) else found


TABLE = _table(
    _row("accounts", "GET /v1/accounts"),
    _row("orders", "GET /v1/accounts/{account}/orders"),
    _row("order_new", "POST /v1/accounts/{account}/orders"),
    _row("order", "GET /v1/accounts/{account}/orders/{order}"),
    _row("order_replace", "POST /v1/accounts/{account}/orders/{order}"),
    _row("impact", "POST /v1/accounts/{account}/orders/impact"),
    _row("movers", "GET /v1/stocks/movers"),
    _row("bars", "GET /v1/stocks/{symbol}/bars"),
    _row("movers_top", "GET /v1/stocks/movers/top"),
    _row("snapshot", "GET /v1/stocks/MOVERS"),
    _row("stock", "GET /v1/stocks/{symbol}"),
    _row("asset", "GET /v1/assets/{pair}"),
    _row("slashed", "GET /v1/slashed/"),
)


@pytest.mark.parametrize(
    ("call", "row"),
    [
        ("GET /v1/accounts", "accounts"),
        ("GET /v1/accounts?", "accounts"),
        ("GET /v1/accounts?False=False", "accounts"),
        ("GET /v1/accounts/26598145/orders", "orders"),
        ("POST /v1/accounts/26598145/orders", "order_new"),
        ("POST /v1/accounts/26598145/orders/7", "order_replace"),
        ("POST /v1/accounts/26598145/orders/impact", "impact"),
        ("GET /v1/stocks/movers", "movers"),
        ("GET /v1/stocks/MOVERS", "snapshot"),
        ("GET /v1/stocks/MOVERS/bars", "bars"),
        ("GET /v1/stocks/BRK.B", "stock"),
        ("GET /v1/assets/BTC%2FUSD", "asset"),
        ("GET /v1/slashed/", "slashed"),
    ],
)
def test_a_call_finds_its_one_row(call: str, row: str) -> None:
    """A literal goes before a capture, and the capture is tried if the rest then fails."""
    assert row == _decide(TABLE, call)


@pytest.mark.parametrize(
    "call",
    [
        "GET /", "GET /v1", "GET /v2/accounts", "GET /v1/Accounts", "GET /v1/accounts/26598145",
        "GET /v1/accounts/2659814/orders", "GET /v1/accounts/265981450/orders", "GET /v1/accounts/2659814a/orders",
        "GET /v1/accounts/26598145/orders/impact", "GET /v1/accounts/26598145/orders/7/impact", "GET /v1/stocks/.A",
        "GET /v1/accounts/26598145/orders/-1", "GET /v1/stocks/a", "HEAD /v1/accounts", "OPTIONS /v1/accounts",
        "TRACE /v1/accounts", "get /v1/accounts", "DELETE /v1/accounts", "GET /v1/slashed",
        "GET /v1/stocks/BRK.B/bars/x",
    ],
)  # fmt: skip
def test_what_no_row_takes_is_denied(call: str) -> None:
    """Default deny: another method, case, length or type finds nothing, and GET does not imply HEAD."""
    found = _decide(TABLE, call)
    assert isinstance(found, Denied)
    assert not found.ambiguous


@pytest.mark.parametrize(
    "call",
    ["GET /v1/accounts/", "GET /v1/accounts%2F", "GET /v1/assets/BTC%2FUSDT", "GET /v1/slashed%2F", "GET /v1/x%2Fy"],
)
def test_an_unwanted_encoding_or_last_slash_is_ambiguous(call: str) -> None:
    """These are refused for their form: 400, not 403."""
    assert Denied is type(found := _decide(TABLE, call))
    assert found.ambiguous


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("PUT /v1/accounts", "PUT is not allowed here, only GET"),
        ("SPAM /v1/accounts/26598145/orders", "no row for this path"),
        ("DELETE /v1/accounts/26598145/orders", "DELETE is not allowed here, only GET, POST"),
        (
            "GET /v1/accounts/123/orders",
            "no row for this path: what stands in place of {account} does not have its form",
        ),
        ("GET /v1/nothing", "no row for this path"),
    ],
)
def test_a_denial_says_why_without_quoting_the_call(call: str, reason: str) -> None:
    """A person reads which method or which part did not fit."""
    found = _decide(TABLE, call)
    assert isinstance(found, Denied)
    assert reason == found.reason


def test_a_match_carries_its_raw_captures() -> None:
    """Captured bytes are the client's own, undecoded."""
    found = TABLE.match("GET", parse(b"/v1/assets/BTC%2FUSD", mount="m"))
    assert isinstance(found, Match)
    assert (("pair", b"BTC%2FUSD"),) == found.captures


STREAMS = _table(
    _row("quotes", "GET /quotes", query=("ids",)),
    _row("stream", "GET /quotes", when_query=(("stream", "true"),), enum=(("mode", ("Raw", "Web")),), streaming=True),
    _row("orders", "GET /orders", enum=(("state", ("Open", "Closed")),)),
    _row("quote", "GET /quotes/{order}", query_without=("stream",)),
)


@pytest.mark.parametrize(
    ("call", "row"),
    [
        ("GET /quotes", "quotes"),
        ("GET /quotes?", "quotes"),
        ("GET /quotes?ids=1%2C2&x=stream", "quotes"),
        ("GET /quotes?upstream=true&streams=1", "quotes"),
        ("GET /quotes?mode=odd&mode=odder", "quotes"),
        ("GET /quotes?stream=true", "stream"),
        ("GET /quotes?ids=1&stream=true&mode=Web", "stream"),
        ("GET /quotes?mode=Raw&stream=true&False=False", "stream"),
        ("GET /orders?state=Open&a=1", "orders"),
        ("GET /orders", "orders"),
        ("GET /quotes/7?a=stream", "quote"),
    ],
)
def test_the_query_tells_rows_of_one_path_apart(call: str, row: str) -> None:
    """A row with `when_query` needs exactly these values; other names in the query are the broker's matter."""
    assert row == _decide(STREAMS, call)


@pytest.mark.parametrize(
    "query",
    [
        "stream", "stream=", "stream=false", "stream=True", "stream=TRUE", "stream=1", "stream=%74rue",
        "stream=true%20",
        "Stream=true", "STREAM=true", "%73tream=true", "%53tream=true", "%2573tream=true", "stream=true&stream=true",
        "stream=true&stream=false", "stream=false&stream=true", "stream=true&Stream=false", "ids=1;stream=true",
        "ids=1%26stream=true",
        "stream=true&a%26stream=false", "stream[]=true", "stream%5B%5D=true", "+stream=true", "stream%00=true",
        "stream%3Dtrue",
        "stream=true&mode=web", "stream=true&mode=", "stream=true&mode", "stream=true&mode=Web&mode=Raw",
        "stream=true&Mode=Web",
        "[stream]=true", "%5Bstream%5D=true", "!stream=true", "model.stream=true", "s%tream=true",
        "stream=true&[mode]=Web",
        "stream=true&mode=%57eb", "stream=true&m%6Fde=Web", "stream=true;mode=Web", "stream=true&mode=Web,Raw",
    ],
)  # fmt: skip
def test_another_spelling_of_a_deciding_name_is_denied(query: str) -> None:
    """Case, encodings, duplicates and other values of a name that decides never pass as the plain row."""
    assert isinstance(_decide(STREAMS, f"GET /quotes?{query}"), Denied)


@pytest.mark.parametrize(
    "query", ["state=open", "state=Open&state=Open", "State=Open", "state=", "stat%65=Open", "state=All"]
)
def test_a_limited_value_is_taken_once_and_exactly(query: str) -> None:
    """`enum` names are refused with any other value, twice, or in another spelling."""
    assert isinstance(_decide(STREAMS, f"GET /orders?{query}"), Denied)


@pytest.mark.parametrize(
    "query", ["stream", "stream=true", "stream=false", "Stream=true", "%73tream=1", "a=1;stream=1"]
)
def test_a_forbidden_name_is_denied_in_any_spelling(query: str) -> None:
    """`query_without` names must be absent in every reading."""
    assert isinstance(_decide(STREAMS, f"GET /quotes/7?{query}"), Denied)


SOCKET = "there is one for `stream=true` and `mode=Raw`"


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("GET /quotes?stream=no", "no row takes what the query says of `stream`, there is one for `stream=true`"),
        ("GET /quotes?stream=true&mode=123", "`mode` must be one of Raw, Web"),
        ("GET /quotes/7?stream=123", "the query must not hold `stream` here"),
        ("GET /quotes?Stream=123", "the query holds `stream` twice, or in a second spelling"),
        ("GET /sockets", f"no row takes what the query says of `mode`, `stream`, {SOCKET}"),
        ("GET /sockets?mode=123", f"no row takes what the query says of `mode`, {SOCKET}"),
    ],
    ids=["value", "limited", "forbidden", "spelling", "both missing", "one is there"],
)
def test_a_denial_by_the_query_names_what_decides(call: str, reason: str) -> None:
    """The names that are there, or else all that could be, and what would do; never what the client wrote."""
    sockets = _row("socket", "GET /sockets", when_query=(("stream", "true"), ("mode", "Raw")))
    assert Denied(reason) == _decide(_table(*STREAMS.rows, sockets), call)


def test_rows_at_ignores_the_query() -> None:
    """All rows that share a method and path are found, for checks of a whole table."""
    assert ("quotes", "stream") == tuple(row.id for row in STREAMS.rows_at("GET", (b"quotes",)))
    assert () == STREAMS.rows_at("POST", (b"quotes",))


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (["GET /a", "GET /a"], "exactly one row"),
        (["GET /a/{account}", "GET /a/{account}"], "exactly one row"),
        (["GET /a/{account}", "GET /a/{order}"], "{account} and {order} overlap"),
        (["GET /a/{account}/x", "GET /a/{order}/x"], "overlap"),
        (["GET /a/{account}/{order}", "GET /a/{order}/{account}"], "overlap"),
        (["GET /a/{account}/{order}", "GET /a/{order}/x1", "GET /a/{order}/7"], "overlap"),
        (["GET /a/{order}/7", "GET /a/{account}/{order}"], "overlap"),
        (["GET /a/{account}/b/{symbol}/c", "GET /a/{order}/b/{symbol}/c"], "overlap"),
        (["GET /b/x/{account}", "GET /b/x/{order}"], "overlap"),
        (["GET /c/{symbol}/{account}", "GET /c/{symbol}/{order}"], "overlap"),
        (["GET /a/{nobody}"], "has no type"),
        (["GET /a/{bad}"], "no upper bound"),
    ],
)
def test_rows_that_could_take_one_target_are_an_error(rows: list[str], why: str) -> None:
    """A table with a call of two rows, or with a capture without a usable type, does not load."""
    made = [_row(f"row{number}", call) for number, call in enumerate(rows)]
    with pytest.raises(TableError, match=why.replace("{", r"\{").replace("}", r"\}")) as caught:
        ScopeTable(made, {**PARAMS, "bad": "[0-9]+"})
    if len(rows) > 1:
        assert f"row{len(rows) - 1}" == caught.value.row  # the later one is blamed
        assert "row" in caught.value.problem


def test_both_rows_of_a_collision_are_named() -> None:
    """The message names the row, the other row and both captures."""
    with pytest.raises(TableError) as caught:
        _table(_row("one", "GET /a/{account}"), _row("two", "GET /a/{order}"))
    assert all(name in str(caught.value) for name in ("one", "two", "{account}", "{order}"))


def test_an_id_is_used_once() -> None:
    """Two rows with one id are an error."""
    with pytest.raises(TableError, match="another row has this id"):
        _table(_row("one", "GET /a"), _row("one", "GET /b"))


@pytest.mark.parametrize(
    "rows",
    [
        ["GET /a/{account}", "GET /a/{symbol}"],
        ["GET /a/{account}", "POST /a/{order}"],
        ["GET /a/{account}/x", "GET /a/{order}/y"],
        ["GET /a/{account}", "GET /a/12345678"],
        ["GET /a/{account}", "GET /a/{order}/b"],
        ["GET /a/{pair}", "GET /a/{symbol}"],
        ["GET /a/{account}/{pair}", "GET /a/{order}/{symbol}"],
    ],
)
def test_rows_that_exclude_each_other_live_together(rows: list[str]) -> None:
    """Another method, depth, literal or an excluding type keeps two rows apart."""
    assert len(rows) == len(_table(*(_row(f"row{number}", call) for number, call in enumerate(rows))).rows)


def test_all_faults_of_a_table_are_found_at_once() -> None:
    """`faults` collects what the constructor would raise one by one."""
    rows = [
        _row("one", "GET /a/{nobody}"),
        _row("two", "GET /b"),
        _row("two", "GET /b"),
        _row("four", "GET /c/{other}"),
    ]
    assert ["one", "two", "two", "four"] == [fault.row for fault in ScopeTable.faults(rows, PARAMS)]
    with pytest.raises(TableError, match=r"^one: the capture \{nobody\} has no type"):
        ScopeTable(rows, PARAMS)


@contextmanager
def _counted_calls(counts: list[int]) -> Iterator[None]:
    def count(_frame: FrameType, event: str, _argument: object) -> None:
        counts[-1] += event in ("call", "c_call")

    counts.append(0)
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)


def test_matching_costs_the_same_with_10_and_with_500_rows() -> None:
    """The number of Python and C calls of a match does not depend on the number of rows."""
    counts: list[int] = []
    for size in (10, 500):
        rows = [_row(f"r{number}", f"GET /v1/group{number}/{{account}}/orders/{{order}}") for number in range(size - 1)]
        table = _table(*rows, _row("last", "GET /v1/zzz/{account}/orders/{order}"))
        hit, miss = parse(b"/v1/zzz/26598145/orders/7", mount="m"), parse(b"/v1/none/26598145/orders/7", mount="m")
        assert isinstance(table.match("GET", hit), Match)
        with _counted_calls(counts):
            table.match("GET", hit)
        with _counted_calls(counts):
            table.match("GET", miss)
    assert counts[:2] == counts[2:]


def _width(mounts: int, rows: int) -> float:
    """Seconds of CPU for one call: from its raw target to its row, calls going to all mounts and rows in turn."""
    tables = [
        _table(*(_row(f"r{number}", f"GET /v{which}/group{number}/{{account}}/orders") for number in range(rows)))
        for which in range(min(mounts, 5))
    ]
    known = {f"mount{number}": tables[number % len(tables)] for number in range(mounts)}
    calls = [
        f"/mount{mount}/v{mount % len(tables)}/group{number}/26598145/orders?a=1".encode()
        for mount in range(mounts)
        for number in range(0, rows, max(1, rows * mounts // 500))
    ]

    def once() -> float:
        began = process_time()
        for raw in calls:
            found = parse(raw)
            assert isinstance(known[found.mount].match("GET", found), Match)
        return (process_time() - began) / len(calls)

    return min(once() for _ in range(max(20, 5000 // len(calls))))


@pytest.mark.timing
def test_a_wide_gate_costs_hardly_more_than_a_narrow_one(figure: Any) -> None:
    """From 1 mount with 10 rows to 50 with 500 it is some 2 µs a call, most of it for memory that no cache holds."""
    narrow, wide = _width(1, 10), _width(50, 500)
    figure(f"{narrow * 1e6:.1f} µs a call with 1 x 10 rows, {(wide - narrow) * 1e6:+.1f} µs with 50 x 500")
    assert wide - narrow < 6e-6


_ROWS = st.lists(
    st.lists(st.sampled_from(["v1", "a", "MOVERS", "{symbol}", "{order}", "{account}"]), min_size=1, max_size=4),
    max_size=8,
)
_SEGMENTS = st.lists(st.sampled_from(["v1", "a", "MOVERS", "AAPL", "7", "26598145", "x"]), min_size=1, max_size=4)


@given(_ROWS, st.lists(_SEGMENTS, min_size=1, max_size=10), st.sampled_from(["GET", "POST", "PATCH"]))
def test_the_first_way_leads_where_the_whole_search_does(
    templates: list[list[str]], paths: list[list[str]], method: str
) -> None:
    """A literal goes before a capture, and where the first way leads nowhere the others are still tried."""
    rows = {"/" + "/".join(dict.fromkeys(template)) for template in templates}
    known: list[Row] = []
    for number, template in enumerate(sorted(rows)):
        with suppress(TableError):
            known = list(_table(*known, _row(f"r{number}", f"{'POST' if number % 3 == 0 else 'GET'} {template}")).rows)
    table = _table(*known)
    for path in paths:
        target = parse(("/" + "/".join(path)).encode(), mount="m")
        found = table.match(method, target)
        assert table.rows_at(method, target.segments) == ((found.row,) if isinstance(found, Match) else ())


def test_a_denied_row_matches_like_any_other() -> None:
    """The call is known, so the refusal can say why; what is near it goes its own way."""
    denied = _row("move", "POST /v1/wallets/transfers", scope="", deny=True)
    table = _table(denied, _row("wallets", "GET /v1/wallets/transfers"), _row("one", "POST /v1/wallets/{account}"))
    found = table.match("POST", parse(b"/v1/wallets/transfers?amount=1", mount="m"))
    assert isinstance(found, Match)
    assert denied == found.row
    assert "wallets" == _decide(table, "GET /v1/wallets/transfers")
    assert "one" == _decide(table, "POST /v1/wallets/26598145")


@pytest.mark.parametrize(
    ("call", "fields"),
    [
        ("POST /v1/wallets/transfers", {"when_query": (("a", "b"),)}),
        ("DELETE /v1/wallets/26598145", {}),
        ("DELETE /v1/wallets/{order}", {"when_query": (("a", "b"),)}),
    ],
)
def test_a_denied_call_cannot_be_taken_over(call: str, fields: dict[str, object]) -> None:
    """A row that would take some of its calls is named, as with any other row."""
    table = _table(
        _row("move", "POST /v1/wallets/transfers", scope="", deny=True),
        _row("drop", "DELETE /v1/wallets/{order}", scope="", deny=True),
    )
    added = _row("mine", call, **fields)
    assert ["mine"] == [row.id for _, row in table.losing_to([added], PARAMS)]


@pytest.mark.parametrize(
    ("call", "fields", "losers"),
    [
        ("GET /v1/wallets/7", {}, ["one"]),
        ("GET /v1/wallets/7/moves", {}, ["moves", "stream"]),
        ("GET /v1/wallets/{order}/moves", {"when_query": (("side", "in"),)}, ["moves", "stream"]),
        ("GET /v1/wallets/{order}/moves", {"when_query": (("stream", "yes"),)}, []),
        ("GET /v1/wallets/top", {}, []),
        ("GET /v1/wallets/{account}", {}, []),
        ("POST /v1/wallets/7", {}, []),
        ("GET /v2/wallets/7", {}, []),
        ("GET /v1/wallets", {}, []),
        ("GET /v1/{symbol}/first", {}, []),
        ("GET /v1/X/by/{symbol}", {}, []),
    ],
    ids=[
        "a literal", "a literal, deeper", "another name in the query", "another value in the query",
        "no value of the capture", "a capture", "another method", "another path", "a shorter path", "loses itself",
        "no value of a later capture",
    ],
)  # fmt: skip
def test_a_row_loses_calls_to_one_that_says_more(call: str, fields: dict[str, object], losers: list[str]) -> None:
    """By a literal at the first place where they differ, or by a name that the query of none of ours decides over."""
    table = _table(
        _row("one", "GET /v1/wallets/{order}"),
        _row("moves", "GET /v1/wallets/{order}/moves"),
        _row("stream", "GET /v1/wallets/{order}/moves", when_query=(("stream", "true"),)),
        _row("first", "GET /v1/WALLETS/first"),
        _row("by", "GET /v1/{symbol}/by/{order}"),
    )
    added = _row("mine", call, **fields)
    assert [(name, "mine") for name in losers] == [(ours.id, row.id) for ours, row in table.losing_to([added], PARAMS)]


@pytest.mark.parametrize(
    ("call", "fields", "found"),
    [
        ("GET /v1/Wallets/{account}", {}, ["plain"]),
        ("GET /v1/wallets/{account}/", {}, ["plain"]),
        ("GET /v1/wallets/7", {}, []),
        ("GET /v1/walletsx/7", {}, []),
        ("POST /v1/Wallets/7", {}, []),
        ("GET /b/wallets/7", {"sent_prefix": ("/b", "/v1")}, ["plain"]),
        ("GET /b/WALLETS/7/", {"sent_prefix": ("/b", "/v1")}, ["plain"]),
        ("GET /v1/moves/7", {}, ["moved"]),
        ("GET /v2/moves/7", {}, []),
        ("GET /b/moves/7", {"sent_prefix": ("/b", "/v1")}, ["moved"]),
    ],
    ids=[
        "case", "a last slash", "as it is called", "another path", "another method", "sent as ours",
        "sent as ours, in another case", "what ours is sent as", "as ours is called", "both are sent as another",
    ],
)  # fmt: skip
def test_the_same_call_under_another_name_is_found(call: str, fields: dict[str, object], found: list[str]) -> None:
    """Whatever is called and sent under one name belongs to one row of the table, and is none of this."""
    rows = [
        _row("plain", "GET /v1/wallets/{order}"),
        _row("moved", "GET /v2/moves/{order}", sent_prefix=("/v2", "/v1")),
    ]
    added = _row("mine", call, **fields)
    assert [(name, "mine") for name in found] == [(ours.id, row.id) for ours, row in disguised(rows, [added], PARAMS)]
    assert [] == list(disguised([], [added], PARAMS))


def test_paths_are_alike_whatever_their_case_and_last_slash() -> None:
    """Nothing else is looked past."""
    assert alike("/v1/Accounts/", "/V1/accounts")
    assert alike("/v1/accounts", "/v1/accounts/")
    assert not alike("/v1/accounts~", "/v1/accounts")
    assert not alike("/v1/account", "/v1/accounts")
