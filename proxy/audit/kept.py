"""What the store keeps for a trail, sealed: the secret of all trails, and of each how far it goes.

A change of the master key seals both again, and the chain is the same as before.
"""

import os
from dataclasses import asdict, replace

from proxy.audit.chain import SECRET_SIZE
from proxy.audit.trailfile import Mark
from proxy.store.vault import Vault

KEY = "audit/key"
END = "audit/end/"


async def secret_of(vault: Vault) -> bytes | None:
    """The secret of all trails of this store; None if there is no trail yet. `StoreError`."""
    entry = await vault.get(KEY)
    return None if entry is None else bytes.fromhex(entry.value["secret"])


async def make_secret(vault: Vault) -> bytes:
    """The same; the first server that asks makes it. `StoreError`."""
    while (secret := await secret_of(vault)) is None:
        await vault.put(KEY, expected=0, value={"secret": os.urandom(SECRET_SIZE).hex()})
    return secret


async def mark_of(vault: Vault, trail: str) -> Mark | None:
    """How far the trail with this id goes, as it was noted last. `StoreError`."""
    entry = await vault.get(END + trail)
    return None if entry is None else Mark.of(entry.value)


class EndNote:
    """Notes how far one trail goes. For whoever writes that trail: nobody else changes the note.

    `vault` may be replaced by one of the same store under another master key; None notes nothing.
    """

    def __init__(self, vault: Vault, trail: str) -> None:
        self.vault: Vault | None = vault
        self._record = END + trail
        self.seq = 0  # of the record that was noted last
        self._generation = 0

    async def read(self) -> Mark | None:
        """What was noted last. `StoreError`."""
        entry = await self.vault.get(self._record) if self.vault else None
        self._generation = entry.generation if entry else 0
        mark = Mark.of(entry.value) if entry else None
        self.seq = mark.seq if mark else 0
        return mark

    async def note(self, mark: Mark, wall: float) -> bool:
        """Note `mark` at this time (Unix), unless that is no news. False: it must be tried again. `StoreError`."""
        vault = self.vault
        if vault is None or mark.seq <= self.seq:
            return True
        value = asdict(replace(mark, time=round(wall, 3)))
        made = await vault.put(self._record, expected=self._generation, value=value)
        if made is None:  # the store was brought back: what it says is older than what we know
            entry = await vault.get(self._record)
            self._generation = entry.generation if entry else 0
            return False
        self.seq, self._generation = mark.seq, made
        return True
