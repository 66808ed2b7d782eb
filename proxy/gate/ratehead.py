"""What a broker's answer says of its rate limit. Values that make no sense are as good as none.

A moment may come as Unix seconds, as Unix milliseconds or as seconds from now: they are a million times apart, so that
the number itself says which.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal

Part = Literal["limit", "remaining", "used", "reset"]

_LONGEST_COUNT = 12  # digits
_MOMENT = re.compile(rb"[0-9]{1,15}(?:\.[0-9]{1,9})?")
_SECONDS = re.compile(rb"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_UNIX = 1e8  # seconds; what is smaller counts from now: nobody tells a moment of before 1973, or a wait of 3 years
_MILLISECONDS = 1e11
_ALWAYS = {b"retry-after": "retry", b"date": "date"}  # RFC 9110
_MOST_NAMES, _LONGEST_NAME = 256, 64


@dataclass(slots=True)
class Heard:
    """What one answer said. `reset`, `retry` and `date` are as they came; the first header of a name counts."""

    limit: int | None = None
    remaining: int | None = None
    reset: bytes | None = None
    retry: bytes | None = None
    date: bytes | None = None


class Names(dict[bytes, str]):
    """Headers in lower case, and what each says. `spelled` has them, and others, as brokers spell them: of every answer
    every header is looked up, and each broker writes the same few dozen.
    """

    __slots__ = ("spelled",)

    def __init__(self, names: Mapping[bytes, str]) -> None:
        super().__init__(names)
        self.spelled = _Spelled(self)


class _Spelled(dict[bytes, str | None]):
    __slots__ = ("_names",)

    def __init__(self, names: Names) -> None:
        super().__init__()
        self._names = names

    def __missing__(self, name: bytes) -> str | None:
        part = self._names.get(name.lower())
        if len(name) <= _LONGEST_NAME:
            if len(self) >= _MOST_NAMES:
                self.clear()
            self[name] = part
        return part


def wanted(names: Mapping[Part, str]) -> Names:
    """The headers to look for, in lower case, and what each is: a broker's own, `Retry-After` and `Date`."""
    return Names({name.lower().encode(): part for part, name in names.items()} | _ALWAYS)


def hear(headers: Iterable[tuple[bytes, bytes]], names: Names) -> Heard:
    """What the answer says; `names` are from `wanted`."""
    found: dict[str, bytes] = {}
    spelled = names.spelled
    for name, value in headers:
        part = spelled[name]
        if part is not None and part not in found:
            found[part] = value
    if not found:
        return Heard()
    limit, remaining = _count(found.get("limit")), _count(found.get("remaining"))
    if remaining is None and limit is not None and (used := _count(found.get("used"))) is not None:
        remaining = max(0, limit - used)
    return Heard(limit or None, remaining, found.get("reset"), found.get("retry"), found.get("date"))


def is_unix(reset: bytes) -> bool:
    """Whether the text names a moment, and not a time from now: the same text then means the same moment."""
    return _MOMENT.fullmatch(reset) is not None and float(reset) >= _UNIX


def reset_in(heard: Heard, wall: float) -> float | None:
    """In how many seconds a new window begins; below 0: it has. None if the answer does not say.

    The broker's own `Date` is what a moment is held against: this machine's clock (`wall`, Unix time) may be wrong.
    """
    text = heard.reset
    if text is None or _MOMENT.fullmatch(text) is None:
        return None
    value = float(text)
    if value < _UNIX:
        return value
    moment = value / 1000 if value >= _MILLISECONDS else value
    there = _date(heard.date)
    return moment - (wall if there is None else there)


def retry_in(heard: Heard) -> float | None:
    """What `Retry-After` asks for, in seconds: a number, or a date (RFC 9110). None if that is nothing."""
    if heard.retry is None:
        return None
    if _SECONDS.fullmatch(heard.retry) is not None:
        return float(heard.retry) or None
    until, there = _date(heard.retry), _date(heard.date)
    return until - there if until is not None and there is not None and until > there else None


def _count(text: bytes | None) -> int | None:
    return int(text) if text is not None and len(text) <= _LONGEST_COUNT and text.isdigit() else None


def _date(text: bytes | None) -> float | None:
    if text is None or len(text) > 40:  # noqa: PLR2004  a date has 29 characters, the obsolete forms up to 33
        return None
    try:
        found = parsedate_to_datetime(text.decode("ascii"))
        # The form without a zone is UTC (RFC 9110, section 5.6.7), wherever this machine stands.
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, ArithmeticError, OSError):  # it meets all kinds of text
        return None
