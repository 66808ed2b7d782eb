"""What a capture may be: a small, safe part of the regular expressions, over the raw bytes of one segment.

Taken are plain bytes, classes such as `[A-Z0-9.]`, the repeats `?`, `{3}` and `{1,8}`, alternatives with `|`, and the
exact upper-case encodings that a segment may hold (`%2F`). Anything else is refused when the table is loaded: a
pattern then can neither take a byte that another server reads differently nor need more than a bounded number of
steps.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from proxy.gate.target import ENCODABLE, MAX_SEGMENT, PLAIN

MAX_SPLITS = 4096  # ways to share a segment among the repeats of one alternative

_TAKEN = PLAIN - frozenset(b"@")
_START = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")

_TOKEN = re.compile(
    r"""  (?P<klass> \[ (?: [^\]\\] | \\. )* \] )
        | %(?P<hex>[0-9A-Fa-f]{2})
        | \\(?P<escaped>.)
        | (?P<bare>[^\\])""",
    re.VERBOSE | re.DOTALL,
)
_REPEAT = re.compile(r"\{([0-9]{1,3})(?:,([0-9]{1,3}))?\}|\?")
_MEMBER = re.compile(r"(\\.|[^\\])(?:-(\\.|[^\\]))?", re.DOTALL)

_REASONS = {
    ".": "`.` would take any byte; list the allowed ones, as in [A-Z0-9]",
    "+": "`+` has no upper bound; write {1,20}",
    "*": "`*` has no upper bound; write {0,20}",
    "(": "groups are not taken: nested repeats can need exponential time",
    ")": "groups are not taken: nested repeats can need exponential time",
    "^": "`^` is not needed: the whole segment is matched",
    "$": "`$` is not needed: the whole segment is matched (it would also match before a line end)",
    "%": "`%` must be followed by two hexadecimal digits",
    "[": "`[` is not closed",
}


class PatternError(ValueError):
    """Why a text is no pattern, in one clause."""


@dataclass(frozen=True, slots=True)
class Atom:
    """A set of bytes, repeated from `least` to `most` times."""

    taken: frozenset[int]
    least: int = 1
    most: int = 1


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled capture type."""

    text: str
    alternatives: tuple[tuple[Atom, ...], ...]
    regex: re.Pattern[bytes]

    def takes(self, segment: bytes) -> bool:
        return self.regex.fullmatch(segment) is not None


def read(text: str) -> Pattern:
    """Compile `text`, or raise `PatternError` that says which part is not taken and why."""
    alternatives = tuple(tuple(_atoms(part)) for part in _split(text))
    for atoms in alternatives:
        _check(atoms)
    return Pattern(text, alternatives, re.compile(b"|".join(map(_source, alternatives)), re.ASCII))


def overlap(first: Pattern, second: Pattern) -> bool:
    """Whether some segment is taken by both."""
    return any(_meet(one, other) for one in first.alternatives for other in second.alternatives)


def _split(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for place, char in enumerate(text):
        depth += {"[": 1, "]": -1}.get(char, 0)
        if char == "|" and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]


def _atoms(text: str) -> Iterator[Atom]:
    place = 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            raise PatternError("`\\` at the end escapes nothing")
        place = token.end()
        repeat = _REPEAT.match(text, place)
        if token["hex"] is not None:
            if repeat:
                raise PatternError(f"%{token['hex']} is repeated; an encoding stands for itself once")
            yield from _encoded(token["hex"])
            continue
        taken = _class(token["klass"][1:-1]) if token["klass"] else frozenset({_byte(token["bare"], token["escaped"])})
        if repeat:
            place = repeat.end()
            yield _repeated(taken, repeat)
        else:
            yield Atom(taken)


def _repeated(taken: frozenset[int], repeat: re.Match[str]) -> Atom:
    if repeat[0] == "?":
        return Atom(taken, 0, 1)
    least, most = int(repeat[1]), int(repeat[2] or repeat[1])
    if least > most or most == 0:
        raise PatternError(f"the repeat {repeat[0]} can never be met")
    return Atom(taken, least, most)


def _encoded(digits: str) -> Iterator[Atom]:
    if digits != digits.upper():
        raise PatternError(f"%{digits} must be in upper case: the other case would be a second spelling")
    if int(digits, 16) not in ENCODABLE:
        raise PatternError(f"%{digits} can be part of no capture: servers read it in different ways")
    yield from (Atom(frozenset({ord(char)})) for char in f"%{digits}")


def _byte(bare: str | None, escaped: str | None) -> int:
    if escaped is not None and escaped.isalnum():
        raise PatternError(f"\\{escaped} is not taken; list the bytes, as in [0-9]")
    char = escaped if escaped is not None else bare or ""
    if bare is not None and (bare in _REASONS or bare in "{}]?"):
        raise PatternError(_REASONS.get(bare, f"`{bare}` stands where nothing can be repeated or closed"))
    return _allowed(char)


def _allowed(char: str) -> int:
    if ord(char) not in _TAKEN:
        name = repr(char) if char.isprintable() and char.isascii() else f"the character U+{ord(char):04X}"
        raise PatternError(f"{name} can be part of no capture: servers read it in different ways")
    return ord(char)


def _class(inside: str) -> frozenset[int]:
    if inside.startswith("^") or not inside:
        raise PatternError("a class must list what it takes; [^…] would take every other byte")
    taken: set[int] = set()
    for member in _MEMBER.finditer(inside):
        first = _member(member[1])
        last = first if member[2] is None else _member(member[2])
        if first > last:
            raise PatternError(f"the range {member[0]} runs backwards")
        taken.update(_allowed(chr(byte)) for byte in range(first, last + 1))
    return frozenset(taken)


def _member(text: str) -> int:
    if text.startswith("\\"):
        return _byte(None, text[1:])
    return _allowed(text)


def _check(atoms: tuple[Atom, ...]) -> None:
    if sum(atom.least for atom in atoms) == 0:
        raise PatternError("it would take an empty segment")
    if sum(atom.most for atom in atoms) > MAX_SEGMENT:
        raise PatternError(f"it would take more than {MAX_SEGMENT} bytes, and no segment is longer")
    if prod(atom.most - atom.least + 1 for atom in atoms) > MAX_SPLITS:
        raise PatternError("its repeats can share a segment in too many ways; bound them more tightly")
    dotted = any(ord(".") in atom.taken for atom in atoms)
    if dotted and (atoms[0].least == 0 or not atoms[0].taken <= _START):
        raise PatternError("a capture that takes `.` must start with a letter or digit, so that it never takes `..`")
    _check_slashes(atoms)


def _check_slashes(atoms: tuple[Atom, ...]) -> None:
    """A server that decodes `%2F` before it splits must not see an empty or a dot segment."""
    spelled = "".join(chr(min(atom.taken)) if len(atom.taken) == 1 else " " for atom in atoms)
    for found in re.finditer("%2F", spelled):
        after = atoms[found.end() : found.end() + 1]
        if not sum(atom.least for atom in atoms[: found.start()]):
            raise PatternError("%2F must follow something, so that no segment is empty once it is decoded")
        if not after or not after[0].least or not after[0].taken <= _START:
            raise PatternError("a letter or digit must follow %2F, so that no `..` stands there once it is decoded")


def _source(atoms: tuple[Atom, ...]) -> bytes:
    # Written anew from what was understood, so that `re` can never understand the text in another way.
    return b"".join(
        b"[" + b"".join(b"\\x%02x" % byte for byte in sorted(atom.taken)) + b"]{%d,%d}" % (atom.least, atom.most)
        for atom in atoms
    )


_State = tuple[int, int]  # (atom, how often it has been used)


def _moves(atoms: tuple[Atom, ...], state: _State) -> Iterator[tuple[frozenset[int], _State]]:
    index, used = state
    while index < len(atoms):
        if used < atoms[index].most:
            yield atoms[index].taken, (index, used + 1)
        if used < atoms[index].least:
            return
        index, used = index + 1, 0
    yield frozenset(), (index, 0)  # the end can be reached from here


def _meet(one: tuple[Atom, ...], other: tuple[Atom, ...]) -> bool:
    todo: list[tuple[_State, _State]] = [((0, 0), (0, 0))]
    seen = set(todo)
    while todo:
        here, there = todo.pop()
        for taken, after in _moves(one, here):
            for also, beyond in _moves(other, there):
                if not taken and not also:
                    return True
                if taken & also and (after, beyond) not in seen:
                    seen.add((after, beyond))
                    todo.append((after, beyond))
    return False
