"""The corpora of tricks: lines of text files that stand for raw bytes, and how each is played against a path."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CORPUS = Path(__file__).parent / "gate" / "corpus"
_ESCAPES = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}
_ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|.)")


@dataclass(frozen=True)
class Trick:
    """One line of a corpus. Its text is latin-1: a character a byte."""

    family: str
    text: str

    def __str__(self) -> str:
        return f"{self.family} {self.text!a}"

    def places(self, path: str) -> list[int]:
        """The slashes of a path at which it can be played; its end for a trick that needs none."""
        if "{head}" not in self.text:
            return [len(path)]
        return [place for place, char in enumerate(path) if char == "/" and place]

    def at(self, path: str, place: int) -> str:
        """The path with the trick played at one of its `places`."""
        head, last = path[:place], path[place + 1 :]
        return self.filled(path=path, head=head, last=last, empty="")

    def filled(self, **parts: str) -> str:
        """The text with each `{name}` replaced."""
        return re.sub(r"\{(\w+)\}", lambda found: parts.get(found[1], found[0]), self.text)


@cache
def read(name: str) -> tuple[Trick, ...]:
    """The tricks of `gate/corpus/NAME.txt`."""
    lines = (CORPUS / f"{name}.txt").read_text(encoding="ascii").splitlines()
    return tuple(_trick(line) for line in lines if not line.startswith("#"))


def _trick(line: str) -> Trick:
    family, tab, text = line.partition("\t")
    assert family, line
    assert tab, line
    return Trick(family, _ESCAPE.sub(_plain, text))


def _plain(found: re.Match[str]) -> str:
    code = found[1]
    return chr(int(code[1:], 16)) if len(code) == 3 else _ESCAPES[code]


def spelled(name: str, value: str) -> dict[str, str]:
    """What stands in the queries' tricks for a deciding name and a value of it: spellings that some server folds."""
    first, rest = name[0], name[1:]
    code = ord(first)
    return {
        "name": name,
        "NAME": name.upper(),
        "Name": name.title(),
        "value": value,
        "VALUE": value.upper(),
        "encoded": f"%{code:02x}{rest}",
        "twice": f"%25{code:02x}{rest}",
        "thrice": f"%2525{code:02x}{rest}",
        "percent_u": f"%u{code:04x}{rest}",
        "wide": "".join(f"%{byte:02X}" for byte in chr(code + 0xFEE0).encode()) + rest,
        "unset": f"{first}%C2%AD{rest}",  # a soft hyphen: invisible
        "joined": f"{first}%E2%80%8D{rest}",  # a joiner of no width
        "overlong": f"%{0xC0 | code >> 6:02X}%{0x80 | code & 0x3F:02X}{rest}",
        "stray": f"{first}%{rest}",  # IIS drops a percent sign that encodes nothing
    }


def families(tricks: tuple[Trick, ...]) -> Iterator[str]:
    """The families, each once, in the order of the file."""
    return iter(dict.fromkeys(trick.family for trick in tricks))
