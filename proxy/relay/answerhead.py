"""What of a broker's answer goes back to the client: everything but what belongs to the connection, to the browser's
memory, or to us. Pure: pairs of bytes in; pairs of bytes out, or the whole head of a small answer.

Every answer passes here, so that it goes by tables: what becomes of a header is looked up by its name as the broker
spells it, and all values are looked through at once. Name by name and value by value that took 8 µs, and takes 2.
"""

from collections.abc import Callable, Iterable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from operator import itemgetter

from proxy.brokers.origin import Origin
from proxy.relay.headers import FIT, NAME, NAMELESS, NOT_TO_CLIENT, Raw, Text, named_by_connection, stays

Pairs = list[tuple[bytes, bytes]]
Prefixes = Callable[[], Iterable[tuple[str, str]]]

# What becomes of an answer's header.
_KEPT, _DATE, _TYPE, _NUMBER, _MOVED, _CONNECTION, _DROPPED = range(7)
_FATES = {
    **dict.fromkeys(NOT_TO_CLIENT, _DROPPED),
    b"connection": _CONNECTION,
    b"content-type": _TYPE,
    b"date": _DATE,
    b"location": _MOVED,
    b"x-request-id": _NUMBER,
}
_OURS = ((b"Server", b"bearerd"), (b"Via", b"1.1 bearerd"), (b"X-Content-Type-Options", b"nosniff"))
_OUR_LINES = b"\r\n".join(map(b": ".join, _OURS)) + b"\r\nX-Request-Id: "
_MOST_NAMES, _LONGEST_NAME = 1024, 64
_MOST_LINES, _LONGEST_LINE = 512, 256
_UNKEPT = frozenset((b"set-cookie", b"set-cookie2"))  # what they hold is nobody's to remember

_BODILESS = frozenset((HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED))
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class _Fates(dict[bytes, int]):
    """What becomes of a header, by its name as the broker spells it: each writes the same few dozen."""

    def __missing__(self, name: bytes) -> int:
        lowered = name.lower()
        if lowered.startswith((b"access-control-", b"proxy-status")) or not NAME.fullmatch(name.replace(b"_", b"-")):
            fate = _DROPPED
        else:
            fate = _FATES.get(lowered, _KEPT)
        if len(name) <= _LONGEST_NAME:
            if len(self) >= _MOST_NAMES:
                self.clear()
            self[name] = fate
        return fate


_fates = _Fates()


def to_client(
    headers: Raw,
    *,
    origin: Origin,
    mount_url: str,
    request_id: str,
    prefixes: Prefixes = tuple,
    last: bool = False,
) -> Pairs:
    """The headers that the client gets. `mount_url` is where it reached the mount, without a slash at the end.

    `prefixes` tells the starts of paths that are sent otherwise than they are called: ours, and the broker's for it.
    `last` says that the connection is closed after this answer.
    """
    kept, _, _ = _crossing(headers, origin, mount_url, prefixes)
    kept += _OURS
    kept.append((b"X-Request-Id", request_id.encode("ascii")))
    if last:
        kept.append((b"Connection", b"close"))
    return kept


def whole_head(
    method: str,
    status: int,
    headers: Raw,
    length: int | None,
    *,
    wall: float,
    origin: Origin,
    mount_url: str,
    request_id: str,
    prefixes: Prefixes = tuple,
    last: bool = False,
) -> bytes:
    """The head of an answer whose whole body is there: byte for byte what the library writes of `to_client`'s headers.

    `length` is the body's, or, to a HEAD, the one that the broker tells; None: nobody says. `wall`: Unix time, for a
    broker that sends no `Date`. `last`: the connection is closed after this answer, as the client has asked.
    """
    found = _lines_of(headers)
    if found is None:
        kept, typed, dated = _crossing(headers, origin, mount_url, prefixes)
        found = [b": ".join(pair) for pair in kept], typed, dated
    lines, typed, dated = found
    head = b"\r\n".join((_status_line(status), *lines, _OUR_LINES + request_id.encode("ascii")))
    if length is not None and status not in _BODILESS:
        head += b"\r\nContent-Length: %d" % length
        if length and method != "HEAD" and not typed:
            head += b"\r\nContent-Type: application/octet-stream"  # RFC 9110, section 8.3
    if not dated:
        head += _date_line(int(wall))
    if last:
        head += b"\r\nConnection: close"
    return head + b"\r\n\r\n"


def as_text(headers: Raw) -> Text:
    """The same headers for a library that takes text. For those that have gone through `to_client`."""
    return [(name.decode("ascii"), value.decode("ascii")) for name, value in headers]


def _lines_of(headers: Raw) -> tuple[list[bytes], bool, bool] | None:
    """What `_crossing` gives, as lines, where nothing is unusual: no redirect, no page, no value that can't go on."""
    known, lines, typed, dated = _lines, [], False, False
    for pair in headers:
        line, fate = known[pair]
        if fate == _DROPPED:
            continue
        if fate == _TYPE:
            typed = True
        elif fate == _DATE:
            dated = True
        elif fate != _KEPT:
            return None
        lines.append(line)
    return lines, typed, dated


class _Lines(dict[tuple[bytes, bytes], tuple[bytes, int]]):
    """Headers as they are written to clients, and what they are. Most of an answer's are those of the one before."""

    def __missing__(self, pair: tuple[bytes, bytes]) -> tuple[bytes, int]:
        name, value = pair
        line, fate = b": ".join(pair), _fates[name]
        if fate == _NUMBER:
            line, fate = b"X-Broker-Request-Id: " + value, _KEPT
        elif fate == _CONNECTION and value in NAMELESS:
            fate = _DROPPED
        if (fate == _TYPE and _is_page(value)) or (fate != _DROPPED and value.translate(None, FIT)):
            fate = _MOVED  # for the rules, one by one
        found = (b"" if fate == _DROPPED else line), fate
        if len(line) <= _LONGEST_LINE and name.lower() not in _UNKEPT:
            if len(self) >= _MOST_LINES:
                self.clear()
            self[pair] = found
        return found


_lines = _Lines()


def _crossing(headers: Raw, origin: Origin, mount_url: str, prefixes: Prefixes) -> tuple[Pairs, bool, bool]:
    """The broker's headers that go on; and whether there is a `Content-Type` and a `Date` among them."""
    fates = _fates
    kept: Pairs = []
    kind, dated = b"", False
    for pair in headers:
        name, value = pair
        fate = fates[name]
        if not fate:
            kept.append(pair)
        elif fate == _DATE:
            kept.append(pair)
            dated = True
        elif fate == _TYPE:
            kept.append(pair)
            kind += value + b";"
        elif fate == _NUMBER:
            kept.append((b"X-Broker-Request-Id", value))
        elif fate == _MOVED:
            kept += _moved(value, origin, mount_url, prefixes)
        elif fate == _CONNECTION and value not in NAMELESS:
            named = named_by_connection(headers) | {b"connection"}
            return _crossing([pair for pair in headers if pair[0].lower() not in named], origin, mount_url, prefixes)
    if b"".join(map(_value, kept)).translate(None, FIT):
        fit = [pair for pair in headers if not pair[1].translate(None, FIT)]
        return _crossing(fit, origin, mount_url, prefixes)
    if kind and _is_page(kind):
        # A broker's error page must not run as our origin.
        kept.append((b"Content-Security-Policy", b"sandbox"))
    return kept, bool(kind), dated


_value = itemgetter(1)


@lru_cache(maxsize=64)
def _is_page(kind: bytes) -> bool:
    """HTML, and XML too: scripts run in XHTML and SVG."""
    lowered = kind.lower()
    return b"html" in lowered or b"xml" in lowered


def _moved(value: bytes, origin: Origin, mount_url: str, prefixes: Prefixes) -> Pairs:
    """A redirect that stays on the broker's origin, as seen from the mount; any other is dropped."""
    path = value.decode("ascii", "replace").removeprefix(f"https://{origin}")
    if not stays(path):
        return []
    start = next((ours + path[len(theirs) :] for ours, theirs in prefixes() if path.startswith(f"{theirs}/")), path)
    return [(b"Location", (mount_url + start).encode("ascii"))]


@lru_cache(maxsize=128)
def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {_PHRASES.get(status, '')}".encode()


@lru_cache(maxsize=1)
def _date_line(wall: int) -> bytes:
    return b"\r\nDate: " + formatdate(wall, usegmt=True).encode()
