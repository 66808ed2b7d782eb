"""Which grants a doubtful store holds back."""

import hashlib
from typing import Any

import pytest

from proxy.adoption import quarantined
from proxy.store import PAGE
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault
from proxy.tokens.quarantine import Quarantine


@pytest.fixture
async def vault() -> Vault:
    store = MemoryStore()
    sealer = Sealer(bytes(32), store.store_id)
    await store.adopt_key(sealer.key_id)
    return Vault(store, sealer)


async def put(vault: Vault, name: str, **record: Any) -> None:
    """A new record."""
    assert await vault.put(name, expected=0, value=record) == 1


async def test_only_what_could_be_tried(vault: Vault) -> None:
    """Tokens from before the finding; none that is newer, revoked, minted, or refused by the broker already."""
    await put(vault, "grant/old", refresh_token="a")
    await put(vault, "grant/old/ada", refresh_token="b", epoch=1)
    await put(vault, "grant/new", refresh_token="c", epoch=2)
    await put(vault, "grant/revoked", refresh_token=None, epoch=1)
    await put(vault, "grant/dead", refresh_token="d", epoch=1)
    await put(vault, "mark/dead", token_hash=hashlib.sha256(b"d").hexdigest(), reason="refused")
    await put(vault, "grant/alive", refresh_token="e", epoch=1)
    await put(vault, "mark/alive", token_hash=hashlib.sha256(b"another").hexdigest(), reason="refused")
    await put(vault, "client/bot/1", client="bot")

    assert ["alive", "old", "old/ada"] == await quarantined(vault, Quarantine(2, "set back"))
    assert [] == await quarantined(vault, Quarantine())


async def test_many_and_a_damaged_one(vault: Vault) -> None:
    """Page by page; what cannot be opened is left to whoever asks for it."""
    for number in range(PAGE + 2):
        await put(vault, f"grant/g/{number:04}", refresh_token="t")
    assert await vault.store.swap("grant/g/0001", expected=1, sealed=b"\x01" + bytes(4096)) == 2

    assert PAGE + 1 == len(await quarantined(vault, Quarantine(1, "set back")))
