"""Whatever is done to a trail by somebody without the key is found, with file and line."""

import dataclasses
from collections.abc import Callable

import pytest

from proxy.audit import record as records
from proxy.audit.chain import Chain, Keys, members
from proxy.audit.kept import make_secret, mark_of
from proxy.audit.trailfile import Mark, name_of
from proxy.audit.verify import Fault, Findings, install_of, verify
from proxy.store.disk import MemoryDisk
from tests.audit.trails import DAY, INSTALL, HandClock, contents, opened, order, read, vault

Files = dict[int, bytes]


@dataclasses.dataclass(frozen=True)
class Written:
    """A trail of two files as it was written: 1 to 6, and 7 to 10, and the note of its end."""

    keys: Keys
    files: Files
    mark: Mark

    def verify(self, files: Files, *, running: bool = False) -> Findings:
        return verify(self.keys, files.items(), self.mark, running=running)


@pytest.fixture
async def written() -> Written:
    disk, clock, kept = MemoryDisk(), HandClock(), vault()
    async with opened(disk, kept, clock=clock) as trail:
        for _ in range(3):
            trail.put("call", records.call(read()))
        number = trail.put("intent", records.intent(order()))
        trail.put("outcome", records.outcome(order(intent=number, status=200, outcome="broker")))
        clock.wall += DAY
        for _ in range(3):
            trail.put("call", records.call(read()))
    keys = Keys(await make_secret(kept), INSTALL)
    mark = await mark_of(kept, keys.id)
    assert mark is not None
    found = Written(keys, await contents(disk, kept), mark)
    assert [1, 7] == list(found.files)
    return found


def lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


async def test_what_was_written_holds(written: Written) -> None:
    """Every record is counted; there is nothing to say."""
    assert Findings(records=10, first=1, last=10) == written.verify(written.files)
    assert INSTALL == install_of(written.files[1]) == install_of(written.files[7])
    assert "" == install_of(b"nothing")


@pytest.mark.parametrize(("number", "faults"), [(None, 0), (1, 0), (2, 1)])
def test_a_trail_of_a_newer_program_is_said_to_be_one(number: int | None, faults: int) -> None:
    """Its chain may hold, and its records still mean what is not known here. The first files had no number."""
    keys = Keys(bytes(32), INSTALL)
    head = {"time": 1.0, "kind": "opened", "after": keys.start.link, "install": INSTALL}
    data = Chain(keys, keys.start).add(members(head | ({} if number is None else {"format": number})))

    newer = Fault(name_of(1), 1, "a newer bearerd wrote it (format 2; this one knows 1): ask that one")
    assert [newer] * faults == verify(keys, [(1, data)], None).faults


async def test_every_changed_byte_is_found(written: Written) -> None:
    """In its line, or, where a line feed is gone, in that of the two that are glued together."""
    for first, data in written.files.items():
        for place in range(len(data)):
            changed = data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]
            found = written.verify(written.files | {first: changed})
            line = data[:place].count(b"\n") + 1
            assert found.faults, (first, place)
            assert (name_of(first), line) in {(fault.file, fault.line) for fault in found.faults} or (
                place == len(data) - 1  # the last line feed of all: the last record is not whole, and is missed
            ), (first, place, found.faults)


async def test_every_removed_moved_or_inserted_record_is_found(written: Written) -> None:
    """Each of them, at its place or right after it."""
    for first, data in written.files.items():
        rows = lines(data)
        for index in range(len(rows)):
            without = rows[:index] + rows[index + 1 :]
            assert written.verify(written.files | {first: b"".join(without)}).faults, ("removed", first, index)
            twice = rows[: index + 1] + rows[index:]
            found = written.verify(written.files | {first: b"".join(twice)}).faults
            assert (name_of(first), index + 2) == (found[0].file, found[0].line), ("inserted", first, index)
        for index in range(len(rows) - 1):
            moved = [*rows[:index], rows[index + 1], rows[index], *rows[index + 2 :]]
            found = written.verify(written.files | {first: b"".join(moved)}).faults
            assert (name_of(first), index + 1) == (found[0].file, found[0].line), ("moved", first, index)


async def test_every_cut_end_is_found(written: Written) -> None:
    """Wherever the last file is cut: the store has noted how far it went."""
    last = written.files[7]
    for cut in range(len(last)):
        found = written.verify(written.files | {7: last[:cut]})
        assert any("the store has noted" in fault.problem for fault in found.faults), cut


@pytest.mark.parametrize(
    ("change", "file", "line", "problem"),
    [
        (lambda files: {1: files[1]}, 1, 0, "records 7 to 10 are missing: the store has noted them"),
        (lambda files: {7: files[7]}, 7, 0, "records 1 to 6 are missing, and were not retired"),
        (lambda _files: {}, 1, 0, "all records are missing: the store has noted them"),
        (lambda files: {1: files[1], 5: files[7]}, 5, 1, "it does not follow on the file before"),
        (lambda files: {1: files[1], 9: files[7]}, 9, 1, "records 7 to 8 are missing"),
        (lambda files: files | {7: b"{}\n"}, 7, 1, "it does not begin with the record that every file begins with"),
        (lambda files: {1: b"".join(lines(files[1])[:-1]), 7: files[7]}, 7, 1, "records 6 to 6 are missing"),
    ],
    ids=["last file gone", "first file gone", "all gone", "renamed down", "renamed up", "emptied", "file cut"],
)
async def test_every_missing_file_is_found(
    written: Written, change: Callable[[Files], Files], file: int, line: int, problem: str
) -> None:
    """And files that are not what they are called."""
    faults = written.verify(change(written.files)).faults
    assert Fault(name_of(file), line, problem) in faults


async def test_another_servers_trail_does_not_stand_in(written: Written) -> None:
    """Of the same store, under a key of its own."""
    disk, kept = MemoryDisk(), vault()
    async with opened(disk, kept) as trail:
        trail.put("call", records.call(read()))
    other = await contents(disk, kept)
    assert written.verify(other).faults


async def test_a_record_under_a_number_that_the_store_knows_otherwise(written: Written) -> None:
    """A whole trail that was made anew, say with a key that was stolen later: the note does not fit."""
    mark = dataclasses.replace(written.mark, link="0" * 64)
    (fault,) = verify(written.keys, written.files.items(), mark).faults
    assert (name_of(7), 4) == (fault.file, fault.line)


async def test_an_intent_without_an_outcome_is_told(written: Written) -> None:
    """It is no fault: a kill did that, or the call is under way."""
    rows = lines(written.files[1])
    found = verify(written.keys, [(1, b"".join(rows[:5]))], None)
    assert ([5], []) == (found.unknown, found.faults)


async def test_a_last_line_that_is_being_written_is_no_fault(written: Written) -> None:
    """While a server runs; without one the next start closes it off."""
    more = written.files | {7: written.files[7] + b'{"seq":11,"ti'}
    assert ([], []) == ((found := written.verify(more, running=True)).faults, found.notes)
    found = written.verify(more)
    assert ([], 1) == (found.faults, len(found.notes))
    assert "not whole" in found.notes[0]


async def test_a_trail_that_nobody_has_noted_yet_holds(written: Written) -> None:
    """A server that was killed within its first second."""
    assert [] == verify(written.keys, written.files.items(), None).faults
