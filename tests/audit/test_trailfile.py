"""The files of a trail: their names, what a start finds in them, and how they are added to."""

import errno
from pathlib import Path

import pytest

from proxy.audit.chain import Chain, End, Keys
from proxy.audit.trailfile import Found, Mark, TrailFile, first_of, name_of, opening, recover
from proxy.store.disk import MemoryDisk
from proxy.store.files import SystemFiles

KEYS = Keys(b"s" * 32, "one")
WHERE = Path("/state/audit/one")


def file_of(chain: Chain, count: int) -> bytes:
    """A file with an opening and that many more records."""
    head = chain.add(f'"time":5.5,"kind":"opened","after":"{chain.link}","install":"one"')
    return head + b"".join(chain.add('"kind":"call"') for _ in range(count))


def disk_with(*files: bytes) -> MemoryDisk:
    """Files under the names of their first records."""
    disk = MemoryDisk()
    for data in files:
        first = int(data.split(b",")[0].split(b":")[1])
        TrailFile(WHERE, disk, 0, 0).append(first, data)
    return disk


def mark_at(data: bytes, first: int, count: int) -> Mark:
    """The note after that many of a file's records."""
    whole = b"".join(data.splitlines(keepends=True)[:count])
    return Mark(first + count - 1, whole[-67:-3].decode(), first, len(whole))


def test_names() -> None:
    """By the number of the first record, so that they sort; other files are none of a trail."""
    assert "000000000042.jsonl" == name_of(42)
    assert [42, None, None, None] == [
        first_of(name) for name in ("000000000042.jsonl", "000000000042.jsonl.draft", "42.jsonl", "notes")
    ]


@pytest.mark.parametrize("data", [b"", b"{}\n", b'{"after":1}\n', b"[]\n", b"\xff\xfe\n", b'{"after":"x"}'])
def test_what_does_not_open_a_file(data: bytes) -> None:
    """Whatever it is, nothing is known of it then."""
    assert {} == opening(data)


def test_a_start_finds_the_end() -> None:
    """Of the last file; with the note of an end it reads only what came after that, and finds the same."""
    chain = Chain(KEYS, KEYS.start)
    first, second = file_of(chain, 3), file_of(chain, 2)
    found = Found(End(7, chain.link), 5, len(second), 5.5)
    assert found == recover(disk_with(first, second), WHERE, KEYS, None)
    for count in (1, 2, 3):
        assert found == recover(disk_with(first, second), WHERE, KEYS, mark_at(second, 5, count))
    assert found == recover(disk_with(first, second), WHERE, KEYS, mark_at(first, 1, 4))
    assert Found(KEYS.start) == recover(MemoryDisk(), WHERE, KEYS, None)


@pytest.mark.parametrize("rest", [b"{", b'{"seq":5,"kind":"call"}\n', b"\0" * 5000, b"\n\n"])
def test_what_was_torn_begins_a_new_file(rest: bytes) -> None:
    """It stays as it was found; where, how long, and its digest are told."""
    data = file_of(Chain(KEYS, KEYS.start), 3)
    disk = disk_with(data + rest)
    found = recover(disk, WHERE, KEYS, mark_at(data, 1, 2))
    assert found.wrong is not None
    assert (4, 0, len(data), len(rest)) == (
        found.end.seq, found.file, found.wrong["torn"]["from"], found.wrong["torn"]["bytes"],
    )  # fmt: skip
    assert data + rest == disk.content(WHERE / name_of(1))


def test_a_damaged_record_before_the_note_is_noticed() -> None:
    """The link at the note's place is still there, but a record after it is not; and if the note's own is changed."""
    data = file_of(Chain(KEYS, KEYS.start), 5)
    rows = data.splitlines(keepends=True)
    disk = disk_with(data)
    disk.damage(WHERE / name_of(1), len(b"".join(rows[:4])) + 10, b"#")
    assert 4 == recover(disk, WHERE, KEYS, mark_at(data, 1, 3)).end.seq
    changed = disk_with(data)
    changed.damage(WHERE / name_of(1), len(data) - 20, b"#")
    found = recover(changed, WHERE, KEYS, mark_at(data, 1, 6))
    assert {"lost": [6, 6]}.items() <= dict(found.wrong or {}).items()
    assert 6 == found.end.seq, "the chain goes on after what was noted"


def test_files_without_a_record_are_put_aside() -> None:
    """Under a name that is free; the file before them is gone on from."""
    chain = Chain(KEYS, KEYS.start)
    first = file_of(chain, 1)
    disk = disk_with(first)
    disk.create(WHERE / name_of(3))
    assert 2 == recover(disk, WHERE, KEYS, None).end.seq
    disk.create(WHERE / name_of(3))
    found = recover(disk, WHERE, KEYS, None)
    assert ["000000000001.jsonl", "000000000003.jsonl.damaged-1", "000000000003.jsonl.damaged-2"] == disk.names(WHERE)
    assert {"damaged": ["000000000003.jsonl.damaged-2"]} == found.wrong


def test_a_file_is_private_and_whole_before_it_has_its_name(tmp_path: Path) -> None:
    """On a real disk: directories 0700, files 0600; a draft that a kill left is written over."""
    where, files = tmp_path / "audit/one", SystemFiles()
    assert [] == files.names(where)
    (where / (name_of(1) + ".draft")).write_bytes(b"left behind")
    (where / (name_of(1) + ".draft")).chmod(0o600)
    file = TrailFile(where, files, 0, 0)
    file.append(1, b"one\n")
    file.append(1, b"two\n")
    file.close()
    file.close()
    assert b"one\ntwo\n" == (where / name_of(1)).read_bytes()
    assert (0o700, 0o600) == (where.stat().st_mode & 0o777, (where / name_of(1)).stat().st_mode & 0o777)
    assert [name_of(1)] == files.names(where)


def test_a_failed_append_is_written_over() -> None:
    """Nothing of it counts, wherever it failed."""
    for call in ("pwrite", "datasync", "create", "replace"):
        disk = MemoryDisk()
        file = TrailFile(WHERE, disk, 0, 0)
        if call in ("pwrite", "datasync"):
            file.append(1, b"first\n")
        disk.fail(call, errno.ENOSPC)
        with pytest.raises(OSError, match="space"):
            file.append(1 if file.file else 2, b"second, which is long\n")
        file.append(file.file or 2, b"again\n")
        assert disk.content(WHERE / name_of(file.file)).startswith(b"first\nagain\n"[6 * (file.file == 2) :])
        assert file.size == len(b"first\nagain\n") - 6 * (file.file == 2)


def test_an_old_file_that_does_not_close_well_is_closed_once() -> None:
    """What it holds was synced; its number may belong to somebody else by the next time."""

    class Odd(MemoryDisk):
        def close(self, descriptor: int) -> None:
            closed.append(descriptor)
            raise OSError(errno.EIO, "Input/output error")

    closed: list[int] = []
    disk, chain = Odd(), Chain(KEYS, KEYS.start)
    file = TrailFile(WHERE, disk, 0, 0)
    for first in (1, 4, 7):
        file.append(first, file_of(chain, 2))
    file.close()
    file.close()
    assert (3, 3) == (len(closed), len(set(closed)))
    assert [name_of(first) for first in (1, 4, 7)] == disk.names(WHERE)
