"""The team's store as a test opens it."""

import contextlib
from collections.abc import AsyncIterator

from proxy.secret import Secret
from proxy.store.postgres import PostgresStore


@contextlib.asynccontextmanager
async def opened(dsn: str, password: str | None = None) -> AsyncIterator[PostgresStore]:
    """The store at `dsn`, closed at the end."""
    store = await PostgresStore.open(dsn, password=Secret(password) if password else None)
    try:
        yield store
    finally:
        await store.close()
