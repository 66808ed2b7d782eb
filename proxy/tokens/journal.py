"""The custody journal: a token answer is on disk before anybody parses it.

One sealed file of slots, written in full before it is used (see `journalfile.py`). A slot has an intent and an answer
in regions of their own: an answer that tears cannot take its intent along. An answer is sealed under the random `use`
number of its intent, so what is left of an older use is never taken for the answer to a newer one.

The lock is a file of its own beside the journal, with the holder's process id in clear. It cannot be the journal
itself: `rekey` puts a new file in its place, and a lock on a replaced file keeps nobody out.
"""

import asyncio
import contextlib
import functools
import heapq
import os
from collections import deque
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NoReturn, Self

from proxy.store import Newer, WrongKey
from proxy.store.files import SYSTEM_FILES, Files
from proxy.store.groupsync import GroupSync
from proxy.store.sealing import Sealer
from proxy.tokens import regions
from proxy.tokens.journalfile import STEP, JournalFile, Record

LIMIT = 16384  # slots at most: 256 MiB


class JournalError(Exception):
    """The journal could not do it. Before a spend: do not spend. After one: keep the answer and try again."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What is about to be spent. `token_hash` is the SHA-256 of the refresh token or code, hex; `wall` is Unix time.

    `issuer` is where it is worth something: broker, environment and way of logging in; empty in journals of old: any.
    `epoch` is the one that the answer's tokens will have (see `quarantine.py`).
    """

    grant: str
    generation: int
    lineage: str
    token_hash: str
    attempt: int
    login: bool
    wall: float
    boot_id: str
    issuer: str = ""
    epoch: int = 0

    def plain(self) -> dict[str, Any]:
        """Its fields by name: `asdict` takes ten times as long, to copy what nobody can change."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the token endpoint said, raw. `received_wall` is Unix time, 0 if the caller did not tell."""

    status: int
    content_type: str
    body: bytes = field(repr=False)
    received_wall: float = 0.0


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in the journal, from `begin` (or a start-up) until `free`. It may move on the disk; this name stays."""

    use: int
    intent: Intent


@dataclass(frozen=True, slots=True)
class Found:
    """A slot in use and what it holds. `answer` is None if none was kept, or if it is torn."""

    slot: Slot
    intent: Intent
    answer: Answer | None


@dataclass(slots=True)
class _Place:
    """Where a slot is now. `mark` is that of its last write; `left` are the places that it had to give up."""

    index: int
    mark: int = 0
    failed: bool = False
    answered: bool = False
    left: list[int] = field(default_factory=list)


@functools.cache
def boot_id() -> str:
    """Names the running boot of the machine; empty where the system has no such thing."""
    try:
        descriptor = os.open("/proc/sys/kernel/random/boot_id", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.pread(descriptor, 64, 0).decode("ascii").strip()
    finally:
        os.close(descriptor)


class Journal:
    """The open journal. One process at a time; every method but `keep` and `found` leaves the event loop free."""

    def __init__(self, file: JournalFile, files: Files, lock: int) -> None:
        """Not for callers: use `open`."""
        self.path = file.path
        # Who shares a store knows this journal by it. Its lock stays where it is; of a copied directory it is another.
        self.holder = f"{file.header.install_id}/{files.identity(lock)}"
        self._file, self._files, self._lock = file, files, lock
        self._found: dict[int, Found] = {}  # by `use`, as `_places`
        self._places: dict[int, _Place] = {}
        self._free: list[int] = []
        self._doubtful: deque[int] = deque()  # places that failed once, or rotted: taken when no other is left
        self._sync = GroupSync(file.sync)
        self._growing, self._heading = asyncio.Lock(), asyncio.Lock()
        self._closed = False
        self._load()

    @classmethod
    async def open(cls, path: Path, sealer: Sealer, *, files: Files = SYSTEM_FILES) -> Self:
        """Open, or make and write in full if there is none, and hold the lock until `close`.

        `StoreLocked` with the holder's process id, `WrongKey`, `Damaged`, `Foreign`, `Newer`, `UnsafeFile`: all name
        the file. `JournalError` if the disk fails.
        """
        return await asyncio.to_thread(cls._open, path, sealer, files)

    @property
    def install_id(self) -> str:
        """Made with the journal: a store that names another one was copied or brought back from elsewhere."""
        return self._file.header.install_id

    @property
    def commit(self) -> int:
        """The highest commit number of the store that was ever told. A store below it was rolled back."""
        return self._file.header.commit

    @property
    def slots(self) -> int:
        """How many slots the file has."""
        return self._file.header.slots

    @property
    def unreadable(self) -> int:
        """Slots whose intent could not be opened when the file was read: torn ones, which never allowed a spend, or
        rotten ones, which may have. They are the last to be used again.
        """
        return len(self._file.unreadable)

    @property
    def slots_in_use(self) -> int:
        return len(self._places)

    @property
    def answered(self) -> int:
        """How many slots hold an answer that nobody has freed."""
        return sum(place.answered for place in self._places.values())

    def found(self) -> list[Found]:
        """Every slot in use: left over when the journal was opened, or begun since. Each stays until it is freed."""
        return list(self._found.values())

    async def begin(self, intent: Intent) -> Slot:
        """Take a slot and make the intent durable. `JournalError`: it is not, and nothing may be spent."""
        if self._closed:
            raise JournalError(f"{self.path}: the journal is closed")
        await self._grow_in_advance()
        slot = Slot(int.from_bytes(os.urandom(7)), intent)
        place = _Place(self._take())
        self._places[slot.use] = place
        try:
            await self._sync.write(lambda: self._file.write_intent(place.index, slot.use, intent.plain()))
        except BaseException as fault:
            # After a cancellation the write may still be under way: that place is not used again.
            del self._places[slot.use]
            if isinstance(fault, OSError | ValueError):
                await self._blank(place.index)
                self._doubtful.append(place.index)
                self._fail("cannot write the intent", fault)
            raise
        self._found[slot.use] = Found(slot, intent, None)
        return slot

    def keep(self, slot: Slot, status: int, content_type: str, body: bytes, wall: float = 0.0) -> None:
        """Write the raw answer, before anybody parses it; from here on it survives a kill. Blocks for one `pwrite`.

        A body beyond 11 KiB is cut. `JournalError` if the disk failed: calling it again takes another place. After
        that, and after a failed `sync`, the intent is written again along with the answer.
        """
        place = self._place(slot)
        answer = Answer(status, regions.short_type(content_type), body[: regions.BODY], wall)
        head = {"status": status, "content_type": answer.content_type, "received_wall": wall}
        moving = place.failed
        if moving:
            fresh = self._take()
            place.left.append(place.index)
            place.index = fresh
        place.failed, place.mark = True, self._sync.mark()
        try:
            if moving:
                self._file.write_both(Record(place.index, slot.use, slot.intent.plain(), (head, answer.body)))
            else:
                self._file.write_answer(place.index, slot.use, head, answer.body)
        except OSError as fault:
            self._fail("cannot keep the answer", fault)
        place.failed, place.answered = False, True
        self._found[slot.use] = Found(slot, slot.intent, answer)

    async def sync(self, slot: Slot) -> None:
        """Return when what `keep` wrote survives a power loss. `JournalError`: call `keep` again, then this."""
        place = self._place(slot)
        if place.failed:
            raise JournalError(f"{self.path}: the answer is not written")
        try:
            await self._sync.until(place.mark)
        except OSError as fault:
            place.failed = True
            self._fail("cannot sync the answer", fault)

    async def free(self, slot: Slot) -> None:
        """Give the slot back. Not durable at once, and need not be: what comes back is settled at the next start."""
        place = self._places.pop(slot.use, None)
        if place is None:
            return
        self._found.pop(slot.use, None)
        for index in (*place.left, place.index):
            blank = await self._blank(index)
            if blank and not place.failed and index == place.index:
                heapq.heappush(self._free, index)
            else:
                self._doubtful.append(index)

    async def raise_commit(self, number: int) -> None:
        """Remember the store's commit number, durably. Call it after the commit: the store must never seem behind."""
        async with self._heading:
            if number > self._file.header.commit:
                await self._write_header(commit=number)

    async def set_commit(self, number: int) -> None:
        """Remember `number` even if it is lower, durably: for a store that is known to be an older one, once that it
        is so stands where no restart forgets it.
        """
        async with self._heading:
            if number != self._file.header.commit:
                await self._write_header(commit=number)

    async def reseal(self, sealer: Sealer) -> None:
        """Replace the file by one that holds the same under another key: old or new, never a mixture.

        Nothing else may be under way. `JournalError`: it is still the old one.
        """
        async with self._growing, self._heading:
            try:
                await asyncio.to_thread(self._file.reseal, sealer)
            except OSError as fault:
                self._fail("cannot be sealed again", fault)

    async def close(self) -> None:
        """Wait for the sync that runs, close and give up the lock."""
        if not self._closed:
            self._closed = True
            await self._sync.close()
            await asyncio.to_thread(self._file.close)
            self._files.close(self._lock)

    # -- opening ------------------------------------------------------------------------------------------------------

    @classmethod
    def _open(cls, path: Path, sealer: Sealer, files: Files) -> Self:
        boot_id()
        with contextlib.ExitStack() as undo:
            try:
                lock = files.lock(path.with_name(path.name + ".lock"))
                undo.callback(files.close, lock)
                file = JournalFile.open(path, sealer, files, os.urandom(16).hex())
                undo.callback(file.close)
                journal = cls(file, files, lock)
            except OSError as fault:
                raise JournalError(f"{path}: cannot be opened: {fault.strerror}") from fault
            except TypeError:
                raise Newer(f"{path} was written by a newer bearerd: a slot says more than this one knows") from None
            undo.pop_all()
        return journal

    def _load(self) -> None:
        for record in self._file.read():
            slot = Slot(record.use, Intent(**record.intent))
            answer = None if record.answer is None else Answer(**record.answer[0], body=record.answer[1])
            item, twin = Found(slot, slot.intent, answer), self._places.get(record.use)
            if twin is None:
                self._places[record.use] = _Place(record.index, answered=answer is not None)
                self._found[record.use] = item
            elif answer is None:
                twin.left.append(record.index)
            else:
                # It moved to another place because the disk failed: the copy with the answer counts.
                self._places[record.use] = _Place(record.index, answered=True, left=[*twin.left, twin.index])
                self._found[record.use] = item
        self._doubtful.extend(self._file.unreadable)
        taken = {index for place in self._places.values() for index in (place.index, *place.left)} | {*self._doubtful}
        self._free = [index for index in range(self.slots) if index not in taken]

    # -- places -------------------------------------------------------------------------------------------------------

    async def _blank(self, index: int) -> bool:
        """Wipe the intent there; whether that worked."""
        with contextlib.suppress(OSError):
            await self._sync.soon(lambda: self._file.blank(index))
            return True
        return False

    async def _write_header(self, *, commit: int | None = None, slots: int | None = None) -> None:
        before = self._file.header
        header = replace(
            before,
            commit=before.commit if commit is None else commit,
            slots=before.slots if slots is None else slots,
            sequence=before.sequence + 1,
        )
        mark = self._sync.mark()
        try:
            await asyncio.to_thread(self._file.write_header, header)
            await self._sync.until(mark)
        except OSError as fault:
            self._fail("cannot write the header", fault)
        self._file.header = header

    async def _grow_in_advance(self) -> None:
        """Add slots when half are taken. A full disk is no failure as long as there are free ones."""
        if not self._half_taken():
            return
        async with self._growing:
            before = self.slots
            if not self._half_taken() or before >= LIMIT:
                return
            mark = self._sync.mark()
            with contextlib.suppress(OSError, JournalError):
                await asyncio.to_thread(self._file.extend)
                await self._sync.until(mark)
                async with self._heading:
                    await self._write_header(slots=before + STEP)
                for index in range(before, before + STEP):
                    heapq.heappush(self._free, index)

    def _half_taken(self) -> bool:
        return 2 * len(self._free) <= self.slots

    def _take(self) -> int:
        if self._free:
            return heapq.heappop(self._free)
        if self._doubtful:
            return self._doubtful.popleft()
        raise JournalError(f"{self.path}: all {self.slots} slots are in use")

    def _place(self, slot: Slot) -> _Place:
        try:
            return self._places[slot.use]
        except KeyError:
            raise JournalError(f"{self.path}: this slot was given back") from None

    def _fail(self, what: str, fault: Exception) -> NoReturn:
        reason = fault.strerror if isinstance(fault, OSError) else str(fault)
        raise JournalError(f"{self.path}: {what}: {reason}") from fault


async def reseal(path: Path, old: Sealer, new: Sealer, *, files: Files = SYSTEM_FILES) -> None:
    """Finish an interrupted `rekey`: put the journal under the new key, if there is one and it is under the old.

    Raises what `Journal.open` raises.
    """
    if not await asyncio.to_thread(path.exists):
        return
    try:
        journal = await Journal.open(path, old, files=files)
    except WrongKey:
        journal = await Journal.open(path, new, files=files)
    else:
        await journal.reseal(new)
    await journal.close()
