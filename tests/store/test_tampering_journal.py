"""A rotten journal, and slots in the wrong place: what was kept is found as it was, or not at all.

One bit is flipped at a time: in every byte, or in some of them in the fast form. A start reads the file and writes
nothing.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from proxy.store import Damaged, Foreign, WrongKey
from proxy.store.disk import MemoryDisk
from proxy.store.sealing import Sealer
from proxy.tokens.journal import Answer, Intent, Journal
from proxy.tokens.journalfile import SLOT, START

KEY = bytes(range(32))
JOURNAL = Path("/state/journal")
SEALER = Sealer(KEY, "store-1")
ANSWERED = Intent("answered", 3, "lineage", "ab" * 32, 1, False, 1.7e9, "boot")
BEGUN = Intent("begun", 1, "lineage", "cd" * 32, 1, False, 1.7e9, "boot")
ANSWER = Answer(200, "application/json", b'{"refresh_token": "new", "access_token": "a"}', 1.8e9)
Seen = dict[str, Answer | None]
WHOLE: Seen = {"answered": ANSWER, "begun": None}
# What stands before the sealed part of a header and of a slot's two regions.
HEADS = [
    *range(220), *range(4096, 4096 + 220), *range(START, START + 80), *range(START + 4096, START + 4096 + 80)
]  # fmt: skip


async def make_journal() -> MemoryDisk:
    """A journal that was told of two commits, with an answer in its first slot and an intent in its second."""
    disk = MemoryDisk()
    journal = await Journal.open(JOURNAL, SEALER, files=disk)
    await journal.raise_commit(5)
    await journal.raise_commit(6)
    slot = await journal.begin(ANSWERED)
    journal.keep(slot, ANSWER.status, ANSWER.content_type, ANSWER.body, ANSWER.received_wall)
    await journal.sync(slot)
    await journal.begin(BEGUN)
    await journal.close()
    return disk.after_kill()


async def look(disk: MemoryDisk) -> tuple[Seen, int, int]:
    """What a start finds: the slots, how many cannot be read, and the commit number."""
    journal = await Journal.open(JOURNAL, SEALER, files=disk)
    try:
        return {item.intent.grant: item.answer for item in journal.found()}, journal.unreadable, journal.commit
    finally:
        await journal.close()


def allowed(offset: int) -> list[tuple[Seen, int, int]]:
    """What may be found if a byte at `offset` is flipped. Never anything else in the place of what was kept."""
    slot, inside = divmod(offset - START, SLOT)
    if offset < START:
        return [(WHOLE, 0, 6), (WHOLE, 0, 5)]  # the other copy of the header counts
    if slot == 0 and inside < 4096:
        return [({"begun": None}, 1, 6)]
    if slot == 0:
        return [({"answered": None, "begun": None}, 0, 6)]
    if slot == 1 and inside < 4096:
        return [({"answered": ANSWER}, 1, 6)]
    return [(WHOLE, 0, 6), (WHOLE, 1, 6)]


async def flip_the_journal(flips: Iterable[tuple[int, int]]) -> Counter[str]:
    """What came of each flip."""
    disk = await make_journal()
    data = disk.content(JOURNAL)
    counts: Counter[str] = Counter()
    for offset, bit in flips:
        byte = bytes((data[offset] ^ (1 << bit),))
        disk.damage(JOURNAL, offset, byte)
        found = await look(disk)
        assert found in allowed(offset), (offset, byte)
        assert byte == disk.content(JOURNAL)[offset : offset + 1]
        disk.damage(JOURNAL, offset, data[offset : offset + 1])
        counts["tried"] += 1
        counts["harmless" if found == (WHOLE, 0, 6) else "noticed"] += 1
    assert data == disk.content(JOURNAL)
    return counts


async def test_a_flipped_bit_of_the_journal_costs_one_region_at_most() -> None:
    """Never another answer than the one that came, and never a crash. What cannot be read is counted, and left."""
    offsets = [*HEADS, *range(0, START + 3 * SLOT, 211), *range(START, START + 64 * SLOT, 4999)]
    counts = await flip_the_journal((offset, offset % 8) for offset in offsets)
    print(f"flips of the journal: {dict(counts)}")

    assert counts["noticed"] > 300
    assert counts["harmless"] > 300


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_every_byte_of_the_journal() -> None:
    """Header, two used slots and a free one, in full, and each bit of what heads them; some of the other free ones."""
    offsets = [*range(START + 3 * SLOT), *range(START + 3 * SLOT, START + 64 * SLOT, 997)]
    counts = await flip_the_journal(
        [*((offset, offset % 8) for offset in offsets), *((offset, bit) for offset in HEADS for bit in range(8))]
    )
    print(f"flips of the journal: {dict(counts)}")

    assert counts["tried"] > 65_000


@pytest.mark.parametrize("offset", [0, 8, 80, 81, 89, 121, 133, 2000, 4095])
async def test_a_journal_without_a_sound_header_is_refused(offset: int) -> None:
    """Both copies are rotten: nobody knows which slots count, nothing is written, and the message says which file."""
    disk = await make_journal()
    for copy in (0, 4096):
        byte = disk.content(JOURNAL)[copy + offset]
        disk.damage(JOURNAL, copy + offset, bytes((byte ^ 1,)))
    before = disk.content(JOURNAL)

    with pytest.raises((Damaged, WrongKey), match=f"^{JOURNAL}: "):
        await look(disk)
    assert before == disk.content(JOURNAL)


async def test_another_stores_journal_is_refused() -> None:
    """The same key and another store: told as what it is."""
    disk = await make_journal()
    before = disk.content(JOURNAL)

    with pytest.raises(Foreign, match="belongs to another store"):
        await Journal.open(JOURNAL, Sealer(KEY, "store-2"), files=disk)
    assert before == disk.content(JOURNAL)


@pytest.mark.parametrize(
    ("source", "target", "size", "expected"),
    [
        (0, 1, SLOT, ({"answered": ANSWER}, 1, 6)),
        (0, 1, 4096, ({"answered": ANSWER}, 1, 6)),
        (1, 0, 4096, ({"begun": None}, 1, 6)),
        (0, 2, SLOT, (WHOLE, 1, 6)),
    ],
    ids=["whole slot", "intent", "intent over an answered one", "into a free slot"],
)
async def test_a_slot_in_another_place_is_not_opened(
    source: int, target: int, size: int, expected: tuple[Seen, int, int]
) -> None:
    """Each region is sealed for its own place."""
    disk = await make_journal()
    start = START + source * SLOT
    disk.damage(JOURNAL, START + target * SLOT, disk.content(JOURNAL)[start : start + size])

    assert expected == await look(disk)


async def test_an_answer_to_another_use_is_not_opened() -> None:
    """The region of an older answer, brought back under a newer intent of the same slot."""
    disk = await make_journal()
    older = disk.content(JOURNAL)[START + 4096 : START + SLOT]
    journal = await Journal.open(JOURNAL, SEALER, files=disk)
    for item in journal.found():
        await journal.free(item.slot)
    await journal.begin(ANSWERED)
    await journal.close()
    disk.damage(JOURNAL, START + 4096, older)

    assert ({"answered": None}, 0, 6) == await look(disk)
