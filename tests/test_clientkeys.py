"""Client keys at rest."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from proxy.clientkey import ClientKey
from proxy.clientkeys import ClientKeys, NoSuchKey
from proxy.clock import Now
from proxy.gate.clients import digest, key_fault
from proxy.store import COMMITS, PAGE, StoreError
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


async def test_a_key_may_have_an_end(keys: ClientKeys, store: MemoryStore) -> None:
    """It is kept with it and looked up beside it; a key without one has none."""
    made = await keys.add("bot", expires=1.8e9 + 60)
    await keys.add("bot")

    assert {made.key.digest: 1.8e9 + 60} == keys.expiries
    assert {"bot": 1.8e9 + 60} == keys.next_ends()
    assert (False, True) == (made.key.ended(1.8e9 + 59), made.key.ended(1.8e9 + 60))
    again = ClientKeys(Vault(store, Sealer(b"k" * 32, store.store_id)), StoppedClock())
    await again.load()
    assert (keys.expiries, keys.all()) == (again.expiries, again.all())
    assert 1 == await keys.remove("bot", number=1)
    assert {} == keys.expiries


class MovedClock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.wall = 1.8e9

    def now(self) -> Now:
        return Now(self.wall, self.wall)


@pytest.fixture(name="clock")
def _clock() -> MovedClock:
    return MovedClock()


@pytest.fixture(name="vault")
def _vault(store: MemoryStore) -> Vault:
    return Vault(store, Sealer(b"k" * 32, store.store_id))


async def test_a_rotation_gives_a_new_key_and_the_old_one_an_end(vault: Vault, clock: MovedClock) -> None:
    """Both count until the overlap is over; the new one lives as long as the old one was to live."""
    keys = ClientKeys(vault, clock)
    old = await keys.add("bot", ["alpaca/ann"], expires=1.8e9 + 900)
    clock.wall += 600

    made, replaced = await keys.rotate("bot", old.key.number, overlap=200)

    assert (("alpaca/ann",), 1.8e9 + 1500, None) == (made.key.grants, made.key.expires, made.key.replaced)
    assert (1.8e9 + 800, 1.8e9 + 600, 2) == (replaced.expires, replaced.replaced, replaced.generation)
    assert {old.key.digest: 1.8e9 + 800, made.key.digest: 1.8e9 + 1500} == keys.expiries
    assert {old.key.digest, made.key.digest} == set(keys.bindings)
    assert {"bot": 1.8e9 + 1500} == keys.next_ends()
    made, replaced = await keys.rotate("bot", made.key.number, overlap=9000, expires=1.8e9 + 99)
    assert (1.8e9 + 99, 1.8e9 + 1500) == (made.key.expires, replaced.expires)  # no overlap lengthens a life


async def test_a_key_that_a_newer_program_has_changed_is_not_replaced(vault: Vault, clock: MovedClock) -> None:
    """The record may hold a limit that is not known here; no key is left that nobody has seen."""
    keys = ClientKeys(vault, clock)
    old = await keys.add("bot")
    await keys.load_once()
    await vault.put(old.key.record, expected=1, value=old.key.value | {"only_from": "10.0.0.1"})
    with pytest.raises(NoSuchKey, match="changed by a newer bearerd"):
        await keys.rotate("bot", None, overlap=0)
    assert [old.key.record] == [row.name for row in await vault.store.read_all("client/")]


async def test_what_can_be_replaced_is_said(keys: ClientKeys, store: MemoryStore) -> None:
    """The only key of everybody's, or the one that is named; never one that was replaced before."""
    with pytest.raises(NoSuchKey, match="'bot' has no key that could be replaced"):
        await keys.rotate("bot", None, overlap=0)
    await keys.add("bot", ["alpaca/ann"])
    with pytest.raises(NoSuchKey, match="no key that could be replaced"):
        await keys.rotate("bot", None, overlap=0)
    first = await keys.add("bot")
    made, _ = await keys.rotate("bot", None, overlap=86400)
    assert (1, 2) == (first.key.number, made.key.number)
    second, _ = await keys.rotate("bot", None, overlap=86400)  # of the newest, for a script that lost its answer
    await keys.add("bot")
    with pytest.raises(NoSuchKey, match="has several keys; say which to replace: --key 3, 4"):
        await keys.rotate("bot", None, overlap=0)
    before = await store.changes()
    with pytest.raises(NoSuchKey, match="key 1 of 'bot' was replaced before"):
        await keys.rotate("bot", 1, overlap=0)
    with pytest.raises(NoSuchKey, match="has no key 9"):
        await keys.rotate("bot", 9, overlap=0)
    assert {1, 2, 3, 4} == {key.number for key in keys.all() if not key.grants}
    assert second.key.digest in keys.digests
    assert before + 2 == await store.changes()  # one made, and taken back at once


async def test_of_two_rotations_at_once_one_is_refused(vault: Vault, clock: MovedClock) -> None:
    """On two servers that have not heard of each other: one old key never has two successors."""
    ours, theirs = ClientKeys(vault, clock), ClientKeys(vault, clock)
    old = await ours.add("bot")
    await theirs.load()
    await theirs.rotate("bot", 1, overlap=60)

    with pytest.raises(NoSuchKey, match="was replaced before"):
        await ours.rotate("bot", old.key.number, overlap=60)

    await ours.load()
    assert ([1, 2], theirs.digests) == ([key.number for key in ours.all()], ours.digests)


async def test_a_rotation_that_fails_leaves_no_new_key(vault: Vault, store: MemoryStore, clock: MovedClock) -> None:
    """A key that nobody has seen must not count."""
    keys = ClientKeys(vault, clock)
    await keys.add("bot")
    other = ClientKeys(vault, clock)
    await other.load()
    await keys.remove("bot")
    with pytest.raises(NoSuchKey, match="key 1 of 'bot' was removed"):
        await other.rotate("bot", 1, overlap=0)
    assert [] == await store.read_all("client/")


class InDoubt(MemoryStore):
    """A store whose answer to a change is lost with its connection, as often as `losses` says. The change is made."""

    losses = 0
    keeps = False  # what is to be deleted

    async def discard(self, generations: Mapping[str, int]) -> set[str]:
        if self.keeps:
            raise StoreError("the connection was lost")
        return await super().discard(generations)

    async def swap(self, name: str, *, expected: int, sealed: bytes | None) -> int | None:
        moved = await super().swap(name, expected=expected, sealed=sealed)
        if expected and self.losses:
            self.losses -= 1
            raise StoreError("the connection was lost")
        return moved


async def test_a_rotation_whose_commit_is_in_doubt_leaves_the_client_a_key(clock: MovedClock) -> None:
    """The old key has its end all the same: without the new one the client would have none."""
    store = InDoubt()
    keys = ClientKeys(Vault(store, Sealer(b"k" * 32, store.store_id)), clock)
    old = await keys.add("bot")
    store.losses = 1

    made, replaced = await keys.rotate("bot", None, overlap=60)

    assert (old.key.digest, 1.8e9 + 60) == (replaced.digest, replaced.expires)
    again = ClientKeys(Vault(store, Sealer(b"k" * 32, store.store_id)), clock)
    await again.load()
    assert {old.key.digest: "bot", made.key.digest: "bot"} == again.digests == keys.digests
    assert {old.key.digest: 1.8e9 + 60} == again.expiries == keys.expiries


async def test_a_rotation_gives_its_key_even_if_old_ones_cannot_be_deleted(clock: MovedClock) -> None:
    """It is shown but once, and the key that it replaces has its end already."""
    store = InDoubt()
    keys = ClientKeys(Vault(store, Sealer(b"k" * 32, store.store_id)), clock)
    await keys.add("bot")
    await keys.rotate("bot", None, overlap=60)
    clock.wall += 40 * 86400
    store.keeps = True
    made, _ = await keys.rotate("bot", None, overlap=60)
    assert [1, 2, 3] == [key.number for key in keys.all()]
    store.keeps = False
    await keys.rotate("bot", made.key.number, overlap=60)
    assert [2, 3, 4] == [key.number for key in keys.all()]


async def test_removing_a_client_removes_what_another_server_has_just_made(vault: Vault, clock: MovedClock) -> None:
    """We have not heard of it yet, and whoever removes a client's keys means all of them."""
    ours, theirs = ClientKeys(vault, clock), ClientKeys(vault, clock)
    await theirs.add("bot")
    await ours.load()
    await theirs.rotate("bot", 1, overlap=60)
    await theirs.add("bot", ["alpaca/ann"])
    await theirs.add("bot-2")

    assert 3 == await ours.remove("bot")
    await theirs.load()
    assert {"bot-2"} == set(theirs.digests.values())


async def test_replaced_keys_go_a_month_after_their_end(vault: Vault, clock: MovedClock) -> None:
    """A script that rotates every day does not fill the store; a key that ended by itself stays to be told of."""
    keys = ClientKeys(vault, clock)
    await keys.add("other", expires=1.8e9 + 5)
    await keys.add("bot")
    for _ in range(40):
        clock.wall += 86400
        await keys.rotate("bot", None, overlap=3600)
    assert (32, 1) == (keys.counts()["bot"][0], keys.counts()["other"][0])


async def test_a_key_that_was_replaced_elsewhere_is_removed_all_the_same(vault: Vault, clock: MovedClock) -> None:
    """Its record has moved on, and we have not heard of it yet."""
    ours, theirs = ClientKeys(vault, clock), ClientKeys(vault, clock)
    await theirs.add("bot")
    await ours.load()
    await theirs.rotate("bot", 1, overlap=60)

    assert 1 == await ours.remove("bot", number=1)
    assert 0 == await ours.remove("bot", number=1)
    await ours.load()
    assert [2] == [key.number for key in ours.all()]


async def test_keys_of_a_client_come_in_pages(keys: ClientKeys) -> None:
    """By number, and only those that are asked for."""
    for number in range(7):
        await keys.add("web", [f"alpaca/user-{number % 2}"])
    await keys.add("other")
    with keys.lent("web", "d" * 64):
        first = keys.some("web", limit=3)
        rest = keys.some("web", after=first[-1].number, limit=9)
    assert [3, 5, 0] == [len(first), len(rest), first[0].number]
    assert sorted(each.number for each in (*first, *rest)) == [each.number for each in (*first, *rest)]
    assert 4 == len(keys.some("web", grant="alpaca/user-0", limit=9))


async def test_many_keys_of_a_client_are_removed_in_a_few_transactions(vault: Vault, store: MemoryStore) -> None:
    """And what each follower is told of at a time stays bounded."""
    keys, peer = ClientKeys(vault, StoppedClock()), ClientKeys(vault, StoppedClock())
    for number in range(2 * COMMITS + 100):
        await keys.add("web", [f"alpaca/user-{number}"])
    await keys.add("other")
    await peer.load()
    seen = await store.changes()

    assert 2 * COMMITS + 100 == await keys.remove("web")

    looks = 0
    while seen < await store.changes():
        changes = await store.changed(seen)
        assert len(changes.gone) <= COMMITS
        await peer.follow(changes.rows, changes.gone)
        seen, looks = changes.number, looks + 1
    assert ({"other"}, 3) == (set(peer.digests.values()), looks)
