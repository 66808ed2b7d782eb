"""The store in memory: same behaviour as the others, nothing durable. For tests and for trying things out."""

import secrets
from collections.abc import Callable
from dataclasses import replace

from proxy.store import Held, Lease, Row, StoreError, WrongKey


class MemoryStore:
    """A `Store` in a dict. Set `failure` to make every call raise it, as a store that is down would."""

    def __init__(self) -> None:
        self.store_id = secrets.token_hex(16)
        self.location = "memory"
        self.key_id: str | None = None
        self.failure: StoreError | None = None
        self._rows: dict[str, Row] = {}
        self._commits = 0

    async def read(self, name: str) -> Row | None:
        self._check()
        return self._rows.get(name)

    async def read_all(self, prefix: str) -> list[Row]:
        self._check()
        return [row for name, row in sorted(self._rows.items()) if name.startswith(prefix)]

    async def swap(self, name: str, *, expected: int, sealed: bytes | None) -> int | None:
        self._check()
        row = self._rows.get(name)
        if (row.generation if row else 0) != expected or (sealed is None and row is None):
            return None
        if sealed is None:
            del self._rows[name]
        else:
            self._rows[name] = Row(name, expected + 1, sealed)
        self._commits += 1
        return expected + 1

    async def rewrite(self, reseal: Callable[[Row], bytes], key_id: str, extra: Row | None = None) -> int:
        self._check()
        renewed = {name: replace(row, sealed=reseal(row)) for name, row in self._rows.items()}
        count = len(renewed)
        if extra is not None:
            renewed[extra.name] = extra
        self._rows, self.key_id = renewed, key_id
        self._commits += 1
        return count

    async def adopt_key(self, key_id: str) -> None:
        self._check()
        if self.key_id not in (None, key_id):
            raise WrongKey(f"{self.location}: sealed with the key {self.key_id}; the key at hand is {key_id}")
        self.key_id = key_id
        self._commits += 1

    async def lease(self, name: str, holder: str, ttl: float) -> Lease | Held:  # noqa: ARG002  one process, one holder
        self._check()
        return Lease(name, holder)

    async def release(self, lease: Lease) -> None:
        pass

    async def changes(self) -> int:
        self._check()
        return self._commits

    async def close(self) -> None:
        pass

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure
