"""What differs between two configurations, key by key, in words: `mounts.questrade.scopes: + trade`. Never a secret."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from proxy.config.config import Config
from proxy.config.model import Right
from proxy.config.plain import plain, value_text
from proxy.config.section import Section
from proxy.secret import Secret

MOST = 50  # lines; what is beyond is counted
_LONGEST = 80  # characters of a value
_NOT_SET = "not set"
_ACCOUNTS, _END = ".guards.accounts", 3
_COMMAND = re.compile(r"key|alerts\.[^.]+\.command")  # `key` may be `command:…`
DEFAULT = "default"  # the origin of a value that nobody has given


def changes(old: Config, new: Config) -> list[str]:
    """A line each, in the order of the keys; empty if all values are the same."""
    found = list(_sections("", old, new))
    more = len(found) - MOST
    return found if more <= 0 else [*found[:MOST], f"… and {more} more"]


def words(old: Config, new: Config, key: str) -> str:
    """What differs in one key of the whole, in one line, and where that stands; empty if nothing does."""
    found = "; ".join(_values(key, getattr(old, key), getattr(new, key)))
    origin = new.origin((key,))
    return f"{found}, {origin}" if found and origin != DEFAULT else found


def _sections(path: str, old: Section, new: Section) -> Iterator[str]:
    for name, field in type(new).model_fields.items():
        yield from _values(f"{path}{field.alias or name}", getattr(old, name), getattr(new, name))


def _values(path: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    show = _masked if path.endswith(_ACCOUNTS) else _shown
    if isinstance(old, Right) != isinstance(new, Right):  # a list of scopes, and scopes with guards
        old, new = (each if isinstance(each, Right) else Right(scopes=each) for each in (old, new))
    if isinstance(old, Section) and isinstance(new, Section):
        yield from _sections(f"{path}.", old, new)
    elif isinstance(old, Section) or isinstance(new, Section):
        yield f"{path}: {_signed(_given(new), _given(old)) or f'{_shown(old)} → {_shown(new)}'}"
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _names(path, old, new)
    elif _COMMAND.fullmatch(path):
        one, other = _program(old), _program(new)
        yield f"{path}: {one} → {other}" if one != other else f"{path}: {one} with other arguments"
    elif isinstance(old, tuple | list) and isinstance(new, tuple | list):
        yield f"{path}: {_members(plain(old), plain(new), show)}"
    elif isinstance(old, Secret) and isinstance(new, Secret):
        yield f"{path}: another value"
    else:
        yield f"{path}: {show(old)} → {show(new)}"


def _given(section: Any) -> list[str]:
    """The keys of a section that somebody has written; none, if there is no section."""
    if not isinstance(section, Section):
        return []
    fields = type(section).model_fields.items()
    return [field.alias or name for name, field in fields if name in section.model_fields_set]


def _masked(account: Any) -> str:
    """The end of an account's number, or of each of them: what is told here is logged."""
    if not isinstance(account, str):
        return f"[{', '.join(map(_masked, account))}]" if account else _shown(account)
    return f"***{account[-_END:]}" if len(account) > _END else "***"


def _program(command: Any) -> str:
    """A command without its arguments, which may be secrets."""
    if isinstance(command, str):
        return command if not command.startswith("command:") else command.split()[0]
    return _shown(command[0] if command else None)


def _names(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """A mapping with names that a user has chosen."""
    gone, come = ([name for name in one if name not in other] for one, other in ((old, new), (new, old)))
    if gone or come:
        yield f"{path}: {_signed(come, gone)}"
    for name in new:
        if name in old:
            yield from _values(f"{path}.{name}", old[name], new[name])


def _members(old: list[Any], new: list[Any], show: Callable[[Any], str]) -> str:
    come = [show(each) for each in new if each not in old]
    gone = [show(each) for each in old if each not in new]
    return _signed(come, gone) or "another order"


def _signed(come: list[str], gone: list[str]) -> str:
    return ", ".join([*(f"+ {each}" for each in come), *(f"- {each}" for each in gone)])


def _shown(value: Any) -> str:
    if value is None:
        return _NOT_SET
    if isinstance(value, Secret | Section):
        return "set"
    text = f"{len(value)} of them" if isinstance(value, Mapping) else value_text(plain(value))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
