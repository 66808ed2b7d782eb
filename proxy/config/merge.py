"""Flags over environment over file: one tree of values, and where each of them came from."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.config.document import Document, scalar
from proxy.config.keys import ANY, OTHER_VARIABLES, PREFIX, Key, Kind, keys, kind_at, path_of, variable
from proxy.config.problem import Mark, Path, Problem, did_you_mean, dotted

COMMAND_LINE = "command line"
_TELLTALES = ("secret", "token", "passw", "passphrase")


@dataclass(frozen=True, slots=True)
class Merged:
    """`data` is what the models are fed with. `origins` names the variable or flag of what no file holds."""

    document: Document
    data: dict[str, Any]
    origins: dict[Path, str] = field(default_factory=dict)

    def origin(self, path: Path) -> str:
        """`config.yaml:12`, `BEARERD_LOG__LEVEL`, `command line` or `default`."""
        for end in range(len(path), 0, -1):
            if found := self.origins.get(path[:end]):
                return found
        mark = self.document.mark(path)
        return f"{self.document.name}:{mark.line}" if mark else "default"

    def mark(self, path: Path) -> Mark | None:
        """The place in the file; None for what came from elsewhere."""
        return None if path in self.origins else self.document.mark(path)

    def problem(self, path: Path, message: str, fix: str | None = None, *, at_key: bool = False) -> Problem:
        """A problem with the value at `path`, wherever it came from. What may be a secret is not shown."""
        for end in range(len(path), 0, -1):
            if source := self.origins.get(path[:end]):
                return Problem(None, dotted(path), message, fix, source=source)
        found = self.document.problem(path, message, fix, at_key=at_key)
        hints = f"{path[-1:]} {fix}".lower()
        hidden = kind_at(path) is Kind.SECRET or any(word in hints for word in _TELLTALES)
        return Problem(found.mark, found.path, message, fix, found.source, hidden)


def merge(document: Document, environ: Mapping[str, str], overrides: Mapping[str, str]) -> tuple[Merged, list[Problem]]:
    """Lay `environ` and then `overrides` (dotted key → text) over the file. Empty variables count as not set."""
    merged = Merged(document, copy.deepcopy(document.data))
    problems: list[Problem] = []
    variables = {name: text for name, text in sorted(environ.items()) if name.startswith(PREFIX) and text}
    names = OTHER_VARIABLES | _key_variable(merged.data, variables)
    for name, text in variables.items():
        if name in names:
            continue
        if (path := path_of(name)) is None:
            problems.append(Problem(None, "", "no such setting", _suggest(name, merged.data), source=name))
        else:
            problems += _set(merged, path, text, name)
    for key, text in overrides.items():
        problems += _set(merged, tuple(key.split(".")), text, COMMAND_LINE)
    _one_of_each_secret(merged)
    return merged, problems


def _key_variable(data: Mapping[str, Any], variables: Mapping[str, str]) -> frozenset[str]:
    """`key: env:BEARERD_MASTER_KEY` makes that name (and its _FILE) a known one."""
    spec = variables.get(variable(("key",))) or data.get("key")
    name = spec.removeprefix("env:") if isinstance(spec, str) and spec.startswith("env:") else ""
    return frozenset({name, f"{name}_FILE"})


def _set(merged: Merged, path: Key, text: str, source: str) -> list[Problem]:
    kind = kind_at(path)
    if kind is None or kind is Kind.TREE:
        raise LookupError(f"no such key: {dotted(path)}")
    value: Any = text
    if kind is Kind.LIST:
        value = [item.strip() for item in text.split(",")]
    elif kind is Kind.PLAIN:
        value = scalar(text)
    here = merged.data
    for place, step in enumerate(path[:-1], 1):
        below = here.setdefault(step, {})
        if isinstance(below, str) and kind_at(path[:place]):  # `clients: none`: rights would be dropped in silence
            message = f"has no effect, since `{dotted(path[:place])}` is one word"
            return [Problem(None, dotted(path), message, "remove one of the two", source=source)]
        if not isinstance(below, dict):
            return []  # the file has a mistake here, which is reported as such
        here = below
    here[path[-1]] = value
    merged.origins[path] = source
    return []


def _one_of_each_secret(merged: Merged) -> None:
    """A secret from the environment replaces the file's `…_file`, and the other way round. Two of one source stay."""
    for path in list(merged.origins):
        name = str(path[-1])
        other = name.removesuffix("_file") if name.endswith("_file") else f"{name}_file"
        sibling = (*path[:-1], other)
        if Kind.SECRET in (kind_at(path), kind_at(sibling)) and sibling not in merged.origins:
            parent: Any = merged.data
            for step in path[:-1]:
                parent = parent[step]
            parent.pop(other, None)


def _suggest(name: str, data: Mapping[str, Any]) -> str:
    known = {variable(key) for key, kind in keys().items() if ANY not in key and kind is not Kind.TREE}
    known |= {variable(key) for key in _named_keys(data)} | OTHER_VARIABLES
    return did_you_mean(name, sorted(known)) or "unset it; `bearerd help environment` lists all"


def _named_keys(data: Mapping[str, Any]) -> Iterator[Key]:
    """The keys below user-chosen names, with the names that the file has."""
    for key in keys():
        section = data.get(key[0])
        if key.count(ANY) == 1 and isinstance(section, dict):
            yield from ((key[0], str(name), *key[2:]) for name in section)
