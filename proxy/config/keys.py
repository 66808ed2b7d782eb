"""Every key of the configuration as a path, and the environment variable that stands for it."""

import collections.abc
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from proxy.config.model import Settings
from proxy.secret import Secret

ANY = "*"
PREFIX = "BEARERD_"
# `BEARERD_KEY` is a client's key in every example, so the place of the master key has a longer name.
_RENAMED: Mapping[tuple[str, ...], str] = {("key",): "BEARERD_KEY_SOURCE"}
# Variables with the prefix that are no configuration keys.
OTHER_VARIABLES = frozenset(
    {
        "BEARERD_CONFIG",
        "BEARERD_KEY",
        "BEARERD_URL",
        "BEARERD_PASSPHRASE",
        "BEARERD_PASSPHRASE_FILE",
        "BEARERD_LOGIN_TOKEN",
        "BEARERD_LOGIN_TOKEN_FILE",
        "BEARERD_LOGIN_ANSWER",
        "BEARERD_LOGIN_ANSWER_FILE",
        "BEARERD_CONSOLE_TOKEN_FILE",
        # What a command of `alerts:` is given: it may well call bearerd.
        "BEARERD_EVENT",
        "BEARERD_EVENT_ID",
        "BEARERD_EVENT_KEY",
        "BEARERD_EVENT_KIND",
        "BEARERD_EVENT_SEVERITY",
        "BEARERD_EVENT_TEXT",
    }
)


class Kind(Enum):
    """How the text of a variable or flag becomes a value."""

    TEXT = "text"
    LIST = "texts with commas between them"
    PLAIN = "a number, true or false"
    SECRET = "text that is never shown"  # noqa: S105
    TREE = "a mapping that only a file holds"


Key = tuple[str, ...]


@cache
def keys() -> Mapping[Key, Kind]:
    """All keys in the order of the models; `*` stands for a name that the user chooses."""
    return dict(_keys(Settings, ()))


def _keys(annotation: Any, path: Key) -> Iterator[tuple[Key, Kind]]:
    parts = set(get_args(annotation))
    if get_origin(annotation) is Annotated:
        yield from _keys(get_args(annotation)[0], path)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            yield from _keys(field.annotation, (*path, field.alias or name))
    elif get_origin(annotation) is collections.abc.Mapping:
        yield from _keys(get_args(annotation)[1], (*path, ANY))
    elif get_origin(annotation) is tuple:
        yield path, Kind.LIST
    elif annotation in (int, float, bool) or parts & {int, float, bool, 1}:
        yield path, Kind.PLAIN
    elif Secret in parts:
        yield path, Kind.SECRET
    elif annotation is Any:
        yield path, Kind.TREE
    else:
        # `clients` is one word or a mapping, a client's rights are a list or a mapping: both are keys.
        below = [found for part in get_args(annotation) for found in _keys(part, path)]
        yield path, Kind.LIST if (path, Kind.LIST) in below else Kind.TEXT
        yield from (found for found in below if len(found[0]) > len(path))


def children(path: tuple[str | int, ...]) -> list[str]:
    """The keys that may stand below `path`, best for "did you mean"; empty where names are free."""
    below = (key[len(path)] for key in keys() if len(key) > len(path) and _fits(key, path))
    return [name for name in dict.fromkeys(below) if name != ANY]


def kind_at(path: tuple[str | int, ...]) -> Kind | None:
    """The kind of the key at `path` (names filled in), or None if there is no such key."""
    return next((kind for key, kind in keys().items() if len(key) == len(path) and _fits(key, path)), None)


def _fits(key: Key, path: tuple[str | int, ...]) -> bool:
    return all(part in (ANY, step) for part, step in zip(key, path, strict=False))


def variable(key: Key) -> str:
    """`("log", "level")` → `BEARERD_LOG__LEVEL`; a `-` of a name becomes `_`."""
    return _RENAMED.get(key) or PREFIX + "__".join(key).upper().replace("-", "_")


def path_of(name: str) -> Key | None:
    """The key that a variable stands for, or None. The names in it are lower case with `-`."""
    for path, renamed in _RENAMED.items():
        if name == renamed:
            return path
    steps = name.removeprefix(PREFIX).lower().split("__")
    for key, kind in keys().items():
        named = tuple(step.replace("_", "-") if part == ANY else step for part, step in zip(key, steps, strict=False))
        if len(key) == len(steps) and kind is not Kind.TREE and key not in _RENAMED and _fits(key, named):
            return named
    return None
