"""Client keys at rest."""

import asyncio

import pytest

from proxy.clientkeys import ClientKey, ClientKeys
from proxy.clock import Now
from proxy.gate.clients import digest, key_fault
from proxy.store import StoreError
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault


class StoppedClock:
    """Always the same moment."""

    def now(self) -> Now:
        return Now(1.8e9, 1000.0)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def keys(store: MemoryStore) -> ClientKeys:
    return ClientKeys(Vault(store, Sealer(b"k" * 32, store.store_id)), StoppedClock())


async def test_a_key_is_shown_once_and_kept_as_a_digest(keys: ClientKeys, store: MemoryStore) -> None:
    """What is stored cannot be turned back, sealed or not."""
    key = (await keys.add("bot")).reveal()

    assert None is key_fault(key)
    assert [ClientKey("bot", 1, 1.8e9, digest(key))] == await keys.all()
    assert {digest(key): "bot"} == await keys.digests()
    assert key not in repr(await keys.all())
    (row,) = await store.read_all("client/")
    assert key.encode() not in row.sealed


async def test_a_client_may_have_several_keys(keys: ClientKeys) -> None:
    """The old one stays good until it is removed, so a key can be changed without a pause."""
    first, second = (await keys.add("bot")).reveal(), (await keys.add("bot")).reveal()
    await keys.add("a-notebook")

    assert [("a-notebook", 1), ("bot", 1), ("bot", 2)] == [(key.client, key.number) for key in await keys.all()]
    assert {"bot"} == {(await keys.digests())[digest(key)] for key in (first, second)}


async def test_keys_that_are_made_at_the_same_time_all_count(keys: ClientKeys) -> None:
    """Each takes the next free number."""
    made = await asyncio.gather(*(keys.add("bot") for _ in range(5)))

    assert list(range(1, 6)) == [key.number for key in await keys.all()]
    assert {digest(key.reveal()) for key in made} == set(await keys.digests())


async def test_removing_a_client_removes_its_keys_and_no_others(keys: ClientKeys) -> None:
    """A longer name that begins alike is another client."""
    for name in ("bot", "bot", "bot-2", "bo"):
        await keys.add(name)

    assert (2, 0) == (await keys.remove("bot"), await keys.remove("bot"))
    assert {"bot-2", "bo"} == {key.client for key in await keys.all()}


async def test_a_number_is_not_used_again_while_a_later_key_lives(keys: ClientKeys, store: MemoryStore) -> None:
    """The next key comes after the last one."""
    await keys.add("bot")
    await keys.add("bot")
    await store.swap("client/bot/1", expected=1, sealed=None)
    await keys.add("bot")

    assert [2, 3] == [key.number for key in await keys.all()]


async def test_a_failing_store_is_said_to_fail(keys: ClientKeys, store: MemoryStore) -> None:
    """No key comes out that nobody has kept."""
    store.failure = StoreError("disk full")
    for call in (keys.add("bot"), keys.all(), keys.remove("bot"), keys.digests()):
        with pytest.raises(StoreError, match="disk full"):
            await call


async def test_a_lent_key_counts_within_its_block_and_is_never_stored(keys: ClientKeys, store: MemoryStore) -> None:
    """It is a key of its client, with the number 0, and the store does not know it."""
    stored = (await keys.add("bot")).reveal()

    with keys.lent("bot", "d" * 64):
        assert [("bot", 0, "d" * 64), ("bot", 1, digest(stored))] == [
            (key.client, key.number, key.digest) for key in await keys.all()
        ]
        assert 1 == len(await store.read_all("client/"))

    assert [digest(stored)] == [key.digest for key in await keys.all()]


async def test_a_key_that_is_lent_twice_counts_until_both_are_back(keys: ClientKeys) -> None:
    """A caller that lost its connection comes again before the first one is known to be gone."""
    with keys.lent("bot", "d" * 64):
        with keys.lent("bot", "d" * 64):
            pass
        assert {"d" * 64: "bot"} == await keys.digests()

    assert {} == await keys.digests()


async def test_removing_a_client_s_keys_takes_lent_ones_back(keys: ClientKeys) -> None:
    """All keys of a client are all of them; another client's stay."""
    await keys.add("bot")

    with keys.lent("bot", "d" * 64), keys.lent("other", "e" * 64):
        assert 2 == await keys.remove("bot")
        assert {"e" * 64: "other"} == await keys.digests()


def test_lent_keys_are_renewed_in_a_list_of_keys(keys: ClientKeys) -> None:
    """What is lent now takes the place of what was lent; stored keys stay."""
    old = [ClientKey("bot", 0, 1.0, "old"), ClientKey("bot", 1, 1.0, "stored")]

    with keys.lent("bot", "new"):
        assert ["new", "stored"] == [key.digest for key in keys.with_lent(old)]
    assert ["stored"] == [key.digest for key in keys.with_lent(old)]
