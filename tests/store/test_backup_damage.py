"""A backup that was altered, cut or mixed does not come back, and neither does one of another key or program."""

import asyncio
import os
import re
from itertools import pairwise
from pathlib import Path

import pytest

from proxy.store import (
    PAGE,
    RESTORING,
    Damaged,
    Foreign,
    StoreError,
    WrongKey,
)
from proxy.store.backup import Backup, back_up, restore
from proxy.store.memory import MemoryStore
from tests.store.backups import KEY, MADE, OTHER_KEY, brought_back, check, filled, parts


async def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    """Of a small backup each byte, one after the other: refused, and never with another error."""
    store, sealer = await filled(1)
    await back_up(store, sealer, tmp_path / "file", MADE)

    def flip_all() -> list[int]:
        data = (tmp_path / "file").read_bytes()
        unnoticed = []
        with (tmp_path / "file").open("r+b", buffering=0) as file:
            for place, byte in enumerate(data):
                os.pwrite(file.fileno(), bytes((byte ^ 1 << place % 8,)), place)
                try:
                    with Backup(tmp_path / "file") as backup:
                        backup.check(backup.sealer([KEY], "file:key"))
                    unnoticed.append(place)
                except (Damaged, WrongKey):
                    pass
                os.pwrite(file.fileno(), bytes((byte,)), place)
        assert check(data, tmp_path / "file").rows == 1
        return unnoticed

    assert [] == await asyncio.to_thread(flip_all)


async def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    """Behind each chunk, in the middle of each, and at each of the first and last bytes; likewise something added."""
    store, sealer = await filled(2 * PAGE + 1)
    await back_up(store, sealer, tmp_path / "file", MADE)

    def cut_all() -> None:
        data = (tmp_path / "file").read_bytes()
        whole = parts(data)
        assert 5 == len(whole)
        middles = [(start + end) // 2 for start, end in pairwise(whole)]
        for place in (*range(0, 300, 9), *whole[:-1], *middles, *range(len(data) - 9, len(data))):
            with pytest.raises((Damaged, Foreign)):
                check(data[:place], tmp_path / "altered")
        for more in (b"\0", data[whole[0] :], data):
            with pytest.raises(Damaged, match="behind its end"):
                check(data + more, tmp_path / "altered")

    await asyncio.to_thread(cut_all)


async def test_parts_in_another_order_or_of_another_backup_are_refused(tmp_path: Path) -> None:
    """Swapped, left out, doubled, or from a second backup of the very same store."""
    store, sealer = await filled(2 * PAGE)
    await back_up(store, sealer, tmp_path / "file", MADE)
    await back_up(store, sealer, tmp_path / "twin", MADE)

    def mix() -> None:
        one, two = (tmp_path / "file").read_bytes(), (tmp_path / "twin").read_bytes()
        a, b, c, d = parts(one)
        first, second, last = one[a:b], one[b:c], one[c:d]
        theirs = parts(two)
        mixtures = {
            "swapped": one[:a] + second + first + last,
            "left out": one[:a] + first + last,
            "doubled": one[:a] + first + first + second + last,
            "only the end": one[:a] + last,
            "part of the twin": one[:a] + two[theirs[0] : theirs[1]] + second + last,
            "head of the twin": two[: theirs[0]] + first + second + last,
            "end of the twin": one[:c] + two[theirs[2] :],
        }
        for data in mixtures.values():
            with pytest.raises(Damaged, match="altered, or is of another backup"):
                check(data, tmp_path / "altered")

    await asyncio.to_thread(mix)


async def test_the_wrong_key_says_which_is_needed(tmp_path: Path) -> None:
    """And which one is at hand; nothing is written."""
    store, sealer = await filled()
    await back_up(store, sealer, tmp_path / "file", MADE)
    target = MemoryStore()

    with pytest.raises(WrongKey, match=f"needs the master key {sealer.key_id}; the key from file:key is [0-9a-f]+"):
        await brought_back(tmp_path / "file", target, OTHER_KEY)
    assert {} == (await target.about()).rows


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no backup"),
        (b"SQLite format 3\0" + bytes(200), "is no backup"),
        (b'{"bearerd-backup": 2}\n', "newer bearerd"),
        (b'{"bearerd-backup": 1}\n', "altered"),
        (b"[]\n", "is no backup"),
        (b'{"bearerd-backup": 1, "store": "s", "key": "k", "made": 1.0,  "number": "n"}\n', "altered"),
    ],
    ids=["empty", "a database", "a later format", "too little", "no object", "written otherwise"],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    """Each with what is wrong with it."""
    with pytest.raises(Damaged, match=reason):
        check(content, tmp_path / "file")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A pipe does not hang us, and a missing file is named."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Foreign, match="not a regular file"):
        Backup(tmp_path / "pipe")
    with pytest.raises(StoreError, match=re.escape(f"{tmp_path}/none: No such file")):
        Backup(tmp_path / "none")


async def test_a_backup_that_changes_under_the_restore_does_not_come_into_use(tmp_path: Path) -> None:
    """What was checked is checked once more while it is written."""
    store, sealer = await filled(PAGE + 1)
    await back_up(store, sealer, tmp_path / "file", MADE)
    target = MemoryStore()

    def spoil() -> None:
        data = (tmp_path / "file").read_bytes()
        (tmp_path / "file").write_bytes(data[: parts(data)[2]])

    with await asyncio.to_thread(Backup, tmp_path / "file") as backup:
        summary = await asyncio.to_thread(backup.check, sealer)
        await asyncio.to_thread(spoil)
        with pytest.raises(Damaged, match="its end is missing"):
            await restore(backup, summary, sealer, target, lambda: asyncio.sleep(0))
    assert RESTORING == (await target.about()).state
