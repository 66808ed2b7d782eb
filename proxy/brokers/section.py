"""A mapping of a definition, read key by key. What is wrong is noted with its line and column, and reading goes on."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from proxy.config.document import Document, kind_of
from proxy.config.problem import Path, Problem, did_you_mean


class Section:
    """One mapping in `document`, at `path`. All sections of a definition share one list of `problems`.

    The readers return None (or nothing) where a key is missing or wrong; a wrong one has been noted then.
    """

    def __init__(self, document: Document, path: Path, problems: list[Problem]) -> None:
        self.document = document
        self.path = path
        self.problems = problems
        found = _at(document.data, path)
        if found is not None and not isinstance(found, dict):
            self.fault(None, f"must be a mapping, not {kind_of(found)}", "write `key: value` lines below it")
            found = None
        self.data: Mapping[str, Any] = found or {}

    def fault(self, key: str | int | None, message: str, fix: str | None = None, *, at_key: bool = False) -> None:
        """Note a problem with `key`, or with the section itself."""
        path = self.path if key is None else (*self.path, key)
        self.problems.append(self.document.problem(path, message, fix, at_key=at_key))

    def known(self, keys: Sequence[str]) -> None:
        """Every other key is a mistake."""
        for key in self.data:
            if key not in keys:
                fix = did_you_mean(key, keys) or f"known here: {', '.join(keys)}"
                self.fault(key, f"unknown key '{key}'", fix, at_key=True)

    def needs(self, *keys: str) -> None:
        """Each of these keys must be there."""
        for key in keys:
            if self.data.get(key) is None:
                self.fault(key, "is missing", f"add `{key}: …`")

    def text(self, key: str) -> str | None:
        found: str | None = self._typed(key, str, "text", "put it in quotes")
        return found

    def flag(self, key: str) -> bool | None:
        found: bool | None = self._typed(key, bool, "true or false", "write `true` or `false`, without quotes")
        return found

    def number(self, key: str) -> float | None:
        value: float | None = self._typed(key, (int, float), "a number", "write decimal digits without quotes")
        if value is not None and value < 0:
            self.fault(key, "is too small", "write 0 or more")
            return None
        return value

    def whole(self, key: str) -> int | None:
        value = self.number(key)
        if value is not None and value != int(value):
            self.fault(key, "must be a whole number", "write it without a decimal point")
            return None
        return None if value is None else int(value)

    def choice(self, key: str, choices: Sequence[str]) -> str | None:
        value = self.text(key)
        if value is None or value in choices:
            return value
        fix = did_you_mean(value, choices) or f"write {' or '.join(choices)}"
        self.fault(key, f"is not one of {', '.join(choices)}", fix)
        return None

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        found = self._typed(key, list, "a list", "write it in square brackets: [a, b]") or []
        for index, item in enumerate(found):
            if not isinstance(item, str):
                self.problems.append(
                    self.document.problem(
                        (*self.path, key, index), f"must be text, not {kind_of(item)}", "put it in quotes"
                    )
                )
        return tuple(item for item in found if isinstance(item, str))

    def text_map(self, key: str) -> dict[str, str]:
        """A mapping of texts."""
        section = self.section(key)
        values = {name: section.text(name) for name in section.data}
        return {name: value for name, value in values.items() if value is not None}

    def section(self, key: str | int) -> "Section":
        return Section(self.document, (*self.path, key), self.problems)

    def named(self, key: str) -> Iterator[tuple[str, "Section"]]:
        """The sections below `key`, which is a mapping of names that the user chooses."""
        parent = self.section(key)
        return ((name, parent.section(name)) for name in parent.data)

    def listed(self, key: str) -> Iterator["Section"]:
        """The sections of a list."""
        found = self._typed(key, list, "a list", "begin each item with `- `") or []
        return (Section(self.document, (*self.path, key, index), self.problems) for index in range(len(found)))

    def _typed(self, key: str, kinds: type | tuple[type, ...], name: str, fix: str) -> Any:
        value = self.data.get(key)
        if value is None:
            if key in self.data:
                self.fault(key, "has no value", "give it one or remove the key")
            return None
        # bool is an int to Python, and no number to a person.
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            self.fault(key, f"must be {name}, not {kind_of(value)}", fix)
            return None
        return value


def _at(data: Any, path: Path) -> Any:
    for step in path:
        if isinstance(data, dict):
            data = data.get(step)
        else:
            data = data[step] if isinstance(data, list) and isinstance(step, int) else None
    return data
