"""The raw request target: read once, here, from its bytes. What could be read in two ways is refused, never cleaned."""

import re
from typing import NamedTuple

from proxy.errors import Refusal
from proxy.gate import query as queries

MAX_SEGMENTS = 12  # after the mount
MAX_SEGMENT = 128  # bytes

# RFC 3986, section 3.3: pchar. `;` is left out, because some servers cut a segment there (`..;x=1` is `..` to them).
PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@")
# What a segment may hold percent-encoded, if a row's own pattern asks for it. An encoded letter, digit, `-._~` or `@`
# says the same as the plain one, and `%2E %25 %5C %3B %3F %23 %00` mean something else after one more decoding.
ENCODABLE = frozenset(b" !\"$&'()*+,/:<=>[]^`{|}")

_VISIBLE = bytes(byte for byte in range(0x21, 0x7F) if byte != ord("#"))
_NAME = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_PLAIN_PATH = bytes((*PLAIN, ord("/")))
_SEGMENT = re.compile(
    b"(?:[" + b"".join(re.escape(bytes([byte])) for byte in sorted(PLAIN)) + b"]"
    b"|%(?:" + b"|".join(b"%02X" % byte for byte in sorted(ENCODABLE)) + b"))*"
)  # fmt: skip


class Target(NamedTuple):  # made for every call, and a frozen dataclass takes four times as long to make
    """Where a call goes. All bytes are the client's own.

    `path` starts with `/` and is what follows the mount (`b"/v1/accounts"`); `segments` is that path split at `/`,
    and its last one is empty if the path ends in a slash. `query` is None without a `?` and `b""` for a bare one.
    """

    mount: str
    path: bytes
    segments: tuple[bytes, ...]
    query: bytes | None

    @property
    def sent(self) -> bytes:
        """What goes to the broker after its origin: the matched path and the query, byte for byte."""
        return self.sent_as(self.path)

    def sent_as(self, path: bytes) -> bytes:
        """The same with a path that the matched row has given another constant start."""
        return path if self.query is None else path + b"?" + self.query


def parse(raw: bytes, *, mount: str | None = None) -> Target:
    """Split a raw request target into mount, path and query, or raise `Refusal("ambiguous-target")`.

    With `mount` the whole path is the broker's (a listener that serves one mount at its root). A target that ends at
    the mount gives the path `b"/"` and no segments, which no row matches. A trailing slash is left for the rows to
    judge.
    """
    if not raw or raw.translate(None, _VISIBLE):
        raise _ambiguous("The request target holds a space, a control byte, a `#` or a byte beyond ASCII.")
    if not raw.startswith(b"/"):
        raise _ambiguous("The request target must start with `/`; absolute and other forms are not taken.")
    path, mark, rest = raw.partition(b"?")
    query = rest if mark else None
    if query and queries.overrides_method(query):
        raise _ambiguous("The query asks for another method, or holds a name that cannot be read.")
    if mount is None:
        mount, path = _cut_mount(path)
    # A client whose base address ends in a slash joins to `…/questrade//v1`. That slash is the mount's own and never
    # sent.
    path = path[1:] if path.startswith(b"//") else path
    return Target(mount, path, _segments(path), query)


def _cut_mount(path: bytes) -> tuple[str, bytes]:
    if path.startswith(b"//"):
        raise _ambiguous("The request target must not start with `//`.")
    name, slash, rest = path[1:].partition(b"/")
    if name.translate(None, _NAME) or len(name) > MAX_SEGMENT:
        _check_segment(name)
        if b"%" in name:
            raise _ambiguous("The mount's name must not be percent-encoded.")
    return name.decode("ascii"), slash + rest or b"/"


def _segments(path: bytes) -> tuple[bytes, ...]:
    if path == b"/":
        return ()
    segments = tuple(path[1:].split(b"/"))
    # Of nearly every path that is seen at once: no encoding, no empty segment, none that begins with a dot, none that
    # could be too long.
    if not (
        path.translate(None, _PLAIN_PATH)
        or b"//" in path
        or b"/." in path
        or len(path) > MAX_SEGMENT
        or len(segments) > MAX_SEGMENTS
    ):
        return segments
    named = segments if segments[-1] else segments[:-1]
    if len(named) > MAX_SEGMENTS:
        raise _ambiguous(f"The path has more than {MAX_SEGMENTS} segments.")
    for segment in named:
        if not segment:
            raise _ambiguous("The path has an empty segment (`//`).")
        _check_segment(segment)
    return segments


def _check_segment(segment: bytes) -> None:
    if len(segment) > MAX_SEGMENT:
        raise _ambiguous(f"A path segment is longer than {MAX_SEGMENT} bytes.")
    if segment in (b".", b".."):
        raise _ambiguous("The path has a `.` or `..` segment.")
    if not _SEGMENT.fullmatch(segment):
        raise _ambiguous("A path segment holds a stray `%`, a `;`, a backslash or another byte that has two readings.")


def _ambiguous(detail: str) -> Refusal:
    return Refusal("ambiguous-target", detail)
