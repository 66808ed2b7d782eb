"""A grant's rows: committed one generation after the other, and a verdict that names a token by its hash."""

from dataclasses import replace

import pytest

from proxy.brokers import Origin
from proxy.secret import Secret
from proxy.store import StoreError
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault
from proxy.tokens.book import Book, Verdict
from proxy.tokens.grant import Grant

API = Origin("api01.iq.questrade.com", 443)
FIRST = Grant("questrade", 1, "login-1", "questrade/live", Secret("R1"), Secret("A1"), API, 1.5, 2.5, 3.5)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def book(store: MemoryStore) -> Book:
    return Book("questrade", Vault(store, Sealer(bytes(32), store.store_id)))


async def test_what_is_written_is_read_whole(book: Book) -> None:
    """Before the first login there is nothing."""
    assert None is await book.read()
    assert await book.write(FIRST)

    assert FIRST == await book.read()


async def test_a_generation_is_written_after_the_one_before_it_only(book: Book) -> None:
    """Neither twice with other content, nor with a gap, nor backwards."""
    await book.write(FIRST)
    second = replace(FIRST, generation=2, refresh_token=Secret("R2"))
    assert await book.write(second)

    for other in (replace(second, access_token=Secret("A9")), FIRST, replace(FIRST, generation=4)):
        assert not await book.write(other)
    assert second == await book.read()


async def test_writing_what_is_there_already_is_a_success(book: Book) -> None:
    """The first try was reported as failed and had got through."""
    await book.write(FIRST)

    assert await book.write(FIRST)


async def test_a_first_write_with_a_gap_is_refused(book: Book) -> None:
    """There is no generation before it."""
    assert not await book.write(replace(FIRST, generation=2))


async def test_a_verdict_is_about_one_token(book: Book) -> None:
    """Another one's hash has none; a later verdict takes the place of the former."""
    assert None is await book.verdict("aa")
    await book.bury("aa", "refused", 1.0)
    assert [Verdict("refused", pair_refused=False), None] == [await book.verdict(name) for name in ("aa", "bb")]

    await book.bury("bb", "refused too", 2.0)
    assert [None, Verdict("refused too", pair_refused=False)] == [await book.verdict(name) for name in ("aa", "bb")]


async def test_grants_have_rows_of_their_own(book: Book, store: MemoryStore) -> None:
    """Both kinds."""
    other = Book("alpaca", Vault(store, Sealer(bytes(32), store.store_id)))
    await book.write(FIRST)
    await book.bury("aa", "refused", 1.0)

    assert (None, None) == (await other.read(), await other.verdict("aa"))
    assert ["grant/questrade", "mark/questrade"] == [row.name for row in await store.read_all("")]


async def test_a_store_that_fails_is_told(book: Book, store: MemoryStore) -> None:
    """By every method."""
    store.failure = StoreError("down")
    for call in (book.read(), book.write(FIRST), book.verdict("aa"), book.bury("aa", "refused", 1.0)):
        with pytest.raises(StoreError, match="down"):
            await call


async def test_a_row_that_went_back_is_climbed_past_if_asked_to(book: Book, store: MemoryStore) -> None:
    """One generation at a time, and never over what has come as far itself."""
    await book.write(FIRST)
    fifth = replace(FIRST, generation=5, refresh_token=Secret("R5"))
    assert not await book.write(fifth)
    commits = await store.changes()
    assert await book.write(fifth, climb=True)
    assert (fifth, 4) == (await book.read(), await store.changes() - commits)

    assert not await book.write(replace(fifth, generation=4), climb=True)
    assert not await book.write(replace(fifth, access_token=Secret("A9")), climb=True)
    assert await book.write(fifth, climb=True)
    assert fifth == await book.read()


async def test_a_row_that_is_gone_is_climbed_to_from_nothing(book: Book) -> None:
    """A store that was emptied."""
    third = replace(FIRST, generation=3)
    assert await book.write(third, climb=True)

    assert third == await book.read()


async def test_who_may_spend_and_who_does_stands_in_the_row() -> None:
    """Until it is taken back, or the generation is over."""
    store = MemoryStore(shared=True)
    vault = Vault(store, Sealer(bytes(32), store.store_id))
    ours, theirs = Book("questrade", vault, "us"), Book("questrade", vault, "them")
    await ours.write(FIRST)
    assert (True, None) == (ours.shared, await Book("other", vault).read())

    assert None is await ours.lease(60)
    held = await theirs.lease(60)
    assert (True, "us") == (held is not None, held.holder if held else "")
    assert (True, False) == (await ours.note_spending(1, 60), await theirs.note_spending(1, 60))
    for end in (ours.nothing_spent, lambda: ours.write(replace(FIRST, generation=2))):
        await ours.note_spending(1, 60)
        _, spending = await theirs.row()
        assert "us" == (spending.holder if spending else "")
        await theirs.nothing_spent()
        assert None is not (await theirs.row())[1]
        await end()
        assert None is (await theirs.row())[1]
    await ours.release()
    assert None is await theirs.lease(60)
