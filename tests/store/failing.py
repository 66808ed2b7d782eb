"""A store that fails at one call of its owner's choice: as if it were down, or after it has done what was asked."""

from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from proxy.store import About, Row, StoreError
from proxy.store.memory import MemoryStore

T = TypeVar("T")


@dataclass(slots=True)
class Fault:
    """The call number `at` (from 1, over all stores that share this) fails; `late`: after it was carried out."""

    at: int = 0
    late: bool = False
    calls: int = 0


class FailingStore(MemoryStore):
    """A `MemoryStore` under a `Fault`."""

    fault = Fault()

    async def _try(self, work: Coroutine[Any, Any, T]) -> T:
        self.fault.calls += 1
        hit = self.fault.calls == self.fault.at
        if hit and not self.fault.late:
            work.close()
            raise StoreError("the store is down")
        result = await work
        if hit:
            raise StoreError("the connection was lost")
        return result

    async def read(self, name: str) -> Row | None:
        return await self._try(super().read(name))

    async def read_all(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[Row]:
        return await self._try(super().read_all(prefix, after=after, limit=limit))

    async def swap(self, name: str, *, expected: int, sealed: bytes | None) -> int | None:
        return await self._try(super().swap(name, expected=expected, sealed=sealed))

    async def about(self) -> About:
        return await self._try(super().about())

    async def fill(self, *, store_id: str, key_id: str, commits: int, state: str) -> bool:
        return await self._try(super().fill(store_id=store_id, key_id=key_id, commits=commits, state=state))

    async def load(self, rows: Iterable[Row], gone: Iterable[str] = ()) -> None:
        return await self._try(super().load(rows, gone))

    async def turn(self, expected: str, state: str) -> bool:
        return await self._try(super().turn(expected, state))
