"""Is a trail what was written? Every line is held against its chain, every file against the one before. Pure.

What can't be missed, given the key: a changed, removed, inserted or moved record, a removed file, a cut end. Of the end
that is so for whatever is older than the note of it in the store: a second for orders and operators' acts, ten for
reads (`trail.MARK_SOON`, `trail.MARK_LATE`).
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from proxy.audit.chain import Broken, End, Keys, follow
from proxy.audit.trailfile import FORMAT, Mark, format_of, name_of, opening


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was written: file, line (from 1; 0: the file as a whole), and what it is."""

    file: str
    line: int
    problem: str


@dataclass(slots=True)
class Findings:
    """What was found: records that hold, faults, and things that are worth knowing but no fault.

    `first` and `last` are the numbers of the records that are there, `unknown` intents without an outcome.
    """

    records: int = 0
    first: int = 0
    last: int = 0
    unknown: list[int] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def install_of(data: bytes) -> str:
    """Which server the trail is of, as its file says; empty if it does not."""
    return str(opening(data).get("install", ""))


def verify(keys: Keys, files: Iterable[tuple[int, bytes]], mark: Mark | None, *, running: bool = False) -> Findings:
    """Hold the files of a trail, by their first record, against their chain and the note of its end.

    `running`: a server writes to it now, so that the last line may not be whole yet.
    """
    return _Walk(keys, mark, running=running).over(files)


class _Walk:
    """One walk over the files of a trail, from the first to the last."""

    def __init__(self, keys: Keys, mark: Mark | None, *, running: bool) -> None:
        self._keys, self._mark, self._running = keys, mark, running
        self._found = Findings()
        self._open: dict[int, None] = {}  # intents without an outcome so far
        self._end = keys.start
        self._retired: list[tuple[int, str]] = []
        self._rest: tuple[str, int, bytes, int, str] | None = None  # what the last file held after its last good line
        self._began: End | None = None
        self._began_lost = False
        self._marked = mark is None

    def over(self, files: Iterable[tuple[int, bytes]]) -> Findings:
        last = ""
        for first, data in files:
            last = name_of(first)
            self._file(first, data)
        found = self._found
        self._close(last)
        self._check_start()
        self._check_mark(last)
        found.last, found.unknown = self._end.seq if found.records else 0, list(self._open)
        return found

    def _file(self, first: int, data: bytes) -> None:
        name, head = name_of(first), opening(data)
        if not head:
            self._fault(name, 1, "it does not begin with the record that every file begins with")
            return
        if (number := format_of(head)) > FORMAT:
            self._fault(name, 1, f"a newer bearerd wrote it (format {number}; this one knows {FORMAT}): ask that one")
        before = End(first - 1, head["after"])
        if self._began is None:
            self._began, self._found.first = before, first
            self._began_lost = bool(head.get("lost"))
        else:
            self._join(name, before, head)
        if lost := _lost(head):
            self._fault(name, 1, lost)
        self._end = before
        self._lines(name, data)

    def _join(self, name: str, before: End, head: dict[str, Any]) -> None:
        """The file before ends where this one begins; what it holds beyond that was told when this one was begun."""
        expected, rest = self._end, self._rest
        self._rest = None
        if rest is not None:
            file, offset, data, line, problem = rest
            torn = head.get("torn") or {}
            told = (torn.get("file"), torn.get("from"), torn.get("sha256"))
            if told != (file, offset, hashlib.sha256(data).hexdigest()):
                self._fault(file, line, problem)
                return
            self._found.notes.append(f"{file}: {len(data)} bytes after record {expected.seq} were never whole")
        if before != expected and not head.get("lost"):
            missing = f"records {expected.seq + 1} to {before.seq} are missing" if before.seq > expected.seq else ""
            self._fault(name, 1, missing or "it does not follow on the file before")

    def _lines(self, name: str, data: bytes) -> None:
        offset, number = 0, 0
        while offset < len(data):
            number += 1
            stop = data.find(b"\n", offset)
            if stop < 0:
                self._rest = (name, offset, data[offset:], number, "it is not whole")
                return
            try:
                self._end, fields = follow(self._keys, self._end, data[offset:stop])
            except ValueError as broken:
                problem = str(broken) if isinstance(broken, Broken) else "it is no record"
                self._rest = (name, offset, data[offset:], number, problem)
                return
            offset = stop + 1
            self._record(name, number, fields)

    def _record(self, name: str, number: int, fields: dict[str, Any]) -> None:
        found, seq = self._found, self._end.seq
        found.records += 1
        kind = fields.get("kind")
        if kind == "intent":
            self._open[seq] = None
        elif kind == "outcome":
            self._open.pop(fields.get("intent", 0), None)
        elif kind == "retired":
            self._retired.append((fields["until"], fields["last"]))
        elif kind == "gap":
            lost = fields.get("lost", 0)
            what = f"{lost} records were lost" if lost else "records came late"
            found.notes.append(f"{name}:{number}: {what} ({fields.get('reason')})")
        if self._mark is not None and self._mark.seq == seq:
            self._marked = True
            if self._mark.link != self._end.link:
                self._fault(name, number, "it is not the record that the store has noted under this number")

    def _close(self, last: str) -> None:
        """The end of the last file: a line that is not whole is one that a kill, or our look, has cut."""
        if self._rest is None:
            return
        file, _, data, line, problem = self._rest
        if b"\n" in data or file != last:
            self._fault(file, line, problem)
        elif not self._running:
            self._found.notes.append(f"{file}:{line}: the last line is not whole; the next start closes it off")

    def _check_start(self) -> None:
        """What is missing before the first file was retired, and a record says so."""
        began = self._began
        if began is None or began == self._keys.start:
            return
        # A removal that was cut off leaves files that were retired already.
        if any(began.seq < until or (began.seq, began.link) == (until, link) for until, link in self._retired):
            return
        if began.seq == 0:
            self._fault(name_of(1), 1, "it does not begin as this server's trail")
        elif not self._began_lost:
            self._fault(name_of(began.seq + 1), 0, f"records 1 to {began.seq} are missing, and were not retired")

    def _check_mark(self, last: str) -> None:
        mark = self._mark
        if mark is None or self._marked:
            return
        if mark.seq > self._end.seq:
            gone = (
                f"records {self._end.seq + 1} to {mark.seq} are missing" if self._end.seq else "all records are missing"
            )
            self._fault(last or name_of(1), 0, f"{gone}: the store has noted them")
        elif self._began is None or mark.seq > self._began.seq:
            self._fault(last, 0, f"record {mark.seq}, which the store has noted, is missing")

    def _fault(self, file: str, line: int, problem: str) -> None:
        self._found.faults.append(Fault(file, line, problem))


def _lost(head: dict[str, Any]) -> str:
    parts = []
    if lost := head.get("lost"):
        parts.append(f"records {lost[0]} to {lost[1]} were gone at a start")
    if damaged := head.get("damaged"):
        parts.append(f"{json.dumps(damaged)} could not be read at a start")
    return ", and ".join(parts)
