"""Composes request targets that were never written down: a granted call, and up to four tricks played on it.

All choices come from one `random.Random`, so that Hypothesis can make them (and shrink them) as well as a seed.
"""

from collections.abc import Callable
from functools import cached_property
from random import Random
from string import ascii_letters

from proxy.gate.scopes import Row
from tests import tricks
from tests.brokers.near import CAPTURES, Table, query_of

_SIGNS = (
    "/", "//", ".", "..", "/./", "/../", "%2e", "%2E%2E", "%2f", "%2F", "%5c", "\\", ";", ";x=1", "%3b", "%3F", "%23",
    "%25", "%00", "%20", "%0a", "%c0%ae", "%ef%bc%8f", "%u002f", "%", "@", ":", "+", "*", "~", "#", "?", "&", "=", ",",
    "!", " ", "\t", "\xe9", "\x00", "x", "0", "A", "_", "-", ".json", "%41", "%2541",
)  # fmt: skip
_SWAPPED = str.maketrans(ascii_letters, ascii_letters.swapcase())
_MOUNTS = (
    *("/mount",) * 12, *("/mount/",) * 4, "/mount//", "//mount", "/Mount", "/moun%74", "/mount;x", "/mount/.", "",
)  # fmt: skip


class Composer:
    """Targets near the rows of one API."""

    def __init__(self, table: Table, random: Random) -> None:
        self._table = table
        self._random = random
        self._values = {name: values for name, (_, values) in CAPTURES[table.broker].items()}

    @cached_property
    def _words(self) -> list[str]:
        """Literals of all rows, to be put where a capture stands."""
        return sorted({segment for row in self._table.rows for segment in row.segments if "{" not in segment})

    @cached_property
    def _paths(self) -> tuple[tricks.Trick, ...]:
        return tricks.read("paths")

    @cached_property
    def _queries(self) -> tuple[tricks.Trick, ...]:
        return tricks.read("queries")

    def call(self) -> tuple[Row, str, str]:
        """A row, and mount and rest of a target that was made from a call of it."""
        random = self._random
        row = random.choice(self._table.rows)
        path = self._path(row)
        for _ in range(random.choice((0, 0, 1, 1, 1, 2, 2, 3, 4))):
            path = random.choice(self._moves)(path)
        return row, random.choice(_MOUNTS), path + self._query(row)

    def _path(self, row: Row) -> str:
        return "/" + "/".join(
            self._value(segment[1:-1]) if segment.startswith("{") else segment for segment in row.segments
        )

    def _value(self, name: str) -> str:
        random = self._random
        if random.random() < 0.8:
            return random.choice(self._values[name])
        word = random.choice(self._words)
        return random.choice((word, word.upper(), f"{word}%2F{word}", f"a%2F{word}", f"{word}.{word}", f"{word}:x"))

    @cached_property
    def _moves(self) -> tuple[Callable[[str], str], ...]:
        return (self._known, self._insert, self._encode, self._swap, self._repeat, self._respell)

    def _known(self, path: str) -> str:
        trick = self._random.choice(self._paths)
        places = trick.places(path)
        return trick.at(path, self._random.choice(places)) if places else path

    def _insert(self, path: str) -> str:
        place = self._random.randint(0, len(path))
        return path[:place] + self._random.choice(_SIGNS) + path[place:]

    def _encode(self, path: str) -> str:
        if not path:
            return path
        place = self._random.randrange(len(path))
        code = ord(path[place])
        form = self._random.choice(("%{:02x}", "%{:02X}", "%25{:02x}", "%u{:04x}", "%c0%{:02x}", "\\x{:02x}"))
        return path[:place] + form.format(code) + path[place + 1 :]

    def _swap(self, path: str) -> str:
        segments = path.split("/")
        segments[self._random.randrange(len(segments))] = self._random.choice(self._words)
        return "/".join(segments)

    def _repeat(self, path: str) -> str:
        segments = path.split("/")
        place = self._random.randrange(len(segments))
        many = self._random.choice((0, 2, 3, 13))
        return "/".join([*segments[:place], *[segments[place]] * many, *segments[place + 1 :]])

    def _respell(self, path: str) -> str:
        start, end = sorted((self._random.randint(0, len(path)), self._random.randint(0, len(path))))
        return path[:start] + path[start:end].translate(_SWAPPED) + path[end:]

    def _query(self, row: Row) -> str:
        random = self._random
        own = query_of(row)
        kind = random.random()
        if kind < 0.4:
            return f"?{own}" if own else ""
        trick = random.choice(self._queries)
        names = [*dict(row.when_query), *dict(row.enum), *row.query_without] or ["stream"]
        text = trick.filled(**tricks.spelled(random.choice(names), random.choice(("true", "false", "x", "WebSocket"))))
        return "?" + "&".join(random.sample([part for part in (own, text) if part], k=min(2, bool(own) + 1)))
