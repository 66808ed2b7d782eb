"""How a credential is written into a call, and which parts of it no answer may give back. Pure.

A definition says where the broker wants it (`Placement`). One call has exactly one credential, in exactly that place.
"""

import base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NewType
from urllib.parse import quote

from proxy.brokers.definition import Placement
from proxy.gate.query import spells
from proxy.relay.echo import Needles
from proxy.secret import Secret

Text = list[tuple[str, str]]
Lines = NewType("Lines", bytes)  # the header lines of a credential, as they are written
NO_LINES = Lines(b"")  # of one that stands elsewhere


@dataclass(frozen=True, slots=True)
class Written:
    """A call's target and headers with the credential in them."""

    target: bytes = field(repr=False)
    headers: Text = field(repr=False)


def write(placement: Placement, credential: Secret, target: bytes, headers: Iterable[tuple[str, str]]) -> Written:
    """Put the credential where `placement` says, and take every other one out. A `target` is only ever added to.

    Raises `AssertionError`, without a byte of it, if the call would leave with none, with two, or with half of one:
    this is the last look before it is sent.
    """
    kept = without(placement, headers)
    parts = _parts(placement, credential)
    if placement.kind == "query":
        target = _with_parameter(target, placement.names[0], parts[0])
    else:
        kept += _headers(placement, parts)
    _check(placement, target, kept)
    return Written(target, kept)


def without(placement: Placement, headers: Iterable[tuple[str, str]]) -> Text:
    """A call's headers without any credential that stands in them."""
    ours = [name.lower() for name in placement.names] if placement.kind == "headers" else []
    return [(name, value) for name, value in headers if name.lower() not in ("authorization", *ours)]


def _headers(placement: Placement, parts: Sequence[str]) -> Text:
    """The credential as headers; none if its place is in the query."""
    match placement.kind:
        case "bearer":
            return [("Authorization", f"Bearer {parts[0]}")]
        case "basic":
            return [("Authorization", f"Basic {_base64(':'.join(parts).encode())}")]
        case "headers":
            return list(zip(placement.names, parts, strict=True))
        case "query":
            return []


@lru_cache(maxsize=256)
def lines(placement: Placement, credential: Secret) -> Lines | None:
    """The credential as header lines, kept; None if its place is in the query. Raises as `write` does."""
    if placement.kind == "query":
        return None
    headers = _headers(placement, _parts(placement, credential))
    _check(placement, b"", headers)
    return Lines("".join(f"{name}: {value}\r\n" for name, value in headers).encode("ascii"))


def _parts(placement: Placement, credential: Secret) -> list[str]:
    parts = credential.reveal().split(":", placement.parts - 1)
    if len(parts) != placement.parts or not all(parts):
        raise AssertionError(f"the credential does not have the {placement.parts} parts that are needed here")
    if placement.kind == "basic" or all(part.isascii() and part.isprintable() for part in parts):
        return parts
    raise AssertionError("a credential holds a character that no header can carry")


def _with_parameter(target: bytes, name: str, value: str) -> bytes:
    _, mark, query = target.partition(b"?")
    joint = b"&" if query else b"" if mark else b"?"
    return target + joint + f"{quote(name, safe='')}={quote(value, safe='')}".encode()


def _check(placement: Placement, target: bytes, headers: Sequence[tuple[str, str]]) -> None:
    names = [name.lower() for name, _ in headers]
    expected = {"authorization": int(placement.kind in ("bearer", "basic"))}
    if placement.kind == "headers":
        expected |= {name.lower(): 1 for name in placement.names}
    if any(names.count(name) != count for name, count in expected.items()):
        raise AssertionError("a call was about to leave without exactly one credential")
    if placement.kind == "query" and spells(target.partition(b"?")[2], placement.names[0]) != 1:
        raise AssertionError("a call was about to leave without exactly one credential")


def withheld(placement: Placement, credential: Secret) -> tuple[str, ...]:
    """What no answer may hold: the credential and its secret parts."""
    text = credential.reveal()
    parts = text.split(":", placement.parts - 1)
    # The user of Basic is a name, often an e-mail address, which answers may well tell.
    return tuple(dict.fromkeys([text, *(parts[1:] if placement.kind == "basic" else parts)]))


def check_none(placement: Placement, headers: Iterable[tuple[str, str]]) -> None:
    """Raise `AssertionError` if a call that is to leave without a credential holds one in its head."""
    own = [name.lower() for name in placement.names] if placement.kind == "headers" else []
    if any(name.lower() in ("authorization", *own) for name, _ in headers):
        raise AssertionError("a call was about to leave with a credential that belongs elsewhere")


@lru_cache(maxsize=64)
def needles(placement: Placement, credential: Secret, *more: Secret) -> Needles:
    """What to look for in all that comes back. Kept, because the same pair serves thousands of calls."""
    return Needles.of([*withheld(placement, credential), *(secret.reveal() for secret in more)])


class Watch:
    """Looks through what comes over a socket, which may outlive its credential: for the one that it was opened with,
    for the `newest` of the same grant, and for the one before that.
    """

    __slots__ = ("_also", "_first", "_last", "_needles", "_newest", "_placement")

    def __init__(self, placement: Placement, first: Secret, newest: Callable[[], Secret | None]) -> None:
        self._placement, self._newest = placement, newest
        self._first = self._last = first
        self._also: tuple[str, ...] = ()
        self._needles = needles(placement, first)

    def withhold(self, *texts: str) -> None:
        """Look for these as well from here on."""
        self._also += texts
        self._needles = self._needles.and_of(texts)

    def within(self, data: bytes) -> bool:
        """Whether any of them stands in `data`."""
        newest = self._newest()
        if newest is not self._last and newest is not None:
            later = (text for secret in (self._last, newest) for text in withheld(self._placement, secret))
            self._needles = needles(self._placement, self._first).and_of((*later, *self._also))
            self._last = newest
        return self._needles.within(data)


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
