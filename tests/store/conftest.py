"""Empty stores of every kind, with a second handle on each of them."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.store import Store
from proxy.store.memory import MemoryStore
from proxy.store.postgres import PostgresStore
from proxy.store.sqlite import SQLiteStore

ALONE = ["memory", "sqlite"]
SHARED = ["memory-shared", "postgres", "pgbouncer"]
# What does not depend on others is not run each time through a pooler too.
EACH = [*ALONE, "memory-shared", "postgres", pytest.param("pgbouncer", marks=pytest.mark.soak)]


async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Store, Store]:
    """An empty store, and a second handle on it as another process would have one."""
    kind: str = request.param
    if kind in ("postgres", "pgbouncer"):
        dsn = request.getfixturevalue("postgres").create()
        await PostgresStore.migrate(dsn)
        if kind == "pgbouncer":
            dsn = request.getfixturevalue("bouncer").through(dsn)
        return await PostgresStore.open(dsn), await PostgresStore.open(dsn)
    if kind == "sqlite":
        path = tmp_path / "s" / "store.db"
        return await SQLiteStore.open(path), await SQLiteStore.open(path)
    memory = MemoryStore(shared=kind == "memory-shared")
    return memory, memory.peer()


@contextlib.asynccontextmanager
async def both(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Store, Store]]:
    ours, theirs = await opened(request, tmp_path)
    try:
        yield ours, theirs
    finally:
        await ours.close()
        await theirs.close()
        if isinstance(ours, PostgresStore):
            request.getfixturevalue("postgres").drop(ours.location)


@pytest.fixture(params=EACH)
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Store, Store]]:
    async with both(request, tmp_path) as handles:
        yield handles


@pytest.fixture
def store(pair: tuple[Store, Store]) -> Store:
    return pair[0]


@pytest.fixture(params=ALONE)
async def alone(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with both(request, tmp_path) as (ours, _):
        yield ours


@pytest.fixture(params=SHARED)
async def shared(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Store, Store]]:
    async with both(request, tmp_path) as handles:
        yield handles


@pytest.fixture
def path(state_dir: Path) -> Path:
    """Where a SQLite store may be made."""
    return state_dir / "state" / "store.db"
