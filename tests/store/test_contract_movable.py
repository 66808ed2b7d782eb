"""What every store has to do so that its values can be brought elsewhere, or here from elsewhere."""

from typing import cast

import pytest

from proxy.store import COPYING, MOVING, RESTORING, Changes, Lease, Movable, Row, Store, StoreError

KEY = "0123456789abcdef"
ROWS = [Row("custody", 1, b"c"), Row("grant/a", 7, b"a"), Row("grant/b/ada", 1, b"b")]


@pytest.fixture
def ours(pair: tuple[Store, Store]) -> Movable:
    return cast("Movable", pair[0])


@pytest.fixture
def theirs(pair: tuple[Store, Store]) -> Movable:
    """Another process, which had it open before."""
    return cast("Movable", pair[1])


async def filled(store: Movable) -> None:
    """The store is being filled, and has some rows."""
    assert await store.fill(store_id="moved", key_id=KEY, commits=41, state=COPYING)
    await store.load(ROWS)


async def test_a_new_store_is_in_use_and_empty(ours: Movable) -> None:
    """And says so."""
    about = await ours.about()

    assert (ours.store_id, None, 0, "", {}) == (about.store_id, about.key_id, about.commits, about.state, about.rows)
    assert "" == ours.state


async def test_it_becomes_another_one(ours: Movable) -> None:
    """Identity, key and commit number are those of the one that it comes from, and so are the generations."""
    await filled(ours)
    await ours.load([Row("grant/a", 8, b"aa"), Row("grant/c", 2, b"c")], ["grant/b/ada", "grant/none"])
    about = await ours.about()

    assert ("moved", KEY, 41, COPYING) == (about.store_id, about.key_id, about.commits, about.state)
    assert {"custody": 1, "grant": 2} == about.rows
    assert ("moved", KEY, COPYING) == (ours.store_id, ours.key_id, ours.state)
    expected = [Row("custody", 1, b"c"), Row("grant/a", 8, b"aa"), Row("grant/c", 2, b"c")]
    assert expected == await ours.read_all("")
    assert 41 == await ours.changes()
    assert Changes(41, expected, []) == await ours.changed(40)


async def test_it_is_written_like_any_other_then(ours: Movable) -> None:
    """By the handle that has filled it, before and after it comes into use."""
    await filled(ours)
    assert 8 == await ours.swap("grant/a", expected=7, sealed=b"8")
    assert await ours.turn(COPYING, "")
    assert 9 == await ours.swap("grant/a", expected=8, sealed=b"9")
    assert 43 == await ours.changes()


async def test_it_is_filled_anew_after_half_of_it(ours: Movable, theirs: Movable) -> None:
    """Nothing of the first try is left."""
    await filled(theirs)
    assert await theirs.swap("grant/b/ada", expected=1, sealed=None) is not None
    assert await ours.fill(store_id="moved", key_id=KEY, commits=50, state=COPYING)
    await ours.load(ROWS[:1])

    assert ROWS[:1] == await ours.read_all("")
    assert Changes(50, ROWS[:1], []) == await ours.changed(30)


@pytest.mark.parametrize("state", ["", MOVING + "sqlite:/x", RESTORING, COPYING])
async def test_what_must_not_be_filled(ours: Movable, state: str) -> None:
    """A store with something in it, one that moves, and one that another command fills: they stay as they are."""
    if state == COPYING:
        await filled(ours)
    else:
        await ours.swap("grant/a", expected=0, sealed=b"a")
    if state not in ("", COPYING):
        assert await ours.turn("", state)
    before = (await ours.about(), await ours.read_all(""))

    assert not await ours.fill(store_id="x", key_id=KEY, commits=1, state=COPYING if state != COPYING else RESTORING)
    assert before == (await ours.about(), await ours.read_all(""))
    assert before[0].store_id == ours.store_id


async def test_rows_are_only_loaded_while_it_is_filled(ours: Movable) -> None:
    """In use it changes by swaps only."""
    with pytest.raises(StoreError):
        await ours.load(ROWS)
    await filled(ours)
    assert await ours.turn(COPYING, "")
    with pytest.raises(StoreError):
        await ours.load(ROWS)
    assert ROWS == await ours.read_all("")


async def test_only_one_turns_it(ours: Movable, theirs: Movable) -> None:
    """Who expects another state changes nothing; the commit number stays."""
    assert await ours.turn("", MOVING + "x")
    assert not await theirs.turn("", MOVING + "y")
    assert MOVING + "x" == (await theirs.about()).state
    assert await theirs.turn(MOVING + "x", "")
    assert 0 == await ours.changes()


async def test_a_handle_from_before_writes_nothing_any_more(ours: Movable, theirs: Movable) -> None:
    """It may still read. Once the store is in use again, so is the handle."""
    await ours.swap("grant/a", expected=0, sealed=b"a")
    assert await ours.turn("", MOVING + "x")
    with pytest.raises(StoreError, match="meanwhile"):
        await theirs.swap("grant/a", expected=1, sealed=b"b")
    with pytest.raises(StoreError, match="meanwhile"):
        await theirs.swap("grant/b", expected=0, sealed=b"b")
    with pytest.raises(StoreError, match="meanwhile"):
        await theirs.swap("grant/a", expected=1, sealed=None)
    with pytest.raises(StoreError):
        await theirs.rewrite(lambda row: row.sealed, KEY)
    row = await theirs.read("grant/a")
    assert row is not None
    assert b"a" == row.sealed

    assert await ours.turn(MOVING + "x", "")
    assert 2 == await theirs.swap("grant/a", expected=1, sealed=b"b")


async def test_nobody_spends_out_of_a_store_that_moves(shared: tuple[Store, Store]) -> None:
    """A mark needs a store in use, so that no token is posted once its copy has begun."""
    ours, theirs = cast("Movable", shared[0]), shared[1]
    await ours.swap("grant/a", expected=0, sealed=b"a")
    lease = await theirs.lease("grant/a", "they", 60)
    assert isinstance(lease, Lease)
    assert await ours.turn("", MOVING + "x")

    with pytest.raises(StoreError, match="meanwhile"):
        await theirs.mark(lease, expected=1, seconds=60)
    row = await ours.read("grant/a")
    assert row is not None
    assert row.spending is None
