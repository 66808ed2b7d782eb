"""Finds our credential in what a broker answers, so that it never reaches a client. Pure.

An answer comes in pieces, and a secret may be cut between two of them: the end of a piece that could be the beginning
of a secret waits for the next piece. Whole lines are never held back, since no secret holds a line end.
"""

import base64
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Self
from urllib.parse import quote

SHORTEST = 8  # bytes; a shorter text would be found in answers that give nothing away
_PROBE = 8  # bytes that are looked at in one place, read as one number
_LONGEST_STEP = 6  # probes from one such place to the next: what is remembered of each needle grows with it
_SHORTEST_STEP = 2  # below which looking everywhere costs as little


class Echoed(Exception):
    """An answer holds a secret of ours. Carries nothing of it."""


@dataclass(frozen=True, slots=True)
class Needles:
    """What to look for: `exact` bytes, and `folded` ones whose letters may stand in either case (written in lower).

    `letters` are all bytes that stand in one.

    Nearly no answer holds any, and to see that takes a look at a few places, `step` times eight bytes apart: wherever a
    needle begins, one of them is no further than that behind, and `probes` are all that may be read there. Without them
    each small answer would be searched a dozen times, at 7 µs instead of 1.
    """

    exact: tuple[bytes, ...] = field(repr=False)
    folded: tuple[bytes, ...] = field(repr=False)
    letters: frozenset[int] = field(repr=False)
    step: int = field(init=False, repr=False)
    probes: frozenset[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        needles = [needle.lower() for needle in (*self.exact, *self.folded)]
        room = min(map(len, needles), default=0) - _PROBE + 1
        step = min(_LONGEST_STEP, room // _PROBE)
        found = {
            int.from_bytes(needle[at : at + _PROBE], sys.byteorder) for needle in needles for at in range(step * _PROBE)
        }
        object.__setattr__(self, "step", step)
        object.__setattr__(self, "probes", frozenset(found))

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Each text, if it is long enough to be told from others, in all of its spellings."""
        known = [text for text in dict.fromkeys(texts) if len(text.encode()) >= SHORTEST]
        exact = dict.fromkeys(needle for text in known for needle in _exact(text))
        folded = [needle for text in known for needle in _folded(text) if needle not in exact]
        letters = frozenset(b"".join([*exact, *folded, *map(bytes.upper, folded)]))
        return cls(tuple(exact), tuple(dict.fromkeys(folded)), letters)

    def and_of(self, texts: Iterable[str]) -> Self:
        """These and those of more texts."""
        more = type(self).of(texts)
        exact = tuple(dict.fromkeys((*self.exact, *more.exact)))
        return type(self)(exact, tuple(dict.fromkeys((*self.folded, *more.folded))), self.letters | more.letters)

    def within(self, text: bytes) -> bool:
        """Whether any of them stands in `text`."""
        lowered = text.lower()
        step = self.step
        if step >= _SHORTEST_STEP:
            places = memoryview(lowered[: len(lowered) & -_PROBE]).cast("Q")
            if self.probes.isdisjoint(places[::step].tolist()):
                return False
        return any(needle in text for needle in self.exact) or any(needle in lowered for needle in self.folded)

    def within_answer(self, headers: Iterable[tuple[bytes, bytes]], body: bytes, raw: bytes = b"") -> bool:
        """Whether any of them stands in a head or in what follows it: they hold no line end, so one look will do.

        `raw`: all of that in one piece, if there is such a piece.
        """
        if raw:
            return self.within(raw)
        return self.within(b"\n".join([*chain.from_iterable(headers), body]))

    def begun(self, text: bytes) -> int:
        """How many bytes at the end of `text` may be the beginning of one: the longest such end."""
        if not text or text[-1] not in self.letters:  # the end of a line, of an object, of a tag: nearly always
            return 0
        lowered = text[-max(map(len, self.folded), default=0) :].lower()
        ends = [_begun(text, needle) for needle in self.exact]
        ends += [_begun(lowered, needle) for needle in self.folded]
        return max(ends, default=0)


def _exact(text: str) -> Iterator[bytes]:
    """As it is, as JSON may escape a slash, and as base64 holds it, wherever it begins, in both alphabets."""
    raw = text.encode()
    yield raw
    yield raw.replace(b"/", b"\\/")
    for start in range(3):
        # The characters at both ends also depend on what stands beside the secret.
        whole = raw[(3 - start) % 3 :]
        coded = base64.b64encode(whole[: len(whole) // 3 * 3])
        yield coded
        yield coded.translate(bytes.maketrans(b"+/", b"-_"))


def _folded(text: str) -> Iterator[bytes]:
    """As URLs, hexadecimal dumps and JSON write it, with as much escaped as need be, or all of it."""
    raw = text.encode()
    yield quote(text, safe="").lower().encode()
    yield b"".join(b"%%%02x" % byte for byte in raw)
    yield raw.hex().encode()
    yield b"".join(b"\\u%04x" % code for code in _utf16(text))


def _utf16(text: str) -> Iterator[int]:
    units = text.encode("utf-16-be", "surrogatepass")
    return (int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2))


def _begun(text: bytes, needle: bytes) -> int:
    window = text[-(len(needle) - 1) :]
    at = window.find(needle[:1])
    while at >= 0:
        if needle.startswith(window[at:]):
            return len(window) - at
        at = window.find(needle[:1], at + 1)
    return 0


class Sieve:
    """Lets an answer's body through, piece by piece, as long as no secret is in it.

    `most`: bytes after which no more is searched; None: all of it.
    """

    def __init__(self, needles: Needles, most: int | None = None) -> None:
        self._needles = needles
        self._left = most
        self._held = b""

    def pass_on(self, piece: bytes) -> bytes:
        """What may go on to the client by now. Raises `Echoed`."""
        if self._left is not None:
            if self._left <= 0:
                return self.rest() + piece if self._held else piece
            self._left -= len(piece)
        text = self._held + piece if self._held else piece
        if self._needles.within(text):
            raise Echoed
        held = self._needles.begun(text)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def rest(self) -> bytes:
        """What was held back, once the body has come to its end: it was no secret after all."""
        held, self._held = self._held, b""
        return held
