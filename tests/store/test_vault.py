"""Plain values in, sealed rows out."""

import pytest

from proxy.store import Damaged, StoreError, WrongKey
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer
from proxy.store.vault import Entry, Vault

KEY = bytes(range(32))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def vault(store: MemoryStore) -> Vault:
    return Vault(store, Sealer(KEY, store.store_id))


async def test_a_value_comes_back_as_it_was_put(vault: Vault) -> None:
    """JSON objects survive the way through the seal."""
    value = {"refresh_token": "r-ü", "expires": 1.5, "scopes": ["a"], "origin": None}

    assert 1 == await vault.put("grant/q", expected=0, value=value)
    assert Entry(1, value) == await vault.get("grant/q")


async def test_a_moved_value_is_not_overwritten(vault: Vault) -> None:
    """`put` passes the store's compare-and-swap on."""
    await vault.put("grant/q", expected=0, value={"n": 1})

    assert await vault.put("grant/q", expected=0, value={"n": 2}) is None
    assert Entry(1, {"n": 1}) == await vault.get("grant/q")


async def test_none_deletes(vault: Vault) -> None:
    """A value of None takes the record away."""
    await vault.put("client/bot/1", expected=0, value={"digest": "x"})

    assert 2 == await vault.put("client/bot/1", expected=1, value=None)
    assert await vault.get("client/bot/1") is None


async def test_entries_lists_a_prefix(vault: Vault) -> None:
    """Names and values, by name."""
    await vault.put("grant/b", expected=0, value={"n": 2})
    await vault.put("grant/a", expected=0, value={"n": 1})
    await vault.put("mark/a", expected=0, value={"n": 3})

    assert [("grant/a", Entry(1, {"n": 1})), ("grant/b", Entry(1, {"n": 2}))] == await vault.entries("grant/")


async def test_the_store_sees_no_plain_text_and_no_length(vault: Vault, store: MemoryStore) -> None:
    """What rests in the store is sealed and padded: a short and a long value have the same size."""
    await vault.put("grant/a", expected=0, value={"t": "canary"})
    await vault.put("grant/b", expected=0, value={"t": "canary" * 100})
    short, long = await store.read_all("grant/")

    assert b"canary" not in short.sealed
    assert len(short.sealed) == len(long.sealed)


async def test_a_row_in_another_place_does_not_open(vault: Vault, store: MemoryStore) -> None:
    """A row under another name is refused, with the store and the record in the message."""
    await vault.put("grant/a", expected=0, value={"n": 1})
    row = await store.read("grant/a")
    assert row is not None
    await store.swap("grant/b", expected=0, sealed=row.sealed)

    with pytest.raises(Damaged, match=r"memory: record 'grant/b'"):
        await vault.get("grant/b")
    with pytest.raises(Damaged):
        await vault.entries("grant/")


async def test_a_rolled_back_row_does_not_open(vault: Vault, store: MemoryStore) -> None:
    """An old value under a new generation is refused."""
    await vault.put("grant/a", expected=0, value={"n": 1})
    old = await store.read("grant/a")
    assert old is not None
    await store.swap("grant/a", expected=1, sealed=old.sealed)

    with pytest.raises(Damaged):
        await vault.get("grant/a")


async def test_a_wrong_key_is_told_from_damage(vault: Vault, store: MemoryStore) -> None:
    """The same store with another key says so, by name."""
    await vault.put("grant/a", expected=0, value={"n": 1})

    with pytest.raises(WrongKey, match="memory: record 'grant/a' is sealed with the key"):
        await Vault(store, Sealer(bytes(32), store.store_id)).get("grant/a")


async def test_a_record_that_is_no_object_is_damaged(vault: Vault, store: MemoryStore) -> None:
    """Whatever was sealed, only JSON objects come out."""
    sealer = Sealer(KEY, store.store_id)
    await store.swap("a", expected=0, sealed=sealer.seal("a", 1, b"[1]"))
    await store.swap("b", expected=0, sealed=sealer.seal("b", 1, b"{"))

    for name in ("a", "b"):
        with pytest.raises(Damaged, match="JSON object"):
            await vault.get(name)


async def test_store_faults_pass(vault: Vault, store: MemoryStore) -> None:
    """A store that is down is not hidden."""
    store.failure = StoreError("down")

    with pytest.raises(StoreError, match="down"):
        await vault.get("a")


def test_values_stay_out_of_repr() -> None:
    """An entry in a log line shows its generation only."""
    assert "Entry(generation=3)" == repr(Entry(3, {"refresh_token": "canary"}))
