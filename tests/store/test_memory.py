"""The store in memory, where it differs from the others. What they share is in `test_contract.py`."""

import pytest

from proxy.store import StoreError
from proxy.store.memory import MemoryStore


async def test_a_store_that_is_down_fails_every_call() -> None:
    """`failure` is raised until it is taken away, and nothing was written meanwhile."""
    store = MemoryStore()
    store.failure = StoreError("down")

    for call in (
        store.read("a"),
        store.read_all(""),
        store.swap("a", expected=0, sealed=b"1"),
        store.rewrite(lambda row: row.sealed, "k"),
        store.adopt_key("k"),
        store.lease("a", "me", 1),
        store.changes(),
    ):
        with pytest.raises(StoreError, match="down"):
            await call
    store.failure = None
    assert (0, None) == (await store.changes(), await store.read("a"))
