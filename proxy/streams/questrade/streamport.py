"""The `streamPort` in an answer of Questrade's: found, and replaced by one of ours. Pure.

`{"streamPort": 8237}`, with `"quotes": […]` beside it where quotes were asked for (DOC/streaming; seen: vivekp9991's
Questrade-Portfolio-Manager). A client connects to that port of the host that it calls, and sends its key there first:
a number that we had not put there would lead it to whatever program of that machine listens on it.
"""

from dataclasses import dataclass

from proxy.streams.questrade import rawjson
from proxy.streams.questrade.rawjson import Unreadable

FIRST, LAST = 1024, 65535  # what a broker may name

_NAME = "streamPort"


@dataclass(frozen=True, slots=True)
class Found:
    """The port that an answer names, and where the number stands in its text."""

    port: int
    start: int
    end: int


def find(body: bytes) -> Found | None:
    """The port of an answer; None if it speaks of none, and may pass as it is.

    `Unreadable` if it speaks of one otherwise than once, as a number from 1024 to 65535 in the object that it is:
    somebody might read a port out of it that is not ours.
    """
    try:
        text = body.decode()
        # Some clients read names without regard to case.
        parts = list(rawjson.members(text))
        named = [part for part in parts if part.name.casefold() == _NAME.casefold()]
    except ValueError:
        if _NAME.lower().encode() in body.lower():
            raise Unreadable("an answer with a stream's port is no JSON object") from None
        return None
    if _speaks([part.value for part in parts]):
        raise Unreadable("an answer names a stream's port in another place than we know it")
    if not named:
        return None
    if len(named) > 1 or named[0].name != _NAME:
        raise Unreadable("an answer names a stream's port twice, or otherwise than we know it")
    written = text[named[0].start : named[0].end]
    if not (written.isascii() and written.isdigit() and FIRST <= int(written) <= LAST):
        raise Unreadable(f"a stream's port is no number from {FIRST} to {LAST}")
    # The body is cut as bytes: what stands before the number need not be ASCII.
    start = len(text[: named[0].start].encode())
    return Found(int(written), start, start + len(written))


def _speaks(value: object) -> bool:
    """Whether a port is named somewhere in it."""
    left = [value]
    while left:
        match left.pop():
            case dict() as members:
                if any(name.casefold() == _NAME.casefold() for name in members):
                    return True
                left += members.values()
            case list() as items:
                left += items
            case _:
                pass
    return False


def replaced(body: bytes, found: Found, port: int) -> bytes:
    """The same answer with another number, and not a byte else changed."""
    return body[: found.start] + str(port).encode() + body[found.end :]
