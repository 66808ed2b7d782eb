"""A request's head as it is written to a broker, in one piece of bytes. Pure.

A piece that was looked through once may be kept and used again: the first line (`first_of`), the lines of a client's
headers (`block_of`), those of a credential (`credential.lines`). Their types say that it was done.
"""

import re
from collections.abc import Iterable
from typing import NewType

from proxy.brokers.definition import Placement
from proxy.gate import tracecontext
from proxy.relay.credential import Lines, check_none

First = NewType("First", bytes)  # the first line and the Host
Block = NewType("Block", bytes)  # header lines of a call, without credential, Host and framing

# Written by us, by what is really sent and by where the connection leads.
OURS = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
LAST = b"Connection: close\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
_FIRST = re.compile(rb"[A-Z]{1,16} /[!-~]* [!-~]+")  # method, target, host
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^`|~-]+", re.ASCII)
_VALUE = re.compile(r"[\t\x20-\x7e]*", re.ASCII)


def block_of(headers: Iterable[tuple[str, str]], placement: Placement) -> Block:
    """The header lines of a call. `AssertionError`: a credential, the Host, framing or a line end stands in them."""
    pairs = list(headers)
    check_none(placement, pairs)
    for name, value in pairs:
        if name.lower() in OURS:
            raise AssertionError(f"a call was about to leave with a {name.lower()} that is not ours")
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise AssertionError("a call was about to leave with a header that is not printable ASCII")
    return Block("".join(f"{name}: {value}\r\n" for name, value in pairs).encode("ascii"))


def first_of(method: bytes, target: bytes, host: bytes) -> First:
    """The first line, and the Host. `AssertionError`: it could be read as something else than these."""
    if _FIRST.fullmatch(b"%b %b %b" % (method, target, host)) is None:
        raise AssertionError("a call was about to leave with a first line that can be read in two ways")
    return First(b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (method, target, host))


def joined(first: First, block: Block, lines: Lines, framing: bytes = b"") -> bytes:
    """All of it, to the empty line. `framing` is `length()`, `CHUNKED`, `LAST` or nothing."""
    return b"%b%b%b%b\r\n" % (first, block, lines, framing)


def plain_head(
    first: First, block: Block, request_id: str, lines: Lines, parent: tracecontext.Lines = tracecontext.NO_LINES
) -> bytes:
    """All of it, of a call without a body. `request_id` (letters, digits, `.`, `_`, `-`) is not in the block.

    `parent` is what is said of the call's trace, if the block does not say it.
    """
    return b"%b%bX-Request-Id: %b\r\n%b%b\r\n" % (first, block, request_id.encode("ascii"), parent, lines)


def head(  # noqa: PLR0917  in the order in which they are written
    method: bytes, target: bytes, host: bytes, block: Block, lines: Lines, framing: bytes = b""
) -> bytes:
    """Both in one."""
    return joined(first_of(method, target, host), block, lines, framing)


def length(size: int) -> bytes:
    """The framing of a body of so many bytes."""
    return b"Content-Length: %d\r\n" % size
