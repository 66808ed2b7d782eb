"""The trail: what it has said to be durable is there after any fault, and every gap is told."""

import asyncio
import errno
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import thread_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.audit import record as records
from proxy.audit.chain import members
from proxy.audit.kept import mark_of
from proxy.audit.trail import SLOW, TOGETHER, Trail
from proxy.audit.trailfile import name_of
from proxy.audit.verify import verify
from proxy.store import StoreError
from proxy.store.disk import MemoryDisk
from proxy.store.vault import Vault
from tests.audit.trails import (
    DAY,
    INSTALL,
    ROOT,
    HandClock,
    contents,
    directory,
    findings,
    opened,
    order,
    read,
    said,
    vault,
)
from tests.callers import eventually

NOISE = members({"noise": "x" * 100})


async def test_records_of_all_kinds_are_chained_and_durable() -> None:
    """Numbers without a hole, the first record naming server and version; the store notes the end."""
    disk, kept = MemoryDisk(), vault()
    async with opened(disk, kept) as trail:
        assert 2 == trail.put("call", records.call(read()))
        await trail.durable()
        assert 0 == trail.standing.waiting
        trail.put("act", members({"who": "uid 0", "act": "reload"}))
    found = await findings(disk, kept)
    assert ([], 3, 1, 3) == (found.faults, found.records, found.first, found.last)
    first, call, act = await said(disk, kept)
    assert ("opened", INSTALL, 1) == (first["kind"], first["install"], first["seq"])
    assert {
        "seq": 2, "kind": "call", "id": "r1", "method": "GET", "client": "bot", "mount": "questrade",
        "grant": "questrade", "row": "/v1/accounts/{account}", "scope": "read_acc", "rule": "accounts",
        "account": "***145", "status": 200, "outcome": "broker", "generation": 4, "ms": 0.0,
    } == {name: value for name, value in call.items() if name not in ("time", "link")}  # fmt: skip
    assert ("uid 0", "reload") == (act["who"], act["act"])


async def test_a_restart_goes_on_where_the_trail_ends() -> None:
    """In the same file; opening twice changes nothing."""
    disk, kept = MemoryDisk(), vault()
    for _ in range(3):
        async with opened(disk, kept) as trail:
            await trail.open()
            trail.put("call", records.call(read()))
    assert [1] == list(await contents(disk, kept))
    assert ([], 4) == ((found := await findings(disk, kept)).faults, found.records)


async def test_a_hundred_orders_at_once_share_their_syncs(figure: Any) -> None:
    """With syncs of 5 ms: intent and outcome of all of them cost about four, and take tens of milliseconds."""
    disk, kept = MemoryDisk(), vault()
    async with opened(disk, kept) as trail:
        await trail.durable()
        disk.sync_seconds = 0.005
        before, began = disk.calls["datasync"], asyncio.get_running_loop().time()

        async def one(number: int) -> None:
            intent = trail.put("intent", records.intent(order(request_id=f"o{number}")))
            await trail.durable()
            trail.put("outcome", records.outcome(order(intent=intent, status=200, outcome="broker")))
            await trail.durable()

        async with asyncio.TaskGroup() as group:
            for number in range(100):
                group.create_task(one(number))
        syncs, took = disk.calls["datasync"] - before, asyncio.get_running_loop().time() - began
    figure(f"{syncs} syncs of 5 ms for 100 orders at once, {took * 1000:.0f} ms in all")
    assert syncs <= 8
    assert [] == (await findings(disk, kept)).unknown


@pytest.mark.timing
async def test_a_read_costs_the_event_loop_microseconds(figure: Any) -> None:
    """Its record is made, noted, and chained with others in less than 8 µs."""
    disk, kept = MemoryDisk(), vault()
    async with opened(disk, kept) as trail:
        record = read()
        best = 1.0
        for _ in range(5):
            began = thread_time()
            for _ in range(1000):
                trail.note(records.call(record))
            best = min(best, (thread_time() - began) / 1000)
            await trail.durable()
    figure(f"{best * 1e6:.1f} µs of the event loop for a read's record")
    assert best < 8e-6


@pytest.mark.timing
async def test_what_waits_is_on_the_disk_within_a_second() -> None:
    """And the end is noted in the store within another, if it is an order's; nobody has to ask."""
    disk, kept = MemoryDisk(), vault()
    async with opened(disk, kept) as trail:
        running = asyncio.get_running_loop().create_task(trail.run())
        trail.put("call", records.call(read()))
        await asyncio.sleep(0.9)
        assert 2 == len(await said(disk, kept))
        trail.put("intent", records.intent(order()))
        await asyncio.sleep(2.1)
        assert 3 == (await kept.get("audit/end/" + trail.keys.id)).value["seq"]  # type: ignore[union-attr]
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@pytest.mark.parametrize("call", ["pwrite", "datasync", "create", "open"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=["full", "broken"])
async def test_a_disk_that_fails_is_told_and_recovers_by_itself(call: str, number: int) -> None:
    """`durable` fails as long as the disk does; then all is there, with a record of the gap."""
    disk, kept, clock = MemoryDisk(), vault(), HandClock()
    if call != "create":
        async with opened(disk, kept, clock=clock):
            pass
    async with opened(disk, kept, clock=clock) as trail:
        disk.fail(call, number, times=3)
        for _ in range(3):
            trail.put("call", records.call(read()))
            with pytest.raises(OSError, match=r"space|Input/output"):
                await trail.durable()
            assert trail.standing.fault
        clock.wall += 60
        await trail.durable()
        await trail.durable()  # what is said of the gap
        assert ("", 0) == (trail.standing.fault, trail.standing.waiting)
    assert [] == (await findings(disk, kept)).faults
    gap = (await said(disk, kept))[-1]
    assert ("gap", 0) == (gap["kind"], gap["lost"])
    assert 60 == gap["time"] - gap["since"]


async def test_a_torn_write_is_made_again_at_its_place() -> None:
    """Half a batch went out before the disk was full: the next try writes over it."""
    disk, kept = MemoryDisk(), vault()
    async with opened(disk, kept) as trail:
        await trail.durable()
        disk.short = 7
        disk.fail("pwrite", errno.ENOSPC, after=3)
        trail.put("call", records.call(read()))
        with pytest.raises(OSError, match="space"):
            await trail.durable()
        disk.heal()
    assert ([], 3) == ((found := await findings(disk, kept)).faults, found.records)


async def test_what_does_not_fit_while_the_disk_is_full_is_counted() -> None:
    """Memory has its limit too. The gap says how many records are missing; numbers have no hole."""
    disk, kept = MemoryDisk(), vault()
    async with opened(disk, kept, room=20_000) as trail:
        await trail.durable()
        disk.fail("pwrite", errno.ENOSPC, times=2)
        while trail.put("call", NOISE):
            pass
        assert 0 == trail.put("call", NOISE)
        assert 2 == trail.standing.lost
        assert 20_000 < trail.standing.waiting < 21_000
        for _ in range(2):
            with pytest.raises(OSError, match="space"):
                await trail.durable()
        await trail.durable()
    found = await findings(disk, kept)
    assert ([], 2) == (found.faults, (await said(disk, kept))[-1]["lost"])
    assert any("2 records were lost" in note for note in found.notes)


async def test_records_that_come_faster_than_the_disk_takes_them() -> None:
    """It is no fault of the disk, and told as what it is."""
    disk, kept = MemoryDisk(), vault()
    async with opened(disk, kept, room=20_000) as trail:
        while trail.put("call", NOISE):
            pass
        await trail.durable()
        assert "" == trail.standing.fault
        trail.put("call", records.call(read()))
    gap = (await said(disk, kept))[-2]
    assert ("gap", 1, "records came faster than the disk took them") == (gap["kind"], gap["lost"], gap["reason"])


async def test_a_new_day_and_a_large_file_begin_a_new_file() -> None:
    """Each begins with the last link of the one before; a clock that goes back begins none."""
    disk, kept, clock = MemoryDisk(), vault(), HandClock()
    async with opened(disk, kept, clock=clock, largest=2000) as trail:
        for _ in range(8):
            trail.put("call", records.call(read()))
        await trail.durable()
        large = len(await contents(disk, kept))
        clock.wall += DAY
        trail.put("call", records.call(read()))
        clock.wall -= 5 * DAY
        trail.put("call", records.call(read()))
    assert large == 2
    assert [] == (await findings(disk, kept)).faults
    assert 3 == len(await contents(disk, kept))


async def test_reads_are_chained_together_and_before_what_comes_later() -> None:
    """Each has its own time and number; an order's intent stands behind the reads that ended before it."""
    disk, kept, clock = MemoryDisk(), vault(), HandClock()
    async with opened(disk, kept, clock=clock) as trail:
        for number in range(2 * TOGETHER + 3):
            clock.wall += 0.25
            trail.note(members({"id": f"r{number}"}))
        assert trail.standing.waiting > 0
        assert 2 * TOGETHER + 4 == trail.standing.written
        trail.note(members({"id": "given"}), clock.wall - 100.0)
        seq = trail.put("intent", records.intent(order()))
        assert 2 * TOGETHER + 6 == seq
        trail.note(members({"id": "last"}))
        await trail.durable()
        assert 0 == trail.standing.waiting
        told = await said(disk, kept)
    ids = [f"r{number}" for number in range(2 * TOGETHER + 3)]
    assert ["opened", *(["call"] * (len(ids) + 1)), "intent", "call"] == [fields["kind"] for fields in told]
    assert [*ids, "given", "last"] == [fields["id"] for fields in told if fields["kind"] == "call"]
    times = [fields["time"] for fields in told if fields["kind"] == "call"]
    began = clock.wall - 0.25 * len(ids)
    assert [round(began + 0.25 * number, 3) for number in range(1, len(ids) + 1)] == times[: len(ids)]
    assert round(clock.wall - 100.0, 3) == times[-2]
    assert ([], len(told)) == ((found := await findings(disk, kept)).faults, found.records)


async def test_reads_that_are_noted_turn_the_page_too() -> None:
    """A file ends with the day and at its size, also within what is chained together."""
    disk, kept, clock = MemoryDisk(), vault(), HandClock()
    async with opened(disk, kept, clock=clock, largest=2000) as trail:
        for _ in range(8):
            trail.note(records.call(read()))
        await trail.durable()
        assert 2 == len(await contents(disk, kept))
        trail.note(records.call(read()))
        clock.wall += DAY
        trail.note(records.call(read()))
        await trail.durable()
        assert 3 == len(await contents(disk, kept))
    assert ([], 13) == ((found := await findings(disk, kept)).faults, found.records)


async def test_reads_that_do_not_fit_are_counted() -> None:
    """Noted ones take the same room as others, and the gap says how many are missing."""
    disk, kept = MemoryDisk(), vault()
    async with opened(disk, kept, room=20_000) as trail:
        for _ in range(1000):
            trail.note(NOISE)
        assert 20_000 < trail.standing.waiting < 21_000
        lost = trail.standing.lost
        assert 1000 == lost + trail.standing.written - 1
        await trail.durable()
        trail.note(NOISE)
        await trail.durable()
        gap = (await said(disk, kept))[-2]
    assert ("gap", lost, "records came faster than the disk took them") == (gap["kind"], gap["lost"], gap["reason"])
    assert [] == (await findings(disk, kept)).faults


async def test_what_was_noted_last_is_written_when_the_trail_is_closed() -> None:
    """Nobody has to wait for it."""
    disk, kept = MemoryDisk(), vault()
    async with opened(disk, kept) as trail:
        trail.note(members({"id": "last"}))
    assert "last" == (await said(disk, kept))[-1]["id"]


async def test_a_changed_master_key_leaves_the_chain_as_it_is() -> None:
    """The secret is sealed again with everything else, and the end is noted under the new key from then on."""
    disk, kept = MemoryDisk(), vault()
    new = Vault(kept.store, type(kept._sealer)(b"n" * 32, "lab"))

    def again(row: Any) -> bytes:
        plain = kept._sealer.unseal(row.name, row.generation, row.sealed)
        return new._sealer.seal(row.name, row.generation, plain)

    async with opened(disk, kept) as trail:
        trail.put("act", members({"act": "rekey"}))
        await trail.durable()
        trail.note_end_in(None)
        await kept.store.rewrite(again, new._sealer.key_id)
        trail.note_end_in(new)
        trail.put("act", members({"act": "rekey"}))
    async with opened(disk, new) as trail:
        trail.put("call", records.call(read()))
    assert ([], 4) == ((found := await findings(disk, new)).faults, found.records)


async def test_servers_that_share_a_store_have_a_trail_each() -> None:
    """One secret, two chains, two notes of an end; no record of one fits into the other."""
    kept = vault()
    found = []
    for install in ("a" * 32, "b" * 32):
        disk = MemoryDisk()
        trail = Trail(ROOT, kept, install, files=disk)
        await trail.open()
        trail.put("call", records.call(read()))
        await trail.close()
        data = disk.content(trail.directory / name_of(1))
        mark = await mark_of(kept, trail.keys.id)
        assert ([], 2) == ((one := verify(trail.keys, [(1, data)], mark)).faults, one.records)
        found.append((trail.keys, data, mark))
    (first, _, mark), (second, data, _) = found
    assert first.id != second.id
    assert verify(first, [(1, data)], mark).faults
    assert 3 == len(await kept.store.read_all("audit/"))


async def test_a_store_that_fails_at_the_end_is_no_reason_to_fail() -> None:
    """The note of the end is late then, and the records are where they belong."""
    disk, kept = MemoryDisk(), vault()
    trail = Trail(ROOT, kept, INSTALL, files=disk)
    await trail.open()
    trail.put("call", records.call(read()))

    class Down(Vault):
        async def put(self, *_args: Any, **_values: Any) -> int | None:
            raise StoreError("down")

    trail.note_end_in(Down(kept.store, kept._sealer))
    await trail.close()
    await trail.close()
    assert ([], 2) == ((found := await findings(disk, kept)).faults, found.records)


async def test_nothing_is_taken_before_it_is_open() -> None:
    """A record that had no place in the chain would be lost."""
    trail = Trail(ROOT, vault(), INSTALL, files=MemoryDisk())
    assert not trail.is_open
    with pytest.raises(RuntimeError, match="not open"):
        trail.put("call", "")
    with pytest.raises(RuntimeError, match="not open"):
        _ = trail.keys
    await trail.close()


# -- kills and power losses -------------------------------------------------------------------------------------------

STEPS = st.lists(st.sampled_from(["put", "durable", "day", "full", "eio", "kill", "power", "stop"]), max_size=14)


def chances() -> Iterator[int]:
    number = 0
    while True:
        number = (number * 31 + 7) % 1009
        yield number


async def walk(steps: list[str]) -> None:
    """Carry out the steps, each restart after a loss; then everything that was durable is there, in a sound chain."""
    disk, kept, clock = MemoryDisk(), vault(), HandClock()
    trail = Trail(ROOT, kept, INSTALL, files=disk, clock=clock)
    await trail.open()
    durable: set[str] = set()
    waiting: set[str] = set()
    pick = chances()
    for number, step in enumerate(steps):
        match step:
            case "put":
                waiting.add(f"n{number}")
                trail.put("call", members({"id": f"n{number}"}))
            case "durable":
                with suppress(OSError):
                    await trail.durable()
                    durable |= waiting
                    waiting = set()
                    await trail._mark()
            case "day":
                clock.wall += DAY
            case "full":
                disk.fail("pwrite", errno.ENOSPC, after=next(pick) % 2)
            case "eio":
                disk.fail("datasync", errno.EIO, after=next(pick) % 2)
            case "stop":
                disk.heal()
                await trail.close()
                durable |= waiting
                waiting = set()
                trail = Trail(ROOT, kept, INSTALL, files=disk, clock=clock)
                await trail.open()
            case _:
                outcomes = [disk.after_kill()] if step == "kill" else list(disk.after_power_loss())
                disk = outcomes[next(pick) % len(outcomes)]
                await trail._sync.close()
                waiting = set()
                trail = Trail(ROOT, kept, INSTALL, files=disk, clock=clock)
                await trail.open()
    disk.heal()
    await trail.close()
    found = await findings(disk, kept)
    assert [] == found.faults, (steps, found)
    there = {fields.get("id") for fields in await said(disk, kept)}
    assert durable <= there, (steps, durable - there)


@given(STEPS)
async def test_what_was_durable_outlives_kills_power_losses_and_full_disks(steps: list[str]) -> None:
    """Whatever is left of the rest, the next start goes on from it, and `verify` finds no fault."""
    await walk(steps)


async def test_every_power_loss_leaves_a_trail_that_goes_on() -> None:
    """Three records were never synced: whatever of their bytes is left, the next start says what was torn."""
    disk, kept = MemoryDisk(), vault()
    trail = Trail(ROOT, kept, INSTALL, files=disk)
    await trail.open()
    trail.put("call", records.call(read()))
    await trail.durable()
    for _ in range(40):
        trail.put("call", NOISE)
    disk.short = 1500
    disk.fail("pwrite", errno.ENOSPC, after=6)
    with pytest.raises(OSError, match="space"):
        await trail.durable()
    await trail._sync.close()
    outcomes = list(disk.after_power_loss())
    assert len(outcomes) > 5
    torn = 0
    for left in outcomes:
        async with opened(left, kept) as again:
            again.put("call", members({"id": "after"}))
        found = await findings(left, kept)
        assert [] == found.faults
        torn += bool(found.notes)
        assert "after" == (await said(left, kept))[-1]["id"]
        await kept.put(f"audit/end/{trail.keys.id}", expected=1, value=None)  # each outcome has a store of its own
    assert torn


async def test_what_a_killed_server_never_synced_is_synced_before_it_is_gone_on_from() -> None:
    """Its records are there for the next start; the power goes later, when that has begun a new file."""
    disk, kept, clock = MemoryDisk(), vault(), HandClock()
    killed = Trail(ROOT, kept, INSTALL, files=disk, clock=clock)
    await killed.open()
    await killed.durable()
    for _ in range(6):
        killed.put("call", records.call(read()))
    disk.short = 400
    disk.fail("pwrite", errno.ENOSPC, after=4)
    with pytest.raises(OSError, match="space"):
        await killed.durable()
    await killed._sync.close()
    disk.heal()
    clock.wall += DAY
    again = Trail(ROOT, kept, INSTALL, files=disk, clock=clock)
    await again.open()
    again.put("call", records.call(read()))
    await again.durable()
    await again._sync.close()
    for left in disk.after_power_loss():
        found = await findings(left, kept)
        assert ([], 2) == (found.faults, len(await contents(left, kept)))
        assert found.records > 4


async def test_a_cut_end_is_told_by_the_next_start_too() -> None:
    """Records that the store has noted are gone: the trail goes on after them, and `verify` never forgets it."""
    disk, kept = MemoryDisk(), vault()
    async with opened(disk, kept) as trail:
        for _ in range(3):
            trail.put("call", records.call(read()))
    where = await directory(kept)
    rows = disk.content(where / name_of(1)).splitlines(keepends=True)
    cut = disk.after_kill()
    cut._files[where / name_of(1)].visible = bytearray(b"".join(rows[:2]))
    async with opened(cut, kept) as trail:
        assert 6 == trail.put("call", records.call(read()))
    faults = (await findings(cut, kept)).faults
    assert [(name_of(5), 1, "records 3 to 4 were gone at a start")] == [(f.file, f.line, f.problem) for f in faults]


async def test_a_removed_trail_is_told_by_the_next_start_too() -> None:
    """All of it, and a file whose very first record is damaged; that is kept under another name."""
    disk, kept = MemoryDisk(), vault()
    async with opened(disk, kept) as trail:
        trail.put("call", records.call(read()))
    where = await directory(kept)
    async with opened(gone := MemoryDisk(), kept):
        pass
    assert ["records 1 to 2 were gone at a start"] == [fault.problem for fault in (await findings(gone, kept)).faults]

    disk.damage(where / name_of(1), 3, b"\xff")
    async with opened(disk, kept):
        pass
    assert name_of(1) + ".damaged-1" in disk.names(where)
    (fault,) = (await findings(disk, kept)).faults
    assert fault.problem.startswith("records 1 to 3 were gone at a start, and ")


async def test_a_disk_that_hangs_is_found_without_an_order() -> None:
    """By the look that brings reads to the disk; once it answers, all is well again."""
    disk, kept = MemoryDisk(), vault()
    async with opened(disk, kept, patience=0.02) as trail:
        await trail.durable()
        disk.sync_seconds = 0.3
        trail.put("call", NOISE)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(trail.run())
            await until(lambda: trail.standing.fault == SLOW)
            disk.sync_seconds = 0.0
            await until(lambda: not trail.standing.fault)
            running.cancel()


async def until(condition: Callable[[], bool]) -> None:
    async for _ in eventually(5):
        if condition():
            break
    assert condition()
