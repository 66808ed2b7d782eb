"""The halts that count here: read from the store, followed as others change them, and written there.

They stand in one record, so that each change is one compare-and-swap and an older state of it can be told from a newer
one. A halt counts here before it is stored, and until it is: with the store away it still stops this server.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from proxy import logs
from proxy.clock import Clock
from proxy.gate import halt as gate
from proxy.gate.halt import EVERYTHING, Halt, Known, Target
from proxy.gate.rows import Row
from proxy.store import Damaged, StoreError, WrongKey
from proxy.store import Row as Stored
from proxy.store.vault import Vault

RECORD = "halts"
MOST = 100  # halts at a time: a call is held against each
_TRIES = 8  # a peer may write the record at the same moment
_FORMAT = 1

log = logs.get("halts")


class HaltsUnreadable(StoreError):
    """The record of halts can't be opened, so that everything counts as halted."""


class Halts:
    """`load()` before anything is let through, and whenever the store has changed. `check` never waits.

    `saved`: whether all that count here stand in the store too.
    """

    def __init__(self, vault: Vault, clock: Clock) -> None:
        self._vault = vault
        self._clock = clock
        self._generation = 0
        self._stored: dict[Target, Halt] = {}
        self._unsaved: dict[Target, Halt] = {}
        self._fault = "it has not been read yet"
        self._all: tuple[Halt, ...] = ()
        self._heard = clock.now().boot
        self._loaded = False
        self._writing = asyncio.Lock()

    # -- what counts --------------------------------------------------------------------------------------------------

    def check(self, mount: str, client: str, row: Row) -> None:
        """Raise `Refusal` if a call must not be sent now; see `gate.halt.check`."""
        if row.mutating:
            gate.check(self.known(), mount=mount, client=client, row=row)

    def known(self) -> Known:
        """What is known at this moment."""
        return Known(self._all, self._fault, self.silent)

    @property
    def all(self) -> tuple[Halt, ...]:
        """Every halt that counts, the oldest first."""
        return self._all

    @property
    def fault(self) -> str:
        """Why the record can't be read; empty if it can."""
        return self._fault

    @property
    def silent(self) -> float:
        """Seconds since the store was last heard of, where others may write to it; else 0."""
        return self._clock.now().boot - self._heard if self._vault.store.shared else 0.0

    @property
    def saved(self) -> bool:
        return not self._unsaved

    # -- following ----------------------------------------------------------------------------------------------------

    def heard(self, boot: float) -> None:
        """What is known here is no older than `boot`, by the clock that counts since the boot."""
        self._heard = max(self._heard, boot)

    async def load(self) -> None:
        """Take over what the store has. `StoreError`; a record that can't be opened is none: it halts everything."""
        async with self._writing:
            await self._look(anyway=True)

    async def load_once(self) -> None:
        """The same, unless it has been done: what changes is followed."""
        if not self._loaded:
            await self.load()

    async def settle(self) -> None:
        """Store what could not be stored yet, unless the record can't be read. `StoreError`."""
        if self._unsaved:
            with contextlib.suppress(HaltsUnreadable):
                async with self._writing:
                    await self._save()

    # -- changing -----------------------------------------------------------------------------------------------------

    async def halt(self, wanted: Halt) -> Halt:
        """Halt at once here, and for everybody once it is stored; what stands there before is never weakened.

        Returns the halt that counts for its target. `StoreError`: it counts here only, and will be stored when that is
        possible. ValueError if there are too many; there is always room for one of everything.
        """
        if wanted.target not in (EVERYTHING, *self._counted()) and len(self._all) >= MOST:
            raise ValueError(f"there are {MOST} halts already; resume some, or halt everything")
        self._want(wanted)
        async with self._writing:
            self._want(wanted)  # it was asked for after whatever has been lifted meanwhile
            await self._save()
            return self._counted()[wanted.target]

    def _want(self, wanted: Halt) -> None:
        """Have it stored even if it seems to stand: a peer may just have lifted it."""
        standing = self._counted().get(wanted.target, wanted)
        self._unsaved[wanted.target] = wanted if wanted.stronger(standing) else standing
        self._publish()

    async def resume(self, target: Target | None) -> list[Halt]:
        """Lift the halt of this target, or every one, an unreadable record too; return those that were lifted.

        It counts here once it is stored. `StoreError`: nothing was lifted.
        """
        async with self._writing:
            for _ in range(_TRIES):
                row = await self._look(anyway=target is None)
                gone = [halt for each, halt in self._counted().items() if target in (None, each)]
                if not gone and not self._fault:
                    return []
                if await self._put(row, {each: halt for each, halt in self._counted().items() if halt not in gone}):
                    log.warning("resumed", about=[gate.about(halt.target) for halt in gone])
                    return gone
        raise _restless(self._vault)

    async def _save(self) -> None:
        """Bring `_unsaved` into the store. `StoreError`."""
        for _ in range(_TRIES):
            # A halt of everything is all that could stand in a record that can't be read.
            row = await self._look(anyway=EVERYTHING in self._unsaved)
            if self._counted() == self._stored and not self._fault:
                self._unsaved.clear()
                return
            if await self._put(row, self._counted()):
                return
        raise _restless(self._vault)

    async def _look(self, *, anyway: bool) -> Stored | None:
        """Read the record and take it over. What stood in one that can't be read goes on counting; unless `anyway`,
        `HaltsUnreadable` says so.
        """
        row = await self._vault.store.read(RECORD)
        self._loaded = True
        try:
            self._take(_generation(row), await self._opened(row))
        except HaltsUnreadable as error:
            if str(error) != self._fault:
                log.error("the record of halts can't be read: everything is halted", reason=str(error))
            self._fault = str(error)
            if not anyway:
                raise
        return row

    async def _put(self, row: Stored | None, halts: Mapping[Target, Halt]) -> bool:
        """Write the record in the place of `row`. False if somebody else was quicker."""
        written = dict(self._unsaved)
        value: dict[str, Any] = {"format": _FORMAT, "halts": [halt.document() for halt in halts.values()]}
        generation = await self._vault.put(RECORD, expected=_generation(row), value=value)
        if generation is None:
            return False
        # What came while we waited is not in it yet.
        self._unsaved = {each: halt for each, halt in self._unsaved.items() if written.get(each) is not halt}
        self._generation = generation
        self._take(generation, dict(halts))
        return True

    async def _opened(self, row: Stored | None) -> dict[Target, Halt]:
        """What a record says. Raises `HaltsUnreadable`."""
        if row is None:
            return {}
        try:
            return _read((await asyncio.to_thread(self._vault.open, row)).value)
        except (Damaged, WrongKey) as error:
            raise HaltsUnreadable(str(error)) from None
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            reason = str(error) if isinstance(error, ValueError) else type(error).__name__
            raise HaltsUnreadable(f"{self._vault.store.location}: record '{RECORD}' makes no sense: {reason}") from None

    def _take(self, generation: int, found: dict[Target, Halt]) -> None:
        if generation < self._generation:
            # The store was set back. Only a person lifts a halt: what has counted so far is stored once more.
            log.error("the record of halts is an older one: what was halted stays so")
            self._unsaved = _merged(self._stored, self._unsaved)
        self._generation, self._stored, self._fault = generation, found, ""
        self._publish()

    def _counted(self) -> dict[Target, Halt]:
        return _merged(self._stored, self._unsaved)

    def _publish(self) -> None:
        """Let it count."""
        halts = tuple(sorted(self._counted().values(), key=lambda halt: halt.since))
        for halt in set(halts) - set(self._all):
            log.warning("halted", about=gate.about(halt.target), cancels_too=halt.cancels_too, by=halt.by)
        self._all = halts


def _generation(row: Stored | None) -> int:
    return row.generation if row else 0


def _merged(one: Mapping[Target, Halt], other: Mapping[Target, Halt]) -> dict[Target, Halt]:
    """Both; of two with the same target the stronger one, or the first."""
    merged = dict(one)
    for target, halt in other.items():
        if target not in merged or halt.stronger(merged[target]):
            merged[target] = halt
    return merged


def _read(value: Mapping[str, Any]) -> dict[Target, Halt]:
    """What the record says. ValueError, LookupError, TypeError or AttributeError if it makes no sense."""
    if value["format"] != _FORMAT:
        raise ValueError(f"a newer bearerd has written it (format {value['format']}; this one knows {_FORMAT})")
    return {halt.target: halt for halt in map(gate.read, value["halts"])}


def _restless(vault: Vault) -> StoreError:
    return StoreError(f"{vault.store.location}: the record '{RECORD}' changes all the time")
