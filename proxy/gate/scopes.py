"""Scope tables: `METHOD /path/template` → exactly one row with one scope. What no row matches is refused.

A table is compiled once into a trie over path segments, so that matching costs the same with 10 rows and with 500. A
literal is tried before a capture, and the capture if the rest then fails. GET does not imply HEAD, and there are no
wildcards.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple

from proxy.gate import patterns
from proxy.gate.query import exact_values, loose_names
from proxy.gate.rows import CAPTURE, METHODS
from proxy.gate.rows import Row as Row  # noqa: PLC0414  the table and its rows are imported from here
from proxy.gate.rows import TableError as TableError  # noqa: PLC0414
from proxy.gate.target import Target


class Match(NamedTuple):
    """The one row of a call, and the raw bytes of its captures."""

    row: Row
    captures: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Denied:
    """Why no row takes a call: one clause for a person, without raw input.

    `ambiguous` says that the path holds something (an encoding, a trailing slash) that is refused as a form, whatever
    row was meant: `ambiguous-target` and not `scope-denied`.
    """

    reason: str
    ambiguous: bool = False


class ScopeTable:
    """The compiled rows of one broker.

    `params` gives each capture name its type, in the language of `patterns.py`. Raises the first `TableError` that
    `faults` would find.
    """

    def __init__(self, rows: Sequence[Row], params: Mapping[str, str]) -> None:
        root, problems = _compile(rows, params)
        if problems:
            raise problems[0]
        self.rows = tuple(rows)
        self.params = dict(params)
        self._root = root

    @staticmethod
    def faults(rows: Sequence[Row], params: Mapping[str, str]) -> list[TableError]:
        """Everything that keeps these rows from being one table."""
        return _compile(rows, params)[1]

    def rows_at(self, method: str, segments: tuple[bytes, ...]) -> tuple[Row, ...]:
        """The rows that a call of this path may belong to, whatever its query."""
        found = _Search(method, segments).run(self._root, 0, ())
        return tuple(found[0].rows) if found else ()

    def losing_to(self, added: Sequence[Row], params: Mapping[str, str]) -> Iterator[tuple[Row, Row]]:
        """Rows of this table some of whose calls would be an added row's, each with that one.

        Such a row has a literal where ours has a capture, or asks more of the query. `params` has the types of all.
        Of rows with equal rank `faults` tells: they make no table.
        """
        types = _Types(params)
        asked: dict[tuple[str, str], set[str]] = {}
        for ours in self.rows:
            asked.setdefault((ours.method, ours.path), set()).update(dict(ours.when_query))
        for row in added:
            for ours in self.rows:
                if row.method == ours.method and types.meet(ours, row):
                    pairs = zip(ours.segments, row.segments, strict=True)
                    other = next((theirs for mine, theirs in pairs if mine != theirs), None)
                    more = dict(row.when_query).keys() - asked[ours.method, ours.path]
                    if more if other is None else not CAPTURE.fullmatch(other):
                        yield ours, row

    def match(self, method: str, target: Target) -> Match | Denied:
        """The row that takes this call, or why there is none."""
        found = _first(self._root, method, target.segments)
        if found is None:
            search = _Search(method, target.segments)
            found = search.run(self._root, 0, ()) if method in METHODS else None
            if found is None:
                return search.denied(method)
        choice, captures = found
        picked = choice.plain or choice.pick(target.query)
        return picked if isinstance(picked, Denied) else Match(picked, captures)


def disguised(rows: Sequence[Row], added: Sequence[Row], params: Mapping[str, str]) -> Iterator[tuple[Row, Row]]:
    """Pairs of a row and an added one by which the broker could get the same call under another name.

    By a path that is sent as another, or spelled otherwise. What two paths share as they are called is not told here:
    in one table it belongs to one row.
    """
    if not rows:
        return
    types = _Types(params)
    seen = [(row, as_sent(row), _folded(row)) for row in rows]
    for row in added:
        ours, folded = as_sent(row), _folded(row)
        for other, theirs, spelled in seen:
            plain = row.sent_prefix is None and other.sent_prefix is None
            same = types.meet(theirs, ours)
            if row.method == other.method and (same or types.meet(spelled, folded)) and not (plain and same):
                yield other, row


def alike(one: str, other: str) -> bool:
    """Some servers fold letter case, and take a last slash or leave it."""
    return one.rstrip("/").lower() == other.rstrip("/").lower()


def as_sent(row: Row) -> Row:
    """The same call by the path under which it leaves."""
    return row if row.sent_prefix is None else replace(row, path=row.sent_path, sent_prefix=None)


def _folded(row: Row) -> Row:
    return replace(row, path=row.sent_path.rstrip("/").lower(), sent_prefix=None)


@dataclass(slots=True)
class _Choice:
    """The rows of one method and template: usually one, else told apart by their query.

    `plain` is that one, if the query has no say in it.
    """

    rows: list[Row] = field(default_factory=list)
    deciding: frozenset[str] = frozenset()
    plain: Row | None = None

    def add(self, row: Row) -> None:
        self.rows.append(row)
        self.deciding |= {name for name, _ in row.when_query}
        self.plain = row if len(self.rows) == 1 and not (self.deciding or row.query_without or row.enum) else None

    def pick(self, query: bytes | None) -> Row | Denied:
        values = _values(query, self.deciding)
        if isinstance(values, Denied):
            return values
        for row in self.rows:
            if values == {name: value.encode() for name, value in row.when_query}:
                return _judged(row, query)
        names = ", ".join(f"`{name}`" for name in sorted(values or self.deciding))
        asked = [" and ".join(f"`{name}={value}`" for name, value in row.when_query) for row in self.rows]
        offered = " or ".join(filter(None, asked))
        return Denied(f"no row takes what the query says of {names}, there is one for {offered}")


def _values(query: bytes | None, names: Iterable[str]) -> dict[str, bytes] | Denied:
    """The values of those names that the query holds, if every server reads the same of them."""
    names = sorted(names)
    if not query or not names:
        return {}
    loose = loose_names(query)
    values: dict[str, bytes] = {}
    for name in names:
        exact = exact_values(query, name)
        if len(exact) > 1 or loose.count(name.casefold()) != len(exact):
            return Denied(f"the query holds `{name}` twice, or in a second spelling")
        if exact:
            values[name] = exact[0]
    return values


def _judged(row: Row, query: bytes | None) -> Row | Denied:
    values = _values(query, [*row.query_without, *dict(row.enum)])
    if isinstance(values, Denied):
        return values
    for name in row.query_without:
        if name in values:
            return Denied(f"the query must not hold `{name}` here")
    for name, allowed in row.enum:
        if name in values and values[name] not in [value.encode() for value in allowed]:
            return Denied(f"`{name}` must be one of {', '.join(allowed)}")
    return row


class _Node:
    """One place in the trie: what may follow, and the rows that end here."""

    __slots__ = ("captures", "ends", "literals")

    def __init__(self) -> None:
        self.literals: dict[bytes, _Node] = {}
        self.captures: dict[str, tuple[patterns.Pattern, _Node]] = {}
        self.ends: dict[str, _Choice] = {}


_Found = tuple[_Choice, tuple[tuple[str, bytes], ...]]


def _first(root: _Node, method: str, segments: tuple[bytes, ...]) -> _Found | None:
    """Where the first way through the trie leads, which nearly every call takes. None: `_Search` has to look further.

    It would try that way first, too.
    """
    node = root
    captures: tuple[tuple[str, bytes], ...] = ()
    for segment in segments:
        following = node.literals.get(segment)
        if following is None:
            for name, (pattern, below) in node.captures.items():
                if pattern.regex.fullmatch(segment) is not None:
                    captures, following = (*captures, (name, segment)), below
                    break
            else:
                return None
        node = following
    choice = node.ends.get(method)
    return None if choice is None else (choice, captures)


class _Search:
    """One walk through the trie, remembering what a person would like to know if it fails."""

    __slots__ = ("method", "methods", "segments", "unfit")

    def __init__(self, method: str, segments: tuple[bytes, ...]) -> None:
        self.method = method
        self.segments = segments
        self.methods: set[str] = set()
        self.unfit: str | None = None

    def run(self, node: _Node, index: int, captures: tuple[tuple[str, bytes], ...]) -> _Found | None:
        if index == len(self.segments):
            self.methods.update(node.ends)
            choice = node.ends.get(self.method)
            return (choice, captures) if choice else None
        segment = self.segments[index]
        literal = node.literals.get(segment)
        if literal is not None and (found := self.run(literal, index + 1, captures)):
            return found
        for name, (pattern, following) in node.captures.items():
            if not pattern.takes(segment):
                self.unfit = name
            elif found := self.run(following, index + 1, (*captures, (name, segment))):
                return found
        return None

    def denied(self, method: str) -> Denied:
        if any(b"%" in segment for segment in self.segments):
            return Denied("no row takes a percent-encoded byte in this path", ambiguous=True)
        if self.segments and not self.segments[-1]:
            return Denied("no row takes a path that ends in `/`", ambiguous=True)
        if self.methods:  # `method` is one of ours too, else nothing was searched
            allowed = ", ".join(known for known in METHODS if known in self.methods)
            return Denied(f"{method} is not allowed here, only {allowed}")
        if self.unfit:
            return Denied(f"no row for this path: what stands in place of {{{self.unfit}}} does not have its form")
        return Denied("no row for this path")


def _compile(rows: Sequence[Row], params: Mapping[str, str]) -> tuple[_Node, list[TableError]]:
    root, problems, types, ids = _Node(), [], _Types(params), set[str]()
    for row in rows:
        if row.id in ids:
            problems.append(TableError(row.id, "another row has this id"))
        ids.add(row.id)
        faults = [fault for name in row.captures if (fault := types.fault(name))]
        problems += [TableError(row.id, fault) for fault in faults]
        if not faults and (problem := _insert(root, row, types)):
            problems.append(TableError(row.id, problem))
    # The later row is blamed: a user's rows come after the built-in ones.
    places = {id(row): place for place, row in enumerate(rows)}
    for one, other, reason in _collisions(root, types):
        first, second = sorted((one, other), key=lambda row: places[id(row)])
        problems.append(TableError(second.id, f"it and {first.id} could take the same target: {reason}"))
    return root, problems


# Many types of a table share one text, and several tables one set of types.
_pattern = cache(patterns.read)


class _Types:
    """The capture types of a table, each compiled once."""

    def __init__(self, params: Mapping[str, str]) -> None:
        self._patterns: dict[str, patterns.Pattern] = {}
        self._faults: dict[str, str] = {}
        self._overlaps: dict[tuple[str, str], bool] = {}
        for name, text in params.items():
            try:
                self._patterns[name] = _pattern(text)
            except patterns.PatternError as error:
                self._faults[name] = f"the type of {{{name}}} is not taken: {error}"

    def fault(self, name: str) -> str | None:
        if name in self._patterns:
            return None
        return self._faults.get(name, f"the capture {{{name}}} has no type; add `{name}` to params")

    def pattern(self, name: str) -> patterns.Pattern:
        return self._patterns[name]

    def meet(self, first: Row, second: Row) -> bool:
        """Whether some path is one of both rows."""
        pairs = list(zip(first.segments, second.segments, strict=False))
        return len(first.segments) == len(second.segments) and all(self._touch(*pair) for pair in pairs)

    def _touch(self, first: str, second: str) -> bool:
        one, other = CAPTURE.fullmatch(first), CAPTURE.fullmatch(second)
        if one and other:
            return first == second or self.overlap(one[1], other[1])
        if one:
            return self.pattern(one[1]).takes(second.encode())
        return self.pattern(other[1]).takes(first.encode()) if other else first == second

    def overlap(self, first: str, second: str) -> bool:
        if (first, second) not in self._overlaps:
            self._overlaps[first, second] = patterns.overlap(self._patterns[first], self._patterns[second])
        return self._overlaps[first, second]


def _insert(root: _Node, row: Row, types: _Types) -> str | None:
    node = root
    for segment in row.segments:
        if capture := CAPTURE.fullmatch(segment):
            name = capture[1]
            if name not in node.captures:
                node.captures[name] = (types.pattern(name), _Node())
            node = node.captures[name][1]
        else:
            node = node.literals.setdefault(segment.encode(), _Node())
    choice = node.ends.setdefault(row.method, _Choice())
    for other in choice.rows:
        if dict(other.when_query) == dict(row.when_query):
            return f"it takes the same calls as {other.id}; a call belongs to exactly one row and scope"
    choice.add(row)
    return None


def _collisions(node: _Node, types: _Types) -> Iterator[tuple[Row, Row, str]]:
    """Pairs of rows of equal rank (both a capture at the first place where they differ) that could take one target."""
    named = list(node.captures.items())
    for place, (name, (_, below)) in enumerate(named):
        for other, (_, beside) in named[place + 1 :]:
            if types.overlap(name, other):
                reason = (
                    f"{{{name}}} and {{{other}}} overlap and neither goes first; use one name or types without overlap"
                )
                for first, second in _shared(below, beside, types):
                    yield first, second, reason
    for following in [*node.literals.values(), *(below for _, below in node.captures.values())]:
        yield from _collisions(following, types)


def _shared(first: _Node, second: _Node, types: _Types) -> Iterator[tuple[Row, Row]]:
    for method in first.ends.keys() & second.ends.keys():
        yield first.ends[method].rows[0], second.ends[method].rows[0]
    for segment in first.literals.keys() & second.literals.keys():
        yield from _shared(first.literals[segment], second.literals[segment], types)
    for segment, following in first.literals.items():
        for below in _taking(second, segment):
            yield from _shared(following, below, types)
    for segment, following in second.literals.items():
        for below in _taking(first, segment):
            yield from _shared(below, following, types)
    for name, (_, below) in first.captures.items():
        for other_name, (_, beside) in second.captures.items():
            if name == other_name or types.overlap(name, other_name):
                yield from _shared(below, beside, types)


def _taking(node: _Node, segment: bytes) -> Iterator[_Node]:
    return (below for pattern, below in node.captures.values() if pattern.takes(segment))
