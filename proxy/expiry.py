"""When client keys and certificates end: from when on a person is told, and in which words. Times are Unix seconds."""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol

from proxy.spans import ago, span

EARLY = 14 * 86400.0  # seconds before the end at most; of what lives shorter than eight weeks, a quarter of its life
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
LONGEST = 100 * 366 * 86400.0
HOW = "write a length of time as in 90d, 24h or 30m, or a date as in 2027-06-30 (its end, UTC)"


class Ending(Protocol):
    """A client key, as far as its end goes."""

    @property
    def client(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def created(self) -> float: ...
    @property
    def digest(self) -> str: ...
    @property
    def expires(self) -> float | None: ...
    @property
    def replaced(self) -> float | None: ...


def told_from(begins: float, ends: float) -> float:
    """When a person is to be told that something ends which lives from `begins` to `ends`."""
    return ends - min(EARLY, max(0.0, ends - begins) / 4)


def seconds_of(text: str) -> float | None:
    """`90d`, `24h`, `30m`, `45s`, `2w` in seconds; None if it is no length of time."""
    found = re.fullmatch(r"([0-9]{1,9})([smhdw])", text, re.ASCII)
    return float(int(found[1]) * _UNITS[found[2]]) if found else None


def end_of(text: str, now: float) -> float | None:
    """When `--expires TEXT` is: a length of time from `now` on, or the end of a day in UTC. None if it is neither."""
    length = seconds_of(text)
    if length is not None:
        return now + length
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        return (day + timedelta(days=1)).timestamp()
    except (ValueError, OverflowError):
        return None


def warnings(keys: Iterable[Ending], last_use: Callable[[str], float | None], now: float) -> Iterator[str]:
    """What to tell of the keys that have an end, a line or two for each client. `last_use` is asked by digest."""
    soon: dict[str, list[Ending]] = {}
    over: dict[str, list[Ending]] = {}
    for key in keys:
        if key.expires is None or key.expires + EARLY <= now:
            continue
        if key.expires <= now:
            if key.replaced is None:
                over.setdefault(key.client, []).append(key)
        elif key.replaced is not None:
            used = last_use(key.digest)
            if used is not None and used > key.replaced:
                yield (
                    f"key {key.number} of client {key.client} was replaced, ends in {span(key.expires - now)} and is "
                    f"still used ({ago(used, now)})"
                )
        elif told_from(key.created, key.expires) <= now:
            soon.setdefault(key.client, []).append(key)
    yield from (_soon(client, found, now) for client, found in sorted(soon.items()))
    yield from (_over(client, found, now) for client, found in sorted(over.items()))


def _soon(client: str, keys: list[Ending], now: float) -> str:
    first = min(key.expires or now for key in keys)
    if len(keys) > 1:
        return f"{len(keys)} keys of client {client} expire soon, the first in {span(first - now)}: {_list(client)}"
    fix = f"To replace it: bearerd clients rotate {client} --key {keys[0].number}"
    return f"key {keys[0].number} of client {client} expires in {span(first - now)}. {fix}"


def _over(client: str, keys: list[Ending], now: float) -> str:
    last = max(key.expires or now for key in keys)
    if len(keys) > 1:
        return f"{len(keys)} keys of client {client} have expired, the last {ago(last, now)}: {_list(client)}"
    fix = f"To make a new one: bearerd clients add {client}"
    return f"key {keys[0].number} of client {client} expired {ago(last, now)}. {fix}"


def _list(client: str) -> str:
    return f"bearerd clients list {client}"
