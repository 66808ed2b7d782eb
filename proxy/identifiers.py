"""Identifiers of calls and spans: 16 hexadecimal digits each, from the system's randomness."""

import os

_AHEAD = 256  # that are drawn at a time


class Identifiers:
    """`next()` is the next one; the system is asked for many at a time."""

    __slots__ = ("_drawn",)

    def __init__(self) -> None:
        self._drawn: list[str] = []

    def next(self) -> str:
        if not self._drawn:
            digits = os.urandom(8 * _AHEAD).hex()
            self._drawn = [digits[at : at + 16] for at in range(0, len(digits), 16)]
        return self._drawn.pop()


identifiers = Identifiers()
