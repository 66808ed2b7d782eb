"""The trail of one server: records are chained as they come, and a thread gets them onto the disk, many with one sync.

    state directory/audit/ID/000000000001.jsonl     ID names the install and the trail's secret

The secret is random and rests sealed in the store (`audit/key`), so that a change of the master key leaves the chain as
it is. How far the trail goes is noted there too (`audit/end/ID`): a cut end is missed by that.
"""

import asyncio
import contextlib
import errno
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy import __version__, logs
from proxy.audit import retention
from proxy.audit.chain import Chain, Keys, members, split
from proxy.audit.kept import EndNote, make_secret
from proxy.audit.trailfile import FORMAT, Found, Mark, TrailFile, recover
from proxy.clock import Clock, SystemClock
from proxy.store import StoreError
from proxy.store.files import SYSTEM_FILES, Files
from proxy.store.groupsync import GroupSync
from proxy.store.vault import Vault

KEEP_DAYS = 400
ROOM = 8 << 20  # bytes of records that wait for the disk; what comes when they are full is only counted
PATIENCE = 5.0  # seconds for the disk to take what waits; then it counts as failing
LARGEST = 16 << 20  # bytes of a file, a little more at most
FLUSH = 0.5  # seconds between looks whether something waits
MARK_SOON, MARK_LATE = 1.0, 10.0  # seconds until the end is noted in the store: after an order or act, after a read
CLOSING = 3.0  # seconds that the last record may take when we stop
DAY = 86_400
SOON = frozenset({"intent", "outcome", "act"})
DONE = frozenset({"outcome", "act"})  # what has happened already: has as much room again
TOGETHER = 32  # reads that are chained at a time, which holds the event loop for some 50 µs
_AROUND = 128  # bytes of a line around what is told of a call
SLOW = "the disk does not answer"

log = logs.get("audit")


@dataclass(frozen=True, slots=True)
class Standing:
    """How a trail stands. `fault` is what hinders it, empty if nothing does, `since` (Unix) for how long.

    `written` and `lost` are records since the start, `waiting` bytes that are not on the disk yet.
    """

    written: int
    lost: int
    waiting: int
    fault: str
    since: float


_Entry = tuple[int, bytes, int]  # the file that they belong to, the lines, the number of the last one


class Trail:
    """`open()`, then `put()` and `durable()`, and `run()` beside them; `close()`. One process at a time.

    Whoever opens one holds the lock of the state directory. `install` names this server's state directory. A file ends
    with the day (UTC), or once it is `largest` bytes long. At most `room` bytes of records wait for the disk, and as
    many again of outcomes and acts. A disk that takes longer than `patience` seconds counts as failing.
    """

    def __init__(
        self,
        directory: Path,
        vault: Vault,
        install: str,
        *,
        keep_days: int = KEEP_DAYS,
        largest: int = LARGEST,
        room: int = ROOM,
        patience: float = PATIENCE,
        clock: Clock | None = None,
        files: Files = SYSTEM_FILES,
    ) -> None:
        self.keep_days = keep_days
        self._root, self._largest, self._room, self._patience = directory, largest, room, patience
        self._vault, self._install, self._files = vault, install, files
        self._clock = clock or SystemClock()
        self._keys: Keys | None = None
        self._chain: Chain | None = None
        self._opening = asyncio.Lock()
        self._sync = GroupSync(self._save)
        self._queue: deque[_Entry] = deque()  # filled by the event loop, emptied by the thread
        self._unsaved: list[_Entry] = []  # the thread's alone
        self._reads: list[tuple[float, str]] = []  # told of by `note`, not yet in the chain
        self._reads_bytes = 0  # what they will take, more or less
        self._put_bytes = self._saved_bytes = 0
        self._saved_seq = 0
        self._saved: Mark | None = None  # the newest that is durable
        self._ended: EndNote | None = None
        self._soon = 0  # the number of the last order or act
        self._unmarked = 0  # looks since the end was noted
        self._file_at = _FileAt(0, 0, 0)
        self._written = self._lost = self._lost_before = 0
        self._fault, self._since = "", 0.0
        self._looked = 0.0  # wall time at which the clock was last found to be plausible
        self._closed = False

    # -- life ---------------------------------------------------------------------------------------------------------

    @property
    def directory(self) -> Path:
        """Where the files are. Known once it is open."""
        return self._root / self.keys.id

    @property
    def keys(self) -> Keys:
        """What it is chained with. Known once it is open."""
        if self._keys is None:
            raise RuntimeError("the trail is not open")
        return self._keys

    @property
    def is_open(self) -> bool:
        """Whether records can be put."""
        return self._chain is not None

    async def open(self) -> None:
        """Find the end, or begin. A second call does nothing. `StoreError`, `UnsafeFile`; `OSError` of the disk."""
        async with self._opening:
            if self.is_open:
                return
            self._keys = keys = Keys(await make_secret(self._vault), self._install)
            self._ended = EndNote(self._vault, keys.id)
            mark = await self._ended.read()
            found = await asyncio.to_thread(recover, self._files, self.directory, keys, mark)
            self._go_on(found)
            self._looked = max(found.time, mark.time if mark else 0.0) or self._clock.now().wall

    def _go_on(self, found: Found) -> None:
        self._chain = Chain(self.keys, found.end)
        self._saved_seq = found.end.seq
        self._file_at = _FileAt(found.file, found.size, int(found.time // DAY))
        self._file = TrailFile(self.directory, self._files, found.file, found.size)
        wrong = dict(found.wrong or {})
        if wrong.keys() & {"lost", "damaged"}:
            log.error("the audit trail is not as it was left: bearerd audit verify", trail=str(self.directory), **wrong)
        if not found.file:
            self._begin_file(self._clock.now().wall, wrong)

    async def run(self) -> None:
        """Bring to the disk what waits, note the end, and remove what is old: for as long as the server runs."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_every(FLUSH, self._flush))
            group.create_task(_every(MARK_SOON, self._mark_in_time))
            group.create_task(_every(retention.EVERY, self.retire))

    def note_end_in(self, vault: Vault | None) -> None:
        """From now on the end is noted in this vault, of the same store: its master key changes. None: nowhere."""
        if self._ended is not None:
            self._ended.vault = vault

    async def close(self) -> None:
        """Write what waits, note the end. Never raises for a disk or store that fails. Harmless twice."""
        if self._closed:
            return
        self._closed = True
        if self.is_open:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CLOSING):
                    await self.durable()
                    if self.standing.waiting:  # what was said of a gap
                        await self.durable()
            with contextlib.suppress(StoreError, TimeoutError):
                async with asyncio.timeout(CLOSING):
                    await self._mark()
        await self._sync.close()
        if self.is_open:
            await asyncio.to_thread(self._file.close)

    # -- records ------------------------------------------------------------------------------------------------------

    def put(self, kind: str, text: str) -> int:
        """Add a record, and return its number: 0 if so much waits for the disk that it can only be counted.

        `text` are the members of a JSON object, without its braces.
        """
        chain = self._chain
        if chain is None:
            raise RuntimeError("the trail is not open")
        self._chain_reads()
        # The calls of one client must not take the room of what became of an order, or of an operator's halt.
        if self._put_bytes - self._saved_bytes > self._room * (1 + (kind in DONE)):
            self._lost += 1
            return 0
        wall = self._clock.now().wall
        if self._lost > self._lost_before and not self._fault:
            self._gap(wall, wall, "records came faster than the disk took them")
        self._turn_page(wall)
        self._add(wall, kind, text)
        if kind in SOON:
            self._soon = chain.seq
        return chain.seq

    def note(self, text: str, wall: float | None = None) -> None:
        """`put` a call of which nobody waits to hear that it is on the disk: chained with others, it costs half.

        `wall`: Unix time, if it is known.
        """
        waiting = self._put_bytes - self._saved_bytes + self._reads_bytes
        if self._chain is None or self._lost > self._lost_before or waiting > self._room:
            self.put("call", text)
            return
        self._reads.append((self._clock.now().wall if wall is None else wall, text))
        self._reads_bytes += len(text) + _AROUND
        self._written += 1
        if len(self._reads) >= TOGETHER:
            self._chain_reads()

    def _chain_reads(self) -> None:
        """What was noted takes its place, before anything that came later."""
        reads, self._reads = self._reads, []
        if not reads:
            return
        size, self._reads_bytes = self._reads_bytes, 0
        file = self._file_at
        if file.size + size < self._largest and max(reads[0][0], reads[-1][0]) // DAY <= file.day:
            self._chained([f'"time":{wall:.3f},"kind":"call",{text}' for wall, text in reads])
            return
        for wall, text in reads:
            self._turn_page(wall)
            self._chained([f'"time":{wall:.3f},"kind":"call",{text}'])

    async def durable(self) -> None:
        """Return when every record until now is on the disk. `OSError` if it can't be; then each call tries again."""
        self._chain_reads()
        seq = self._chain.seq if self._chain else 0
        fault: OSError | None = None
        try:
            await self._sync.until(self._sync.mark())
        except OSError as error:
            fault = error
        if self._saved_seq >= seq:  # a later sync may have brought home what an earlier one could not
            self._works()
            return
        fault = fault or OSError("the records are not on the disk")
        self._fails(fault.strerror or str(fault))
        raise fault

    @property
    def standing(self) -> Standing:
        """How it stands."""
        waiting = self._put_bytes - self._saved_bytes + self._reads_bytes
        return Standing(self._written, self._lost, waiting, self._fault, self._since)

    def stuck(self, reason: str) -> None:
        """Somebody has waited in vain for `durable`."""
        self._fails(reason)

    def _add(self, wall: float, kind: str, text: str) -> None:
        self._written += 1
        self._chained([f'"time":{wall:.3f},"kind":"{kind}",{text}'])

    def _chained(self, records: list[str]) -> None:
        chain, file = self._chain, self._file_at
        assert chain is not None  # noqa: S101  for the type checker
        lines = chain.add(*records)
        file.size += len(lines)
        self._put_bytes += len(lines)
        self._queue.append((file.first, lines, chain.seq))

    def _turn_page(self, wall: float) -> None:
        if self._file_at.size >= self._largest or wall // DAY > self._file_at.day:
            self._begin_file(wall, {})

    def _begin_file(self, wall: float, wrong: dict[str, Any]) -> None:
        """The first record of a file tells what a reader of this file alone has to know."""
        chain = self._chain
        assert chain is not None  # noqa: S101  for the type checker
        self._file_at = _FileAt(chain.seq + 1, 0, int(wall // DAY))
        before = {"format": FORMAT, "after": chain.link, "install": self._install, "version": __version__}
        self._add(wall, "opened", members({**before, **wrong}))

    def _gap(self, wall: float, since: float, reason: str) -> None:
        """Say what is missing, or came late."""
        lost, self._lost_before = self._lost - self._lost_before, self._lost
        self._add(wall, "gap", members({"since": round(since, 3), "lost": lost, "reason": reason}))

    # -- the disk -----------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        """In the thread: write all that waits, and sync. `OSError`: it still waits, and the next call tries again."""
        while self._queue:
            self._unsaved.append(self._queue.popleft())
        while self._unsaved:
            first = self._unsaved[0][0]
            batch = [entry for entry in self._unsaved if entry[0] == first]
            data = b"".join(lines for _, lines, _ in batch)
            try:
                self._file.append(first, data)
            except StoreError as error:  # somebody has made the file unsafe
                raise OSError(errno.EACCES, str(error)) from None
            del self._unsaved[: len(batch)]
            _, lines, seq = batch[-1]
            self._saved_bytes += len(data)
            self._saved = Mark(seq, split(lines[:-1])[1], first, self._file.size)
            self._saved_seq = seq

    def _fails(self, reason: str) -> None:
        if not self._fault:
            self._since = self._clock.now().wall
            log.error("the audit trail can't be written: calls that change something are refused", reason=reason)
        self._fault = reason

    def _works(self) -> None:
        if self._fault:
            self._chain_reads()
            log.warning("the audit trail is written again", reason=self._fault, lost=self._lost - self._lost_before)
            reason, self._fault = self._fault, ""
            self._gap(self._clock.now().wall, self._since, reason)

    async def _flush(self) -> None:
        if self._fault or self._reads or self._put_bytes > self._saved_bytes:
            try:
                async with asyncio.timeout(self._patience):
                    await self.durable()
            except TimeoutError:  # told now: no order need wait for it, and no login pass unrecorded
                self.stuck(SLOW)

    # -- the end, noted in the store ----------------------------------------------------------------------------------

    async def _mark_in_time(self) -> None:
        self._unmarked += 1
        if self._unmarked * MARK_SOON >= MARK_LATE or (self._ended is not None and self._soon > self._ended.seq):
            self._unmarked = 0
            await self._mark()

    async def _mark(self) -> None:
        """Note how far the trail goes. `StoreError`."""
        if self._saved is not None and self._ended is not None:
            await self._ended.note(self._saved, self._clock.now().wall)

    # -- what is old --------------------------------------------------------------------------------------------------

    async def retire(self) -> None:
        """Remove files of which every record is older than `keep_days`, and leave a record of that. `OSError`."""
        wall = self._clock.now().wall
        looked, self._looked = self._looked, wall
        if abs(wall - looked) > retention.JUMP:
            days = round((wall - looked) / DAY)
            log.warning("the clock has jumped; no old file of the audit trail is removed yet", days=days)
            return
        old = await asyncio.to_thread(retention.old, self._files, self.directory, wall - self.keep_days * DAY)
        if old is None:
            return
        if not self.put("retired", members({"until": old.until, "last": old.link, "files": list(old.names)})):
            return
        await self.durable()  # only then: files that are gone without a word are missed by `verify`
        await asyncio.to_thread(retention.remove, self._files, self.directory, old)


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do it now and after each pause, whatever comes of it: what hinders a disk or store is told where it is met."""
    while True:
        try:
            await work()
        except (OSError, StoreError):
            pass
        except Exception as error:  # noqa: BLE001  a trail that is no longer written would stop every order
            log.error("the audit trail met a fault of ours", error=type(error).__name__)
        await asyncio.sleep(seconds)


@dataclass(slots=True)
class _FileAt:
    """The file that records go into now, as the event loop sees it: number of its first record, bytes, day (UTC)."""

    first: int
    size: int
    day: int
