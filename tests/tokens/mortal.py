"""Processes that share one broker and one store, each with a disk of its own, and all of them mortal.

Everything that the world can see of a process goes through its `Fuse`: a write, a call of the store, a byte sent. The
fuse may end it right before any of them, and what it does after that reaches nobody. Nothing runs in threads, so that
the same steps always lead to the same end.
"""

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from proxy.clock import Now
from proxy.errors import Refusal
from proxy.outbound import Lost, NotSent
from proxy.secret import Secret
from proxy.store import StoreError
from proxy.store.disk import MemoryDisk
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault
from proxy.tokens.book import Book
from proxy.tokens.errands import LoginFailed
from proxy.tokens.grant import Grant
from proxy.tokens.journal import Found, Journal, JournalError
from proxy.tokens.keeper import Keeper
from proxy.tokens.oauth import RawAnswer, Refresh, Wish
from tests.tokens.bank import Bank, Mishap, Post
from tests.tokens.support import BOOT, JOURNAL, LIVE, PASTED, QUESTRADE, WALL, VirtualLoop

T = TypeVar("T")

KEY = bytes(range(32))
GRANT = "questrade"
TIMEOUT = 30.0


class InlineLoop(VirtualLoop):
    """What is meant for a thread is done at once."""

    def run_in_executor(  # type: ignore[override]  # its own type needs a newer Python
        self, _executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as fault:  # noqa: BLE001  it goes to whoever waits
            future.set_exception(fault)
        return future


class Killed(Exception):
    """The process is gone; nobody will read this."""


class Fuse:
    """Ends a process right before something that others could see: `left` more such things may happen."""

    def __init__(self, end: Callable[[], None]) -> None:
        self.left: int | None = None
        self.dead = False
        self._end = end

    def point(self) -> None:
        if self.left is not None and not self.dead:
            self.left -= 1
            if self.left < 0:
                self.blow()
        if self.dead:
            raise Killed

    def blow(self) -> None:
        if not self.dead:
            self.dead = True
            self._end()


class MortalDisk(MemoryDisk):
    """Takes nothing from a dead process. A kill keeps what was written, so that syncs do not matter here."""

    fuse: Fuse

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        self._point()
        return super().pwrite(descriptor, data, offset)

    def datasync(self, descriptor: int) -> None:
        self._point()
        self._turn("datasync")
        self._open[descriptor].pending.clear()

    def _point(self) -> None:
        try:
            self.fuse.point()
        except Killed:
            raise OSError(errno.EIO, "the process is dead") from None

    def left_behind(self) -> "MortalDisk":
        """What the next process finds."""
        other = MortalDisk()
        other._files = self.after_kill()._files
        return other


class MortalStore(MemoryStore):
    """A handle on a store; a dead process cannot use it."""

    fuse: Fuse

    @classmethod
    def of(cls, store: MemoryStore, fuse: Fuse) -> "MortalStore":
        handle = cls(shared=store.shared, now=store._now)
        handle.store_id, handle.place, handle.key_id = store.store_id, store.place, store.key_id
        handle._contents, handle.fuse = store._contents, fuse
        return handle

    def _check(self) -> None:
        try:
            self.fuse.point()
        except Killed:
            raise StoreError("the process is dead") from None
        super()._check()


class Window:
    """The token endpoint as one process sees it."""

    def __init__(self, bank: Bank, process: "Process") -> None:
        self.bank, self.process = bank, process

    async def ask(self, wish: Wish, arrived: Callable[[RawAnswer], None]) -> RawAnswer:
        assert isinstance(wish, Refresh)
        mishap = self.bank.mishaps.popleft() if self.bank.mishaps else Mishap()
        self._point()
        if mishap.kind == "not-sent":
            raise NotSent("the connection was refused")
        token = wish.token.reveal()
        post = Post(self.process.number, token, self.bank.time(), told=token.startswith("M") or self.process.adopting)
        self.bank.open(post)
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._perform(post, mishap, arrived)
        except TimeoutError:
            raise Lost("no answer within 30 s") from None
        finally:
            if post.brought is None and mishap.orphan:
                self.bank.redeem(post)
            post.ended = self.bank.time()

    async def _perform(self, post: Post, mishap: Mishap, arrived: Callable[[RawAnswer], None]) -> RawAnswer:
        await asyncio.sleep(mishap.delay / 2)
        if mishap.kind == "lost-before":
            raise Lost("the connection was lost before an answer came")
        status = {"5xx": 503, "429": 429}.get(mishap.kind)
        raw = RawAnswer(status, "text/plain", b"later") if status else self.bank.redeem(post)
        if mishap.kind == "lost-after":
            raise Lost("the connection was lost before an answer came")
        await asyncio.sleep(mishap.delay / 2)
        self._point()
        arrived(raw)
        self._point()
        kept = any(item.answer is not None and item.answer.body == raw.body for item in self.process.found)
        told = {200: "kept", 400: "refused"}.get(raw.status, "later")
        post.fate = told if kept or told == "later" else "unkept"
        return raw

    def _point(self) -> None:
        try:
            self.process.fuse.point()
        except Killed:
            raise Lost("the process is dead") from None


# -- the processes ----------------------------------------------------------------------------------------------------


@dataclass
class MachineClock:
    """A machine's clocks: `step` moves the wall clock alone, `boot` is when the machine was started."""

    time: Callable[[], float]
    boot: float
    step: float = 0.0

    def now(self) -> Now:
        time = self.time()
        return Now(WALL + time + self.step, BOOT + time + self.boot)


class Process:
    """One `bearerd serve`, on a machine of its own: what is on its disk stays when it dies."""

    def __init__(self, number: int, bank: Bank, store: MemoryStore) -> None:
        self.number = number
        self.bank, self.contents = bank, store
        self.clock = MachineClock(bank.time, 1000.0 * number)
        self.disk = MortalDisk()
        self.store_is_down = self.adopting = self.alive = False
        self.left: list[Found] = []  # what a dead one has in its journal
        self.generation = 0
        self.served = False
        self.works: set[asyncio.Task[None]] = set()
        self.troubles: list[float] = []  # when it died or lost the store

    @property
    def found(self) -> list[Found]:
        """What its journal holds: that survives a kill."""
        return self.journal.found() if self.alive else self.left

    async def start(self, lasts: int | None = None) -> None:
        """Raises `StoreError` if the store is down: then there is no process. `lasts`: see `Fuse.left`."""
        self.fuse = self.disk.fuse = Fuse(self._died)
        self.store = MortalStore.of(self.contents, self.fuse)
        self.let_store_be(down=self.store_is_down)
        sealer = Sealer(KEY, self.store.store_id)
        self.journal = await Journal.open(JOURNAL, sealer, files=self.disk)
        vault = Vault(self.store, sealer)
        self.book = Book(GRANT, vault)
        self.keeper = Keeper(
            GRANT,
            broker=QUESTRADE,
            environment=LIVE,
            login=PASTED,
            vault=vault,
            journal=self.journal,
            endpoint=Window(self.bank, self),
            clock=self.clock,
            jitter=lambda: 0.3 + 0.4 * self.number,
        )
        self.alive, self.fuse.left = True, lasts
        try:
            await self.keeper.start(self.journal.found())
        except StoreError:
            self.fuse.blow()
            await self.bury()
            raise

    def let_store_be(self, *, down: bool) -> None:
        self.store_is_down = down
        if down:
            self.troubles.append(self.bank.time())
        if self.alive or down:
            self.store.failure = StoreError("the database is gone") if down else None

    def _died(self) -> None:
        self.troubles.append(self.bank.time())
        self.left = self.journal.found()
        self.next_disk = self.disk.left_behind()

    async def stop(self) -> None:
        """SIGTERM."""
        await self.keeper.close()
        self.fuse.blow()

    async def bury(self) -> None:
        """End what a dead process would still do."""
        if not (self.alive and self.fuse.dead):
            return
        self.alive = False
        self.keeper._held.closing = True
        flight = self.keeper._flight
        tasks = {*self.works, *({flight} if flight is not None else ())}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.keeper.close()
        await self.journal.close()
        self.disk = self.next_disk

    def work(self, work: "asyncio.Task[None]") -> None:
        self.works.add(work)
        work.add_done_callback(self._worked)

    def _worked(self, work: "asyncio.Task[None]") -> None:
        self.works.discard(work)
        if not work.cancelled() and not self.fuse.dead and (fault := work.exception()) is not None:
            self.bank.faults.append(repr(fault))

    async def call(self) -> None:
        """One call of a client, as the relay makes it."""
        self.served = False
        try:
            pair = await self.keeper.take()
            if not self.bank.takes(pair.access_token.reveal()):
                self.keeper.give_back()
                newer = await self.keeper.renew(pair.generation)
                if newer is None:
                    return  # the broker's 401 passes to the client
                pair = newer
        except Refusal as refusal:
            self._judge(refusal)
            return
        if self.bank.takes(pair.access_token.reveal()):
            self.keeper.accepted(pair.generation)
            self.served = True
        self.keeper.give_back()

    def _judge(self, refusal: Refusal) -> None:
        held = self.keeper._held
        pair = held.usable(self.clock.now())
        live = pair is not None and self.bank.takes(pair.access_token.reveal()) and held.turnstile.open
        assert self.fuse.dead or not live, f"refused with a live token in hand: {refusal.detail}"

    async def log_in(self, token: str) -> None:
        try:
            await self.keeper.login(Refresh(Secret(token)), f"lineage of {token}")
        except LoginFailed:
            return

    async def hear(self) -> None:
        with suppress(StoreError):
            await self.keeper.look_again()

    async def adopt(self) -> None:
        """Whatever it posts, a person has asked for."""
        self.adopting = True
        try:
            await self.keeper.adopt()
        except (LoginFailed, StoreError, JournalError):
            return
        finally:
            self.adopting = False

    async def stored(self) -> Grant:
        """What the store has, whoever can see it now."""
        handle = self.contents.peer()
        return await Book(GRANT, Vault(handle, Sealer(KEY, handle.store_id))).read() or Grant(GRANT)
