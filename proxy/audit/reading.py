"""Trails, read back: which there are, what they hold, and the records that somebody looks for. Everything here blocks.

To read needs no key. Whether what is read is what was written, `verify.py` says.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.audit.record import UNKNOWN, UNKNOWNS
from proxy.audit.trailfile import first_of, name_of
from proxy.store.files import open_private

Fields = dict[str, Any]
_CHUNK = 1 << 20


def directories(root: Path) -> list[Path]:
    """The trails below `root`, the one that was written to last at the end. Empty if there is none. `OSError`."""
    try:
        found = [path for path in root.iterdir() if path.is_dir() and firsts(path)]
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda path: (path / name_of(firsts(path)[-1])).stat().st_mtime_ns)


def firsts(directory: Path) -> list[int]:
    """The numbers in the names of a trail's files, in order. `OSError`."""
    return sorted(filter(None, (first_of(path.name) for path in directory.iterdir())))


def content(directory: Path, first: int) -> bytes:
    """A whole file. `OSError`, `UnsafeFile`; `FileNotFoundError` if it has been retired meanwhile."""
    descriptor = open_private(directory / name_of(first), os.O_RDONLY)
    try:
        pieces = []
        while piece := os.read(descriptor, _CHUNK):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def lines(directory: Path, since: int = 0) -> Iterator[bytes]:
    """The lines of a trail from the record `since` on, with their line feeds; what was torn is left out."""
    numbers = firsts(directory)
    for index, first in enumerate(numbers):
        following = numbers[index + 1] if index + 1 < len(numbers) else None
        if following is not None and following <= since:
            continue
        try:
            data = content(directory, first)
        except FileNotFoundError:
            continue
        whole, _, _ = data.rpartition(b"\n")
        for seq, line in enumerate(whole.split(b"\n"), first):
            if following is not None and seq >= following:
                break  # the next file says what became of the rest
            if line and seq >= since:
                yield line + b"\n"


def records(directory: Path, since: int = 0) -> Iterator[Fields]:
    """What the lines say. A line that is no record is left out."""
    for line in lines(directory, since):
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        if isinstance(fields, dict) and "seq" in fields and "kind" in fields and "time" in fields:
            yield fields


def newest(directory: Path, count: int) -> list[Fields]:
    """The last records of a trail by number, intents and outcomes joined: no more is read than is needed."""
    found: list[Fields] = []
    for first in reversed(firsts(directory)):
        found = sorted(joined(records(directory, first)), key=lambda fields: int(fields["seq"]))
        if len(found) >= count:
            break
    return found[-count:] if count > 0 else []


def last(directory: Path) -> int:
    """The number of the last record."""
    return max((fields["seq"] for fields in records(directory, firsts(directory)[-1])), default=0)


def size(directory: Path) -> tuple[int, int]:
    """Changes when something is added: the last file's first record, and its length in bytes."""
    last = firsts(directory)[-1]
    return last, (directory / name_of(last)).stat().st_size


def joined(found: Iterable[Fields]) -> Iterator[Fields]:
    """Each intent with its outcome as one record, where the outcome stands; without one in the end, as unknown.

    It has the intent's time and the outcome's number.
    """
    waiting: dict[int, Fields] = {}
    for fields in found:
        if fields["kind"] == "intent":
            waiting[fields["seq"]] = fields
        elif fields["kind"] == "outcome":
            intent = waiting.pop(fields.get("intent", 0), {})
            yield {**intent, **fields, "time": intent.get("time", fields["time"]), "kind": "call"}
        else:
            yield fields
    for fields in waiting.values():
        yield {**fields, "kind": "call", "outcome": UNKNOWN}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; None is anything. `since` and `until` are Unix times, `account` the end of a number.

    The outcome `unknown` is also that of orders whose client was told so (`outcome-unknown`).
    `orders`: only calls that change something. `acts`: only what an operator did.
    """

    client: str | None = None
    mount: str | None = None
    outcome: str | None = None
    account: str | None = None
    request: str | None = None
    since: float | None = None
    until: float | None = None
    orders: bool = False
    acts: bool = False

    def fits(self, fields: Fields) -> bool:
        """Whether this record is looked for."""
        named = ((self.client, "client"), (self.mount, "mount"), (self.request, "id"))
        outcomes = UNKNOWNS if self.outcome == UNKNOWN else {self.outcome}
        if self.outcome is not None and fields.get("outcome") not in outcomes:
            return False
        if any(wanted is not None and fields.get(name) != wanted for wanted, name in named):
            return False
        if self.account is not None and not _ends(str(fields.get("account", "")), self.account):
            return False
        if (self.since is not None and fields["time"] < self.since) or (
            self.until is not None and fields["time"] >= self.until
        ):
            return False
        return (not self.orders or bool(fields.get("mutating"))) and (not self.acts or fields["kind"] == "act")


def _ends(masked: str, wanted: str) -> bool:
    shown = masked.lstrip("*")
    return (
        bool(shown) and wanted.endswith(shown) if len(wanted) > len(shown) else bool(wanted) and shown.endswith(wanted)
    )
