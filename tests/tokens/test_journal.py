"""The custody journal: an answer that was kept is there after a kill, one that was synced after a power loss.

On a real file where locks and kills are the matter, on a disk in memory where faults are.
"""
# ruff: noqa: ASYNC240  the test's own file calls may block; the product's are watched by blockbuster

import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from proxy.store import Damaged, Foreign, StoreLocked, UnsafeFile, WrongKey
from proxy.store.disk import MemoryDisk
from proxy.store.files import SYSTEM_FILES
from proxy.store.sealing import Sealer
from proxy.tokens.journal import Answer, Found, Intent, Journal, JournalError, Slot, boot_id, reseal
from proxy.tokens.journalfile import JournalFile

PATH = Path("/state/journal")
SEALER = Sealer(bytes(range(32)), "store-1")
NEW = Sealer(b"n" * 32, "store-1")
INTENT = Intent("questrade", 3, "lineage", "ab" * 32, 1, False, 1.7e9, "boot")
BODY = b'{"refresh_token": "canary", "access_token": "a"}'


async def opened(disk: MemoryDisk) -> Journal:
    return await Journal.open(PATH, SEALER, files=disk)


def seen(journal: Journal) -> list[tuple[str, bytes | None]]:
    """Grant and body of all that a start-up finds."""
    return [(item.intent.grant, None if item.answer is None else item.answer.body) for item in journal.found()]


async def keep_and_sync(journal: Journal, slot: Slot) -> None:
    journal.keep(slot, 200, "", BODY)
    await journal.sync(slot)


async def after_kill(disk: MemoryDisk) -> list[tuple[str, bytes | None]]:
    journal = await opened(disk.after_kill())
    try:
        return seen(journal)
    finally:
        await journal.close()


async def after_power_loss(disk: MemoryDisk) -> set[tuple[tuple[str, bytes | None], ...]]:
    """All that start-ups may find."""
    outcomes = set()
    for left in disk.after_power_loss():
        journal = await opened(left)
        outcomes.add(tuple(seen(journal)))
        await journal.close()
    return outcomes


async def test_a_new_journal_has_64_free_slots() -> None:
    """And an install id of its own, and no commit number yet."""
    one, other = await opened(MemoryDisk()), await opened(MemoryDisk())

    assert (64, 0, 0, []) == (one.slots, one.slots_in_use, one.commit, one.found())
    assert one.install_id != other.install_id


async def test_a_copied_state_directory_is_another_holder(tmp_path: Path) -> None:
    """Two servers with one journal's id would take each other's right to spend for their own."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir(0o700)
    one = await Journal.open(tmp_path / "one" / "journal", SEALER)
    for file in (tmp_path / "one").iterdir():
        copy = tmp_path / "two" / file.name
        copy.write_bytes(file.read_bytes())
        copy.chmod(0o600)
    two = await Journal.open(tmp_path / "two" / "journal", SEALER)
    assert (True, False) == (one.install_id == two.install_id, one.holder == two.holder)
    await one.close()
    again = await Journal.open(tmp_path / "one" / "journal", SEALER)
    assert again.holder == one.holder
    await again.close()
    await two.close()


async def test_an_intent_is_durable_when_begin_returns() -> None:
    """Whatever the power loss drops, the intent is found, without an answer."""
    disk = MemoryDisk()
    await (await opened(disk)).begin(INTENT)

    assert {(("questrade", None),)} == await after_power_loss(disk)


async def test_an_answer_survives_a_kill_once_it_is_kept() -> None:
    """`keep` alone, without a sync, is enough."""
    disk = MemoryDisk()
    journal = await opened(disk)
    slot = await journal.begin(INTENT)
    journal.keep(slot, 200, "application/json", BODY, 1.8e9)

    again = await opened(disk.after_kill())
    assert [Found(slot, INTENT, Answer(200, "application/json", BODY, 1.8e9))] == again.found()
    assert (1, 1) == (again.slots_in_use, again.answered)


async def test_an_answer_survives_a_power_loss_once_it_is_synced() -> None:
    """Before the sync it may be lost, torn or whole, and its intent stays in each case."""
    disk = MemoryDisk()
    journal = await opened(disk)
    slot = await journal.begin(INTENT)
    journal.keep(slot, 200, "application/json", BODY)
    assert {(("questrade", None),), (("questrade", BODY),)} == await after_power_loss(disk)

    await journal.sync(slot)
    assert {(("questrade", BODY),)} == await after_power_loss(disk)


async def test_a_freed_slot_is_not_found() -> None:
    """After a kill it is gone; after a power loss it may come back whole, but never without its answer."""
    disk = MemoryDisk()
    journal = await opened(disk)
    slot = await journal.begin(INTENT)
    journal.keep(slot, 200, "", BODY)
    await journal.sync(slot)
    await journal.free(slot)
    await journal.free(slot)

    assert 0 == journal.slots_in_use
    assert [] == await after_kill(disk)
    assert {(), (("questrade", BODY),)} == await after_power_loss(disk)


async def test_a_slot_that_is_used_again_has_no_old_answer() -> None:
    """Neither after a kill nor with any mixture that a power loss may leave."""
    disk = MemoryDisk()
    journal = await opened(disk)
    first = await journal.begin(INTENT)
    journal.keep(first, 200, "", b"old answer")
    await journal.sync(first)
    await journal.free(first)
    await journal.begin(replace(INTENT, grant="other"))

    assert [("other", None)] == await after_kill(disk)
    assert {(("other", None),)} == await after_power_loss(disk)


async def test_a_slot_that_was_given_back_keeps_nothing() -> None:
    """Using it is an error of the caller, told as such."""
    journal = await opened(MemoryDisk())
    slot = await journal.begin(INTENT)
    await journal.free(slot)

    with pytest.raises(JournalError, match="given back"):
        journal.keep(slot, 200, "", BODY)
    with pytest.raises(JournalError, match="given back"):
        await journal.sync(slot)


async def test_what_was_found_is_freed_like_any_other() -> None:
    """A slot from before the start is a slot."""
    disk = MemoryDisk()
    before = await opened(disk)
    before.keep(await before.begin(INTENT), 200, "", BODY)
    again = disk.after_kill()
    journal = await opened(again)
    await journal.free(journal.found()[0].slot)

    assert ([], 0) == (journal.found(), journal.slots_in_use)
    assert [] == await after_kill(again)


async def test_what_was_begun_since_is_found_too() -> None:
    """For a keeper that is made while the journal is open; what is given back is not."""
    journal = await opened(MemoryDisk())
    slot, other = await journal.begin(INTENT), await journal.begin(replace(INTENT, grant="other"))
    assert [("questrade", None), ("other", None)] == seen(journal)

    journal.keep(slot, 200, "text/plain", BODY, 1.8e9)
    await journal.free(other)
    assert [Found(slot, INTENT, Answer(200, "text/plain", BODY, 1.8e9))] == journal.found()


@pytest.mark.parametrize("call", ["pwrite", "datasync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
async def test_an_intent_that_fails_allows_no_spend(call: str, number: int) -> None:
    """The error says so, the slot is not left in use, and the next try takes another place and works."""
    disk = MemoryDisk()
    journal = await opened(disk)
    disk.fail(call, number)

    with pytest.raises(JournalError, match=os.strerror(number)):
        await journal.begin(INTENT)
    assert (0, []) == (journal.slots_in_use, await after_kill(disk))
    await journal.begin(replace(INTENT, grant="next"))
    assert {(("next", None),)} == await after_power_loss(disk)


async def test_an_intent_that_does_not_fit_is_refused() -> None:
    """A grant's name of 5000 letters is no crash."""
    journal = await opened(MemoryDisk())

    with pytest.raises(JournalError, match="do not fit"):
        await journal.begin(replace(INTENT, grant="x" * 5000))
    assert 0 == journal.slots_in_use


@pytest.mark.parametrize("call", ["pwrite", "datasync"])
async def test_an_answer_that_fails_goes_to_another_place(call: str) -> None:
    """Keep and sync again: intent and answer are whole and durable elsewhere, found once, and freed as one."""
    disk = MemoryDisk()
    journal = await opened(disk)
    slot = await journal.begin(INTENT)
    disk.fail(call, errno.EIO)
    with pytest.raises(JournalError, match="Input/output"):
        await keep_and_sync(journal, slot)
    with pytest.raises(JournalError):
        await journal.sync(slot)

    journal.keep(slot, 200, "", BODY)
    await journal.sync(slot)

    assert {(("questrade", BODY),)} == await after_power_loss(disk)
    assert 1 == journal.slots_in_use
    again = disk.after_kill()
    restarted = await opened(again)
    await restarted.free(restarted.found()[0].slot)
    assert [] == await after_kill(again)
    await journal.free(slot)
    assert [] == await after_kill(disk)


async def test_a_failed_sync_is_not_made_good_by_the_next() -> None:
    """One grant's failed sync may have lost the answer of another: both are told, both write again."""
    disk = MemoryDisk()
    journal = await opened(disk)
    slots = [await journal.begin(replace(INTENT, grant=name)) for name in ("a", "b")]
    for slot in slots:
        journal.keep(slot, 200, "", slot.intent.grant.encode())
    disk.fail("datasync", errno.EIO)
    for slot in slots:
        with pytest.raises(JournalError):
            await journal.sync(slot)

    for slot in slots:
        journal.keep(slot, 200, "", slot.intent.grant.encode())
        await journal.sync(slot)
    (outcome,) = await after_power_loss(disk)
    assert {("a", b"a"), ("b", b"b")} == set(outcome)


async def test_a_disk_that_fails_for_long_uses_up_no_slots() -> None:
    """200 failed intents later the journal works as before: doubtful places are taken when no other is left."""
    disk = MemoryDisk()
    journal = await opened(disk)
    disk.fail("pwrite", errno.EROFS, times=10_000)
    for _ in range(200):
        with pytest.raises(JournalError):
            await journal.begin(INTENT)
    disk.heal()
    await journal.begin(INTENT)

    assert {(("questrade", None),)} == await after_power_loss(disk)


async def test_short_writes_lose_nothing() -> None:
    """A disk that takes 700 bytes at a time."""
    disk = MemoryDisk()
    journal = await opened(disk)
    disk.short = 700
    slot = await journal.begin(INTENT)
    journal.keep(slot, 200, "", BODY)

    assert [("questrade", BODY)] == await after_kill(disk)


async def test_a_write_that_breaks_off_leaves_the_intent() -> None:
    """A disk that takes a part of the answer and then fails."""
    disk = MemoryDisk()
    journal = await opened(disk)
    slot = await journal.begin(INTENT)
    disk.short = 512
    disk.fail("pwrite", errno.EIO, after=3)
    with pytest.raises(JournalError):
        journal.keep(slot, 200, "", BODY)

    assert [("questrade", None)] == await after_kill(disk)


async def test_the_journal_grows_before_it_is_full() -> None:
    """When half are taken, 64 more are written in full, and they are there after a power loss."""
    disk = MemoryDisk()
    journal = await opened(disk)
    for number in range(33):
        await journal.begin(replace(INTENT, grant=str(number)))

    assert 128 == journal.slots
    assert {33} == {len(found) for found in await after_power_loss(disk)}
    assert 128 == (await opened(disk.after_kill())).slots


async def test_a_full_disk_stops_growing_first_and_spending_last() -> None:
    """Without room to grow, all 64 slots are used; then nothing may be spent until one is free."""
    disk = MemoryDisk()
    journal = await opened(disk)
    slots = [await journal.begin(INTENT) for _ in range(32)]
    for _ in range(32):
        disk.fail("pwrite", errno.ENOSPC)
        slots.append(await journal.begin(INTENT))
    disk.fail("pwrite", errno.ENOSPC)
    with pytest.raises(JournalError, match="all 64 slots"):
        await journal.begin(INTENT)
    disk.heal()
    disk.fail("pwrite", errno.ENOSPC, after=1)

    await journal.free(slots[0])
    assert 64 == len({(await journal.begin(INTENT)).use, *(slot.use for slot in slots[1:])})


async def test_a_long_body_is_cut_and_an_odd_type_is_kept_short() -> None:
    """What fits is kept: a refresh token at the start of a huge answer is not lost to its size."""
    disk = MemoryDisk()
    journal = await opened(disk)
    slot = await journal.begin(INTENT)
    journal.keep(slot, 200, "ü" * 500, BODY + b" " * 20_000)

    answer = (await opened(disk.after_kill())).found()[0].answer
    assert answer is not None
    assert (11 * 1024, True, "?" * 100) == (len(answer.body), answer.body.startswith(BODY), answer.content_type)


async def test_slow_syncs_are_shared_and_leave_the_loop_free() -> None:
    """64 intents at once on a disk that takes 5 ms: far less than 64 syncs in a row, and the loop ticks meanwhile."""
    disk = MemoryDisk()
    journal = await opened(disk)
    disk.sync_seconds = 0.005
    before, ticks, start = disk.calls["datasync"], 0, time.perf_counter()
    work = asyncio.gather(*(journal.begin(replace(INTENT, grant=str(number))) for number in range(64)))
    while not work.done():
        await asyncio.sleep(0.001)
        ticks += 1
    await work

    assert disk.calls["datasync"] - before < 32
    assert time.perf_counter() - start < 0.32
    assert ticks >= 3


async def test_the_commit_number_only_rises() -> None:
    """It is durable when it was told, a lower one is ignored, and a failed write keeps the last."""
    disk = MemoryDisk()
    journal = await opened(disk)
    await journal.raise_commit(5)
    await journal.raise_commit(4)
    assert {5} == {(await opened(left)).commit for left in disk.after_power_loss()}

    disk.fail("datasync", errno.EIO)
    with pytest.raises(JournalError, match="header"):
        await journal.raise_commit(6)
    assert 5 == journal.commit
    assert {5, 6} >= {(await opened(left)).commit for left in disk.after_power_loss()}
    await journal.raise_commit(7)
    assert {7} == {(await opened(left)).commit for left in disk.after_power_loss()}


async def test_the_commit_number_can_be_set_back() -> None:
    """Durably, once an older store is known for what it is; from there it rises again. A failed write keeps it."""
    disk = MemoryDisk()
    journal = await opened(disk)
    await journal.raise_commit(9)
    await journal.set_commit(4)
    assert {4} == {(await opened(left)).commit for left in disk.after_power_loss()}

    disk.fail("pwrite", errno.ENOSPC)
    with pytest.raises(JournalError, match="header"):
        await journal.set_commit(2)
    assert 4 == journal.commit
    calls = disk.calls["pwrite"]
    await journal.set_commit(4)
    assert calls == disk.calls["pwrite"]
    await journal.raise_commit(3)
    await journal.raise_commit(5)
    assert {5} == {(await opened(left)).commit for left in disk.after_power_loss()}


async def test_a_slot_that_cannot_be_read_is_used_last() -> None:
    """What is left of it may be all that is left of a token: other slots are taken as long as there are any."""
    disk = MemoryDisk()
    journal = await opened(disk)
    journal.keep(await journal.begin(INTENT), 200, "", BODY)
    disk.damage(PATH, 16384 + 100, b"\xff\xff")
    again = await opened(disk.after_kill())
    left = again._files.pread(again._file._descriptor, 16384, 16384)
    taken = [await again.begin(replace(INTENT, grant=f"g{number}")) for number in range(60)]

    assert (1, 60, 128) == (again.unreadable, len(taken), again.slots)
    assert left == again._files.pread(again._file._descriptor, 16384, 16384)


async def test_damage_costs_one_slot_and_no_crash() -> None:
    """Any byte of a slot may rot: the others are found, and the start-up does not fail."""
    disk = MemoryDisk()
    journal = await opened(disk)
    for name in ("a", "b"):
        journal.keep(await journal.begin(replace(INTENT, grant=name)), 200, "", name.encode())
    for offset in (0, 5, 60, 4000, 4096 + 5, 4096 + 6000):
        rotten = disk.after_kill()
        byte = rotten.content(PATH)[16384 + offset]
        rotten.damage(PATH, 16384 + offset, bytes((byte ^ 1,)))
        again = await opened(rotten)

        assert ([] if offset < 4096 else [("a", None)]) == seen(again)[:-1]
        assert ("b", b"b") == seen(again)[-1]
        assert int(offset < 4096) == again.unreadable


async def test_a_cancelled_begin_uses_no_slot() -> None:
    """And its place is not handed out again, since the write may still be under way."""
    disk = MemoryDisk()
    journal = await opened(disk)
    disk.sync_seconds = 0.05
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(journal.begin(INTENT), 0.01)
    disk.sync_seconds = 0

    assert 0 == journal.slots_in_use
    slot = await journal.begin(replace(INTENT, grant="next"))
    assert [slot] == [item.slot for item in (await opened(disk.after_kill())).found() if item.intent.grant == "next"]


async def test_resealing_needs_both_keys_once() -> None:
    """Open slots go along, and the journal goes on working; the old key opens nothing any more."""
    disk = MemoryDisk()
    journal = await opened(disk)
    journal.keep(await journal.begin(INTENT), 200, "", BODY)
    await journal.reseal(NEW)
    later = await journal.begin(replace(INTENT, grant="later"))
    await journal.close()

    again = await Journal.open(PATH, NEW, files=disk)
    assert [("questrade", BODY), ("later", None)] == seen(again)
    assert later in [item.slot for item in again.found()]
    await again.close()
    with pytest.raises(WrongKey):
        await opened(disk)


async def test_a_failed_resealing_leaves_the_old_journal() -> None:
    """The disk is full: a JournalError, and all is as before."""
    disk = MemoryDisk()
    journal = await opened(disk)
    disk.fail("pwrite", errno.ENOSPC)
    with pytest.raises(JournalError, match="No space"):
        await journal.reseal(NEW)
    await journal.begin(INTENT)
    await journal.close()

    assert [("questrade", None)] == seen(await opened(disk))


async def test_an_error_names_the_file_and_no_secret() -> None:
    """The path is in every message; bodies stay out of messages and representations."""
    disk = MemoryDisk()
    journal = await opened(disk)
    slot = await journal.begin(INTENT)
    disk.fail("pwrite", errno.EIO)
    with pytest.raises(JournalError) as caught:
        journal.keep(slot, 200, "", BODY)
    assert str(PATH) in str(caught.value)
    assert "canary" not in str(caught.value) + repr(caught.value)
    assert "canary" not in repr(Found(slot, INTENT, Answer(200, "", BODY)))


@pytest.mark.parametrize("call", ["lock", "open", "pread", "create"])
async def test_a_disk_that_fails_at_the_start_is_a_journal_error(call: str) -> None:
    """And the lock is given up."""
    disk = MemoryDisk()
    if call == "pread":
        await (await opened(disk)).close()
    disk.fail(call, errno.EIO)
    with pytest.raises(JournalError, match="cannot be opened"):
        await opened(disk)

    await opened(disk)


async def test_an_intent_of_a_newer_version_is_refused() -> None:
    """What this version does not understand it must not throw away."""
    disk = MemoryDisk()
    await (await opened(disk)).close()
    JournalFile.open(PATH, SEALER, disk, "").write_intent(0, 1, {**asdict(INTENT), "novelty": 1})

    with pytest.raises(Foreign, match="newer bearerd"):
        await opened(disk)


# -- on real files ----------------------------------------------------------------------------------------------------


async def test_the_journal_is_private(state_dir: Path) -> None:
    """Made under umask 0, journal and lock file are 0600."""
    old = os.umask(0)
    try:
        journal = await Journal.open(state_dir / "journal", SEALER)
    finally:
        os.umask(old)
    await journal.close()

    assert {0o600} == {path.stat().st_mode & 0o777 for path in state_dir.iterdir()}
    assert {"journal", "journal.lock"} == {path.name for path in state_dir.iterdir()}


async def test_a_looser_journal_is_refused(state_dir: Path) -> None:
    """0644 is refused with the command that fixes it."""
    path = state_dir / "journal"
    await (await Journal.open(path, SEALER)).close()
    path.chmod(0o644)

    with pytest.raises(UnsafeFile, match=f"chmod 600 {path}"):
        await Journal.open(path, SEALER)


async def test_a_second_holder_is_told_who_has_the_lock(state_dir: Path) -> None:
    """Even within one process; closing gives the lock up, twice is fine."""
    path = state_dir / "journal"
    first = await Journal.open(path, SEALER)
    with pytest.raises(StoreLocked, match=f"in use by process {os.getpid()}") as caught:
        await Journal.open(path, SEALER)
    assert os.getpid() == caught.value.holder_pid
    await first.close()
    await first.close()

    await (await Journal.open(path, SEALER)).close()


async def test_a_file_of_something_else_is_damaged(state_dir: Path) -> None:
    """It is named and left alone."""
    path = state_dir / "journal"
    path.touch(0o600)
    path.write_bytes(b"something else" * 1000)

    with pytest.raises(Damaged, match=str(path)):
        await Journal.open(path, SEALER)
    assert b"something else" * 1000 == path.read_bytes()


async def test_finishing_a_rekey_is_harmless_twice(state_dir: Path) -> None:
    """No journal, the old key, the new key: afterwards it is the new key, if there is a journal at all."""
    path = state_dir / "journal"
    await reseal(path, SEALER, NEW)
    assert not path.exists()
    journal = await Journal.open(path, SEALER)
    await journal.begin(INTENT)
    await journal.close()
    await reseal(path, SEALER, NEW)
    await reseal(path, SEALER, NEW)

    again = await Journal.open(path, NEW)
    assert [("questrade", None)] == seen(again)
    await again.close()


def test_a_boot_has_one_name() -> None:
    """The same as long as the machine runs."""
    assert boot_id() == boot_id()
    assert sys.platform != "linux" or 36 == len(boot_id())


def test_a_slot_says_what_it_is_for() -> None:
    """Two slots of the same intent are told apart by their use number."""
    assert Slot(1, INTENT) != Slot(2, INTENT)


VICTIM = """
import asyncio, os, signal, sys
from pathlib import Path
from proxy.store.files import SystemFiles
from proxy.store.sealing import Sealer
from proxy.tokens.journal import Intent, Journal

class NeverSynced(SystemFiles):
    def datasync(self, descriptor):
        pass

async def main():
    journal = await Journal.open(Path(sys.argv[1]), Sealer(bytes(range(32)), "store-1"), files=NeverSynced())
    for number in range(10**6):
        slot = await journal.begin(Intent("g", number, "l", "h", 1, False, 0.0, "b"))
        journal.keep(slot, 200, "", b"answer %d" % number)
        os.write(1, b"%d\\n" % number)
        if number >= int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        if number % 3:
            await journal.free(slot)

asyncio.run(main())
"""


@pytest.mark.parametrize("last", [0, 1, 7])
async def test_a_killed_process_leaves_every_answer_that_it_kept(state_dir: Path, last: int) -> None:
    """kill -9 right after `keep` returned, in a process that never syncs: all answers are there, the lock is free."""
    path = state_dir / "journal"
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", VICTIM, str(path), str(last)], stdout=subprocess.PIPE, check=False
    )
    assert -signal.SIGKILL == done.returncode

    journal = await Journal.open(path, SEALER, files=SYSTEM_FILES)
    found = {item.intent.generation: item.answer and item.answer.body for item in journal.found()}
    await journal.close()
    assert {number: b"answer %d" % number for number in {*range(0, last + 1, 3), last}} == found


async def test_a_kill_at_any_moment_leaves_a_journal_that_opens(state_dir: Path) -> None:
    """kill -9 from outside at arbitrary times: whatever was acknowledged as kept and not freed is found."""
    path = state_dir / "journal"
    for delay in (0.0, 0.003, 0.01):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", VICTIM, str(path), "1000000", stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        await process.stdout.readline()
        await asyncio.sleep(delay)
        process.kill()
        rest = (await process.stdout.read()).split()
        await process.wait()
        last = int(rest[-1]) if rest else 0
        journal = await Journal.open(path, SEALER)
        found = {item.intent.generation: item.answer for item in journal.found()}
        kept = [number for number in range(last + 1) if number % 3 == 0]

        assert [number for number in kept if found.get(number) is None] == []
        for item in journal.found():
            await journal.free(item.slot)
        await journal.close()
