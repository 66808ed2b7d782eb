"""pydantic's findings in our words: the place, what is wrong, and what to do."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from proxy.config.address import Wrong
from proxy.config.document import kind_of
from proxy.config.keys import children
from proxy.config.merge import Merged
from proxy.config.model import DESCRIBED, LISTED, NAME_PATTERN, OPEN, RIGHTS
from proxy.config.problem import Path, Problem, closest, did_you_mean

# One entry of pydantic's `errors()`.
Finding = Mapping[str, Any]

_ON_KEY = "[key]"
_RIGHT = 3  # clients.NAME.MOUNT.…


def problems(error: ValidationError, merged: Merged) -> Iterator[Problem]:
    """One problem for each finding; a misspelt key is not reported as a missing one too."""
    findings = error.errors(include_url=False)
    misspelt = {(*place(found)[:-1], word) for found in findings if (word := meant(found))}
    for found in findings:
        path = place(found)
        if found["type"] == "missing" and path in misspelt:
            continue
        message, fix = _words(found, path)
        at_key = found["type"] == "extra_forbidden" or found["loc"][-1] == _ON_KEY
        yield merged.problem(path, message, fix, at_key=at_key)


def meant(found: Finding) -> str | None:
    """The known key that an unknown one is most like."""
    path = place(found)
    return closest(str(path[-1]), children(path[:-1])) if found["type"] == "extra_forbidden" else None


def place(found: Finding) -> Path:
    """pydantic's `loc` without what is no key of the file: `[key]`, and the branches of `clients`."""
    path: Path = found["loc"]
    if path[-1] == _ON_KEY:
        path = path[:-1]
    if path[0] == "clients" and path[1:2] in ((OPEN,), (RIGHTS,)):
        path = (path[0], *path[2:])
        path = tuple(step for place, step in enumerate(path) if place != _RIGHT or step not in (LISTED, DESCRIBED))
    return path


def _words(found: Finding, path: Path) -> tuple[str, str | None]:
    value, context = found["input"], found.get("ctx", {})
    wrong = context.get("error")
    if found["type"] == "extra_forbidden":
        known = children(path[:-1])
        fix = did_you_mean(str(path[-1]), known) or f"known here: {', '.join(known)}"
        return f"unknown key '{path[-1]}'", fix
    if found["type"] == "missing":
        return "is missing", f"add `{path[-1]}: …`"
    if value is None:
        return "has no value", "give it one or remove the key"
    if isinstance(wrong, Wrong):
        return wrong.message, wrong.fix
    if found["type"] == "string_pattern_mismatch":
        return _name_words(str(value))
    return _type_words(found["type"], value, context)


def _name_words(value: str) -> tuple[str, str]:
    message = "is no name: a-z, 0-9 and -, at most 63, and no - in front"
    near = re.sub(r"[^a-z0-9-]+", "-", value.lower()).strip("-")
    return message, f"write '{near}'" if re.match(NAME_PATTERN, near) else "choose another"


_NUMBER_FIX = "write decimal digits without quotes"
# pydantic's type of error → what is wrong, and what to do. Filled in with the value's kind and the limits.
_TYPES = {
    "string_type": ("must be text, not {kind}", "put it in quotes"),
    "string_too_short": ("is empty", "give it a value or remove the key"),
    "int_type": ("must be a whole number, not {kind}", _NUMBER_FIX),
    "int_from_float": ("must be a whole number, not a fraction", _NUMBER_FIX),
    "bool_type": ("must be true or false, not {kind}", "write true or false"),
    "float_type": ("must be a number, not {kind}", _NUMBER_FIX),
    "greater_than_equal": ("is too small", "write {ge:g} or more"),
    "less_than_equal": ("is too large", "write {le:g} or less"),
    "tuple_type": ("must be a list, not {kind}", "write it in square brackets: [a, b]"),
    "dict_type": ("must be a mapping, not {kind}", "write `key: value` lines below it"),
    "mapping_type": ("must be a mapping, not {kind}", "write `key: value` lines below it"),
    "model_type": ("must be a mapping, not {kind}", "write `key: value` lines below it"),
}


def _type_words(kind: str, value: Any, context: dict[str, Any]) -> tuple[str, str]:
    if kind == "literal_error":
        return _choice_words(str(value), re.findall(r"'([^']*)'|\b(\d+)\b", context["expected"]))
    message, fix = _TYPES.get(kind, ("cannot be used", "compare with config.example.yaml"))
    if kind == "string_type" and isinstance(value, dict | list):
        fix = "write one value"
    return message.format(kind=kind_of(value)), fix.format(**context)


def _choice_words(value: str, expected: list[tuple[str, str]]) -> tuple[str, str]:
    choices = [text or number for text, number in expected]
    if choices == [OPEN]:
        return "must be a mapping of client names, or `none`", f"write `{OPEN}` or `NAME: {{MOUNT: [SCOPE]}}`"
    if len(choices) == 1:
        return f"is not {choices[0]}", f"write {choices[0]}"
    return f"is not one of {', '.join(choices)}", did_you_mean(value, choices) or "write one of them"
