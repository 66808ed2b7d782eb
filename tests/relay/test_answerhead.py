"""Which headers of an answer go back, as pairs and as the head that is written at once."""

import asyncio
import string
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from proxy.brokers import Origin
from proxy.relay import answerhead
from proxy.relay.answerhead import as_text, to_client, whole_head
from proxy.relay.headers import NOT_TO_CLIENT, Raw

ORIGIN = Origin("api01.iq.questrade.com", 443)
OURS_IN = [("Server", "bearerd"), ("Via", "1.1 bearerd"), ("X-Content-Type-Options", "nosniff"), ("X-Request-Id", "r1")]
WHERE: dict[str, Any] = {
    "origin": ORIGIN, "mount_url": "http://127.0.0.1:8080/questrade", "request_id": "r1",
}  # fmt: skip


def inward(*headers: tuple[bytes, bytes], origin: Origin = ORIGIN) -> list[tuple[str, str]]:
    """What of these goes to the client, less our own."""
    kept = to_client(headers, origin=origin, mount_url="http://127.0.0.1:8080/questrade", request_id="r1")
    sent = as_text(kept)
    assert OURS_IN == sent[-4:]
    return sent[:-4]


@pytest.mark.parametrize(
    "name",
    [
        "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer",
        "Transfer-Encoding", "Upgrade", "Set-Cookie", "Set-Cookie2",
        "Access-Control-Allow-Origin", "access-control-expose-headers", "Alt-Svc", "Strict-Transport-Security",
        "Clear-Site-Data", "WWW-Authenticate", "Refresh", "Report-To", "Reporting-Endpoints", "NEL", "Server", "Via",
        "Content-Length", "Proxy-Status", "X-Content-Type-Options",
    ],
)  # fmt: skip
def test_what_belongs_to_the_connection_or_the_browser_does_not_come_in(name: str) -> None:
    """A broker's page must leave nothing in a browser, and its framing is not ours."""
    assert [] == inward((name.encode(), b"x"))


@pytest.mark.parametrize(
    "name",
    [
        "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After", "Content-Encoding", "Content-Type", "Date", "ETag",
        "Cache-Control", "Last-Modified", "X_Odd_Name",
    ],
)  # fmt: skip
def test_everything_else_comes_in_unchanged(name: str) -> None:
    """Rate limits and Retry-After first of all; repeated ones stay repeated."""
    assert [(name, "1"), (name, "2")] == inward((name.encode(), b"1"), (name.encode(), b"2"))


def test_what_the_brokers_connection_names_is_dropped() -> None:
    """Hop-by-hop headers of its own making too; ours are not reached by it."""
    assert [("ETag", "x")] == inward((b"Connection", b"x-hop, via, server"), (b"X-Hop", b"1"), (b"ETag", b"x"))


@pytest.mark.parametrize("value", [b"caf\xc3\xa9", b"a\x00b", b"a\x7f", b"a\rb"])
def test_values_beyond_ascii_are_dropped(value: bytes) -> None:
    """They would be cut off or split when they are sent on."""
    assert [] == inward((b"X-Note", value))


def test_the_last_answer_of_a_connection_says_so() -> None:
    """In our words, whatever the broker says of its own connection."""
    said = [(b"Connection", b"keep-alive"), (b"ETag", b"x")]
    sent = to_client(said, origin=ORIGIN, mount_url="http://127.0.0.1:8080/questrade", request_id="r1", last=True)
    assert [("ETag", "x"), *OURS_IN, ("Connection", "close")] == as_text(sent)


def test_the_brokers_request_id_is_kept_beside_ours() -> None:
    """Its support asks for it; ours is in the logs here."""
    assert [("X-Broker-Request-Id", "b-1")] == inward((b"X-Request-ID", b"b-1"))


@pytest.mark.parametrize(
    "kind",
    [b"text/html", b"Text/HTML; charset=utf-8", b"application/xhtml+xml", b"image/svg+xml", b"application/XML"],
)
def test_a_page_is_put_into_a_sandbox(kind: bytes) -> None:
    """A broker's error page must not run as our origin."""
    assert [("Content-Type", kind.decode()), ("Content-Security-Policy", "sandbox")] == inward((b"Content-Type", kind))


@pytest.mark.parametrize(
    ("location", "seen"),
    [
        (b"https://api01.iq.questrade.com/v1/x?a=%3A", "http://127.0.0.1:8080/questrade/v1/x?a=%3A"),
        (b"/v1/x", "http://127.0.0.1:8080/questrade/v1/x"),
        (b"https://api01.iq.questrade.com.evil.example/", None),
        (b"https://api01.iq.questrade.com@evil.example/", None),
        (b"https://api01.iq.questrade.com:444/", None),
        (b"http://api01.iq.questrade.com/v1/x", None),
        (b"//evil.example/v1/x", None),
        (b"v1/x", None),
        (b"javascript:alert(1)", None),
        (b"/../other/v1/orders", None),
        (b"/v1/%2E%2e/x", None),
        (b"/v1/..", None),
        (b"/.", None),
        (b"/\\evil.example", None),
        (b"/v1\\..\\x", None),
        (b"/\t/evil.example", None),
        (b"/v1/a..b?../=/../", "http://127.0.0.1:8080/questrade/v1/a..b?../=/../"),
        (b"/", "http://127.0.0.1:8080/questrade/"),
    ],
)
def test_a_location_is_rewritten_or_dropped(location: bytes, seen: str | None) -> None:
    """Only what stays on the broker's own origin can be followed, and then through us."""
    assert ([("Location", seen)] if seen else []) == inward((b"Location", location))


def test_a_location_with_a_port_is_held_against_the_port() -> None:
    """Simulators and labs have ports."""
    assert [("Location", "http://127.0.0.1:8080/questrade/v1")] == inward(
        (b"Location", b"https://127.0.0.1:9443/v1"), origin=Origin("127.0.0.1", 9443)
    )


@pytest.mark.parametrize(
    ("location", "seen"),
    [
        ("/beta/x?a=1", "/v1/beta/x?a=1"), ("https://api01.iq.questrade.com/beta/x", "/v1/beta/x"),
        ("/betamax", "/betamax"), ("/v1/beta/x", "/v1/beta/x"), ("/other", "/other"),
    ],
)  # fmt: skip
def test_a_location_gets_the_start_back_under_which_it_is_called(location: str, seen: str) -> None:
    """A row may be sent under another constant start than it is called by."""
    found = to_client(
        [(b"Location", location.encode())],
        origin=ORIGIN,
        mount_url="http://127.0.0.1:8080/questrade",
        request_id="r1",
        prefixes=lambda: [("/v1/beta", "/beta")],
    )
    assert ("Location", f"http://127.0.0.1:8080/questrade{seen}") == as_text(found)[0]


# -- the rules, one header at a time ---------------------------------------------------------------------------------

_PLAIN = frozenset(range(32, 127)) | {9}
_TOKEN = frozenset(string.ascii_letters.encode() + string.digits.encode() + b"!#$%&'*+.^`|~-_")


def _slowly(headers: Raw) -> list[tuple[bytes, bytes]]:
    """What goes back of these, without a `Location`, less our own: said as plainly as it can be."""
    named = {
        part.strip().lower() for name, value in headers if name.lower() == b"connection" for part in value.split(b",")
    }
    kept = []
    for name, value in headers:
        lowered = name.lower()
        odd = not name or not _TOKEN.issuperset(name) or not _PLAIN.issuperset(value)
        if odd or lowered in NOT_TO_CLIENT | named or lowered.startswith((b"access-control-", b"proxy-status")):
            continue
        kept.append((b"X-Broker-Request-Id" if lowered == b"x-request-id" else name, value))
    kinds = [value.lower() for name, value in kept if name.lower() == b"content-type"]
    page = any(b"html" in kind or b"xml" in kind for kind in kinds)
    return [*kept, (b"Content-Security-Policy", b"sandbox")] if page else kept


_NAMES = [
    b"Date", b"date", b"Content-Type", b"content-TYPE", b"Connection", b"connection", b"X-Request-Id", b"ETag",
    b"Set-Cookie", b"Server", b"Via", b"Transfer-Encoding", b"Content-Length", b"X-Hop", b"x_odd", b"Proxy-Status",
    b"Access-Control-Max-Age", b"X Y", b"", b"\xe9", b"X-Broker-Request-Id",
]  # fmt: skip
_VALUES = [
    b"", b"close", b"keep-alive", b"Keep-Alive", b"x-hop, etag", b"Date,content-type", b"x-request-id", b"text/html",
    b"a/XML", b"application/json", b"caf\xe9", b"a\r\nSet-Cookie: b", b"a\x00", b"\ttabs\t", b" ",
]  # fmt: skip
_headers = st.lists(
    st.tuples(
        st.sampled_from(_NAMES) | st.binary(max_size=12).filter(lambda name: name.lower() != b"location"),
        st.sampled_from(_VALUES) | st.binary(max_size=12) | st.text(string.printable[:95], max_size=12).map(str.encode),
    ),
    max_size=10,
)


@given(_headers)
def test_the_tables_say_what_the_rules_say(headers: Raw) -> None:
    """Header by header and value by value it comes to the same."""
    assert _slowly(headers) == to_client(headers, **WHERE)[:-4]


@given(
    _headers,
    st.sampled_from([200, 204, 299, 304, 404, 999]),
    st.sampled_from(["GET", "HEAD"]),
    st.none() | st.integers(0, 999),
)
def test_a_head_is_the_headers_and_no_more(headers: Raw, status: int, method: str, length: int | None) -> None:
    """One line for each header, nothing that could end a line early, and never two lengths."""
    first, *lines, end, rest = whole_head(method, status, headers, length, wall=0.0, **WHERE).split(b"\r\n")
    expected = [b": ".join(pair) for pair in to_client(headers, **WHERE)]
    assert (expected, b"", b"") == (lines[: len(expected)], end, rest)
    assert first.startswith(b"HTTP/1.1 %d " % status)
    added = [line.partition(b":")[0] for line in lines[len(expected) :]]
    assert sorted(set(added)) == sorted(added)
    assert {b"Content-Length", b"Content-Type", b"Date"} >= set(added)
    assert (length is not None and status not in (204, 304)) == (b"Content-Length" in added)
    assert b"date" in {line.partition(b":")[0].lower() for line in lines}


def test_names_that_nobody_repeats_fill_no_memory() -> None:
    """A broker that invents a name for each answer is still understood."""
    for number in range(3000):
        assert [(f"X-{number}", "1")] == inward((b"X-%d" % number, b"1"))
        assert [] == inward((b"Access-Control-%d" % number, b"1"))
    assert [] == inward((b"Set-Cookie", b"1"))


def test_what_a_broker_says_for_itself_is_not_remembered() -> None:
    """Lines are kept as they were written, but no cookie of a broker's, and no more than a few hundred."""
    for number in range(3000):
        headers = [(b"Set-Cookie", b"session=%d" % number), (b"X-Left", b"%d" % number), (b"X-Long", b"x" * 300)]
        lines = whole_head("GET", 200, headers, 0, wall=0.0, **WHERE).split(b"\r\n")
        assert [b"X-Left: %d" % number, b"X-Long: " + b"x" * 300] == lines[1:3]
        assert not any(line.startswith(b"Set-Cookie") for line in lines)
    kept = answerhead._lines
    assert (0, 0) == (sum(name == b"Set-Cookie" for name, _ in kept), sum(len(value) > 256 for _, value in kept))
    assert len(kept) <= 512


# -- as the library writes it ----------------------------------------------------------------------------------------

ANSWERS: dict[str, tuple[str, int, list[tuple[bytes, bytes]], bytes, int | None]] = {
    "json": ("GET", 200, [(b"Date", b"x"), (b"Content-Type", b"application/json")], b"{}", None),
    "nothing-said": ("GET", 200, [], b"{}", None),
    "empty": ("GET", 200, [(b"date", b"x")], b"", None),
    "error": ("GET", 404, [(b"content-type", b"text/html"), (b"X-Request-Id", b"7")], b"<html>", None),
    "no-content": ("GET", 204, [(b"ETag", b"x")], b"", None),
    "not-modified": ("GET", 304, [(b"ETag", b"x"), (b"Date", b"x")], b"", None),
    "head": ("HEAD", 200, [(b"Date", b"x")], b"", 365),
    "head-without-length": ("HEAD", 200, [(b"Content-Type", b"a/b")], b"", None),
    "unknown-status": ("GET", 599, [(b"A", b"1"), (b"A", b"2"), (b"a", b"3")], b"x", None),
    "named": ("GET", 200, [(b"ETag", b"x"), (b"Connection", b"close, ETAG"), (b"A", b"1")], b"x", None),
    "odd": ("GET", 200, [(b"A", b"caf\xe9"), (b"B", b"1"), (b"Content-Type", b"a/\xe9")], b"x", None),
    "moved": ("GET", 301, [(b"Location", b"/v1/x"), (b"Connection", b"etag"), (b"ETag", b"x")], b"x", None),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
async def test_the_library_writes_the_same(name: str) -> None:
    """Byte for byte, but for the moment: the clients of both lanes get the same."""
    method, status, headers, body, declared = ANSWERS[name]

    async def answer(_request: web.BaseRequest) -> web.StreamResponse:
        response = web.Response(status=status, body=body)
        response.headers.clear()
        for header, value in as_text(to_client(headers, **WHERE)):
            response.headers.add(header, value)
        if declared is not None:
            response.headers["Content-Length"] = str(declared)
        return response

    server = await asyncio.get_running_loop().create_server(web.Server(answer), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(f"{method} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        written = await reader.read()
        writer.close()
        await writer.wait_closed()
    length = declared if method == "HEAD" else len(body)
    ours = whole_head(method, status, headers, length, wall=784111777.0, last=True, **WHERE) + body
    assert _timeless(written) == _timeless(ours)


def _timeless(answer: bytes) -> list[bytes]:
    return [line[:5] if line.endswith(b" GMT") else line for line in answer.split(b"\r\n")]


def test_a_date_is_given_where_the_broker_gives_none() -> None:
    """In the one form that RFC 9110 has new servers write."""
    assert b"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n" in whole_head("GET", 200, [], 0, wall=784111777.9, **WHERE)
