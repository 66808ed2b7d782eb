"""Client keys at rest."""

import asyncio
from dataclasses import replace

import pytest

from proxy.clientkeys import ClientKey, ClientKeys
from proxy.clock import Now
from proxy.gate.clients import digest, key_fault
from proxy.store import PAGE, StoreError
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
    assert [ClientKey("bot", 1, 1.8e9, digest(key))] == keys.all()
    assert ({digest(key): "bot"}, {}) == (keys.digests, keys.bindings)
    assert key not in repr(keys.all())
    (row,) = await store.read_all("client/")
    assert key.encode() not in row.sealed


async def test_a_client_may_have_several_keys(keys: ClientKeys) -> None:
    """The old one stays good until it is removed, so a key can be changed without a pause."""
    first, second = (await keys.add("bot")).reveal(), (await keys.add("bot")).reveal()
    await keys.add("a-notebook")

    assert [("a-notebook", 1), ("bot", 1), ("bot", 2)] == [(key.client, key.number) for key in keys.all()]
    assert {"bot"} == {keys.digests[digest(key)] for key in (first, second)}
    assert {"a-notebook": (1, 0), "bot": (2, 0)} == keys.counts()


async def test_keys_that_are_made_at_the_same_time_all_count(keys: ClientKeys) -> None:
    """Each takes the next free number."""
    made = await asyncio.gather(*(keys.add("bot") for _ in range(5)))

    assert list(range(1, 6)) == [key.number for key in keys.all()]
    assert {digest(key.reveal()) for key in made} == set(keys.digests)


async def test_removing_a_client_removes_its_keys_and_no_others(keys: ClientKeys) -> None:
    """A longer name that begins alike is another client."""
    for name in ("bot", "bot", "bot-2", "bo"):
        await keys.add(name)

    assert (2, 0) == (await keys.remove("bot"), await keys.remove("bot"))
    assert {"bot-2", "bo"} == {key.client for key in keys.all()}


async def test_a_number_is_not_used_again_while_a_later_key_lives(keys: ClientKeys, store: MemoryStore) -> None:
    """The next key comes after the last one."""
    await keys.add("bot")
    await keys.add("bot")
    await store.swap("client/bot/1", expected=1, sealed=None)
    await keys.follow([], ["client/bot/1"])
    await keys.add("bot")

    assert [2, 3] == [key.number for key in keys.all()]


async def test_a_failing_store_is_said_to_fail(keys: ClientKeys, store: MemoryStore) -> None:
    """No key comes out that nobody has kept."""
    store.failure = StoreError("disk full")
    for call in (keys.add("bot"), keys.load(), keys.remove("bot"), keys.add("bot", ["alpaca/one"])):
        with pytest.raises(StoreError, match="disk full"):
            await call


async def test_a_lent_key_counts_within_its_block_and_is_never_stored(keys: ClientKeys, store: MemoryStore) -> None:
    """It is a key of its client, with the number 0, and the store does not know it."""
    stored = (await keys.add("bot")).reveal()

    with keys.lent("bot", "d" * 64):
        assert [("bot", 0, "d" * 64), ("bot", 1, digest(stored))] == [
            (key.client, key.number, key.digest) for key in keys.all()
        ]
        assert 1 == len(await store.read_all("client/"))

    assert [digest(stored)] == [key.digest for key in keys.all()]


async def test_a_key_that_is_lent_twice_counts_until_both_are_back(keys: ClientKeys) -> None:
    """A caller that lost its connection comes again before the first one is known to be gone."""
    with keys.lent("bot", "d" * 64):
        with keys.lent("bot", "d" * 64):
            pass
        assert {"d" * 64: "bot"} == keys.digests

    assert {} == keys.digests


async def test_removing_a_client_s_keys_takes_lent_ones_back(keys: ClientKeys) -> None:
    """All keys of a client are all of them; another client's stay."""
    await keys.add("bot")

    with keys.lent("bot", "d" * 64), keys.lent("other", "e" * 64):
        assert 2 == await keys.remove("bot")
        assert {"e" * 64: "other"} == keys.digests


async def test_a_bound_key_stands_for_its_members(keys: ClientKeys, store: MemoryStore) -> None:
    """What it is bound to is kept with it, and counted apart; removing one person's keys leaves the others."""
    one = (await keys.add("web", ["alpaca/one", "tradier/one"])).reveal()
    two = (await keys.add("web", ["alpaca/two"])).reveal()
    plain = (await keys.add("web")).reveal()

    assert {digest(one): ("alpaca/one", "tradier/one"), digest(two): ("alpaca/two",)} == keys.bindings
    assert {"web": (3, 2)} == keys.counts()
    assert (1, 0) == (await keys.remove("web", "alpaca/one"), await keys.remove("web", "alpaca/three"))
    assert ({digest(two), digest(plain)}, {digest(two)}) == (set(keys.digests), set(keys.bindings))
    assert (1, 1) == (len(await store.read_all("bound/")), len(await store.read_all("client/")))
    assert 2 == await keys.remove("web")
    assert ({}, {}, {}, []) == (keys.digests, keys.bindings, keys.counts(), await store.read_all(""))


async def test_keys_are_read_page_by_page_and_then_followed(store: MemoryStore) -> None:
    """Another process's keys count once their rows are told of; those that are gone count no longer."""
    vault = Vault(store, Sealer(b"k" * 32, store.store_id))
    theirs, ours = ClientKeys(vault, StoppedClock()), ClientKeys(vault, StoppedClock())
    made = [(await theirs.add("web", [f"alpaca/user-{number}"])).reveal() for number in range(PAGE + 3)]
    assert [] == await ours.load()
    assert (theirs.digests, theirs.bindings) == (ours.digests, ours.bindings)

    since = await store.changes()
    new = (await theirs.add("web")).reveal()
    await theirs.remove("web", "alpaca/user-7")
    changes = await store.changed(since)
    assert [] == await ours.follow(changes.rows, changes.gone)
    assert (theirs.digests, theirs.counts()) == (ours.digests, {"web": (PAGE + 3, PAGE + 2)})
    assert (True, False) == (digest(new) in ours.digests, digest(made[7]) in ours.digests)

    await store.swap((await store.read_all("bound/"))[0].name, expected=1, sealed=None)
    await ours.load()
    assert PAGE + 2 == len(ours.digests)


async def test_a_key_whose_record_is_damaged_does_not_count(keys: ClientKeys, store: MemoryStore) -> None:
    """It is named, and it comes back with its record."""
    key = (await keys.add("bot")).reveal()
    (row,) = await store.read_all("client/")

    assert [row.name] == await keys.follow([replace(row, sealed=row.sealed[:-1] + b"?")])
    assert {} == keys.digests
    assert [] == await keys.follow([row, replace(row, name="grant/alpaca")])
    assert {digest(key): "bot"} == keys.digests
