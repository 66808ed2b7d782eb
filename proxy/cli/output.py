"""What a person sees: tables, marks, colour where it is wanted, and how long ago something was."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from proxy.cli.invocation import Invocation

GOOD, NOTE, BAD = "✓", "!", "✗"
_COLORS = {GOOD: "32", NOTE: "33", BAD: "31", "live": "1;33"}


@dataclass(frozen=True, slots=True)
class Style:
    """Whether a stream takes colour. Text carries every meaning; colour only repeats it."""

    colored: bool

    @classmethod
    def of(cls, invocation: Invocation, stream: TextIO) -> "Style":
        return cls(wants_color(invocation.color, invocation.environ, terminal=stream.isatty()))

    def paint(self, text: str, meaning: str) -> str:
        """`text` in the colour of a mark (or of the word `live`)."""
        code = _COLORS.get(meaning)
        return f"\x1b[{code}m{text}\x1b[0m" if self.colored and code else text


def wants_color(choice: str, environ: Mapping[str, str], *, terminal: bool) -> bool:
    """The option, then NO_COLOR, CLICOLOR_FORCE, TERM and CLICOLOR; else whether the stream is a terminal."""
    if choice != "auto":
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    return terminal and environ.get("TERM") != "dumb" and environ.get("CLICOLOR") != "0"


def table(rows: Sequence[Sequence[str]], style: Style) -> str:
    """Columns as wide as their longest cell. The first column is for marks; a mark, or the word `live`, is painted."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [style.paint(cell.ljust(width), cell) for cell, width in zip(row, widths, strict=True)]
        lines.append(f"{cells[0]} {'  '.join(cells[1:])}".rstrip())
    return "\n".join(lines)


def home_short(path: str) -> str:
    """A path with `~` for the home directory."""
    home = os.path.expanduser("~")  # noqa: PTH111
    return f"~{path[len(home) :]}" if home != "/" and path.startswith(f"{home}/") else path
