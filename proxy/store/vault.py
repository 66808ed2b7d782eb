"""Plain values in, sealed rows out: the one door between the rest of the program and a store."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from proxy.store import Damaged, Row, Store, WrongKey
from proxy.store.sealing import Sealer

_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)  # `dumps` makes one each time


@dataclass(frozen=True, slots=True)
class Entry:
    """One value and the generation it has. The value stays out of `repr`: it may hold tokens."""

    generation: int
    value: dict[str, Any] = field(repr=False)


class Vault:
    """JSON objects by name, sealed under their name and generation. Store errors pass; see `Store`."""

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self.store = store
        self._sealer = sealer

    async def get(self, name: str) -> Entry | None:
        """The current value, or None. `WrongKey` or `Damaged`, naming store and record, if it cannot be opened."""
        row = await self.store.read(name)
        return None if row is None else self.open(row)

    async def put(self, name: str, *, expected: int, value: dict[str, Any] | None) -> int | None:
        """Write `value` if the record is at generation `expected` (0: absent); the new generation, or None if it moved.

        `value` None deletes: for client keys and marks only.
        """
        sealed = None
        if value is not None:
            sealed = self._sealer.seal(name, expected + 1, _encoder.encode(value).encode())
        return await self.store.swap(name, expected=expected, sealed=sealed)

    async def entries(self, prefix: str) -> list[tuple[str, Entry]]:
        """Every value whose name starts with `prefix`, by name. One that cannot be opened fails the call."""
        rows = await self.store.read_all(prefix)
        # Thousands of grants take a tenth of a second to unseal: not on the event loop.
        return await asyncio.to_thread(lambda: [(row.name, self.open(row)) for row in rows])

    def open(self, row: Row) -> Entry:
        """What a row holds. Blocks for a few microseconds; `WrongKey` or `Damaged` as `get`."""
        try:
            text = self._sealer.unseal(row.name, row.generation, row.sealed)
        except (WrongKey, Damaged) as fault:
            raise type(fault)(f"{self.store.location}: {fault}") from None
        try:
            value = json.loads(text.decode())
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise Damaged(f"{self.store.location}: record {row.name!r} does not hold a JSON object") from None
        return Entry(row.generation, value)
