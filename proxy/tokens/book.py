"""What the store holds of one grant: its current generation, the verdict on a token that died, and who may spend it."""

from dataclasses import dataclass

from proxy.store import Held, Lease, Spending
from proxy.store.vault import Entry, Vault
from proxy.tokens.grant import Grant

GRANT, MARK = "grant/", "mark/"  # how its records are called


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a refresh token is dead, and whether the broker had refused the access token beside it, too."""

    reason: str
    pair_refused: bool


class Book:
    """The records `grant/NAME` and `mark/NAME`. Every method raises `StoreError`.

    `holder` names this process to others that share the store. Where nobody does, there is no lease and no note.
    """

    __slots__ = ("_lease", "_mark", "_name", "_record", "_vault")

    def __init__(self, grant: str, vault: Vault, holder: str = "") -> None:
        self._name = grant
        self._vault = vault
        self._record = GRANT + grant
        self._mark = MARK + grant
        self._lease = Lease(self._record, holder)

    @property
    def shared(self) -> bool:
        """Whether other processes may spend this grant's token."""
        return self._vault.store.shared

    @property
    def holder(self) -> str:
        """How this process is called there."""
        return self._lease.holder

    async def read(self) -> Grant | None:
        """The grant as it is stored, past every cache; None if nobody ever logged in."""
        return (await self.row())[0]

    async def row(self) -> tuple[Grant | None, Spending | None]:
        """The grant, and who is about to spend its token, or was when it ended."""
        row = await self._vault.store.read(self._record)
        if row is None:
            return None, None
        return Grant.from_record(self._name, row.generation, self._vault.open(row).value), row.spending

    async def write(self, grant: Grant, *, climb: bool = False) -> bool:
        """Commit `grant` as the generation after the stored one; False if somebody else has moved it.

        A row that has gone back in time is overwritten if `climb` says so, as often as it takes to reach the generation
        of `grant`: each write can raise it by one, and nobody may ever see two grants of one generation.
        """
        record, expected = grant.to_record(), grant.generation - 1
        while expected < grant.generation:
            if await self._vault.put(self._record, expected=expected, value=record) is not None:
                expected += 1  # of a climb each step is durable, and a whole grant
                continue
            entry = await self._vault.get(self._record)
            stored = entry.generation if entry is not None else 0
            if stored >= grant.generation or not climb:
                return _is(entry, grant, record)  # a commit that was reported as failed may have got through
            expected = stored
        return True

    async def verdict(self, token_hash: str) -> Verdict | None:
        """What the broker has said of the refresh token with this hash, if it has refused it."""
        mark = await self._vault.get(self._mark)
        if mark is None or mark.value["token_hash"] != token_hash:
            return None
        return Verdict(mark.value["reason"], mark.value.get("pair_refused", False))

    async def bury(self, token_hash: str, reason: str, since: float, *, pair_refused: bool = False) -> None:
        """Remember that the broker refused this token at `since` (Unix time), so that it is never posted on its own.

        `pair_refused`: it does not take the access token of that pair any more either.
        """
        mark = await self._vault.get(self._mark)
        value = {"token_hash": token_hash, "reason": reason, "since": since, "pair_refused": pair_refused}
        await self._vault.put(self._mark, expected=mark.generation if mark else 0, value=value)

    async def lease(self, seconds: float) -> Held | None:
        """Acquire the right to spend, or renew it; None: it is ours."""
        held = await self._vault.store.lease(self._record, self.holder, seconds)
        return held if isinstance(held, Held) else None

    async def release(self) -> None:
        """Give it back, if it is still ours."""
        await self._vault.store.release(self._lease)

    async def note_spending(self, generation: int, seconds: float) -> bool:
        """Let all who share the row know that its token is about to be spent; False if we must not."""
        return await self._vault.store.mark(self._lease, expected=generation, seconds=seconds)

    async def nothing_spent(self) -> None:
        """Take that note back."""
        if self.shared:
            await self._vault.store.unmark(self._lease)


def _is(entry: Entry | None, grant: Grant, record: dict[str, object]) -> bool:
    return entry is not None and (entry.generation, entry.value) == (grant.generation, record)
