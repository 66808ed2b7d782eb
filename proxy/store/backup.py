"""A backup: everything that a store holds, in one sealed file.

A line in clear says which store and which master key it is of, and when it was made. The chunks after it hold the
rows, names too, each sealed with that key under a purpose of its own. A chunk opens only behind this very first line
and at its own place, and only the last one says that it is the last: a file that was cut, mixed or changed is refused.

Nothing is locked while a backup is made. The rows are read page by page, and then what was committed meanwhile, until
there is nothing more: what the file says in the end is the store at the moment of that last look. A later chunk
overrides an earlier one.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import stat
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from proxy.store import (
    COMMITS,
    PAGE,
    RESTORING,
    Damaged,
    Foreign,
    Movable,
    Newer,
    Row,
    Store,
    StoreError,
    WrongKey,
    pages,
)
from proxy.store.files import create_private, sync_data, sync_directory
from proxy.store.sealing import Sealer

FORMAT = 1
_MAGIC = "bearerd-backup"
_PURPOSE = "backup"
_LONGEST_LINE = 1024
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Header:
    """What a backup says of itself without a key. `made` is Unix time, `number` tells it from every other one."""

    store_id: str
    key_id: str
    made: float
    number: str

    def line(self) -> bytes:
        value = {_MAGIC: FORMAT, "store": self.store_id, "key": self.key_id, "made": self.made, "number": self.number}
        return json.dumps(value).encode() + b"\n"

    @classmethod
    def of(cls, line: bytes, path: Path) -> Self:
        """Raises `Foreign`, `Newer` or `Damaged`."""
        try:
            value = json.loads(line)
            version = value[_MAGIC]
        except (ValueError, LookupError, TypeError):
            raise Foreign(f"{path} is no backup of a bearerd store") from None
        if isinstance(version, int) and version > FORMAT:
            raise Newer(f"{path} was written by a newer bearerd (format {version}; this one knows {FORMAT})")
        try:
            header = cls(str(value["store"]), str(value["key"]), float(value["made"]), str(value["number"]))
        except (ValueError, LookupError, TypeError):
            raise Damaged(f"{path}: its first line was altered") from None
        if header.line() != line:  # what is not sealed must not have two spellings
            raise Damaged(f"{path}: its first line was altered")
        return header


@dataclass(frozen=True, slots=True)
class Summary:
    """A whole backup. `commits` is the store's commit number at its moment."""

    header: Header
    rows: int
    commits: int


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Rows with plain values, names that are gone, and in the last one how much there is in all."""

    rows: list[tuple[str, int, bytes]]
    gone: list[str]
    end: tuple[int, int] | None = None  # rows, commits

    def text(self) -> bytes:
        rows = [(name, generation, base64.b64encode(value).decode()) for name, generation, value in self.rows]
        return json.dumps({"rows": rows, "gone": self.gone, "end": self.end}).encode()

    @classmethod
    def of(cls, text: bytes) -> Self:
        value: dict[str, Any] = json.loads(text)
        rows = [(name, generation, base64.b64decode(data)) for name, generation, data in value["rows"]]
        return cls(rows, value["gone"], tuple(value["end"]) if value["end"] else None)


# -- making one -------------------------------------------------------------------------------------------------------


async def back_up(
    store: Store,
    sealer: Sealer,
    path: Path,
    made: float,
    *,
    replace: bool = False,
    tell: Callable[[int], object] = lambda _: None,
) -> Summary:
    """Write the backup at `path` (0600), durable under its name when this returns. `made` is Unix time.

    Every record is opened first: a store that is damaged makes no backup. `StoreError` if there is such a file
    already, unless `replace`, or if the disk fails; nothing is left of an unfinished one. `tell` hears how many records
    are written.
    """
    header = Header(store.store_id, sealer.key_id, made, os.urandom(16).hex())
    if not replace and await asyncio.to_thread(os.path.lexists, path):
        raise StoreError(f"{path} exists already; it is left as it is")
    try:
        draft = await asyncio.to_thread(_Draft, path, header, sealer)
        try:
            names: set[str] = set()
            commits = 0
            async for rows, gone, number in _everything(store):
                commits = number
                names.update(row.name for row in rows)
                names.difference_update(gone)
                await asyncio.to_thread(draft.add, rows, gone)
                tell(len(names))
            await asyncio.to_thread(draft.finish, len(names), commits)
        finally:
            await asyncio.to_thread(draft.discard)
    except (WrongKey, Damaged) as fault:
        raise type(fault)(f"{store.location}: {fault}") from None
    except OSError as fault:
        raise StoreError(f"{path}: {fault.strerror}") from None
    return Summary(header, len(names), commits)


async def _everything(store: Store) -> AsyncIterator[tuple[list[Row], list[str], int]]:
    """The rows of `store`, then what changes them into those of one moment; each time the commit number so far."""
    number = await store.changes()
    async for rows in pages(store, ""):
        yield rows, [], number
    while True:
        changes = await store.changed(number)
        yield changes.rows, changes.gone, changes.number
        if changes.number - number < COMMITS:  # else there is more than one answer holds
            return
        number = changes.number


class _Draft:
    """The file while it is being written, under another name. Every method blocks."""

    def __init__(self, path: Path, header: Header, sealer: Sealer) -> None:
        self._path, self._sealer, self._header = path, sealer, header
        self._draft = path.with_name(path.name + ".draft")
        self._count = 0
        self._draft.unlink(missing_ok=True)
        self._file: BinaryIO = os.fdopen(create_private(self._draft), "wb")
        self._file.write(header.line())

    def add(self, rows: list[Row], gone: list[str]) -> None:
        for start in range(0, len(rows), PAGE):
            some = rows[start : start + PAGE]
            plain = [self._sealer.unseal(row.name, row.generation, row.sealed) for row in some]
            opened = [(row.name, row.generation, value) for row, value in zip(some, plain, strict=True)]
            self._write(_Chunk(opened, []))
        if gone:
            self._write(_Chunk([], gone))

    def finish(self, rows: int, commits: int) -> None:
        self._write(_Chunk([], [], (rows, commits)))
        self._file.flush()
        sync_data(self._file.fileno())
        self._draft.replace(self._path)
        sync_directory(self._path.parent)

    def discard(self) -> None:
        """Close; whatever has not been finished is gone."""
        with contextlib.suppress(OSError):  # what is left to write belongs to a file that nobody gets
            self._file.close()
        self._draft.unlink(missing_ok=True)

    def _write(self, chunk: _Chunk) -> None:
        sealed = self._sealer.seal(_place(self._header), self._count, chunk.text(), purpose=_PURPOSE)
        self._count += 1
        self._file.write(_LENGTH.pack(len(sealed)) + sealed)


def _place(header: Header) -> str:
    """What the chunks of one backup are sealed under: its first line, as it stands there."""
    return hashlib.sha256(header.line()).hexdigest()


# -- reading one ------------------------------------------------------------------------------------------------------


class Backup:
    """A backup that is open for reading. Every method blocks, and raises `Damaged`, `Foreign` or `StoreError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file: BinaryIO = os.fdopen(_open(path), "rb")
            try:
                self.header = Header.of(self._file.readline(_LONGEST_LINE), path)
            except BaseException:
                self._file.close()
                raise
        except OSError as fault:
            raise StoreError(f"{path}: {fault.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def sealer(self, keys: Iterable[bytes], whence: str) -> Sealer:
        """That of the one of `keys` that opens this backup. `WrongKey` if none does; `whence` says where they are."""
        at_hand = []
        for key in keys:
            sealer = Sealer(key, self.header.store_id)
            if sealer.key_id == self.header.key_id:
                return sealer
            at_hand.append(sealer.key_id)
        key_ids = ", ".join(at_hand) or "none"
        raise WrongKey(f"{self.path} needs the master key {self.header.key_id}; the key from {whence} is {key_ids}")

    def check(self, sealer: Sealer) -> Summary:
        """Read it to its end."""
        rows, commits = 0, 0
        for chunk in self._chunks(sealer):
            rows, commits = chunk.end or (0, 0)
        return Summary(self.header, rows, commits)

    def contents(self, sealer: Sealer) -> Iterator[tuple[list[Row], list[str]]]:
        """Rows as a store keeps them, and names that are gone; what comes later counts. `check` it first."""
        for chunk in self._chunks(sealer):
            rows = [
                Row(name, generation, sealer.seal(name, generation, value)) for name, generation, value in chunk.rows
            ]
            yield rows, chunk.gone

    def _chunks(self, sealer: Sealer) -> Iterator[_Chunk]:
        self._file.seek(len(self.header.line()))
        place, index, chunk = _place(self.header), 0, None
        while chunk is None or chunk.end is None:
            sealed = self._read(*_LENGTH.unpack(self._read(_LENGTH.size)))
            try:
                chunk = _Chunk.of(sealer.unseal(place, index, sealed, purpose=_PURPOSE))
            except (Damaged, WrongKey):  # the header's key fits, or we would not be here
                raise Damaged(f"{self.path}: part {index + 1} was altered, or is of another backup") from None
            index += 1
            yield chunk
        if self._file.read(1):
            raise Damaged(f"{self.path}: there is something behind its end")

    def _read(self, size: int) -> bytes:
        left = os.fstat(self._file.fileno()).st_size - self._file.tell()
        if left < size:  # asked first: a length that was altered must not take the memory for it
            raise Damaged(f"{self.path}: its end is missing")
        return self._file.read(size)


def _open(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not hang us
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Foreign(f"{path} is not a regular file")
    return descriptor


async def restore(
    backup: Backup,
    checked: Summary,
    sealer: Sealer,
    store: Movable,
    finish: Callable[[], Awaitable[object]],
    *,
    tell: Callable[[int], object] = lambda _: None,
) -> bool:
    """Fill `store`, which is empty or half restored, and put it in use after `finish`. False if it is not empty.

    `checked` is what `check` said of the backup. Until the store is in use it refuses to be served, and this can be
    repeated. `tell` hears how many records there are in it. `Damaged`, `StoreError`.
    """
    header = checked.header
    if not await store.fill(store_id=header.store_id, key_id=header.key_id, commits=checked.commits, state=RESTORING):
        return False
    contents, done = backup.contents(sealer), 0
    while (some := await asyncio.to_thread(next, contents, None)) is not None:
        await store.load(*some)
        done += len(some[0])
        tell(done)
    held = sum((await store.about()).rows.values())
    if held != checked.rows:
        raise Damaged(f"{store.location} holds {held} records after the restore, and the backup has {checked.rows}")
    await finish()
    if not await store.turn(RESTORING, ""):
        raise StoreError(f"{store.location} was put into another state meanwhile; repeat the command")
    return True
