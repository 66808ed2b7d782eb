"""What an operator does with clients and their keys: make, list, replace, remove. What each answers is plain data."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from proxy.admin import NotPossible
from proxy.clientkey import ClientKey
from proxy.clientkeys import ClientKeys, NoSuchKey
from proxy.clock import Clock
from proxy.config.model import NAME_PATTERN
from proxy.expiry import LONGEST
from proxy.gate.clients import grant_of
from proxy.keepers import Keepers
from proxy.settings import NoSuchGrant, Settings
from proxy.tokens.grant import State

PAGE = 1000  # keys in one answer at most
SHOWN = 20  # keys of each client, where nobody asked for those of one
OVERLAP = 86400.0  # seconds


class Keeping(Protocol):
    """What it needs of an `App`."""

    settings: Settings
    keepers: Keepers
    keys: ClientKeys
    clock: Clock


async def add(
    app: Keeping, name: str, grants: Sequence[str] = (), *, lasts: float | None = None, expires: float | None = None
) -> dict[str, Any]:
    """Make a client key. The answer holds it, this once. `grants` are the members that it is bound to.

    It ends `lasts` seconds from now, or at `expires` (Unix time), or never. Raises `NotPossible`.
    """
    config = app.settings.config
    if not re.fullmatch(NAME_PATTERN, name, re.ASCII):
        raise NotPossible("no client can have that name: 1 to 63 of a-z, 0-9 and -, and no - at its start")
    bound = _bound_to(app, grants)
    ends = _end(app, lasts, expires)
    absent = [grant for grant in bound if (await app.keepers.of(grant)).standing().state is State.NONE]
    made = await app.keys.add(name, bound, expires=ends)
    warnings = [f"{grant} is not logged in yet: bearerd login {grant}" for grant in absent]
    if name not in config.rights:
        todo = f"add it under `clients:` in {config.name}, then: bearerd reload"
        warnings.append(f"'{name}' has no rights yet: {todo}")
    return _made(made.key, made.reveal()) | {"warning": "; ".join(warnings) or None}


async def rotate(app: Keeping, wish: Mapping[str, Any]) -> dict[str, Any]:
    """Replace a key of `name`: `number`, or the only one. The old one ends after `overlap` seconds. `NotPossible`."""
    overlap = _seconds(wish.get("overlap", OVERLAP), "--overlap", least=0.0)
    ends = _end(app, wish.get("lasts"), wish.get("expires"))
    name, number = str(wish["name"]), wish.get("number")
    try:
        made, old = await app.keys.rotate(name, number, overlap=overlap, expires=ends)
    except NoSuchKey as error:
        raise NotPossible(str(error), f"bearerd clients list {name}") from None
    return _made(made.key, made.reveal()) | {"replaced": {"number": old.number, "expires": old.expires}}


async def remove(app: Keeping, name: str, grant: str | None = None, number: int | None = None) -> dict[str, Any]:
    """Delete all keys of a client, or those bound to a member, or one; they are refused from this moment on."""
    return {"client": name, "removed": await app.keys.remove(name, _member(app, grant), number)}


async def listed(app: Keeping, wish: Mapping[str, Any]) -> dict[str, Any]:
    """All clients with their first keys; or with `name` one client's keys, `PAGE` of them above the number `after`.

    `next` is what `after` has to be for the next page, None on the last one. `grant`: only keys bound to that member.
    """
    await app.keys.load_once()
    name, grant, after = wish.get("name"), _member(app, wish.get("grant")), int(wish.get("after", -1))
    if name is None:
        first = app.keys.first(SHOWN)
        return {
            "clients": [
                each | {"listed": _described(app, first.get(each["name"], [])), "next": None} for each in summaries(app)
            ]
        }
    found = [each for each in summaries(app) if each["name"] == name]
    if not found:
        text = f"there is no client '{name}', neither in the configuration nor with a key"
        raise NotPossible(text, "bearerd clients list")
    keys = _described(app, app.keys.some(name, grant=grant, after=after, limit=PAGE))
    following = keys[-1]["number"] if len(keys) == PAGE else None
    return {"clients": [found[0] | {"listed": keys, "next": following}]}


def summaries(app: Keeping) -> list[dict[str, Any]]:
    """A line for each client: in the configuration, or with a key."""
    counts, ends = app.keys.counts(), app.keys.next_ends()
    config = app.settings.config
    rights = config.rights
    return [
        {
            "name": name,
            "keys": counts.get(name, (0, 0))[0],
            "bound": counts.get(name, (0, 0))[1],
            "next_end": ends.get(name),
            "last_use": app.keys.last_use.of_client(name),
            "rights": {mount: list(scopes) for mount, scopes in rights[name].items()} if name in rights else None,
            "in_config": name in rights,
        }
        for name in sorted({*rights, *counts})
    ]


def _described(app: Keeping, keys: Iterable[ClientKey]) -> list[dict[str, Any]]:
    now = app.clock.now().wall
    return [
        {
            "number": key.number,
            "created": key.created,
            "expires": key.expires,
            "replaced": key.replaced,
            "expired": key.ended(now),
            "last_use": app.keys.last_use.of(key.digest),
            "grants": list(key.grants),
            "lent": key.number == 0,
        }
        for key in keys
    ]


def _made(key: ClientKey, text: str) -> dict[str, Any]:
    return {"client": key.client, "number": key.number, "key": text, "expires": key.expires}


def _bound_to(app: Keeping, names: Sequence[str]) -> list[str]:
    """The members of these names: on one mount a key can only stand for one person."""
    found = []
    for name in names:
        try:
            found.append(app.settings.named(name).name)
        except NoSuchGrant as error:
            raise NotPossible(str(error)) from None
    for name, grant in zip(names, found, strict=True):
        if "/" not in grant:
            raise NotPossible(f"'{name}' is everybody's grant; a key is bound to one person's: {name}/PERSON")
    bases = [grant_of(grant) for grant in found]
    for base in bases:
        if bases.count(base) > 1:
            raise NotPossible(f"a key can be bound to one member of {base} only")
    return found


def _member(app: Keeping, name: str | None) -> str | None:
    """A member as keys are bound to it, whatever mount it was named by; also of a grant that is no longer there."""
    if name is None:
        return None
    try:
        return app.settings.named(name).name
    except NoSuchGrant:
        return name


def _end(app: Keeping, lasts: float | None, expires: float | None) -> float | None:
    now = app.clock.now().wall
    if lasts is not None:
        return now + _seconds(lasts, "--expires", least=1.0)
    if expires is None:
        return None
    if not now < expires <= now + LONGEST:
        raise NotPossible("--expires names a moment that is past, or more than a hundred years away")
    return float(expires)


def _seconds(value: float, option: str, *, least: float) -> float:
    if not least <= value <= LONGEST:
        raise NotPossible(f"{option} is a length of time from {least:g} s to a hundred years")
    return float(value)
