"""Client keys at rest: made once, shown once, kept as a digest. What a client may reach stands in the configuration."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from proxy.clock import Clock
from proxy.gate.clients import digest, new_key
from proxy.secret import Secret
from proxy.store.vault import Vault

PREFIX = "client/"


@dataclass(frozen=True, slots=True)
class ClientKey:
    """One key of a client. `number` tells a client's keys apart; `created` is Unix time."""

    client: str
    number: int
    created: float
    digest: str


class ClientKeys:
    """The keys in the store. All methods raise `StoreError` if it fails."""

    def __init__(self, vault: Vault, clock: Clock) -> None:
        self._vault = vault
        self._clock = clock

    async def add(self, client: str) -> Secret:
        """Make a key for `client` and return it, for the only time. Older keys of the same client stay valid."""
        key = new_key(secrets.token_bytes)
        value = {"client": client, "created": self._clock.now().wall, "digest": digest(key.reveal())}
        number = 1 + max((known.number for known in await self.all() if known.client == client), default=0)
        while await self._vault.put(f"{PREFIX}{client}/{number}", expected=0, value=value) is None:
            number += 1  # another process took the number
        return key

    async def all(self) -> list[ClientKey]:
        """Every key, by client and number."""
        found = []
        for name, entry in await self._vault.entries(PREFIX):
            number = int(name.rpartition("/")[2])
            found.append(ClientKey(entry.value["client"], number, entry.value["created"], entry.value["digest"]))
        return sorted(found, key=lambda key: (key.client, key.number))

    async def remove(self, client: str) -> int:
        """Delete all keys of `client`; return how many there were."""
        removed = 0
        for name, entry in await self._vault.entries(f"{PREFIX}{client}/"):
            removed += await self._vault.put(name, expected=entry.generation, value=None) is not None
        return removed

    async def digests(self) -> Mapping[str, str]:
        """Digest → client, for the gate's keyring."""
        return {key.digest: key.client for key in await self.all()}
