"""A disk in memory that breaks on request and can lose its power: the `Files` to test custody against.

A kill keeps what was written; a power loss keeps only what was synced, plus any part of the rest. `after_power_loss`
walks through what may be left. A failed sync loses its writes for good, as Linux does: they stay readable until the
power goes, and a second sync that succeeds does not bring them back.
"""

import errno
import itertools
import os
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from proxy.store import StoreLocked

_CHUNK = 4096  # what a power loss keeps or drops as one
_SECTOR = 512  # what even a torn chunk keeps or drops as one
_ALL_SUBSETS = 8  # up to so many lost chunks every subset is tried: 256 outcomes


class _Content:
    """One file: what can be read now, what is durable, and the writes in between."""

    def __init__(self, data: bytes = b"") -> None:
        self.visible = bytearray(data)
        self.durable = bytearray(data)
        self.pending: list[tuple[int, bytes]] = []


def _apply(data: bytearray, offset: int, chunk: bytes) -> None:
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(chunk)] = chunk


class MemoryDisk:
    """`Files` in memory. `sync_seconds` makes every sync slow; `short` caps the bytes that one write takes."""

    def __init__(self) -> None:
        self.sync_seconds = 0.0
        self.short: int | None = None
        self.calls: dict[str, int] = defaultdict(int)
        self._faults: dict[str, deque[int]] = defaultdict(deque)
        self._files: dict[Path, _Content] = {}
        self._open: dict[int, _Content] = {}
        self._locks: dict[Path, int] = {}
        self._numbers = itertools.count(3)

    def fail(self, call: str, number: int, *, times: int = 1, after: int = 0) -> None:
        """Let the method `call` raise errno `number`, `times` times, once it has worked `after` more times (0 = ok)."""
        self._faults[call].extend([0] * after + [number] * times)

    def heal(self) -> None:
        """No more faults."""
        self._faults.clear()
        self.short = None

    def lock(self, path: Path) -> int:
        self._turn("lock")
        if path in self._locks:
            raise StoreLocked(f"{path.parent} is in use by process {os.getpid()}", os.getpid())
        descriptor = self._locks[path] = next(self._numbers)
        return descriptor

    def open(self, path: Path) -> int:
        self._turn("open")
        if path not in self._files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        descriptor = next(self._numbers)
        self._open[descriptor] = self._files[path]
        return descriptor

    def create(self, path: Path) -> int:
        self._turn("create")
        self._files[path] = _Content()
        return self.open(path)

    def size(self, descriptor: int) -> int:
        return len(self._open[descriptor].visible)

    def pread(self, descriptor: int, size: int, offset: int) -> bytes:
        self._turn("pread")
        return bytes(self._open[descriptor].visible[offset : offset + size])

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        self._turn("pwrite")
        content, taken = self._open[descriptor], bytes(data[: self.short])
        _apply(content.visible, offset, taken)
        content.pending.append((offset, taken))
        return len(taken)

    def datasync(self, descriptor: int) -> None:
        content = self._open[descriptor]
        writes, content.pending = content.pending, []
        time.sleep(self.sync_seconds)
        self._turn("datasync")
        for offset, data in writes:
            _apply(content.durable, offset, data)

    def replace(self, source: Path, target: Path) -> None:
        self._turn("replace")
        self._files[target] = self._files.pop(source)

    def remove(self, path: Path) -> None:
        self._turn("remove")
        self._files.pop(path, None)

    def names(self, directory: Path) -> list[str]:
        self._turn("names")
        return sorted(path.name for path in self._files if path.parent == directory)

    def identity(self, descriptor: int) -> str:  # noqa: ARG002  there are no copies to tell apart
        return "memory"

    def close(self, descriptor: int) -> None:
        self._open.pop(descriptor, None)
        self._locks = {path: held for path, held in self._locks.items() if held != descriptor}

    def after_kill(self) -> "MemoryDisk":
        """The disk as a new process finds it after `kill -9`: everything that was written, no lock."""
        return self._copy({path: bytes(content.visible) for path, content in self._files.items()})

    def after_power_loss(self) -> Iterator["MemoryDisk"]:
        """Every disk that a power loss now may leave: subsets of the un-synced chunks, or prefixes if they are many."""
        pending = [
            (path, start, data[start - offset : start - offset + _CHUNK])
            for path, content in self._files.items()
            for offset, data in content.pending
            for start in range(offset, offset + len(data), _CHUNK)
        ]
        for kept in _subsets(pending):
            left = {path: bytearray(content.durable) for path, content in self._files.items()}
            for path, offset, chunk in kept:
                _apply(left[path], offset, chunk)
            yield self._copy({path: bytes(data) for path, data in left.items()})

    def damage(self, path: Path, offset: int, data: bytes) -> None:
        """Overwrite bytes behind everybody's back, durably."""
        for copy in (self._files[path].visible, self._files[path].durable):
            _apply(copy, offset, data)

    def content(self, path: Path) -> bytes:
        """What a reader of `path` sees."""
        return bytes(self._files[path].visible)

    def _copy(self, contents: dict[Path, bytes]) -> "MemoryDisk":
        other = MemoryDisk()
        other._files = {path: _Content(data) for path, data in contents.items()}
        return other

    def _turn(self, call: str) -> None:
        self.calls[call] += 1
        if self._faults[call] and (number := self._faults[call].popleft()):
            raise OSError(number, os.strerror(number))


_Chunk = tuple[Path, int, bytes]


def _subsets(pending: Sequence[_Chunk]) -> Iterator[Sequence[_Chunk]]:
    if len(pending) <= _ALL_SUBSETS:
        for count in range(len(pending) + 1):
            yield from itertools.combinations(pending, count)
    else:
        yield from (pending[:count] for count in range(len(pending) + 1))
        yield from ((*pending[:gap], *pending[gap + 1 :]) for gap in range(len(pending)))
    # The chunk that was being written when the power went may be torn in the middle, alone or after the ones before it.
    for index, (path, offset, chunk) in enumerate(pending):
        for size in (_SECTOR, len(chunk) // 2 // _SECTOR * _SECTOR, len(chunk) - _SECTOR):
            yield [(path, offset, chunk[:size])]
            yield [*pending[:index], (path, offset, chunk[:size])]
