"""The journal's file on a disk that breaks and loses its power."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.store import Damaged, Foreign, WrongKey
from proxy.store.disk import MemoryDisk
from proxy.store.sealing import Sealer
from proxy.tokens.journalfile import SLOT, START, STEP, JournalFile, Record

PATH = Path("/state/journal")
SEALER = Sealer(bytes(range(32)), "store-1")
RECORD = Record(5, 99, {"grant": "questrade"}, ({"status": 200}, b"body"))


def opened(disk: MemoryDisk, sealer: Sealer = SEALER) -> JournalFile:
    return JournalFile.open(PATH, sealer, disk, "install")


def test_a_new_file_is_written_in_full() -> None:
    """Every slot has its bytes before the file gets its name; the header says how many there are."""
    disk = MemoryDisk()
    file = opened(disk)

    assert START + STEP * SLOT == len(disk.content(PATH))
    assert ("install", 0, STEP) == (file.header.install_id, file.header.commit, file.header.slots)
    assert [] == list(file.read())


def test_a_file_is_whole_or_not_there_after_a_power_loss() -> None:
    """Making it goes through a draft that is durable before it is renamed."""
    disk = MemoryDisk()
    opened(disk)

    for left in disk.after_power_loss():
        assert START + STEP * SLOT == len(left.content(PATH))
        assert "install" == opened(left).header.install_id


@pytest.mark.parametrize("call", ["create", "pwrite", "datasync", "replace"])
def test_a_disk_that_fails_while_it_is_made_leaves_no_journal(call: str) -> None:
    """The error passes, and the next try makes a whole one."""
    disk = MemoryDisk()
    disk.fail(call, errno.ENOSPC)

    with pytest.raises(OSError, match="No space"):
        opened(disk)
    assert [] == list(opened(disk).read())


def test_a_record_is_read_back() -> None:
    """Intent and answer, by index and use."""
    file = opened(MemoryDisk())
    file.write_intent(5, 99, {"grant": "questrade"})
    assert [replace(RECORD, answer=None)] == list(file.read())

    file.write_answer(5, 99, {"status": 200}, b"body")
    assert [RECORD] == list(file.read())

    file.blank(5)
    assert [] == list(file.read())


def test_short_writes_are_completed() -> None:
    """A disk that takes 1000 bytes at a time still gets all of them."""
    disk = MemoryDisk()
    file = opened(disk)
    disk.short = 1000
    file.write_both(RECORD)

    assert [RECORD] == list(file.read())


def test_an_older_answer_is_not_the_answer_to_a_newer_intent() -> None:
    """A slot that is used again shows its new intent without the old answer."""
    file = opened(MemoryDisk())
    file.write_both(RECORD)
    file.write_intent(5, 100, {"grant": "other"})

    assert [Record(5, 100, {"grant": "other"}, None)] == list(file.read())


def test_damage_costs_one_slot() -> None:
    """A torn answer leaves its intent; a torn intent makes its slot free, and is counted."""
    disk = MemoryDisk()
    file = opened(disk)
    file.write_both(RECORD)
    file.write_both(replace(RECORD, index=6, use=100))
    disk.damage(PATH, START + 5 * SLOT + 8000, b"\xff\xff")
    disk.damage(PATH, START + 6 * SLOT + 100, b"\xff\xff")

    assert [replace(RECORD, answer=None)] == list(file.read())
    assert 1 == len(file.unreadable)


def test_headers_are_written_in_turns() -> None:
    """Whatever a power loss leaves of one header, the other one counts."""
    disk = MemoryDisk()
    file = opened(disk)
    for sequence in (1, 2):
        file.header = replace(file.header, commit=10 * sequence, sequence=sequence)
        file.write_header(file.header)
        seen = {opened(left).header.commit for left in disk.after_power_loss()}
        file.sync()

        assert {10 * (sequence - 1), 10 * sequence} == seen


def test_one_damaged_header_is_survived() -> None:
    """Each copy alone is enough; without both nothing is opened."""
    for copy in (0, 1):
        disk = MemoryDisk()
        opened(disk)
        disk.damage(PATH, copy * 4096 + 300, b"\xff\xff\xff\xff")
        assert "install" == opened(disk).header.install_id

    disk = MemoryDisk()
    opened(disk)
    for copy in (0, 1):
        disk.damage(PATH, copy * 4096 + 300, b"\xff\xff\xff\xff")
    with pytest.raises(Damaged, match=str(PATH)):
        opened(disk)


def test_a_wrong_key_and_another_store_name_the_file() -> None:
    """Neither is called damage, and the file is left as it is."""
    disk = MemoryDisk()
    opened(disk)
    before = disk.content(PATH)

    with pytest.raises(WrongKey, match=str(PATH)):
        opened(disk, Sealer(bytes(32), "store-1"))
    with pytest.raises(Foreign, match=str(PATH)):
        opened(disk, Sealer(bytes(range(32)), "store-2"))
    assert before == disk.content(PATH)


def test_a_truncated_file_is_damaged() -> None:
    """Fewer slots than the header counts: something cut the file."""
    disk = MemoryDisk()
    file = opened(disk)
    file.header = replace(file.header, slots=2 * STEP, sequence=1)
    file.write_header(file.header)

    with pytest.raises(Damaged, match="shorter"):
        opened(disk)


def test_more_slots_count_once_the_header_says_so() -> None:
    """Extending writes them in full; a file extended by a process that died is read as before."""
    disk = MemoryDisk()
    file = opened(disk)
    file.extend()
    assert STEP == opened(disk).header.slots

    file.header = replace(file.header, slots=2 * STEP, sequence=1)
    file.write_header(file.header)
    file.write_intent(2 * STEP - 1, 1, {"grant": "last"})
    assert [2 * STEP - 1] == [record.index for record in opened(disk).read()]


def test_resealing_keeps_everything_under_the_new_key() -> None:
    """Install id, commit number, intents and answers go along; the old key opens nothing any more."""
    disk = MemoryDisk()
    file = opened(disk)
    file.header = replace(file.header, commit=7, sequence=1)
    file.write_header(file.header)
    file.write_both(RECORD)
    file.write_intent(6, 100, {"grant": "other"})
    new = Sealer(b"n" * 32, "store-1")

    file.reseal(new)
    file.write_intent(7, 101, {"grant": "later"})

    again = opened(disk, new)
    assert ("install", 7) == (again.header.install_id, again.header.commit)
    assert [(5, b"body"), (6, None), (7, None)] == [(r.index, r.answer and r.answer[1]) for r in again.read()]
    with pytest.raises(WrongKey):
        opened(disk)


@pytest.mark.parametrize("call", ["create", "pwrite", "datasync", "replace"])
def test_a_failed_resealing_leaves_the_old_file(call: str) -> None:
    """Full disk in the middle: the old key still opens the journal, and the open file still works."""
    disk = MemoryDisk()
    file = opened(disk)
    file.write_both(RECORD)
    disk.fail(call, errno.ENOSPC)

    with pytest.raises(OSError, match="No space"):
        file.reseal(Sealer(b"n" * 32, "store-1"))
    assert [RECORD] == list(opened(disk).read())
    file.blank(5)
    assert [] == list(opened(disk).read())
