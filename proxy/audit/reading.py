"""Trails, read back: which there are, what they hold, and the records that somebody looks for. Everything here blocks.

To read needs no key. Whether what is read is what was written, `verify.py` says.
"""

import json
import os
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.audit.record import ABORTED, SOUND, UNKNOWN, UNKNOWNS
from proxy.audit.trailfile import first_of, name_of
from proxy.store.files import open_private

Fields = dict[str, Any]
_CHUNK = 1 << 20
_PIECE = 1 << 16


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
        if (fields := _record(line)) is not None:
            yield fields


def _record(line: bytes) -> Fields | None:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or not isinstance(fields.get("seq"), int) or "kind" not in fields:
        return None
    return fields if isinstance(fields.get("time"), int | float) else None


def backwards(directory: Path, most: int) -> Generator[list[Fields]]:
    """The records of a trail from its end on, some at a time, oldest first among them; reads at most `most` bytes.

    What was torn is left out, and so is a line whose beginning is not read any more. `OSError`, `UnsafeFile`.
    """
    following: int | None = None
    for first in reversed(firsts(directory)):
        if most <= 0:
            return
        try:
            descriptor = open_private(directory / name_of(first), os.O_RDONLY)
        except FileNotFoundError:  # retired meanwhile
            continue
        try:
            for data in _pieces(descriptor, most):
                most -= len(data[0])
                found = [fields for line in data[1] if line and (fields := _record(line)) is not None]
                # The next file says what became of the rest.
                yield [fields for fields in found if following is None or fields["seq"] < following]
        finally:
            os.close(descriptor)
        following = first


def _pieces(descriptor: int, most: int) -> Iterator[tuple[bytes, list[bytes]]]:
    """What is read of a file from its end on, and the whole lines that this completes."""
    end, rest, torn = os.fstat(descriptor).st_size, b"", True
    while end > 0 and most > 0:
        size = min(end, most, _PIECE)
        read = os.pread(descriptor, size, end - size)
        end, most, data = end - size, most - size, read + rest
        if torn:  # what stands behind the last line feed is being written
            data, torn = data[: data.rfind(b"\n") + 1], b"\n" not in data
        rest, found, data = data.partition(b"\n") if end else (b"", b"\n", data)
        yield read, data.split(b"\n") if found else []


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
    `orders`: only calls that change something. `acts`: only what an operator did. `refused`: only calls that bearerd
    answered with a refusal; one of which nobody knows whether it was sent is none.
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
    refused: bool = False

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
        if self.refused and not refused(fields):
            return False
        return (not self.orders or bool(fields.get("mutating"))) and (not self.acts or fields["kind"] == "act")


def refused(fields: Fields) -> bool:
    """Whether this is a call to which bearerd said no, and which for that reason was not sent, or in vain."""
    outcome = fields.get("outcome")
    return fields["kind"] == "call" and isinstance(outcome, str) and outcome not in {ABORTED, *SOUND, *UNKNOWNS}


def _ends(masked: str, wanted: str) -> bool:
    shown = masked.lstrip("*")
    return (
        bool(shown) and wanted.endswith(shown) if len(wanted) > len(shown) else bool(wanted) and shown.endswith(wanted)
    )
