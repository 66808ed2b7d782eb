"""What a person is told whom a database does not want: the reason and the fix, in one line, and no secret."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from proxy.simulator import ca
from proxy.simulator.questrade.options import clock
from proxy.store import Lease, NotMigrated, StoreError
from proxy.store.postgres import PostgresStore
from tests import database as databases
from tests.database import GUARDED, PASSWORD, USER, Bouncer, Server
from tests.store.opened import opened


@pytest.fixture
async def store(database: str) -> AsyncIterator[PostgresStore]:
    async with opened(database) as made:
        yield made


async def refusal(dsn: str, password: str | None = None) -> str:
    """What a person is told who opens the store there: one line, without a password."""
    with pytest.raises(StoreError) as caught:
        async with opened(dsn, password):
            pass
    text = str(caught.value)
    assert "\n" not in text
    assert PASSWORD not in text
    assert not password or password not in text
    assert caught.value.__cause__ is None
    return text


async def test_a_wrong_password_is_said(database: str) -> None:
    """With the setting that helps, and without the password."""
    dsn = database.replace(USER, GUARDED)

    text = await refusal(dsn, "not-it")

    assert f"refuses the password of {GUARDED}; correct store_password_file" in text
    assert text.startswith(dsn)
    assert f"refuses the password of {GUARDED}; set store_password_file" in await refusal(dsn)  # none at all


async def test_a_missing_permission_is_said(database: str, postgres: Server) -> None:
    """With the statements that grant it; they do."""
    dsn = database.replace(USER, GUARDED)

    text = await refusal(dsn, PASSWORD)

    assert f"does not let {GUARDED} do that (permission denied for schema bearerd); let its owner run: GRANT" in text
    postgres.query(text.rpartition("run: ")[2], database)
    async with opened(dsn, PASSWORD) as store:
        assert 1 == await store.swap("a", expected=0, sealed=b"1")
        lease = await store.lease("a", "me", 60)
        assert isinstance(lease, Lease)
        assert await store.mark(lease, expected=1, seconds=5)
        assert 2 == await store.swap("a", expected=1, sealed=None)


async def test_the_password_file_of_postgresql_is_used(
    database: str, postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a setting of our own, as psql would."""
    postgres.query(f"GRANT USAGE ON SCHEMA bearerd TO {GUARDED}", database)
    postgres.query(f"GRANT SELECT ON ALL TABLES IN SCHEMA bearerd TO {GUARDED}", database)
    (tmp_path / "pgpass").write_text(f"127.0.0.1:{postgres.port}:*:{GUARDED}:{PASSWORD}\n")
    (tmp_path / "pgpass").chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))

    async with opened(database.replace(USER, GUARDED)) as store:
        assert 0 == await store.changes()


async def test_a_database_that_is_not_there_is_said(postgres: Server) -> None:
    """With the command that makes it."""
    text = await refusal(postgres.dsn("nowhere"))

    assert text.endswith(f"does not exist; make it with: createdb --owner={USER} nowhere")


async def test_a_host_that_is_not_there_is_said() -> None:
    """No name, nobody listening, no socket: the address is in the message, a password of it is not."""
    port = databases.unused_port()
    assert "127.0.0.1:" in await refusal(f"postgresql://ann:{PASSWORD}@127.0.0.1:{port}/d")
    assert "cannot be reached" in await refusal(f"postgresql://ann:{PASSWORD}@host.invalid/d?sslmode=require")
    assert "cannot be reached" in await refusal("postgresql://ann@/d?host=/nonexistent")


async def test_dropped_tables_are_said(store: PostgresStore, database: str, postgres: Server) -> None:
    """They cannot come back by themselves."""
    postgres.query("DROP TABLE bearerd.records", database)

    with pytest.raises(NotMigrated, match=r"lacks tables of bearerd .*run: bearerd store migrate"):
        await store.read("a")


async def test_a_failure_shows_nothing_of_a_row(store: PostgresStore, database: str, postgres: Server) -> None:
    """PostgreSQL's details repeat whole rows: they are left out."""
    postgres.query("ALTER TABLE bearerd.records ADD CHECK (generation < 2)", database)
    await store.swap("grant/alpaca", expected=0, sealed=b"ciphertext")

    with pytest.raises(StoreError, match="23514") as caught:
        await store.swap("grant/alpaca", expected=1, sealed=b"ciphertext")
    assert "\\x" not in str(caught.value)
    assert "grant/alpaca" not in str(caught.value)


async def test_tls_is_checked(database: str, postgres: Server, program: Callable[[str], str], tmp_path: Path) -> None:
    """A server without it, with an unknown authority, with a known one: refused, refused, used."""
    checked = database.replace("127.0.0.1", "localhost") + "?sslmode=verify-full"
    assert "has no TLS; switch it on, or write ?sslmode=disable" in await refusal(checked)

    authority = await asyncio.to_thread(ca.create, tmp_path, now=clock())
    bouncer = Bouncer(program("pgbouncer"), postgres, client_tls_sslmode="require")
    bouncer.add_tls(tmp_path / "server.pem", tmp_path / "server.key")
    bouncer.start()
    try:
        plain = bouncer.through(database)
        checked = plain.replace("127.0.0.1", "localhost") + "?sslmode=verify-full"
        assert "certificate that is not trusted" in await refusal(checked)
        assert "takes nobody without TLS; write ?sslmode=verify-full" in await refusal(plain)
        async with opened(f"{checked}&sslrootcert={authority.ca_file}") as store:
            assert 1 == await store.swap("a", expected=0, sealed=b"1")
    finally:
        bouncer.remove()


def test_a_missing_driver_is_said() -> None:
    """Only those who have a database need it."""
    program = (
        "import asyncio, sys; sys.modules['asyncpg'] = None\n"
        "from proxy.store.postgres import PostgresStore\n"
        "asyncio.run(PostgresStore.open('postgresql://ann@db/tokens'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.stderr.endswith("a store in PostgreSQL needs asyncpg; run: pip install 'bearerd[postgres]'\n")
