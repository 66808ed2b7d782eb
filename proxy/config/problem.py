"""What is wrong with a configuration, where, and how to put it right."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Protocol

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file, both numbers counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake.

    `path` is dotted (`mounts.questrade.scopes.0`), empty where the file as a whole is meant. `message` and `fix` read
    as one sentence with a comma between them. `source` names the file, variable or flag. `hidden` keeps the line of the
    file off the screen, since it may hold a secret.
    """

    mark: Mark | None
    path: str
    message: str
    fix: str | None = None
    source: str = "config.yaml"
    hidden: bool = False

    @property
    def place(self) -> str:
        """`config.yaml:9:5`, or `BEARERD_LOG__LEVEL` for what no file holds."""
        return f"{self.source}:{self.mark.line}:{self.mark.column}" if self.mark else self.source

    @property
    def text(self) -> str:
        """The sentence: path, what is wrong, what to do."""
        message = f"{self.message}, {self.fix}" if self.fix else self.message
        return f"{self.path}: {message}" if self.path else message

    def __str__(self) -> str:
        return f"{self.place}: error: {self.text}"


class ConfigInvalid(Exception):
    """The configuration cannot be used. `problems` is sorted by place and never empty; `name` is the file's.

    `document` is there if excerpts of the file can be shown.
    """

    def __init__(self, problems: Iterable[Problem], name: str, document: "Lines | None" = None) -> None:
        self.problems = in_order(problems)
        self.name = name
        self.document = document
        super().__init__("\n".join(map(str, self.problems)))


class Lines(Protocol):
    """What `render_problems` needs of a document."""

    @property
    def name(self) -> str: ...
    def line(self, number: int) -> str: ...


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Sorted by line, each once; what has no line comes last."""
    unique = dict.fromkeys(problems)
    return tuple(sorted(unique, key=lambda each: (each.mark is None, each.mark or Mark(0, 0), each.source, each.path)))


def dotted(path: Path) -> str:
    """`("mounts", "questrade", "scopes", 0)` → `mounts.questrade.scopes.0`."""
    return ".".join(map(str, path))


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like `word`, if any is."""
    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.6)), None)


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The question that ends a message about an unknown word, if some known one is close."""
    close = closest(word, known)
    return f"did you mean '{close}'?" if close else None


def render_problems(problems: Iterable[Problem], document: Lines | None = None, *, color: bool = False) -> str:
    """All problems as text, sorted by place, each with its line of the file and a caret below the column."""
    shown: list[str] = []
    for problem in in_order(problems):
        label = "\x1b[1;31merror:\x1b[0m" if color else "error:"
        shown.append(f"{problem.place}: {label} {problem.text}")
        if document and problem.mark and problem.source == document.name and not problem.hidden:
            shown += _excerpt(document.line(problem.mark.line), problem.mark.column)
    return "\n".join(shown)


# A key that names a secret itself, not the file, address or life of one.
_SECRET_KEY = re.compile(
    r"((?:secret|passw|passphrase|token|api[-_]?key)(?![\w-]*[_-](?:file|url|path|life)\b)[\w-]*[\"']?\s*[:=]\s*)\S.*",
    re.IGNORECASE,
)
_SECRET_SHAPE = re.compile(r"brd_\w+|whsec_\S+|(?<=://)\S+(?=@)", re.ASCII)
# Of the address of a webhook only where it leads: the rest may be all that one has to know.
_SECRET_PATH = re.compile(r"(\burl[\"']?\s*[:=]\s*[\"']?https?://[^/\s\"']*/)\S+")
_WIDTH = 160


def _excerpt(line: str, column: int) -> list[str]:
    masked = _SECRET_SHAPE.sub("***", _SECRET_KEY.sub(r"\1***", _SECRET_PATH.sub(r"\1***", line)))
    # A value that was masked before the column would move the caret: then the line is shown without one.
    if masked[:column] != line[:column]:
        return [masked[:_WIDTH]]
    if column > _WIDTH:
        return []
    # Tabs stay tabs, so that the caret stands below its column.
    return [masked[:_WIDTH], re.sub(r"[^\t]", " ", line[: column - 1]) + "^"]
