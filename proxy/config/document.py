"""YAML text → plain data in which every key and value knows its line and column.

Only the plain part of YAML is read: mappings, lists, text, decimal numbers, `true` and `false`, and nothing (`null`).
What YAML would guess at (`no` as false, `1:30` as 90, dates) stays text; what hides where a value comes from (anchors,
merge keys, tags, duplicate keys) is refused by name. Broker definitions are read by the same code.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from proxy.config.problem import Mark, Path, Problem, dotted

_MAX_DEPTH = 32

# Decimal only, as a person writes it: `0600`, `1_000`, `0x10`, `1:30` and `.5` stay text; where a number is needed,
# that is a mistake to be named, not one to be guessed at.
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,17}", re.ASCII)
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where an entry stands: its key (if it has one), its value, and the one that a message points at."""

    key: Mark | None
    value: Mark
    shown: Mark


@dataclass(frozen=True, slots=True)
class Document:
    """One parsed file, or a part of one (`prefix` is then the path of the part in the file).

    `data` is made of dict, list, str, int, float, bool and None. `problems` are those of the YAML itself; with a syntax
    error `data` is empty.
    """

    name: str
    data: Any
    problems: tuple[Problem, ...] = ()
    prefix: Path = ()
    _spots: dict[Path, _Spot] = field(default_factory=dict, repr=False)
    _lines: tuple[str, ...] = field(default=(), repr=False)

    def mark(self, path: Path) -> Mark | None:
        """Where the value at `path` stands (for a mapping or list: its key); None if the text does not hold it."""
        spot = self._spots.get((*self.prefix, *path))
        return spot.shown if spot else None

    def key_mark(self, path: Path) -> Mark | None:
        """Where the key of `path` stands; for an item of a list, the item."""
        spot = self._spots.get((*self.prefix, *path))
        return (spot.key or spot.value) if spot else None

    def near(self, path: Path) -> Mark | None:
        """The mark of `path` or, for something that is missing, of the closest thing around it."""
        full = (*self.prefix, *path)
        for end in range(len(full), 0, -1):
            if spot := self._spots.get(full[:end]):
                return spot.shown
        return None

    def problem(self, path: Path, message: str, fix: str | None = None, *, at_key: bool = False) -> Problem:
        """A problem with the entry at `path`, pointing at its value (or its key)."""
        mark = (self.key_mark(path) if at_key else None) or self.near(path)
        return Problem(mark, dotted((*self.prefix, *path)), message, fix, source=self.name)

    def line(self, number: int) -> str:
        """The text of a line, counted from 1, without its end; empty outside the file."""
        return self._lines[number - 1] if 0 < number <= len(self._lines) else ""

    def part(self, path: Path) -> "Document":
        """The entry at `path` as a document of its own, marks kept; its data is an empty mapping if there is none."""
        data: Any = self.data
        for step in path:
            try:
                data = data[step]
            except (KeyError, IndexError, TypeError):
                data = {}
        return Document(self.name, data, (), (*self.prefix, *path), self._spots, self._lines)


def parse_yaml(text: str, name: str, *, ours: bool = False) -> Document:
    """Read `text`; never raises. `name` is how messages call the file.

    `ours`: the file comes with bearerd, so that libyaml may read it, which is quicker and words its errors differently.
    """
    lines = tuple(text.splitlines())
    reader = _Reader(name)
    try:
        node: Any = (_QUICK if ours else _Loader)(text, reader).get_single_node()
    except yaml.YAMLError as error:
        return Document(name, {}, _syntax_problems(error, text, name), _lines=lines)
    data = None if node is None else reader.take(node, (), None)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        reader.add(_mark(node.start_mark), "", f"must be a mapping, not {kind_of(data)}", "write `key: value` lines")
        data = {}
    return Document(name, data, tuple(reader.problems), (), reader.spots, lines)


def kind_of(value: object) -> str:
    """What a person calls a value's type in a message: `text`, `a list`, `a number`, …"""
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "nothing")


class _Reader:
    """Turns nodes into data, noting marks and problems on the way."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.spots: dict[Path, _Spot] = {}
        self.problems: list[Problem] = []

    def add(self, mark: Mark, path: str, message: str, fix: str | None = None) -> None:
        self.problems.append(Problem(mark, path, message, fix, source=self.name))

    def take(self, node: yaml.Node, path: Path, key: Mark | None) -> Any:
        value = _mark(node.start_mark)
        is_scalar = isinstance(node, yaml.ScalarNode)
        self.spots[path] = _Spot(key, value, value if is_scalar or key is None else key)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.take(item, (*path, index), None) for index, item in enumerate(node.value)]
        # Quoted and block text is text, whatever it looks like.
        return node.value if getattr(node, "style", None) else scalar(node.value)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            mark = _mark(key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                self.add(mark, dotted(path), "a key must be text", "put the list or mapping after the colon")
                continue
            key: str = key_node.value
            if key == "<<" and not key_node.style:
                self.add(mark, dotted(path), "merge keys are not read here", "write the values out")
            elif key in found:
                message = f"key '{key}' is given twice (first on line {lines[key]})"
                self.add(mark, "", message, "remove one of the two")
            else:
                lines[key] = mark.line
                found[key] = self.take(value_node, (*path, key), mark)
        return found


def scalar(text: str) -> str | int | float | bool | None:
    """What an unquoted word means: a decimal number, `true`, `false`, nothing, or else itself."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text


class _Composer(yaml.composer.Composer):
    """The grammar only: nodes are built, nothing is constructed from them, and nothing is shared."""

    def __init__(self, reader: _Reader) -> None:
        super().__init__()
        self._reader = reader
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[attr-defined]
        start, end = event.start_mark, event.end_mark
        mark = _mark(start)
        if isinstance(event, yaml.AliasEvent):
            self.get_event()  # type: ignore[attr-defined]
            self._reader.add(mark, "", "aliases (`*name`) are not read here", "write the value out")
            return yaml.ScalarNode("", "", start, end)
        if event.anchor is not None:
            self._reader.add(mark, "", "anchors (`&name`) are not read here", "write the value out where it is used")
            event.anchor = None
        if event.tag is not None:
            self._reader.add(mark, "", "tags (`!name`) are not read here", "remove the tag")
            event.tag = None
        if self._depth >= _MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem="nested too deep", problem_mark=start)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    # What YAML would guess a word to be is of no interest: see `scalar`.
    def resolve(self, _kind: object, _value: object, _implicit: object) -> str:
        return ""

    def descend_resolver(self, _node: object, _index: object) -> None: ...
    def ascend_resolver(self) -> None: ...


class _Loader(_Composer, yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser):
    """Written in Python, with errors that `_SYNTAX` knows."""

    def __init__(self, text: str, reader: _Reader) -> None:
        yaml.reader.Reader.__init__(self, text)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)
        _Composer.__init__(self, reader)


def quick(*, libyaml: bool) -> Any:
    """A loader with libyaml's parser below the same composer, if PyYAML has it."""
    if not libyaml:
        return _Loader
    parser: Any = vars(yaml.cyaml)["CParser"]

    class Quick(_Composer, parser):  # type: ignore[misc]
        def __init__(self, text: str, reader: _Reader) -> None:
            parser.__init__(self, text)
            _Composer.__init__(self, reader)

    return Quick


_QUICK = quick(libyaml=yaml.__with_libyaml__)


def _mark(mark: Any) -> Mark:
    return Mark(mark.line + 1, mark.column + 1)


# PyYAML's words → ours. Its own text is not passed on: it may quote the file.
_SYNTAX = (
    ("mapping values are not allowed", "a second `: ` on one line", "quote the text, or start a new line"),
    ("could not find expected ':'", "a line without a colon", "write `key: value`"),
    ("expected <block end>", "the indentation does not fit the lines above", "indent keys of one level equally"),
    ("expected ',' or ']'", "the list is not closed or lacks a comma", "write [a, b]"),
    ("expected ',' or '}'", "the mapping is not closed or lacks a comma", "write {a: 1, b: 2}"),
    ("found unexpected end of stream", "a quote is not closed", "add the closing quote"),
    ("found unexpected document separator", "a quote is not closed", "add the closing quote"),
    ("found undefined tag handle", "text may not begin with `!`", "put the text in quotes"),
    ("found unknown escape character", "an unknown escape in double quotes", "use single quotes, or double the `\\`"),
    ("cannot start any token", "text may not begin with this character", "put the text in quotes"),
    ("but found another document", "a second document", "remove the `---` line and all after it"),
    ("nested too deep", f"nested more than {_MAX_DEPTH} levels deep", "flatten it"),
)


def _syntax_problems(error: yaml.YAMLError, text: str, name: str) -> tuple[Problem, ...]:
    """PyYAML stops at the first fault of the grammar; tabs, the most common one, are all listed."""
    if tabs := [number for number, line in enumerate(text.splitlines(), 1) if re.match(r" *\t", line)]:
        return tuple(
            Problem(Mark(number, 1), "", "a tab in the indentation", "indent with spaces", source=name)
            for number in tabs
        )
    if isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position]
        mark = Mark(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        return (Problem(mark, "", "a control character", "remove it", source=name),)
    found = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    said = str(error.problem) if isinstance(error, yaml.MarkedYAMLError) else ""
    known = ((message, fix) for words, message, fix in _SYNTAX if words in said)
    message, fix = next(known, ("not valid YAML", "compare with config.example.yaml"))
    return (Problem(_mark(found) if found else None, "", message, fix, source=name),)
