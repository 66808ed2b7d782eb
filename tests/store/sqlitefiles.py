"""Files of the embedded store for its tests: made, closed, and changed behind its back."""
# ruff: noqa: ASYNC240  the test's own file calls may block; the product's are watched by blockbuster

import asyncio
import sqlite3
from pathlib import Path

import pytest

from proxy.store import StoreError
from proxy.store.sqlite import SQLiteStore


async def alter(path: Path, *statements: str) -> None:
    """Change the closed store behind its back."""

    def work() -> None:
        connection = sqlite3.connect(path)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    await asyncio.to_thread(work)


async def closed_store(path: Path) -> bytes:
    """Make a store with one row, close it, and return the bytes of its file."""
    store = await SQLiteStore.open(path)
    await store.swap("grant/a", expected=0, sealed=b"one" * 3000)
    await store.close()
    return path.read_bytes()


async def refused(path: Path, kind: type[StoreError], reason: str) -> None:
    """Opening fails, names the file, gives the reason, and leaves every byte as it was."""
    before = path.read_bytes()
    with pytest.raises(kind, match=reason) as caught:
        await SQLiteStore.open(path)
    assert str(path) in str(caught.value)
    assert before == path.read_bytes()
