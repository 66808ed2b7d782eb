"""Where things stand in a JSON text, so that parts of it can be passed on, or replaced, byte for byte. Pure.

Numbers, spaces and the order of members are never written anew: what a client gets of a broker's message is cut out of
that message.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


class Unreadable(ValueError):
    """The text is not what it was to be. Holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Part:
    """A value in a text: `text[start:end]` is how it is written. `name` is that of the member, decoded; else empty."""

    name: str
    start: int
    end: int
    value: Any


def members(text: str) -> Iterator[Part]:
    """The members of the object that the whole text is. Raises `Unreadable`, perhaps after some of them."""
    at = _begin(text, _space(text, 0), "{")
    while text[at : at + 1] != "}":
        name, at = _value(text, at)
        if not isinstance(name, str):
            raise Unreadable("a member without a name")
        start = _begin(text, _space(text, at), ":")
        value, at = _value(text, start)
        yield Part(name, start, at, value)
        at = _next(text, at, "}")
    if _space(text, at + 1) != len(text):
        raise Unreadable("something stands behind the object")


def items(text: str, start: int) -> Iterator[Part]:
    """The items of the list that begins at `start`. Raises `Unreadable`, perhaps after some of them."""
    at = _begin(text, start, "[")
    while text[at : at + 1] != "]":
        begun = at
        value, at = _value(text, at)
        yield Part("", begun, at, value)
        at = _next(text, at, "]")


def _value(text: str, at: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        raise Unreadable("a value is no JSON") from None


def _next(text: str, at: int, end: str) -> int:
    """Behind a comma, or at the end."""
    at = _space(text, at)
    if text[at : at + 1] == end:
        return at
    at = _begin(text, at, ",")
    if text[at : at + 1] == end:
        raise Unreadable("a comma before the end")
    return at


def _begin(text: str, at: int, sign: str) -> int:
    if text[at : at + 1] != sign:
        raise Unreadable(f"no `{sign}` where one belongs")
    return _space(text, at + 1)


def _space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
