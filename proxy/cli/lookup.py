"""Look a message up: what it means and what to do, from the pages of `docs/troubleshooting`.

The pages come with the package; in a checkout they lie beside it. `…` in an entry stands for a value.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

MOST = 3  # entries that are shown
LONGEST = 2_000  # characters of a message that are looked at
_ENOUGH = 6  # letters of an entry that must be in what was asked
_HERE = Path(__file__).resolve().parent.parent
PLACES = (_HERE / "troubleshooting", _HERE.parent / "docs" / "troubleshooting")


@dataclass(frozen=True, slots=True)
class Entry:
    """One item of a page. `texts` are messages that share an explanation, which may be empty."""

    texts: tuple[str, ...]
    explanation: str
    page: str
    section: str

    def weight(self, asked: str) -> int:
        """How much of what was asked it answers: letters of the best of its texts that fits, 0 if none does."""
        return max(_weight(text, asked) for text in self.texts)


def look_up(asked: str, places: tuple[Path, ...] = PLACES) -> list[Entry]:
    """The entries that fit best, best first; a message as it was printed, or words of it. Blocks: reads the pages."""
    asked = " ".join(asked[:LONGEST].split())
    folder = next((place for place in places if place.is_dir()), None)
    weighed = [(entry.weight(asked), entry) for entry in _entries(folder)] if folder else []
    found = sorted((each for each in weighed if each[0]), key=lambda each: -each[0])
    return [entry for weight, entry in found[:MOST] if weight * 2 >= found[0][0]]


@cache
def _entries(folder: Path) -> tuple[Entry, ...]:
    return tuple(entry for page in sorted(folder.glob("*.md")) for entry in read(page.name, page.read_text("utf-8")))


def read(name: str, text: str) -> Iterator[Entry]:
    """The entries of a page: list items that begin with code spans, ` / ` between them.

    What has no explanation of its own has that of the paragraph behind the list.
    """
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        section, _, body = part.partition("\n")
        for item in re.finditer(r"^- (.+(?:\n  .+)*)", body, re.MULTILINE):
            texts, rest = _spans(item[1])
            behind = re.search(r"^(?!- |  |#)\S.*(?:\n\S.*)*", body[item.end() :], re.MULTILINE)
            explanation = rest.removeprefix(":").strip() or (behind[0] if behind else "")
            if texts:
                yield Entry(texts, _plain(explanation), name.removesuffix(".md"), section)


def _plain(text: str) -> str:
    """On a terminal the address of a link stands behind it."""
    return re.sub(r"\[([^\]]+)\]\(([^)]+)\)", r"\1 (\2)", " ".join(text.split()))


def _spans(item: str) -> tuple[tuple[str, ...], str]:
    found, rest, more = [], item, True
    while more and (span := re.match(r"(`+)(.+?)(?<!`)\1(?!`)( ?/\s+)?", rest, re.DOTALL)):
        found.append(" ".join(span[2].split()))
        rest, more = rest[span.end() :], span[3] is not None
    return tuple(found), rest


def _weight(text: str, asked: str) -> int:
    pieces = [piece for piece in text.split("…") if piece.strip(" .,:;()'`")]
    known = sum(map(len, pieces))
    if re.search(r"\S.*?".join(map(re.escape, pieces)), asked, re.IGNORECASE) if pieces else False:
        return known if known >= _ENOUGH else 0
    # Words of it, without the values.
    return len(asked) if len(asked) >= _ENOUGH and asked.lower() in text.lower() else 0
