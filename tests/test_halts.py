"""The halts that count: read, followed, written by compare-and-swap, and never lost to a store that fails."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from proxy.clock import Now
from proxy.errors import Refusal
from proxy.gate.halt import EVERYTHING, Halt, Target
from proxy.gate.orderrule import OrderRule
from proxy.gate.rows import Row
from proxy.halts import MOST, RECORD, Halts, HaltsUnreadable
from proxy.store import StoreError
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault

ORDER = Row("new", "POST", "/v1/orders", "trade", mutating=True, order=OrderRule("place"))
ALPACA: Target = ("alpaca", None, None)
DOWN = StoreError("memory: it is down")


class HandClock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.boot = 1000.0

    def now(self) -> Now:
        return Now(1_795_359_785.0, self.boot)


class Site:
    """A store, and servers on it."""

    def __init__(self, *, shared: bool = True) -> None:
        self.store = MemoryStore(shared=shared)
        self.clock = HandClock()

    def vault(self, store: MemoryStore | None = None) -> Vault:
        return Vault(store or self.store, Sealer(b"k" * 32, "id"))

    async def server(self, store: MemoryStore | None = None) -> Halts:
        halts = Halts(self.vault(store), self.clock)
        await halts.load()
        return halts

    async def write(self, value: dict[str, Any]) -> None:
        """Another hand's record."""
        row = await self.store.read(RECORD)
        assert await self.vault().put(RECORD, expected=row.generation if row else 0, value=value)

    async def spoil(self) -> None:
        row = await self.store.read(RECORD)
        await self.store.swap(RECORD, expected=row.generation if row else 0, sealed=b"?" * 5000)


def made(target: Target = EVERYTHING, *, cancels_too: bool = False, by: str = "anna", since: float = 1.0) -> Halt:
    return Halt(*target, cancels_too, by, since, "why")


def stops(halts: Halts) -> str:
    """The name of the refusal that an order gets on alpaca, or nothing."""
    try:
        halts.check("alpaca", "bot", ORDER)
    except Refusal as refusal:
        return refusal.kind.name
    return ""


async def test_nothing_passes_before_the_record_was_read() -> None:
    """Who has not looked does not know."""
    site = Site()
    assert "halted" == stops(Halts(site.vault(), site.clock))
    assert "" == stops(await site.server())


async def test_a_halt_counts_here_at_once_and_elsewhere_after_a_look() -> None:
    """And after a restart."""
    site = Site()
    here, there = await site.server(), await site.server(site.store.peer())
    halted = made()
    assert halted == await here.halt(halted)
    assert ("halted", "") == (stops(here), stops(there))
    await there.load()
    assert ("halted", True) == (stops(there), here.saved)
    assert "halted" == stops(await site.server())


async def test_a_halt_counts_before_the_store_has_answered() -> None:
    """While it hangs, nothing passes here any more."""
    site = Site()
    here = await site.server()
    swap, gate = site.store.swap, asyncio.Event()

    async def hanging(name: str, *, expected: int, sealed: bytes | None) -> int | None:
        await gate.wait()
        return await swap(name, expected=expected, sealed=sealed)

    site.store.swap = hanging  # type: ignore[method-assign]
    async with asyncio.TaskGroup() as group:
        group.create_task(here.halt(made()))
        await asyncio.sleep(0)
        assert "halted" == stops(here)
        gate.set()
    assert here.saved


async def test_a_halt_is_kept_while_the_store_is_away() -> None:
    """It stops calls here, and is stored once that is possible."""
    site = Site()
    here, there = await site.server(), await site.server(site.store.peer())
    site.store.failure = DOWN
    with pytest.raises(StoreError, match="it is down"):
        await here.halt(made())
    assert ("halted", False) == (stops(here), here.saved)
    with pytest.raises(StoreError, match="it is down"):
        await here.settle()
    site.store.failure = None
    await here.settle()
    await there.load()
    assert ("halted", "halted", True) == (stops(here), stops(there), here.saved)


async def test_such_a_halt_can_be_lifted_again() -> None:
    """Before it was ever stored, and by the one who reads the store after it."""
    site = Site()
    here = await site.server()
    site.store.failure = DOWN
    with pytest.raises(StoreError):
        await here.halt(made())
    with pytest.raises(StoreError):
        await here.resume(EVERYTHING)
    assert "halted" == stops(here)
    site.store.failure = None
    assert [made()] == await here.resume(EVERYTHING)
    assert ("", True) == (stops(here), here.saved)


async def test_two_servers_halt_different_things() -> None:
    """Neither loses the other's."""
    site = Site()
    here, there = await site.server(), await site.server(site.store.peer())
    await here.halt(made(ALPACA))
    await there.halt(made(("questrade", None, None), since=2.0))
    await here.load()
    assert ["alpaca", "questrade"] == [halt.mount for halt in here.all]
    assert [halt.mount for halt in await there.resume(ALPACA)] == ["alpaca"]
    await here.load()
    assert ["questrade"] == [halt.mount for halt in here.all]
    assert "" == stops(here)


async def test_both_write_at_the_same_moment() -> None:
    """Who comes second reads again."""
    site = Site()
    servers = [await site.server(site.store.peer()) for _ in range(4)]
    await asyncio.gather(*(each.halt(made((f"m{at}", None, None))) for at, each in enumerate(servers)))
    assert {"m0", "m1", "m2", "m3"} == {halt.mount for halt in (await site.server()).all}


async def test_a_halt_that_comes_while_another_is_lifted_stands() -> None:
    """Here or by a peer: whoever says halt last is heard."""
    site = Site()
    here, there = await site.server(), await site.server(site.store.peer())
    await here.halt(made())
    await there.load()
    swap, gate = site.store.swap, asyncio.Event()

    async def slow(name: str, *, expected: int, sealed: bytes | None) -> int | None:
        await gate.wait()
        return await swap(name, expected=expected, sealed=sealed)

    site.store.swap = slow  # type: ignore[method-assign]
    async with asyncio.TaskGroup() as group:
        group.create_task(here.resume(None))
        await asyncio.sleep(0.01)
        group.create_task(here.halt(made(by="bob")))
        await asyncio.sleep(0.01)
        gate.set()
    assert ["halted"] == [stops(here)]
    assert here.all == (await site.server()).all

    await here.resume(None)
    await there.halt(made(by="carol"))  # which still thinks that it stands
    await here.load()
    assert ("halted", "halted") == (stops(here), stops(there))


async def test_the_first_word_stands_unless_the_next_is_stronger() -> None:
    """A second halt of the same never lets more pass."""
    site = Site()
    here = await site.server()
    first = made(cancels_too=True)
    await here.halt(first)
    assert first == await here.halt(made(by="bob"))
    await here.resume(EVERYTHING)
    await here.halt(made(by="bob"))
    stronger = made(cancels_too=True, by="carol")
    assert stronger == await here.halt(stronger)
    assert (stronger,) == here.all == (await site.server()).all


async def test_what_is_not_halted_cannot_be_resumed() -> None:
    """Nothing is written for it."""
    site = Site()
    here = await site.server()
    await here.halt(made(ALPACA))
    before = await site.store.changes()
    assert [] == await here.resume(EVERYTHING)
    assert ([], before) == (await here.resume(("alpaca", "trade", None)), await site.store.changes())
    assert [made(ALPACA)] == await here.resume(None)
    assert () == here.all


@pytest.mark.parametrize(
    "value",
    [
        {}, {"format": 2, "halts": []}, {"format": 1, "halts": [{}]}, {"format": 1, "halts": {"a": 1}},
        {"format": 1, "halts": [made().document() | {"until": 5}]}, {"format": 1, "halts": None},
    ],
    ids=["empty", "newer", "empty halt", "no list", "unknown field", "none"],
)  # fmt: skip
async def test_a_record_that_makes_no_sense_halts_everything(value: dict[str, Any]) -> None:
    """A newer bearerd may have written it: what is not understood may matter."""
    site = Site()
    await site.write(value)
    assert "halted" == stops(await site.server())


async def test_a_damaged_record_halts_everything_until_a_person_lifts_that() -> None:
    """At a start, and under a running server. A narrower halt cannot replace it, one of everything can."""
    site = Site()
    running = await site.server()
    await site.spoil()
    await running.load()
    started = await site.server(site.store.peer())
    for each in (running, started):
        assert ("halted", True) == (stops(each), RECORD in each.fault)
    with pytest.raises(HaltsUnreadable):
        await running.halt(made(ALPACA))
    with pytest.raises(HaltsUnreadable):
        await running.resume(EVERYTHING)
    await running.settle()  # says nothing: it cannot be stored, and everything is halted anyway
    assert "halted" == stops(started)
    await running.halt(made())
    assert ("", (made(ALPACA), made())) == (running.fault, running.all)
    await site.spoil()
    await started.load()
    await started.resume(None)
    assert ("", "") == (started.fault, stops(started))


async def test_a_store_that_was_set_back_lifts_nothing() -> None:
    """Whether its record is older or gone: what has counted is stored once more, and a person may lift it."""
    site = Site()
    await (await site.server()).halt(made(ALPACA))
    older = site.store.reopened()
    running = await site.server()
    await running.halt(made(("questrade", None, None), since=2.0))
    await running.resume(ALPACA)
    running._vault = site.vault(older)
    await running.load()
    assert ["alpaca", "questrade"] == [halt.mount for halt in running.all]
    await running.settle()
    assert running.all == (await site.server(older)).all
    assert 1 == len(await running.resume(ALPACA))

    empty = MemoryStore()
    running._vault = site.vault(empty)
    assert [] == await running.resume(ALPACA)  # not even a look at the same moment loses them
    assert (["questrade"], False) == ([halt.mount for halt in running.all], running.saved)
    await running.settle()
    assert running.saved


async def test_a_store_that_others_write_to_must_be_heard_of() -> None:
    """Its silence is counted from when what is known was asked for; one that only we write to may be silent."""
    site, alone = Site(), Site(shared=False)
    here = await site.server()
    here.heard(site.clock.boot)
    site.clock.boot += 5.5
    assert (5.5, "store-silent") == (here.silent, stops(here))
    here.heard(site.clock.boot - 1)
    assert (1.0, "") == (here.silent, stops(here))
    here.heard(site.clock.boot - 3)
    assert 1.0 == here.silent
    own = await alone.server()
    alone.clock.boot += 3600
    assert (0.0, "") == (own.silent, stops(own))


async def test_there_is_a_limit_to_halts() -> None:
    """Each call is held against all of them; a halt of everything is never one too many."""
    site = Site()
    here = await site.server()
    await here.halt(made())
    value = {"format": 1, "halts": [made((f"m{number}", None, None)).document() for number in range(MOST)]}
    await site.write(value)
    await here.load()
    with pytest.raises(ValueError, match="100 halts already"):
        await here.halt(made(("another", None, None)))
    await here.halt(replace(made(("m1", None, None)), cancels_too=True))
    assert "" == stops(here)
    await here.halt(made())
    assert (MOST + 1, "halted") == (len(here.all), stops(here))
    assert (MOST + 1, "halted") == (len((again := await site.server()).all), stops(again))
