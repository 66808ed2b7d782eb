"""W3C Trace Context: `traceparent` and `tracestate`, read strictly and written. Pure.

What is malformed is as good as not there (https://www.w3.org/TR/trace-context/, sections 3.2 and 3.3): a call is never
refused for it. Of another version than 00 what is known of 00 is read.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NewType

Lines = NewType("Lines", bytes)  # header lines that this module has written or looked through

NO_LINES = Lines(b"")
NAMES = frozenset((b"traceparent", b"tracestate"))
SAMPLED, RANDOM = 0x01, 0x02  # flags
MOST_MEMBERS, LONGEST_STATE = 32, 512  # of a tracestate; a longer one is not passed on
_READ = 4 * LONGEST_STATE  # bytes that are looked at, blanks and empty members included
_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-[!-~]*)?")
_MEMBER = re.compile(rb"[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")
_VERSION_0, _NO_VERSION, _LENGTH_0 = b"00", b"ff", 55


@dataclass(frozen=True, slots=True)
class Parent:
    """The span that a call belongs to. Identifiers are lower-case hexadecimal digits: 32 and 16 of them."""

    trace_id: str
    span_id: str
    flags: int
    state: str = field(default="", repr=False)

    @property
    def sampled(self) -> bool:
        """Whether the caller may have recorded it."""
        return bool(self.flags & SAMPLED)


def parent_of(headers: Iterable[tuple[bytes, bytes]]) -> Parent | None:
    """What a request says of its parent; None if it says nothing, or nothing that can be read in one way."""
    found: bytes | None = None
    states: list[bytes] = []
    for name, value in headers:
        size = len(name)
        if size == 11 and name.lower() == b"traceparent":  # noqa: PLR2004
            if found is not None:
                return None
            found = value
        elif size == 10 and name.lower() == b"tracestate":  # noqa: PLR2004
            states.append(value)
    return None if found is None else _parent(found.strip(b" \t"), states)


def _parent(text: bytes, states: Sequence[bytes]) -> Parent | None:
    match = _PARENT.fullmatch(text)
    if match is None:
        return None
    version, trace_id, span_id, flags = match.groups()
    if version == _NO_VERSION or (version == _VERSION_0 and len(text) != _LENGTH_0):
        return None
    if not trace_id.strip(b"0") or not span_id.strip(b"0"):
        return None
    known = int(flags, 16) & (SAMPLED | RANDOM if version == _VERSION_0 else SAMPLED)
    return Parent(trace_id.decode(), span_id.decode(), known, _state(states))


def _state(values: Sequence[bytes]) -> str:
    """The list as one; empty if it is malformed, which says nothing against the parent."""
    if sum(map(len, values)) > _READ:
        return ""
    members = [member.strip(b" \t") for value in values for member in value.split(b",")]
    members = [member for member in members if member]
    keys = {member.partition(b"=")[0] for member in members}
    sound = len(members) <= MOST_MEMBERS and len(keys) == len(members) and all(map(_MEMBER.fullmatch, members))
    whole = b",".join(members)
    return whole.decode("ascii") if sound and len(whole) <= LONGEST_STATE else ""


def pairs(parent: Parent) -> list[tuple[str, str]]:
    """The headers that make `parent` the parent of a call."""
    found = [("traceparent", f"00-{parent.trace_id}-{parent.span_id}-{parent.flags:02x}")]
    return [*found, ("tracestate", parent.state)] if parent.state else found


def lines(parent: Parent) -> Lines:
    """The same as bytes of a head."""
    state = f"tracestate: {parent.state}\r\n" if parent.state else ""
    return Lines(f"traceparent: 00-{parent.trace_id}-{parent.span_id}-{parent.flags:02x}\r\n{state}".encode("ascii"))


def without(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers that say nothing of a parent."""
    return [pair for pair in headers if pair[0].lower().encode() not in NAMES]
