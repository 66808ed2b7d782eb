"""What every store does, run against each of them. Leases and marks of shared ones: `test_contract_shared.py`."""

import asyncio

import pytest

from proxy.store import COMMITS, Changes, Held, Lease, Row, Store, StoreError, StoreLocked, WrongKey, pages


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


async def test_many_rows_are_discarded_at_once(store: Store) -> None:
    """Those at the generation that was given go, each by a commit of its own; the others stay, and are not named."""
    for name in ("bound/a", "bound/b", "bound/c", "client/d"):
        await store.swap(name, expected=0, sealed=b"1")
    await store.swap("bound/b", expected=1, sealed=b"2")
    before = await store.changes()

    wanted = {"bound/a": 1, "bound/b": 1, "bound/c": 1, "bound/x": 1, "bound/y": 0}
    assert {"bound/a", "bound/c"} == await store.discard(wanted)
    assert ["bound/b", "client/d"] == [row.name for row in await store.read_all("")]
    assert Changes(before + 2, [], ["bound/a", "bound/c"]) == await store.changed(before)
    assert set() == await store.discard(wanted)
    assert before + 2 == await store.changes()
    assert 1 == await store.swap("bound/a", expected=0, sealed=b"new")


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
    """A store takes the first key, which is a commit, the same one again, which is none, and no other."""
    assert store.key_id is None
    await store.adopt_key("k1")
    assert 1 == await store.changes()
    await store.adopt_key("k1")
    assert 1 == await store.changes()

    with pytest.raises(WrongKey, match="k1"):
        await store.adopt_key("k2")
    assert "k1" == store.key_id


async def test_another_handle_sees_what_was_committed(pair: tuple[Store, Store]) -> None:
    """Rows and numbers are those of the store, not of the handle that asks."""
    ours, theirs = pair
    await ours.swap("grant/a", expected=0, sealed=b"one")

    assert Row("grant/a", 1, b"one") == await theirs.read("grant/a")
    assert 2 == await theirs.swap("grant/a", expected=1, sealed=b"two")
    assert await ours.swap("grant/a", expected=1, sealed=b"late") is None
    assert 2 == await ours.changes()
    assert (ours.store_id, ours.shared, ours.place) == (theirs.store_id, theirs.shared, theirs.place)
    assert ours.place


async def test_a_new_key_of_another_handle_stops_our_writes(pair: tuple[Store, Store]) -> None:
    """A value that is sealed with the old key must not get in after the key was changed, and no token be spent."""
    ours, theirs = pair
    await ours.swap("grant/a", expected=0, sealed=b"1")
    lease = await ours.lease("grant/a", "me", 60)
    assert isinstance(lease, Lease)
    await theirs.rewrite(lambda row: row.sealed, "new")

    for call in (
        ours.swap("grant/a", expected=1, sealed=b"2"),
        ours.rewrite(lambda row: row.sealed, "newer"),
        ours.mark(lease, expected=1, seconds=30),
    ):
        with pytest.raises(StoreError, match="new master key"):
            await call
    assert [Row("grant/a", 1, b"1")] == await theirs.read_all("")


async def test_of_two_swaps_at_once_one_gets_in(pair: tuple[Store, Store]) -> None:
    """Ten writers that have read the same generation: one moves it."""
    await pair[0].swap("grant/a", expected=0, sealed=b"one")
    calls = [pair[turn % 2].swap("grant/a", expected=1, sealed=b"%d" % turn) for turn in range(10)]

    assert [2] == [moved for moved in await asyncio.gather(*calls) if moved is not None]
    assert 2 == await pair[0].changes()


async def test_rows_come_page_by_page(store: Store) -> None:
    """Each page starts after the last name of the one before; a name that is the prefix itself is in the first."""
    names = ["grant/", "grant/a", "grant/b", "grant/c", "grant/c/1", "grant/é", "other"]
    for name in reversed(names):
        await store.swap(name, expected=0, sealed=b"1")

    found = [[row.name for row in rows] async for rows in pages(store, "grant/", 2)]
    assert [["grant/", "grant/a"], ["grant/b", "grant/c"], ["grant/c/1", "grant/é"]] == found
    assert [] == await store.read_all("grant/", limit=0)
    assert ["grant/é"] == [row.name for row in await store.read_all("grant/", after="grant/d")]
    assert 6 == len(await store.read_all("grant/", after="a"))
    assert [] == await store.read_all("grant/", after="other")


async def test_changes_name_rows_and_deletions_after_a_number(store: Store) -> None:
    """A row is there as it is now, once; one that is gone by its name; what was there before is not."""
    await store.swap("old", expected=0, sealed=b"1")
    since = await store.changes()
    for generation, value in enumerate((b"1", b"2", b"3")):
        await store.swap("a", expected=generation, sealed=value)
    await store.swap("b", expected=0, sealed=b"1")
    await store.swap("b", expected=1, sealed=None)

    assert Changes(since + 5, [Row("a", 3, b"3")], ["b"]) == await store.changed(since)
    assert Changes(since + 5, [], ["b"]) == await store.changed(since + 4)
    assert Changes(since + 5, [], []) == await store.changed(since + 5)
    assert {"old", "a"} == {row.name for row in (await store.changed(0)).rows}


async def test_a_name_that_comes_back_is_no_longer_gone(store: Store) -> None:
    """It counts from 1 again, and a watcher that saw neither change is told of the row alone."""
    await store.swap("b", expected=0, sealed=b"1")
    await store.swap("b", expected=1, sealed=None)
    await store.swap("b", expected=0, sealed=b"new")

    assert Changes(3, [Row("b", 1, b"new")], []) == await store.changed(0)
    await store.swap("b", expected=1, sealed=None)
    assert Changes(4, [], ["b"]) == await store.changed(3)


async def test_changes_ahead_of_the_store_are_none(store: Store) -> None:
    """Whoever has seen more than the store has learns its number: it was set back."""
    await store.swap("a", expected=0, sealed=b"1")

    assert Changes(1, [], []) == await store.changed(7)


async def test_leases_and_missed_swaps_are_no_changes(store: Store) -> None:
    """Only what was written is told, and marks say nothing that lasts."""
    await store.swap("grant/a", expected=0, sealed=b"1")
    since = await store.changes()
    lease = await store.lease("grant/a", "me", 60)
    assert isinstance(lease, Lease)
    assert await store.mark(lease, expected=1, seconds=30)
    await store.swap("grant/a", expected=5, sealed=b"2")
    await store.unmark(lease)
    await store.release(lease)

    assert Changes(since, [], []) == await store.changed(since)


async def test_a_rewrite_changes_every_row(store: Store) -> None:
    """All of them have new values, and the extra one is there: one commit."""
    await store.swap("a", expected=0, sealed=b"1")
    await store.swap("x", expected=0, sealed=b"1")
    await store.swap("x", expected=1, sealed=None)
    since = await store.changes()
    await store.rewrite(lambda row: row.sealed + b"!", "new", Row("x", 1, b"x"))

    changed = await store.changed(since)
    assert (since + 1, []) == (changed.number, changed.gone)
    assert {Row("a", 1, b"1!"), Row("x", 1, b"x")} == set(changed.rows)


async def test_a_rewrite_keeps_the_row_that_its_extra_one_would_replace(store: Store) -> None:
    """A left-over of an earlier rewrite is not lost: nothing is written."""
    await store.swap("x", expected=0, sealed=b"1")

    with pytest.raises(StoreError, match="'x'"):
        await store.rewrite(lambda row: row.sealed + b"!", "new", Row("x", 1, b"x"))
    assert ([Row("x", 1, b"1")], 1) == (await store.read_all(""), await store.changes())


async def test_a_long_absence_is_caught_up_in_steps(store: Store) -> None:
    """At most 1,000 commits an answer; taken one after the other they lead to the present, and miss nothing."""
    present: dict[str, bytes] = {}
    for number in range(COMMITS + 50):
        name, value = f"n{number % 400:03d}", b"%d" % number
        generation = number // 400
        await store.swap(name, expected=generation, sealed=value)
        present[name] = value
    await store.swap("n399", expected=2, sealed=None)
    del present["n399"]

    first = await store.changed(0)
    assert COMMITS == first.number
    seen = {row.name: row.sealed for row in first.rows}
    second = await store.changed(first.number)
    assert COMMITS + 51 == second.number == await store.changes()
    seen |= {row.name: row.sealed for row in second.rows}
    assert (present, ["n399"]) == (seen, second.gone)
    assert Changes(second.number, [], []) == await store.changed(second.number)


async def test_a_lease_is_granted_to_the_only_process(alone: Store) -> None:
    """Embedded stores grant every lease: the lock of the journal keeps others away."""
    assert not alone.shared
    for holder in ("me", "you"):
        lease = await alone.lease("grant/a", holder, 60)
        assert Lease("grant/a", holder) == lease
        assert not isinstance(lease, Held)
        await alone.release(lease)


async def test_a_mark_of_the_only_process_compares_the_generation(alone: Store) -> None:
    """Nothing is noted in the row, and nobody else can be spending."""
    lease = Lease("grant/a", "me")
    assert not await alone.mark(lease, expected=1, seconds=30)
    await alone.swap("grant/a", expected=0, sealed=b"one")

    assert await alone.mark(lease, expected=1, seconds=30)
    assert await alone.mark(Lease("grant/a", "you"), expected=1, seconds=30)
    assert not await alone.mark(lease, expected=2, seconds=30)
    await alone.unmark(lease)
    assert Row("grant/a", 1, b"one") == await alone.read("grant/a")


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
