"""What other servers make of the bytes that bearerd sends: cheap readers of a path and a query, and a judge over them.

Each reader goes by the habits of a server or framework that really cleans, decodes or cuts in its way. None of them
shares code with the gate. Real servers are in `oracles.py`.
"""

import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from yarl import URL

from proxy.gate.scopes import Row
from tests.brokers.near import CAPTURES

ORIGIN = "https://broker.test"
Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """The resource and the parameters that a server sees. `path` is decoded."""

    path: str
    fields: Fields = ()


# --- paths


def _walked(path: str) -> str:
    """Dot segments and doubled slashes taken out, a last slash kept."""
    found = posixpath.normpath("/" + path.lstrip("/"))
    return found + "/" if path.endswith("/") and found != "/" else found


def _decoded(path: str) -> str:
    return _walked(unquote(path, errors="replace"))


def _decoded_twice(path: str) -> str:
    return _walked(unquote(unquote(path, errors="replace"), errors="replace"))


def _servlet(path: str) -> str:
    """Tomcat: parameters go first, then `%`, then `\\` is a slash, then dots."""
    plain = "/".join(segment.partition(";")[0] for segment in path.split("/"))
    return _walked(unquote(plain, errors="replace").replace("\\", "/"))


def _windows(path: str) -> str:
    """IIS: `%u002e`, stray `%`, any case, trailing dots and blanks, short names, streams."""
    text = re.sub("%u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), path)
    text = unicodedata.normalize("NFKC", unquote(text, errors="replace")).replace("\\", "/").replace("%", "")
    return _walked("/".join(_trimmed(segment) for segment in text.split("/"))).lower()


def _trimmed(segment: str) -> str:
    name = segment.partition("::$")[0]
    return name if name in (".", "..") else name.rstrip(". ")


def _best_fit(path: str) -> str:
    """Full-width letters and overlong encodings as what they look like."""
    raw = unquote_to_bytes(path)
    raw = re.sub(rb"[\xc0\xc1]([\x80-\xbf])", lambda pair: bytes([pair[0][0] << 6 & 0xFF | pair[1][0] & 0x3F]), raw)
    return _walked(unicodedata.normalize("NFKC", raw.decode("utf-8", errors="replace")))


def _cut_at_nul(path: str) -> str:
    """What C's string functions see."""
    return _decoded(path).partition("\0")[0]


def _without_format(path: str) -> str:
    """Rails and its kin: `.json` at the end asks for a form, and is not part of the name."""
    return re.sub(r"\.[A-Za-z0-9]{1,5}\Z", "", _decoded(path))


def _browser_like(path: str) -> str:
    """WHATWG: line ends and tabs go, `\\` is a slash, `%2e` is a dot; else nothing is decoded."""
    text = re.sub("[\t\r\n]", "", path).replace("\\", "/")
    return unquote(_walked_encoded(text))


def _walked_encoded(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        match segment.lower().replace("%2e", "."):
            case ".":
                continue
            case "..":
                del kept[-1:]
            case _:
                kept.append(segment)
    return "/" + "/".join(kept)


def _split_by_python(path: str) -> str:
    return unquote(urlsplit(ORIGIN + path).path)


def _by_yarl(path: str) -> str:
    return URL(ORIGIN + path).path


PATHS: dict[str, Callable[[str], str]] = {
    "verbatim": unquote,
    "decoded": _decoded,
    "decoded twice": _decoded_twice,
    "servlet": _servlet,
    "windows": _windows,
    "best fit": _best_fit,
    "cut at NUL": _cut_at_nul,
    "without format": _without_format,
    "browser-like": _browser_like,
    "urllib": _split_by_python,
    "yarl": _by_yarl,
}


# --- queries


def _fields(query: str, separators: str) -> Fields:
    pairs = (part.partition("=") for part in re.split(separators, query))
    return tuple((name, value) for name, _, value in pairs)


def _form(query: str) -> Fields:
    return tuple((_text(name), _text(value)) for name, value in _fields(query, "&"))


def _text(part: str) -> str:
    return unquote(part.replace("+", " "), errors="replace")


def _semicolons(query: str) -> Fields:
    """As HTML 4 and old frameworks had it."""
    return tuple((_text(name), _text(value)) for name, value in _fields(query, "[&;]"))


def _decoded_first(query: str) -> Fields:
    return _form(unquote(query, errors="replace"))


def _php(query: str) -> Fields:
    """Blanks and dots are underscores, what leads or follows a bracket goes."""
    named = ((name.lstrip().partition("[")[0].partition("\0")[0], value) for name, value in _form(query))
    return tuple((name.replace(".", "_").replace(" ", "_"), value) for name, value in named)


def _trimming(query: str) -> Fields:
    return tuple((name.strip().strip("\0\ufeff\u200b"), value.strip()) for name, value in _semicolons(query))


def _windows_query(query: str) -> Fields:
    text = re.sub("%u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), query)
    named = _form(unicodedata.normalize("NFKC", unquote(text, errors="replace")).replace("%", ""))
    return tuple((name.lower(), value) for name, value in named)


def _second_mark(query: str) -> Fields:
    """A second `?` begins the query anew."""
    return _form(query.rpartition("?")[2])


QUERIES: dict[str, Callable[[str], Fields]] = {
    "form": _form,
    "semicolons": _semicolons,
    "decoded first": _decoded_first,
    "php": _php,
    "trimming": _trimming,
    "windows": _windows_query,
    "second mark": _second_mark,
}


@lru_cache(maxsize=4096)
def _paths_of(path: str) -> tuple[tuple[str, str], ...]:
    found = []
    for name, read in PATHS.items():
        with suppress(ValueError):  # the reader refuses
            found.append((name, read(path)))
    return tuple(found)


@lru_cache(maxsize=4096)
def _fields_of(query: str) -> tuple[tuple[str, Fields], ...]:
    return tuple((name, read(query)) for name, read in QUERIES.items())


def readings(sent: bytes) -> Iterator[tuple[str, Reading]]:
    """Each reader with what it sees in the bytes after the broker's origin: of the path all, of the query all."""
    path, _, query = sent.decode("ascii").partition("?")
    yield from ((name, Reading(found)) for name, found in _paths_of(path))
    if query:
        plain = unquote(path)
        yield from ((name, Reading(plain, fields)) for name, fields in _fields_of(query))


# --- the judge

OVERRIDES = {
    "method", "httpmethod", "methodoverride", "httpmethodoverride", "xhttpmethod", "xhttpmethodoverride",
    "xmethodoverride",
}  # fmt: skip


@cache
def _form_of(template: str, broker: str) -> re.Pattern[str]:
    """A row's path as servers may see it: captures decoded. An extension that a reader cuts off was in the last one."""
    forms = {name: f"(?:{form.replace('%2F', '(?:%2F|%2f|/)')})" for name, (form, _) in CAPTURES[broker].items()}
    return re.compile(re.sub(r"\{(\w+)\}", lambda name: forms[name[1]], template), re.ASCII | re.IGNORECASE)


class Judge:
    """Holds readings against the rows of one API: none may be the resource of a row that was not granted.

    Granted is the scope of the row that the gate has matched, and no other.
    """

    def __init__(self, broker: str, rows: Iterable[Row]) -> None:
        self._broker = broker
        self._rows: defaultdict[str, list[tuple[Row, re.Pattern[str]]]] = defaultdict(list)
        self._telling: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self._known: dict[tuple[str, str], str | None] = {}
        for row in rows:
            self._rows[row.method].append((row, _form_of(row.sent_path, broker)))
            self._telling[row.method, row.path] |= dict(row.when_query).keys()

    def fault(self, row: Row, reading: Reading) -> str | None:
        """Why this reading of a call that was let through as `row` is none that was granted; None if it is one."""
        key = (row.id, reading.path)
        if key not in self._known:
            if len(self._known) > 100_000:
                self._known.clear()
            self._known[key] = self._resource_fault(row, reading.path)
        return self._known[key] or self._query_fault(row, reading.fields)

    def _resource_fault(self, row: Row, path: str) -> str | None:
        if not _form_of(row.sent_path, self._broker).fullmatch(path):
            return "another resource"
        others = [other for other, form in self._rows[row.method] if form.fullmatch(path)]
        if any(other.scope != row.scope or other.deny for other in others):
            return "a row of another scope"
        return None

    def _query_fault(self, row: Row, fields: Fields) -> str | None:
        for name, value in fields:
            folded = name.strip().strip("\0").casefold()
            bare = folded.replace("-", "").replace("_", "").replace(".", "").replace("$", "")
            if bare in OVERRIDES and folded != "method":
                return "another method"
            if fault := self._decided_otherwise(row, folded, value.strip().strip("\0")):
                return fault
        return None

    def _decided_otherwise(self, row: Row, name: str, value: str) -> str | None:
        if name in self._telling[row.method, row.path] and dict(row.when_query).get(name) != value:
            return f"the row beside it, by {name}={value}"
        if name in dict(row.enum) and value not in dict(row.enum)[name]:
            return f"a value that is not allowed, {name}={value}"
        return f"a name that must not be there, {name}" if name in row.query_without else None


def faults(judge: Judge, row: Row, sent: bytes) -> list[str]:
    """What any cheap reader sees in `sent` that was not granted with `row`."""
    found = ((name, reading, judge.fault(row, reading)) for name, reading in readings(sent))
    return [f"{name}: {fault} in {reading.path!a}" for name, reading, fault in found if fault]
