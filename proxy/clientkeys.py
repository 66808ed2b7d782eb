"""Client keys: made once, shown once, kept as a digest. What a client may reach stands in the configuration.

A lent key is in memory only: whoever asked for it keeps it alive, and it is gone with the process in any case.
"""

import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from proxy.clock import Clock
from proxy.gate.clients import digest, new_key
from proxy.secret import Secret
from proxy.store.vault import Vault

PREFIX = "client/"


@dataclass(frozen=True, slots=True)
class ClientKey:
    """One key of a client. `number` tells a client's keys apart, 0 is a lent one; `created` is Unix time."""

    client: str
    number: int
    created: float
    digest: str


class ClientKeys:
    """The keys in the store, and those that are lent. What waits for the store raises `StoreError` if it fails."""

    def __init__(self, vault: Vault, clock: Clock) -> None:
        self._vault = vault
        self._clock = clock
        self._lent: list[ClientKey] = []

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
        return self.with_lent(found)

    @contextmanager
    def lent(self, client: str, digest: str) -> Iterator[None]:
        """Count `digest` among the keys of `client` within the block."""
        key = ClientKey(client, 0, self._clock.now().wall, digest)
        self._lent.append(key)
        try:
            yield
        finally:
            # By identity: a caller that lost its connection may have come again before we noticed.
            self._lent = [other for other in self._lent if other is not key]

    def with_lent(self, keys: Iterable[ClientKey]) -> list[ClientKey]:
        """`keys`, with those that are lent now instead of those that were."""
        found = [*(key for key in keys if key.number), *self._lent]
        return sorted(found, key=lambda key: (key.client, key.number, key.created))

    async def remove(self, client: str) -> int:
        """Delete all keys of `client`, and take lent ones back; return how many there were."""
        removed = sum(key.client == client for key in self._lent)
        self._lent = [key for key in self._lent if key.client != client]
        for name, entry in await self._vault.entries(f"{PREFIX}{client}/"):
            removed += await self._vault.put(name, expected=entry.generation, value=None) is not None
        return removed

    async def digests(self) -> Mapping[str, str]:
        """Digest → client, for the gate's keyring."""
        return {key.digest: key.client for key in await self.all()}
