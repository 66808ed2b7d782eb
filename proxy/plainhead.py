"""Heads that can be read in one way only: a plain GET or HEAD, whole, with nothing before or behind it. Pure.

aiohttp's parser makes a task, a multidict and a URL of every request, which costs several times as much as all that the
gate looks at. What is plain enough is read here instead, into the very method, target and headers that the parser would
give; of anything else this says nothing at all, and the parser judges. It judges most of what is odd, so nothing here
refuses or repairs: a head that is not understood completely is simply not taken.

A client on one connection sends the same headers again and again. As long as their bytes are the same, so is the
`Block`, and what was found out about it can stay with it.

Without this file every request goes through the parser; nothing else changes.
"""

import re
from dataclasses import dataclass

LONGEST = 8190  # bytes of a whole head: within every limit that the listener has for a line or for all of them
MOST_HEADERS = 64
KEPT = 4096  # bytes of a block that is kept for the next request; thousands of connections may be idle

Pairs = tuple[tuple[bytes, bytes], ...]

# A `#` is left to the parser, which cuts there.
_REQUEST_LINE = re.compile(rb'(GET|HEAD) (/[!-"$-~]*) HTTP/1\.1\r\n')
_METHODS = {b"GET": "GET", b"HEAD": "HEAD"}
_PRINTABLE = bytes(range(0x20, 0x7F))
_IN_NAMES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-"
# Those that say where a request ends, or what its connection becomes. `Proxy-Connection` is the parser's other name for
# `Connection`, and the last one belongs to a WebSocket that was given up in 2010: the parser refuses it.
_DECIDING = frozenset(
    (
        b"content-encoding",
        b"content-length",
        b"expect",
        b"http2-settings",
        b"proxy-connection",
        b"sec-websocket-key1",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)


@dataclass(slots=True, eq=False, repr=False)
class Block:
    """All headers of a request: names and values as they came, without the spaces around a value.

    Each name stands there once, in whatever case. `raw` are the same bytes as sent, with the empty line at their end.
    `last`: the connection is to end behind the answer. `notes` is for whoever has looked at the block, and will be
    asked again.
    """

    headers: Pairs
    raw: bytes
    last: bool
    notes: object | None = None


@dataclass(slots=True, eq=False, repr=False)
class Plain:
    """A request. `method` is GET or HEAD; `target` is what stands in the request line, and starts with `/`."""

    method: str
    target: bytes
    block: Block


class Heads:
    """Reads the heads of one connection."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: Block | None = None

    def read(self, data: bytes) -> Plain | None:
        """The request that these bytes are, from the first to the last; None if they are not exactly one plain head."""
        line = _REQUEST_LINE.match(data)
        if line is None or len(data) > LONGEST:
            return None
        raw, block = data[line.end() :], self._last
        if block is None or block.raw != raw:
            block = _block(raw)
            if block is None:
                return None
            self._last = block if len(raw) <= KEPT else None
        return Plain(_METHODS[line[1]], line[2], block)


def _block(raw: bytes) -> Block | None:
    """What follows a request line, if it is headers and the empty line, all of them plain."""
    lines = raw[:-4].split(b"\r\n")
    if not raw.endswith(b"\r\n\r\n") or len(lines) > MOST_HEADERS:
        return None
    # Nothing but printable ASCII and the line ends that were split at: no CR and no LF stands alone.
    if len(raw.translate(None, _PRINTABLE)) != 2 * len(lines) + 2:
        return None
    try:
        pairs = tuple([(name, value.strip(b" ")) for name, value in [line.split(b":", 1) for line in lines]])
    except ValueError:  # a line without a colon
        return None
    names = {name.lower() for name, _ in pairs}
    if len(names) != len(pairs) or b"" in names or not names.isdisjoint(_DECIDING) or b"host" not in names:
        return None
    if b"".join(names).translate(None, _IN_NAMES):
        return None
    if b"connection" not in names:
        return Block(pairs, raw, last=False)
    wish = next(value.lower() for name, value in pairs if name.lower() == b"connection")
    return Block(pairs, raw, last=wish == b"close") if wish in (b"close", b"keep-alive") else None
