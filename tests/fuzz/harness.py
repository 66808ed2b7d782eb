"""What must hold for any bytes at all: of a request target, of the headers of both directions, of a plain head.

Each function takes bytes that a fuzzer has made and raises `AssertionError` where a promise is broken. `fuzz.py` drives
them, led by coverage; `tests/fuzz/test_harness.py` replays what it has found.
"""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser, HttpVersion11
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD

from proxy.brokers import Origin, builtin, builtin_names
from proxy.connection import LARGEST_HEAD, LONGEST_LINE, MOST_HEADERS
from proxy.errors import Refusal
from proxy.gate.clients import CREDENTIAL_HEADERS
from proxy.gate.scopes import Match, ScopeTable
from proxy.gate.target import MAX_SEGMENT, MAX_SEGMENTS, Target, parse
from proxy.plainhead import KEPT, Heads, Plain
from proxy.relay import answerhead
from proxy.relay import headers as rules

METHODS = ("GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "TRACE")
TABLES: tuple[ScopeTable, ...] = tuple(api.table for name in builtin_names() for api in builtin(name).apis.values())
ORIGIN = Origin("api01.iq.questrade.com", 443)
NEVER = CREDENTIAL_HEADERS | {
    b"host",
    b"connection",
    b"content-length",
    b"transfer-encoding",
    b"cookie",
    b"te",
    b"upgrade",
}
PLAIN = re.compile(r"[\t -~]*")


def target(data: bytes, longest: int = MAX_SEGMENT) -> None:
    """The first byte says which method, and whether a mount is in front; the rest is the raw target."""
    if not data:
        return
    method, mount = METHODS[data[0] % len(METHODS)], (None, "mount")[data[0] >> 7]
    raw = data[1:]
    try:
        found = parse(raw, mount=mount)
    except Refusal as refusal:
        assert refusal.kind.name == "ambiguous-target"  # noqa: PT017
        return
    _is_a_part(raw, found, mount)
    assert all(len(segment) <= longest for segment in found.segments)
    for table in TABLES:
        match = table.match(method, found)
        if isinstance(match, Match):
            _is_one_call(table, match, found, method)


def _is_a_part(raw: bytes, found: Target, mount: str | None) -> None:
    """What would be sent is the end of what came, and nothing of it can be read in two ways."""
    path, mark, query = raw.partition(b"?")
    front = b"" if mount else b"/" + found.mount.encode()
    assert path in (front + found.path, front + b"/" + found.path, front)
    assert (query if mark else None) == found.query
    assert found.sent == found.path + mark + query
    assert found.path == b"/" + b"/".join(found.segments)
    assert len(found.segments) <= MAX_SEGMENTS + 1
    assert not {b".", b".."} & set(found.segments)
    assert not re.search(rb"[^!-~]|//|[\\;#\"<>^`{|}\[\]]", found.path)


def _is_one_call(table: ScopeTable, match: Match, found: Target, method: str) -> None:
    """A row's own template with its captures is the path; decoding it again and again gives no other segments."""
    row, captures = match.row, dict(match.captures)
    assert row in table.rows
    assert row.method == method
    pieces = [captures[segment[1:-1]] if segment[:1] == "{" else segment.encode() for segment in row.segments]
    assert b"/" + b"/".join(pieces) == found.path
    once = unquote_to_bytes(found.path)
    assert unquote_to_bytes(once) == once
    assert not {b".", b"..", b""} & set(once.rstrip(b"/").split(b"/")[1:])
    assert not re.search(rb"[^!-~]|[\\;#?]", once)
    assert once.count(b"/") == found.path.count(b"/") + found.path.count(b"%2F")
    for name in row.query_without:
        assert f"{name}=".encode() not in (found.query or b"").lower().split(b"&")


def headers(data: bytes, never: frozenset[bytes] = NEVER) -> None:
    """Lines of `name: value`, as a parser would hand them over: none of them with a line end in it."""
    pairs = []
    for line in re.split(rb"[\r\n]", data):
        name, colon, value = line.partition(b":")
        if colon:
            pairs.append((name, value.strip(b" \t")))
    _to_client(pairs)
    word = rules.request_id(pairs, "fresh")
    assert re.fullmatch("[A-Za-z0-9._-]{1,64}", word)
    length = rules.content_length(pairs)
    assert length is None or 0 <= length < 10**16
    try:
        rules.check(pairs)
    except Refusal as refusal:
        assert refusal.kind.name in ("bad-request", "expectation-failed")  # noqa: PT017
        assert refusal.close  # noqa: PT017
        return
    assert all(PLAIN.fullmatch(value.decode("latin-1")) for _, value in pairs)
    assert not any(b"_" in name or name != name.strip() or not name.isascii() for name, _ in pairs)
    _to_broker(pairs, never)


def _to_broker(pairs: list[tuple[bytes, bytes]], never: frozenset[bytes]) -> None:
    also = frozenset({b"idempotency-key", b"authorization", b"x-api-key"})
    sent = rules.to_broker(pairs, also=also, user_agent="bearerd/1", request_id="r1")
    assert sent[-3:] == [("User-Agent", "bearerd/1"), ("Via", "1.1 bearerd"), ("X-Request-Id", "r1")]
    names = [name.lower().encode() for name, _ in sent[:-3]]
    assert set(names) <= rules.TO_BROKER | {b"idempotency-key"}
    assert not never & set(names)
    assert names.count(b"content-type") <= 1
    named = b",".join(value.lower() for name, value in pairs if name.lower() == b"connection")
    assert not {part.strip() for part in named.split(b",")} & set(names)
    assert all(value and PLAIN.fullmatch(value) for _, value in sent)
    assert all(
        part.strip().partition(";")[0].strip() in ("gzip", "deflate", "identity")
        for name, value in sent
        if name.lower() == "accept-encoding"
        for part in value.split(",")
    )


def _to_client(pairs: list[tuple[bytes, bytes]]) -> None:
    url = "http://127.0.0.1:8080/questrade"
    starts = [("/v1/beta", "/beta")]
    kept = answerhead.to_client(pairs, origin=ORIGIN, mount_url=url, request_id="r1", prefixes=lambda: starts)
    sent = answerhead.as_text(kept)
    names = [name.lower() for name, _ in sent]
    assert not {name.encode() for name in names[:-4]} & rules.NOT_TO_CLIENT
    assert not any(name.startswith(("access-control-", "proxy-status")) for name in names)
    assert [names.count(name) for name in ("server", "via", "x-content-type-options", "x-request-id")] == [1, 1, 1, 1]
    assert all(PLAIN.fullmatch(value) and re.fullmatch(r"[!#-'*+.^`|~\w-]+", name, re.ASCII) for name, value in sent)
    assert all(value.startswith(f"{url}/") for name, value in sent if name == "Location")
    assert not any(value.startswith(f"{url}//") for name, value in sent if name == "Location")


def plainhead(data: bytes) -> None:
    """What is taken for a plain head, the server's own parser reads as that very request; and twice as the same."""
    heads = Heads()
    found = heads.read(data)
    if found is None:
        return
    is_as_parsed(found, data)
    again = heads.read(data)
    assert again is not None
    assert again.block is found.block or len(again.block.raw) > KEPT
    assert (again.method, again.target) == (found.method, found.target)


def is_as_parsed(found: Plain, data: bytes) -> None:
    """Raise unless the parser gives one request out of these bytes, the same one, and nothing is left over."""
    loop: Any = None  # asked for only where a body begins, and then something is wrong already
    parser = HttpRequestParser(
        BaseProtocol(loop), loop, 1 << 16,
        max_line_size=LONGEST_LINE, max_field_size=LONGEST_LINE, max_headers=MOST_HEADERS, auto_decompress=False,
    )  # fmt: skip
    try:
        messages, upgraded, tail = parser.feed_data(data)
    except HttpProcessingError as error:
        raise AssertionError(f"the parser refuses it: {type(error).__name__}") from None
    ((message, payload),) = messages
    raw = message.path.encode("utf-8", "surrogateescape")
    assert (message.method, raw, message.version) == (found.method, found.target, HttpVersion11)
    assert message.raw_headers == found.block.headers
    assert (payload, upgraded, tail) == (EMPTY_PAYLOAD, False, b"")
    assert message.should_close == found.block.last
    assert not any((message.upgrade, message.chunked, message.compression))
    size = len(message.method) + len(message.path)
    assert size + sum(len(name) + len(value) for name, value in message.raw_headers) <= LARGEST_HEAD
    assert found.block.raw == data.partition(b"\r\n")[2]
    names = [name.lower() for name, _ in found.block.headers]
    assert len(names) == len(set(names))


HARNESSES: dict[str, Callable[[bytes], None]] = {"target": target, "headers": headers, "plainhead": plainhead}

# What a fuzzer would take long to find by itself.
_SEGMENTS = {segment for table in TABLES for row in table.rows for segment in row.segments if segment[:1] != "{"}
_SIGNS = (
    "%2F",
    "%2e",
    "%25",
    "%00",
    "..",
    "/../",
    "//",
    ";",
    "?stream=true",
    "&mode=WebSocket",
    "_method",
    "AAPL",
    "26598145",
)
_NAMES = (rules.TO_BROKER | rules.NOT_TO_CLIENT | NEVER) - {b""}
_VALUES = (
    "chunked",
    "websocket",
    "h2c",
    "100-continue",
    "gzip;q=0.5",
    "https://api01.iq.questrade.com/beta/",
    "/../",
    "\x80",
)
_OF_HEADS = ("GET /", "HEAD /", " HTTP/1.1\r\n", "Host: a\r\n", "\r\n", "\r\n\r\n", " ", "\t", "#", "keep-alive")
WORDS = {
    "target": sorted({*(f"/{segment}" for segment in _SEGMENTS), *_SIGNS}),
    "headers": sorted({*(f"{name.decode()}: " for name in _NAMES), *_VALUES}),
    "plainhead": sorted({*(f"{name.decode()}: " for name in _NAMES), *_VALUES, *_OF_HEADS}),
}
