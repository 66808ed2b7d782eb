"""What is left when the power goes in the middle of a rotation: every moment, and every disk that it may leave.

A `Witness` notes a `Cut` after each file operation, each move of the store and each step of the broker. A cut knows
the disk as it is by then, and `left_by` walks through everything that a power loss may make of it.
"""

import asyncio
import itertools
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from proxy.store.disk import MemoryDisk
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault
from proxy.tokens.book import Book
from proxy.tokens.oauth import RawAnswer
from tests.tokens.support import Home, ScriptedBroker, VirtualLoop

T = TypeVar("T")

CHUNK, SECTOR = 4096, 512
WHOLE = 0xFF  # all eight sectors of a chunk
EVERY = tuple(range(1, WHOLE))  # each way to tear it
EDGES = tuple((1 << size) - 1 for size in range(1, 8)) + tuple(WHOLE & ~((1 << size) - 1) for size in range(1, 8))

Chunk = tuple[Path, int, bytes]


def in_virtual_time(work: Coroutine[None, None, T], *, start: float = 0.0) -> T:
    """Run `work` on a loop of its own, whose time begins at `start`."""
    loop = VirtualLoop()
    loop.jump(start)
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@dataclass(frozen=True, slots=True)
class Cut:
    """One moment: what is durable, what is not yet, and what has been promised or done by then.

    `issued` and `posted` are the broker's; `served` is the newest generation that was handed out, `told` the commit
    number that the journal has promised to remember, for each grant.
    """

    name: str
    time: float
    durable: Mapping[Path, bytes]
    pending: Sequence[Chunk]
    store: MemoryStore
    issued: Mapping[str, int]
    posted: Mapping[str, Sequence[str]]
    served: Mapping[str, int]
    told: int


@dataclass
class Witness:
    """Notes cuts while it `watches`. `look` adds what the disk cannot know."""

    look: Callable[[str], None] = field(default=lambda _name: None)
    cuts: list[Cut] = field(default_factory=list)
    watches: bool = False
    turn: Any = field(default_factory=threading.RLock)  # disks are written in threads

    def saw(self, name: str) -> None:
        if self.watches:
            self.look(name)


class WatchedDisk(MemoryDisk):
    """A disk that tells of each operation once it is done. Drafts are left out: nobody reads one that has no name."""

    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self._witness = witness

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        with self._witness.turn:
            taken = super().pwrite(descriptor, data, offset)
            self._witness.saw(f"pwrite {len(data)} at {offset}")
        return taken

    def datasync(self, descriptor: int) -> None:
        with self._witness.turn:
            super().datasync(descriptor)
            self._witness.saw("datasync")

    def replace(self, source: Path, target: Path) -> None:
        with self._witness.turn:
            self._witness.saw("before replace")
            super().replace(source, target)
            self._witness.saw("replace")

    def seen(self) -> tuple[dict[Path, bytes], list[Chunk]]:
        """What is durable now, and the chunks that may or may not get there, oldest first."""
        named = {path: content for path, content in self._files.items() if not path.name.endswith(".draft")}
        pending = [
            (path, start, data[start - offset : start - offset + CHUNK])
            for path, content in named.items()
            for offset, data in content.pending
            for start in range(offset, offset + len(data), CHUNK)
        ]
        return {path: bytes(content.durable) for path, content in named.items()}, pending


class WatchedStore(MemoryStore):
    """A store whose commits are atomic and durable: the power goes before one or after it."""

    witness: Witness

    async def swap(self, name: str, *, expected: int, sealed: bytes | None) -> int | None:
        self.witness.saw(f"before the commit of {name}")
        number = await super().swap(name, expected=expected, sealed=sealed)
        self.witness.saw(f"commit of {name}")
        return number


class WatchedBroker(ScriptedBroker):
    """Keeps what it sent, and tells when a post has arrived and when its token is spent."""

    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self.witness = witness
        self.sent: set[bytes] = set()

    async def _perform(self, posted: str) -> RawAnswer:
        self.witness.saw("a post on its way")
        raw = await super()._perform(posted)
        self.sent.add(raw.body)
        return raw

    def spend(self, posted: str) -> bool:
        spent = super().spend(posted)
        self.witness.saw("a token spent")
        return spent


# -- what may be left -------------------------------------------------------------------------------------------------


def left_by(cut: Cut, tears: Sequence[int], torn: int) -> Iterator[MemoryDisk]:
    """Every disk: each chunk kept or dropped, in every combination, and up to `torn` of them torn in each of `tears`.

    A chunk of zeros beyond the end of a file only makes it longer, so that of those only the last one counts.
    """
    plain, longer = _split(cut)
    for length, masks in itertools.product(range(len(longer) + 1), _masks(len(plain), tears, torn)):
        yield _disk(cut, [(chunk, WHOLE) for chunk in longer[:length]] + list(zip(plain, masks, strict=True)))


def _split(cut: Cut) -> tuple[list[Chunk], list[Chunk]]:
    plain: list[Chunk] = []
    longer: list[Chunk] = []
    for chunk in cut.pending:
        path, offset, data = chunk
        grows = not any(data) and offset >= len(cut.durable.get(path, b""))
        (longer if grows else plain).append(chunk)
    return plain, longer


def _masks(count: int, tears: Sequence[int], torn: int) -> Iterator[tuple[int, ...]]:
    for broken in itertools.chain.from_iterable(itertools.combinations(range(count), k) for k in range(torn + 1)):
        choices = (tears if index in broken else (0, WHOLE) for index in range(count))
        yield from itertools.product(*choices)


def _disk(cut: Cut, kept: Sequence[tuple[Chunk, int]]) -> MemoryDisk:
    contents = {path: bytearray(data) for path, data in cut.durable.items()}
    for (path, offset, data), mask in kept:
        content = contents.setdefault(path, bytearray())
        for index in range(0, len(data), SECTOR):
            if mask >> index // SECTOR & 1:
                end = offset + index
                content.extend(bytes(max(0, end - len(content))))
                content[end : end + SECTOR] = data[index : index + SECTOR]
    return MemoryDisk()._copy({path: bytes(data) for path, data in contents.items()})


# -- who lives there --------------------------------------------------------------------------------------------------

KEY = bytes(range(32))


class Scene:
    """Some grants, logged in, on one watched journal and one watched store."""

    def __init__(self, names: Sequence[str]) -> None:
        self.witness = Witness(self._look)
        self.store = WatchedStore()
        self.store.witness = self.witness
        self.disk = WatchedDisk(self.witness)
        self.brokers = {name: WatchedBroker(self.witness) for name in names}
        self.homes = settle_in(names, self.store, self.disk, self.brokers)
        self.told = 0

    async def open(self) -> None:
        """Every grant logged in; from here on it is watched."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self._loop = loop
        for home in self.homes:
            await move_in(home, self.homes[0])
            await home.log_in()
        self.witness.watches = True

    async def tell(self) -> None:
        """Let the journal remember the store's commit number, as the server does."""
        number = await self.store.changes()
        with self._loop.standing_still():
            await self.homes[0].journal.raise_commit(number)
        self.told = number

    async def close(self) -> list[Cut]:
        self.witness.saw("the end")
        self.witness.watches = False
        for home in self.homes:
            await home.keeper.close()
        await self.homes[0].journal.close()
        return self.witness.cuts

    def _look(self, name: str) -> None:
        durable, pending = self.disk.seen()
        cut = Cut(
            name,
            self._loop.time(),
            durable,
            pending,
            self.store.reopened(),
            issued={name: broker.issued for name, broker in self.brokers.items()},
            posted={name: tuple(token for _, token in broker.posts) for name, broker in self.brokers.items()},
            served={home.name: home.keeper._held.grant.generation for home in self.homes},
            told=self.told,
        )
        self.witness.cuts.append(cut)


def settle_in(
    names: Sequence[str], store: MemoryStore, disk: MemoryDisk, brokers: Mapping[str, ScriptedBroker]
) -> list[Home]:
    """One home for each grant; they share store and disk."""
    homes = []
    for name in names:
        home = Home()
        home.name, home.store, home.disk, home.endpoint = name, store, disk, brokers[name]
        home.sealer = Sealer(KEY, store.store_id)
        home.vault = Vault(store, home.sealer)
        home.book = Book(name, home.vault)
        homes.append(home)
    return homes


async def move_in(home: Home, first: Home) -> None:
    """Start one; the `first` brings the journal."""
    if home is first:
        await home.open()
    else:
        home.journal = first.journal
        await home.take_up()
