"""Which of a client's headers are taken, and which go on to the broker. Pure: pairs of bytes in, pairs of text out.

Towards the broker an allow-list: what is not on it stays here, the client's credentials first of all. What comes back
is `answerhead.py`'s.
"""

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from proxy.errors import Refusal
from proxy.gate.clients import CREDENTIAL_HEADERS, KEY_PREFIX

Raw = Sequence[tuple[bytes, bytes]]
Text = list[tuple[str, str]]

TO_BROKER = frozenset(
    (
        b"accept",
        b"accept-encoding",
        b"accept-language",
        b"content-type",
        b"if-modified-since",
        b"if-none-match",
        b"last-event-id",
        b"traceparent",
        b"tracestate",
    )
)
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
NOT_TO_CLIENT = HOP_BY_HOP | frozenset(
    (
        b"alt-svc",
        b"clear-site-data",
        b"content-length",  # written by us, from what really comes
        b"nel",
        b"refresh",
        b"report-to",
        b"reporting-endpoints",
        b"server",
        b"set-cookie",
        b"set-cookie2",
        b"strict-transport-security",
        b"via",
        b"www-authenticate",  # a browser would ask for a broker's password
        b"x-content-type-options",
    )
)
# Those that we can read ourselves: a broker's 401 must be understood. Nothing else is unpacked here.
_ENCODINGS = re.compile(rb"\s*(gzip|deflate|identity)\s*(?:;\s*q=[01](?:\.[0-9]{0,3})?\s*)?", re.ASCII)
_VALUE = re.compile(rb"[\t\x20-\x7e]*")
NAME = re.compile(rb"[A-Za-z0-9!#$%&'*+.^`|~-]+")  # RFC 9110 token, less `_`: gateways fold it into `-`
# No second slash at the start, no backslash, nothing that a browser drops.
_REDIRECT = re.compile(r"/[!-.0-\[\]-~][!-\[\]-~]*|/")
_UPWARDS = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)
_SOCKET_KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")  # 16 bytes
MOST_SUBPROTOCOLS, _LONGEST = 16, 64
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


def check(headers: Raw) -> None:
    """Refuse request headers that others could read differently: 8-bit values, odd names, framing tricks."""
    if not _usual(headers):
        _check_each(headers)


# What there is to look at in a header of this name.
_NOTHING, _TYPE, _CONNECTION, _VALUES = range(4)
_LOOKS = {
    b"connection": _CONNECTION, b"content-type": _TYPE, b"expect": _VALUES, b"transfer-encoding": _VALUES,
    b"upgrade": _VALUES,
}  # fmt: skip
NAMELESS = frozenset((b"keep-alive", b"close", b"Keep-Alive", b"Close"))  # values of Connection that name no header
FIT = bytes((9, *range(32, 127)))  # bytes that may stand in a value
_MOST_NAMES, _LONGEST_NAME = 1024, 64


class _Looks(dict[bytes, int]):
    """By names as clients spell them: each sends the same few."""

    def __missing__(self, name: bytes) -> int:
        look = _LOOKS.get(name.lower(), _NOTHING) if NAME.fullmatch(name) else _VALUES
        if len(name) <= _LONGEST_NAME:
            if len(self) >= _MOST_NAMES:
                self.clear()
            self[name] = look
        return look


_looks = _Looks()


def _usual(headers: Raw) -> bool:
    """Whether it is seen at once that nothing is wrong with them, as with nearly all."""
    looks, typed = _looks, False
    for name, value in headers:
        look = looks[name]
        if not look or (look == _CONNECTION and value in NAMELESS):
            continue
        if look != _TYPE or typed:
            return False
        typed = True
    return not b"".join([value for _, value in headers]).translate(None, FIT)


def _check_each(headers: Raw) -> None:
    for name, value in headers:
        if not NAME.fullmatch(name):
            raise _malformed("a header name holds a character that is not allowed in one")
        if not _VALUE.fullmatch(value):
            raise _malformed("a header value is not printable ASCII")
        if name.lower() == b"transfer-encoding" and value.strip().lower() != b"chunked":
            raise _malformed("Transfer-Encoding may only be `chunked`")
        # Java's HttpClient offers h2c on every plain connection; an offer may be ignored (RFC 9110, section 7.8). What
        # becomes of a WebSocket depends on the row: see `check_upgrade`.
        if name.lower() == b"upgrade" and value.strip().lower() not in (b"h2c", b"websocket"):
            raise _malformed("no Upgrade is spoken here")
        if name.lower() == b"expect" and value.strip().lower() != b"100-continue":
            raise Refusal("expectation-failed", "Only `Expect: 100-continue` is understood.", close=True)
    _check_content_type(headers)


def _check_content_type(headers: Raw) -> None:
    """What a guard has read as JSON must not reach the broker under another type, or without any."""
    if sum(name.lower() == b"content-type" for name, _ in headers) > 1:
        raise _malformed("it has two Content-Types")
    if b"content-type" in named_by_connection(headers):
        raise _malformed("Connection names the Content-Type")


def ends_connection(method: str, headers: Raw) -> bool:
    """Whether what follows the request on its connection need not be another request, whatever is answered.

    That is so after a CONNECT and after an offer to change protocols: what comes in one piece with such a request, the
    parser drops, and it would take the rest for the start of the next one.
    """
    return method == "CONNECT" or any(name.lower() == b"upgrade" for name, _ in headers)


def asks_for_websocket(headers: Raw) -> bool:
    """Whether the connection is to become a WebSocket."""
    return any(name.lower() == b"upgrade" and value.strip().lower() == b"websocket" for name, value in headers)


def check_upgrade(headers: Raw) -> None:
    """Refuse to open a WebSocket where none is: an Upgrade out of place."""
    if asks_for_websocket(headers):
        raise _malformed("no WebSocket is opened by this call")


def check_handshake(headers: Raw) -> tuple[str, ...]:
    """Refuse what is no handshake of a WebSocket (RFC 6455, section 4.2.1). Returns the subprotocols that are offered.

    `Refusal("upgrade-required")` (426) says that the call opens a WebSocket of version 13, or is nothing.
    """
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value.strip(b" \t"))
    if not asks_for_websocket(headers):
        raise Refusal("upgrade-required", "This call opens a WebSocket, and asks for none.", close=True)
    if len(found[b"upgrade"]) > 1 or b"upgrade" not in named_by_connection(headers):
        raise _malformed("of a WebSocket's handshake, `Upgrade: websocket` and `Connection: Upgrade` are missing")
    if found.get(b"sec-websocket-version") != [b"13"]:
        raise Refusal("upgrade-required", "Only version 13 of the WebSocket protocol is spoken here.", close=True)
    keys = found.get(b"sec-websocket-key", [])
    if len(keys) != 1 or not _SOCKET_KEY.fullmatch(keys[0]):
        raise _malformed("a WebSocket's handshake has one Sec-WebSocket-Key, of 16 bytes in base64")
    if b"transfer-encoding" in found or any(value != b"0" for value in found.get(b"content-length", [])):
        raise _malformed("a WebSocket's handshake has no body")
    return _subprotocols(found.get(b"sec-websocket-protocol", []))


def _subprotocols(values: Sequence[bytes]) -> tuple[str, ...]:
    names = [name.strip(b" \t") for value in values for name in value.split(b",")]
    if len(names) > MOST_SUBPROTOCOLS or not all(NAME.fullmatch(name) and len(name) <= _LONGEST for name in names):
        raise _malformed(f"Sec-WebSocket-Protocol holds up to {MOST_SUBPROTOCOLS} names, each of them a token")
    if any(KEY_PREFIX.encode() in name for name in names):
        raise _malformed("a client key stands in Sec-WebSocket-Protocol, which goes on to the broker")
    return tuple(name.decode() for name in names)


def _malformed(why: str) -> Refusal:
    return Refusal("bad-request", f"The request was not taken: {why}.", close=True)


def request_id(headers: Raw, fresh: str) -> str:
    """The client's own `X-Request-Id` if it is a plain word and no client key gone astray, else `fresh`."""
    for name, value in headers:
        if name.lower() == b"x-request-id" and _REQUEST_ID.fullmatch(value) and KEY_PREFIX not in value.decode():
            return value.decode()
    return fresh


def to_broker(headers: Raw, *, also: AbstractSet[bytes], user_agent: str, request_id: str) -> Text:
    """What goes along to the broker. `also` are lower-case names that its definition adds.

    `Host`, framing and `Authorization` are written by the upstream, last.
    """
    dropped = named_by_connection(headers)
    allowed = (TO_BROKER | also) - dropped - CREDENTIAL_HEADERS
    kept = [(name.decode(), _value(name, value)) for name, value in headers if name.lower() in allowed]
    # The client's own User-Agent stays here: Questrade blocks some.
    ours = [("User-Agent", user_agent), ("Via", "1.1 bearerd"), ("X-Request-Id", request_id)]
    return [(name, value) for name, value in kept if value] + ours


def as_json(headers: Text) -> Text:
    """The same headers over a body that was written here."""
    return [pair for pair in headers if pair[0].lower() != "content-type"] + [("Content-Type", "application/json")]


def unpacked(headers: Text) -> Text:
    """The same headers for an answer that is read here."""
    return [pair for pair in headers if pair[0].lower() != "accept-encoding"] + [("Accept-Encoding", "identity")]


def _value(name: bytes, value: bytes) -> str:
    if name.lower() != b"accept-encoding":
        return value.decode("ascii")
    # An encoding that we could not read is not asked for.
    return ", ".join(part.strip().decode("ascii") for part in value.split(b",") if _ENCODINGS.fullmatch(part))


def content_length(headers: Raw) -> int | None:
    """The one valid `Content-Length`, or None."""
    values = {value.strip() for name, value in headers if name.lower() == b"content-length"}
    text = values.pop() if len(values) == 1 else b""
    return int(text) if text.isdigit() and len(text) < 16 else None  # noqa: PLR2004


def stays(path: str) -> bool:
    """Whether who follows an address of ours that ends with this stays on its mount.

    Who follows `/../other` calls another mount, with the key that it has for this one.
    """
    return bool(_REDIRECT.fullmatch(path)) and not _UPWARDS.search(re.split("[?#]", path, maxsplit=1)[0])


def named_by_connection(headers: Raw) -> frozenset[bytes]:
    """The headers, in lower case, that `Connection` says belong to the connection."""
    named = (
        part.strip().lower() for name, value in headers if name.lower() == b"connection" for part in value.split(b",")
    )
    return frozenset(named)
