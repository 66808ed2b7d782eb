"""The files of a trail: how they are named, begun, added to, and found again at the next start. Everything here blocks.

A file is named after the number of its first record, which says what the last link of the file before is. What a file
holds after its last good record was never told to be durable: it is left as it was found, and the next record begins a
new file that says so.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.audit.chain import End, Keys, Scan, scan
from proxy.store import Newer
from proxy.store.files import Files, write_all

FORMAT = 1  # of a trail; its files say so, but for the first ones
_NAME = re.compile(r"([0-9]{12})\.jsonl", re.ASCII)
_HEAD = 4096  # bytes in which the first record of a file ends
_LINK = 72  # bytes at the end of a line that hold its link for certain


@dataclass(frozen=True, slots=True)
class Mark:
    """What was remembered elsewhere of the trail's end: record number, link, and where in which file its line ends.

    `time` (Unix) is when.
    """

    seq: int
    link: str
    file: int
    offset: int
    time: float = 0.0

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> "Mark":
        return cls(value["seq"], value["link"], value["file"], value["offset"], value["time"])

    @property
    def end(self) -> End:
        return End(self.seq, self.link)


@dataclass(frozen=True, slots=True)
class Found:
    """Where a trail goes on. `file` 0: a new file must be begun, and its first record holds what `wrong` says.

    `size` is the file's good part in bytes; `time` (Unix) that of its first record, 0 without a file.
    """

    end: End
    file: int = 0
    size: int = 0
    time: float = 0.0
    wrong: Mapping[str, Any] | None = None


def name_of(first: int) -> str:
    """The name of the file that begins with this record."""
    return f"{first:012d}.jsonl"


def first_of(name: str) -> int | None:
    """The number in a file's name; None if it is no file of a trail."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else None


def opening(data: bytes) -> dict[str, Any]:
    """The first record of a file, unchecked; empty if there is no whole one."""
    line, found, _ = data[:_HEAD].partition(b"\n")
    try:
        fields = json.loads(line) if found else {}
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) and isinstance(fields.get("after"), str) else {}


def format_of(head: Mapping[str, Any]) -> int:
    """The format that the first record of a file says it has."""
    found = head.get("format", FORMAT)
    return found if isinstance(found, int) else FORMAT


def recover(files: Files, directory: Path, keys: Keys, mark: Mark | None) -> Found:
    """Look where the trail in `directory` ends. `OSError`, `UnsafeFile`, `Newer`."""
    firsts = sorted(filter(None, map(first_of, files.names(directory))))
    damaged: list[str] = []
    found: Found | None = None
    while firsts and found is None:
        first = firsts.pop()
        found = _look(files, directory / name_of(first), first, keys, mark)
        if found is None:  # not even its first record: its name will be needed
            damaged.append(_put_aside(files, directory, name_of(first)))
    if found is None:
        found = Found(keys.start)
    wrong = dict(found.wrong or {}) | ({"damaged": damaged} if damaged else {})
    if mark is not None and mark.seq > found.end.seq:
        wrong["lost"] = [found.end.seq + 1, mark.seq]
        found = Found(mark.end, wrong=wrong)
    elif wrong:
        found = Found(found.end, wrong=wrong)
    return found


def _look(files: Files, path: Path, first: int, keys: Keys, mark: Mark | None) -> Found | None:
    """How far this file is good; None if it has no good record."""
    descriptor = files.open(path)
    try:
        size = files.size(descriptor)
        head = opening(files.pread(descriptor, _HEAD, 0))
        if not head:
            return None
        if (number := format_of(head)) > FORMAT:
            raise Newer(f"{path} was written by a newer bearerd (format {number}; this one knows {FORMAT})")
        start, end = 0, End(first - 1, head["after"])
        at = mark.offset - _LINK if mark is not None and mark.file == first else 0
        if mark is not None and at > 0 and _holds(files.pread(descriptor, _LINK, at), mark):
            start, end = mark.offset, mark.end  # what stands before was looked at when it was written
        rest = files.pread(descriptor, size - start, start)
        files.datasync(descriptor)  # a killed server may have written what it never synced, and we go on from it
    finally:
        files.close(descriptor)
    try:
        held: Scan = scan(keys, end, rest)
    except ValueError:  # `after` is no link
        return None
    if held.end.seq < first:
        return None
    good, wrong = start + held.size, None
    if good < size:
        digest = hashlib.sha256(rest[held.size :]).hexdigest()
        wrong = {"torn": {"file": path.name, "from": good, "bytes": size - good, "sha256": digest}}
    return Found(held.end, first, good, float(head.get("time", 0.0)), wrong)


def _holds(tail: bytes, mark: Mark) -> bool:
    return tail.endswith(b'"%b"}\n' % mark.link.encode())


def _put_aside(files: Files, directory: Path, name: str) -> str:
    taken = set(files.names(directory))
    aside = next(each for number in range(1, len(taken) + 2) if (each := f"{name}.damaged-{number}") not in taken)
    files.replace(directory / name, directory / aside)
    return aside


class TrailFile:
    """Adds to the last file of a trail, or begins the next. For one thread."""

    def __init__(self, directory: Path, files: Files, file: int, size: int) -> None:
        self.file, self.size = file, size
        self._directory, self._files = directory, files
        self._descriptor = -1

    def append(self, first: int, data: bytes) -> None:
        """Write `data` into the file that begins with the record `first`; return when it is durable.

        `OSError`: it is not, and must be given once more. What a failed try left behind is written over then.
        """
        if first != self.file:
            self._begin(first, data)
            return
        if self._descriptor < 0:
            self._descriptor = self._files.open(self._directory / name_of(first))
        write_all(self._files, self._descriptor, data, self.size)
        self._files.datasync(self._descriptor)
        self.size += len(data)

    def _begin(self, first: int, data: bytes) -> None:
        path = self._directory / name_of(first)
        draft = path.with_name(path.name + ".draft")
        descriptor = self._files.create(draft)
        try:
            write_all(self._files, descriptor, data, 0)
            self._files.datasync(descriptor)
            self._files.replace(draft, path)
        except BaseException:
            self._files.close(descriptor)
            raise
        self.close()
        self._descriptor, self.file, self.size = descriptor, first, len(data)

    def close(self) -> None:
        """Close the file. Calling it again does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):  # the number is free all the same, and what was written has been synced
                self._files.close(descriptor)
