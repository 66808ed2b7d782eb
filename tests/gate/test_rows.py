import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gate.orderrule import OrderForm, OrderRule
from proxy.gate.rows import Row, TableError


def _row(**fields: object) -> Row:
    return Row(**{"id": "x", "method": "GET", "path": "/v1/x", "scope": "read"} | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({"method": "GET"}, 0),
        ({"method": "HEAD"}, 0),
        ({"method": "DELETE"}, 64),
        ({"method": "DELETE", "mutating": True}, 64),
        ({"method": "POST"}, 1_048_576),
        ({"method": "POST", "mutating": True}, 65_536),
        ({"method": "PUT", "mutating": True}, 65_536),
        ({"method": "POST", "max_body": 10}, 10),
        ({"method": "GET", "max_body": 10}, 10),
        ({"method": "POST", "max_body": 0}, 0),
    ],
)
def test_the_body_limit_follows_the_method(fields: dict[str, object], limit: int) -> None:
    """Orders get 64 KiB, other bodies 1 MiB, DELETE room for `{}`, GET nothing; a row's own figure wins."""
    assert limit == _row(**fields).body_limit


def test_bodies_that_matter_are_buffered() -> None:
    """A mutating call and one whose body is looked into, or filled, are read whole; others stream."""
    assert _row(method="POST", mutating=True).buffered
    assert _row(method="POST", body_without=("stream",)).buffered
    assert _row(method="POST", fills=("client_secret",)).buffered
    assert _row(method="POST", accounts=("account_id",)).buffered
    assert not _row(method="POST").buffered


def test_a_row_is_nothing_that_it_does_not_say() -> None:
    """A plain read: what streams, opens a WebSocket, changes something or was inferred is marked."""
    row = _row()
    assert not any((row.mutating, row.streaming, row.inferred, row.deny, row.websocket, row.no_order))


def test_a_template_names_its_captures_in_order() -> None:
    """The captures of a template are its `{…}` segments."""
    row = _row(path="/v1/accounts/{account}/orders/{order}")
    assert ("account", "order") == row.captures
    assert ("v1", "accounts", "{account}", "orders", "{order}") == row.segments


def test_a_denied_row_has_no_scope() -> None:
    """So that nobody can grant it."""
    row = _row(scope="", deny=True)
    assert (True, "") == (row.deny, row.scope)


@pytest.mark.parametrize("rest", [b"", b"/AAPL", b"/BTC%2FUSD/news:latest", b"/v1/beta", b"/a,b/"])
def test_only_the_constant_start_of_a_path_is_replaced(rest: bytes) -> None:
    """Everything behind it is sent byte for byte; without one the whole path is."""
    row = _row(path="/v1/beta/{pair}/news:latest", sent_prefix=("/v1/beta", "/beta"))
    assert b"/beta" + rest == row.sent(b"/v1/beta" + rest)
    assert b"/v1/beta" + rest == _row().sent(b"/v1/beta" + rest)


@given(st.lists(st.sampled_from([b"a", b"%2F", b"/", b":", b"beta", b"v1", b"."]), max_size=9).map(b"".join))
def test_whatever_was_captured_arrives_unchanged(rest: bytes) -> None:
    """Also where it looks like the start itself, and whether the new start is longer or shorter."""
    for instead in ("/b", "/v1/beta", "/a/very/long/start"):
        row = _row(path="/v1/beta/{x}", sent_prefix=("/v1/beta", instead))
        assert instead.encode() + b"/" + rest == row.sent(b"/v1/beta/" + rest)


@pytest.mark.parametrize(
    "path", ["/v1/watchlists:by_name", "/v1/x/", "/v2/a.b-c_d~e", "/" + "/".join("abcdefghijkl"), "/v1/" + "a" * 128]
)
def test_odd_but_clear_templates_are_taken(path: str) -> None:
    """Colons, dots and a last slash are part of some brokers' paths."""
    assert path == _row(path=path).path


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"method": "get"}, "is none of GET"),
        ({"method": "TRACE"}, "is none of GET"),
        ({"method": "*"}, "is none of GET"),
        ({"scope": ""}, "it has no scope"),
        ({"path": "v1/x"}, "must start with"),
        ({"path": "/"}, "must start with"),
        ({"path": ""}, "must start with"),
        ({"path": "/v1//x"}, "empty segment"),
        ({"path": "/v1/../x"}, "empty segment"),
        ({"path": "/v1/./x"}, "empty segment"),
        ({"path": "/v1/{a}/.."}, "empty segment"),
        ({"path": "/v1/{a}b"}, "whole segment"),
        ({"path": "/v1/{A}"}, "whole segment"),
        ({"path": "/v1/{}"}, "whole segment"),
        ({"path": "/v1/x}"}, "whole segment"),
        ({"path": "/v1/{x"}, "whole segment"),
        ({"path": "/v1/{a}/{a}"}, "share a name"),
        ({"path": "/v1/a;b"}, "no request target"),
        ({"path": "/v1/a;b/"}, "no request target"),
        ({"path": "/v1/a%2Fb"}, "no request target"),
        ({"path": "/v1/a b"}, "no request target"),
        ({"path": "/v1/é"}, "no request target"),
        ({"path": "/v1/a?b"}, "no request target"),
        ({"path": "/v1/" + "a" * 129}, "no request target"),
        ({"path": "/a" * 13}, "more than 12"),
        ({"when_query": (("str eam", "true"),)}, "cannot decide"),
        ({"when_query": (("stream", "a&b"),)}, "cannot decide"),
        ({"enum": (("mode", ("a", "")),)}, "cannot decide"),
        ({"query_without": ("a=b",)}, "cannot decide"),
        ({"query_without": ("mode",), "enum": (("mode", ("a",)),)}, "more than one of"),
        ({"max_body": -1}, "below 0"),
        ({"deny": True}, "no scope may open it"),
        ({"deny": True, "scope": "read", "method": "POST"}, "no scope may open it"),
        ({"websocket": True, "method": "POST"}, "opened by a GET"),
        ({"websocket": True, "mutating": True}, "opened by a GET"),
        ({"order": OrderRule("lower"), "method": "DELETE"}, "orders changes something"),
        ({"fills": ("client_secret",)}, "no body to fill"),
        ({"fills": ("client_secret",), "method": "DELETE"}, "no body to fill"),
        ({"fills": ("account_id",), "method": "POST"}, "can only name client_secret"),
        ({"sent_prefix": ("/v2", "/beta")}, "the constant start of the path"),
        ({"sent_prefix": ("/v1/", "/beta")}, "the constant start of the path"),
        ({"sent_prefix": ("/v", "/beta")}, "the constant start of the path"),
        ({"sent_prefix": ("", "/beta")}, "the constant start of the path"),
        ({"path": "/v1/{a}/x", "sent_prefix": ("/v1/{a}", "/b")}, "the constant start of the path"),
        ({"sent_prefix": ("/v1", "")}, "cannot be sent"),
        ({"sent_prefix": ("/v1", "/")}, "cannot be sent"),
        ({"sent_prefix": ("/v1", "beta")}, "cannot be sent"),
        ({"sent_prefix": ("/v1", "/beta/")}, "cannot be sent"),
        ({"sent_prefix": ("/v1", "/a//b")}, "cannot be sent"),
        ({"sent_prefix": ("/v1", "/..")}, "cannot be sent"),
        ({"sent_prefix": ("/v1", "/a/../b")}, "cannot be sent"),
        ({"sent_prefix": ("/v1", "/a%2Fb")}, "cannot be sent"),
        ({"sent_prefix": ("/v1", "/a?b")}, "cannot be sent"),
        ({"sent_prefix": ("/v1", "//evil.example")}, "cannot be sent"),
        ({"sent_prefix": ("/v1", "/{a}")}, "cannot be sent"),
    ],
)
def test_a_row_that_makes_no_sense_cannot_be_made(fields: dict[str, object], why: str) -> None:
    """The row says what is wrong with it, and its id."""
    with pytest.raises(TableError, match=why) as caught:
        _row(**fields)
    assert "x" == caught.value.row


def test_all_that_is_wrong_with_a_row_is_told_at_once() -> None:
    """One error names every problem of the row."""
    with pytest.raises(TableError) as caught:
        _row(method="get", scope="", max_body=-1)
    assert 2 == caught.value.problem.count("; ")


@pytest.mark.parametrize("end", ["", "/"], ids=["bare", "slashed"])
def test_what_is_sent_has_no_more_segments_than_a_target_may_have(end: str) -> None:
    """Twelve, a last slash aside, however many the path that is called has."""
    path = "/v1" + "/a" * 9 + end
    assert "/b/b/b" + "/a" * 9 + end == _row(path=path, sent_prefix=("/v1", "/b/b/b")).sent_path
    with pytest.raises(TableError, match="more than 12 segments"):
        _row(path=path, sent_prefix=("/v1", "/b/b/b/b"))


def test_an_order_names_only_captures_of_its_path() -> None:
    """Else a guard would look for a fact that no call holds; members of a body are found or not, call by call."""
    order = OrderRule("place", (("", OrderForm("plain", "json", symbol=("{symbol}",), side=("side",))),))
    assert _row(method="POST", mutating=True, path="/v1/{symbol}", order=order).order is order
    with pytest.raises(TableError, match=r"written as plain, tell a fact in \{symbol\}"):
        _row(method="POST", mutating=True, path="/v1/symbol/{account}", order=order)
