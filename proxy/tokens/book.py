"""What the store holds of one grant: its current generation, and the verdict on a token that died."""

from proxy.store.vault import Vault
from proxy.tokens.grant import Grant


class Book:
    """The records `grant/NAME` and `mark/NAME`. Every method raises `StoreError`."""

    def __init__(self, grant: str, vault: Vault) -> None:
        self._name = grant
        self._vault = vault
        self._record = f"grant/{grant}"
        self._mark = f"mark/{grant}"

    async def read(self) -> Grant | None:
        """The grant as it is stored, past every cache; None if nobody ever logged in."""
        entry = await self._vault.get(self._record)
        return Grant.from_record(self._name, entry.generation, entry.value) if entry else None

    async def write(self, grant: Grant) -> bool:
        """Commit `grant` as the generation after the stored one; False if somebody else has moved it."""
        record = grant.to_record()
        if await self._vault.put(self._record, expected=grant.generation - 1, value=record) is not None:
            return True
        # A commit that was reported as failed may have got through.
        entry = await self._vault.get(self._record)
        return entry is not None and (entry.generation, entry.value) == (grant.generation, record)

    async def verdict(self, token_hash: str) -> str | None:
        """Why the refresh token with this hash must not be posted again, if the broker has refused it."""
        mark = await self._vault.get(self._mark)
        return mark.value["reason"] if mark is not None and mark.value["token_hash"] == token_hash else None

    async def bury(self, token_hash: str, reason: str, since: float) -> None:
        """Remember that the broker refused this token at `since` (Unix time), so that it is never posted on its own."""
        mark = await self._vault.get(self._mark)
        value = {"token_hash": token_hash, "reason": reason, "since": since}
        await self._vault.put(self._mark, expected=mark.generation if mark else 0, value=value)
