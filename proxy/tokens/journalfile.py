"""The journal's file: where header and slots lie, and how they are read and written. Everything here blocks.

Sixteen KiB for two copies of the header, written in turns; then slots of 16 KiB, intent and answer. Only slots that
the header counts are used: they are written in full, so that writing to one again needs no new space.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from proxy.store import Damaged, Newer, StoreError
from proxy.store.files import Files, write_all
from proxy.store.sealing import Sealer
from proxy.tokens import regions
from proxy.tokens.regions import Header

SLOT = regions.INTENT + regions.ANSWER
STEP = 64  # slots that are added at a time
START = 16384  # where the slots begin


@dataclass(frozen=True, slots=True)
class Record:
    """A slot as it was read: `answer` is head and body, or None if there is no whole one."""

    index: int
    use: int
    intent: dict[str, Any]
    answer: tuple[dict[str, Any], bytes] | None = field(repr=False)


class JournalFile:
    """An open file with a sound header. Methods raise `OSError`; a short write is completed, not an error."""

    def __init__(self, path: Path, sealer: Sealer, files: Files, descriptor: int, header: Header) -> None:
        self.path, self.header = path, header
        self.unreadable: list[int] = []  # slots whose intent cannot be opened: torn ones never allowed a spend
        self._sealer, self._files, self._descriptor = sealer, files, descriptor

    @classmethod
    def open(cls, path: Path, sealer: Sealer, files: Files, install_id: str) -> Self:
        """Open, or make one that names `install_id`. `WrongKey`, `Damaged`, `Foreign` and `Newer` name the file."""
        try:
            descriptor = files.open(path)
        except FileNotFoundError:
            header = Header(install_id, 0, STEP)
            return cls(path, sealer, files, _create(path, sealer, files, header), header)
        try:
            header = _read_header(path, sealer, files, descriptor)
        except BaseException:
            files.close(descriptor)
            raise
        return cls(path, sealer, files, descriptor, header)

    def read(self) -> Iterator[Record]:
        """Every slot that holds an intent. `Newer` if a later bearerd has written one."""
        self.unreadable = []
        for index in range(self.header.slots):
            region = self._files.pread(self._descriptor, SLOT, START + index * SLOT)
            try:
                intent = regions.unseal_intent(self._sealer, index, region[: regions.INTENT])
            except Newer as fault:
                raise Newer(f"{self.path}: {fault}") from None
            if intent is None:
                if region[: regions.INTENT].strip(b"\0"):
                    self.unreadable.append(index)
                continue
            use, value = intent
            yield Record(index, use, value, regions.unseal_answer(self._sealer, index, use, region[regions.INTENT :]))

    def write_intent(self, index: int, use: int, value: dict[str, Any]) -> None:
        """`ValueError` if `value` is too long."""
        self._write(regions.seal_intent(self._sealer, index, use, value), START + index * SLOT)

    def write_answer(self, index: int, use: int, head: dict[str, Any], body: bytes) -> None:
        sealed = regions.seal_answer(self._sealer, index, use, head, body)
        self._write(sealed, START + index * SLOT + regions.INTENT)

    def write_both(self, record: Record) -> None:
        """Intent and answer in one go: for an answer that has to move to another slot."""
        self._write(_image(self._sealer, record), START + record.index * SLOT)

    def blank(self, index: int) -> None:
        """Wipe the intent, and only that.

        The answer cannot be opened without it, and a half-done wipe of both could leave an intent that seems to have
        lost its answer.
        """
        self._write(bytes(regions.INTENT), START + index * SLOT)

    def extend(self) -> None:
        """Write `STEP` more slots in full. They count once a header that is written after a sync says so."""
        self._write(bytes(STEP * SLOT), START + self.header.slots * SLOT)

    def write_header(self, header: Header) -> None:
        """Into the older copy. If it fails, the next try goes to the same copy: the other one stays sound."""
        self._write(regions.seal_header(self._sealer, header), header.sequence % 2 * regions.HEADER)

    def sync(self) -> None:
        self._files.datasync(self._descriptor)

    def reseal(self, sealer: Sealer) -> None:
        """Put a new file with the same contents under another key in the place of this one, durably."""
        records = list(self.read())
        header = replace(self.header, sequence=self.header.sequence + 1)
        contents = ((START + record.index * SLOT, _image(sealer, record)) for record in records)
        old, self._descriptor = self._descriptor, _create(self.path, sealer, self._files, header, contents)
        self._sealer, self.header = sealer, header
        self._files.close(old)

    def close(self) -> None:
        self._files.close(self._descriptor)

    def _write(self, data: bytes, offset: int) -> None:
        write_all(self._files, self._descriptor, data, offset)


def _image(sealer: Sealer, record: Record) -> bytes:
    intent = regions.seal_intent(sealer, record.index, record.use, record.intent)
    if record.answer is None:
        return intent
    return intent + regions.seal_answer(sealer, record.index, record.use, *record.answer)


def _create(
    path: Path, sealer: Sealer, files: Files, header: Header, contents: Iterable[tuple[int, bytes]] = ()
) -> int:
    """A whole new file, durable before it takes the name `path`; its descriptor."""
    draft = path.with_name(path.name + ".draft")
    descriptor = files.create(draft)
    copies = ((copy * regions.HEADER, regions.seal_header(sealer, header)) for copy in (0, 1))
    try:
        write_all(files, descriptor, bytes(START), 0)
        for index in range(0, header.slots, STEP):
            write_all(files, descriptor, bytes(STEP * SLOT), START + index * SLOT)
        for offset, data in (*contents, *copies):
            write_all(files, descriptor, data, offset)
        files.datasync(descriptor)
        files.replace(draft, path)
    except BaseException:
        files.close(descriptor)
        raise
    return descriptor


def _read_header(path: Path, sealer: Sealer, files: Files, descriptor: int) -> Header:
    headers: list[Header] = []
    faults: list[StoreError] = []
    for copy in (0, 1):
        try:
            region = files.pread(descriptor, regions.HEADER, copy * regions.HEADER)
            headers.append(regions.unseal_header(sealer, region))
        except Newer as fault:  # the other copy may be of before: what stands in the slots is not for us
            raise Newer(f"{path}: {fault}") from None
        except StoreError as fault:
            faults.append(fault)
    if headers:
        header = max(headers, key=lambda header: header.sequence)
        if files.size(descriptor) < START + header.slots * SLOT:
            raise Damaged(f"{path}: the file is shorter than its header says")
        return header
    # Of two faults a wrong key, or another store, explains both and says what to do.
    worst = next((fault for fault in faults if type(fault) is not Damaged), faults[0])
    raise type(worst)(f"{path}: {worst}")
