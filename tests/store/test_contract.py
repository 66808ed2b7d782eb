"""What every store does, run against each of them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.store import Held, Lease, Row, Store, StoreError, StoreLocked, WrongKey
from proxy.store.memory import MemoryStore
from proxy.store.sqlite import SQLiteStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else await SQLiteStore.open(tmp_path / "s" / "store.db")
    yield made
    await made.close()


async def test_a_written_row_is_read_back(store: Store) -> None:
    """A new row has generation 1."""
    assert 1 == await store.swap("grant/a", expected=0, sealed=b"one")
    assert Row("grant/a", 1, b"one") == await store.read("grant/a")


async def test_an_absent_row_is_none(store: Store) -> None:
    """Reading what is not there is no error."""
    assert await store.read("grant/a") is None


async def test_a_swap_moves_one_generation_on(store: Store) -> None:
    """Each write adds one to the generation and replaces the value."""
    await store.swap("grant/a", expected=0, sealed=b"one")

    assert 2 == await store.swap("grant/a", expected=1, sealed=b"two")
    assert Row("grant/a", 2, b"two") == await store.read("grant/a")


@pytest.mark.parametrize("expected", [0, 2])
async def test_a_swap_of_a_moved_row_writes_nothing(store: Store, expected: int) -> None:
    """Whoever expects another generation gets None and changes neither row nor commit number."""
    await store.swap("grant/a", expected=0, sealed=b"one")
    before = await store.changes()

    assert await store.swap("grant/a", expected=expected, sealed=b"other") is None
    assert await store.swap("grant/a", expected=expected, sealed=None) is None
    assert Row("grant/a", 1, b"one") == await store.read("grant/a")
    assert before == await store.changes()


async def test_a_delete_removes_the_row(store: Store) -> None:
    """Sealed None at the right generation deletes; the name may be used again."""
    await store.swap("client/bot/1", expected=0, sealed=b"one")

    assert 2 == await store.swap("client/bot/1", expected=1, sealed=None)
    assert await store.read("client/bot/1") is None
    assert 1 == await store.swap("client/bot/1", expected=0, sealed=b"new")


async def test_deleting_nothing_is_a_missed_swap(store: Store) -> None:
    """There is nothing to delete at generation 0."""
    assert await store.swap("client/bot/1", expected=0, sealed=None) is None


async def test_a_prefix_finds_its_rows_in_order(store: Store) -> None:
    """Wildcards of SQL mean nothing in a prefix, and neighbours are left out."""
    for name in ("grant/b", "grant/a", "grant_/x", "grantz", "client/a/1", "grant/é"):
        await store.swap(name, expected=0, sealed=name.encode())

    assert ["grant/a", "grant/b", "grant/é"] == [row.name for row in await store.read_all("grant/")]
    assert 6 == len(await store.read_all(""))
    assert [] == await store.read_all("grant%")


async def test_every_commit_raises_the_commit_number(store: Store) -> None:
    """Insert, update and delete count one each."""
    start = await store.changes()
    await store.swap("a", expected=0, sealed=b"1")
    await store.swap("a", expected=1, sealed=b"2")
    await store.swap("a", expected=2, sealed=None)

    assert start + 3 == await store.changes()


async def test_rewriting_replaces_values_and_keeps_generations(store: Store) -> None:
    """`rewrite` seals each row again, adds the extra one and sets the key id, in one commit."""
    await store.adopt_key("old")
    await store.swap("a", expected=0, sealed=b"1")
    await store.swap("b", expected=0, sealed=b"1")
    await store.swap("b", expected=1, sealed=b"2")
    before = await store.changes()

    count = await store.rewrite(lambda row: row.sealed + b"!", "new", Row("extra", 1, b"x"))

    assert 2 == count
    assert [Row("a", 1, b"1!"), Row("b", 2, b"2!"), Row("extra", 1, b"x")] == await store.read_all("")
    assert ("new", before + 1) == (store.key_id, await store.changes())


async def test_a_rewrite_that_fails_changes_nothing(store: Store) -> None:
    """An exception of the resealing function leaves every row as it was."""
    await store.swap("a", expected=0, sealed=b"1")
    await store.swap("b", expected=0, sealed=b"2")

    def reseal(row: Row) -> bytes:
        if row.name == "b":
            raise WrongKey("b")
        return b"changed"

    with pytest.raises(WrongKey):
        await store.rewrite(reseal, "new")
    assert [b"1", b"2"] == [row.sealed for row in await store.read_all("")]
    assert store.key_id is None


async def test_a_key_is_adopted_once(store: Store) -> None:
    """A store takes the first key, the same one again, and no other."""
    assert store.key_id is None
    await store.adopt_key("k1")
    await store.adopt_key("k1")

    with pytest.raises(WrongKey, match="k1"):
        await store.adopt_key("k2")
    assert "k1" == store.key_id


async def test_a_lease_is_granted_to_the_only_process(store: Store) -> None:
    """Embedded stores grant every lease: the lock of the journal keeps others away."""
    lease = await store.lease("grant/a", "me", 60)

    assert Lease("grant/a", "me") == lease
    assert not isinstance(lease, Held)
    await store.release(lease)


async def test_sealed_bytes_stay_out_of_repr(store: Store) -> None:
    """A row in a log line shows name and generation only."""
    await store.swap("a", expected=0, sealed=b"ciphertext")

    assert "ciphertext" not in repr(await store.read("a"))


async def test_closing_twice_is_fine(store: Store) -> None:
    """The second close does nothing."""
    await store.close()
    await store.close()


def test_a_locked_store_names_its_holder() -> None:
    """The process id is kept for the message and for `status`."""
    fault = StoreLocked("in use", 4711)

    assert (4711, "in use", True) == (fault.holder_pid, str(fault), isinstance(fault, StoreError))
