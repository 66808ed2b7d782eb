"""`bearerd store`, as a person types it; and killed in the middle of its work."""

import asyncio
import base64
import contextlib
import re
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.store import COPYING, MOVED, MOVING, RESTORING, Row
from proxy.store.sealing import Sealer
from proxy.store.sqlite import SQLiteStore
from tests.cli.support import Person, invoke
from tests.database import Server
from tests.product import START, Program

MANY = 2500  # records: enough for a kill to find the command at work
OWN = 4  # records of a store that nobody has logged in to: a client's key, custody, the audit trail's two


def head(path: Path) -> tuple[str, int]:
    """State and number of records of a SQLite store; `missing` as long as it has no tables."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            (state,) = connection.execute("SELECT state FROM meta").fetchone()
            (rows,) = connection.execute("SELECT count(*) FROM records").fetchone()
            return state, rows
    except (sqlite3.OperationalError, TypeError):
        return "missing", 0


async def enlarge(home: Path) -> None:
    """Put many more grants into the store at `home`, which nobody serves."""
    key = await asyncio.to_thread((home / "keys/master.key").read_text)
    store = await SQLiteStore.open(home / "state/store.db")
    try:
        sealer = Sealer(base64.b64decode(key), store.store_id)
        assert await store.turn("", COPYING)
        names = [f"grant/questrade/p{number:05}" for number in range(MANY)]
        await store.load([Row(name, 3, sealer.seal(name, 3, b'{"lineage": "l", "issuer": ""}')) for name in names])
        assert await store.turn(COPYING, "")
    finally:
        await store.close()


def kill_when(program: Program, ready: Callable[[], bool]) -> bool:
    """`kill -9` as soon as `ready`; False if the program has ended before."""
    end = time.monotonic() + START
    while not ready():
        if program.code is not None:
            return False
        assert time.monotonic() < end, program.output
    program.kill()
    return True


def test_how_the_store_stands(customer: Person) -> None:
    """As data and for a person, without a server and beside one, which has the lock."""
    alone = customer.run("store", "status", "--json")
    assert 0 == alone.code, alone.err
    assert {"audit": 2, "client": 1, "custody": 1} == alone.document["rows"]
    server = customer.serve()
    beside = customer.run("store", "status", "--json")
    shown = customer.run("store", "status")

    assert {"held": True, "pid": server.pid} == beside.document["lock"]
    assert alone.document["store_id"] == beside.document["store_id"]
    assert 0 == shown.code
    assert f"lock: process {server.pid}" in shown.out
    assert "records: audit 2, client 1, custody 1" in shown.out


def test_the_store_is_not_there(person: Person) -> None:
    """1, with what makes one; nothing is made."""
    person.write_config()
    done = person.run("store", "status")

    assert 1 == done.code
    assert "there is no store at" in done.err
    assert "bearerd store restore FILE" in done.err
    assert not (person.home / "state").exists()


def test_a_backup_of_a_served_store_comes_back_on_another_machine(customer: Person, tmp_path: Path) -> None:
    """With the same key; quarantined, as `status` says, and the client's key counts."""
    customer.serve()
    before = customer.run("store", "status", "--json").document["quarantine"]["epoch"]
    made = customer.run("store", "backup", "store.bak")
    assert 0 == made.code, made.err
    assert f"{OWN} records are in store.bak" in made.err
    assert 1 == customer.run("store", "backup", "store.bak").code
    assert 0 == customer.run("store", "backup", "store.bak", "--replace", "--json").code

    other = Person(tmp_path / "other")
    other.home.mkdir(mode=0o700)
    shutil.copytree(customer.home / "keys", other.home / "keys")
    shutil.copy(customer.config, other.config)
    restored = other.run("store", "restore", str(customer.home / "store.bak"))
    assert 0 == restored.code, restored.err
    assert "bearerd adopt --all" in restored.err
    stands = other.run("store", "status", "--json").document
    assert before + 1 == stands["quarantine"]["epoch"]
    assert "brought back from a backup of" in stands["quarantine"]["reason"]
    assert 1 == other.run("clients", "list", "--json").document["clients"][0]["keys"]
    again = other.run("store", "restore", str(customer.home / "store.bak"))
    assert 1 == again.code
    assert "is not empty" in again.err


def test_a_backup_without_its_key_is_worth_nothing(customer: Person) -> None:
    """5, and the message says which key it needs; so does the status of a store."""
    needed = customer.run("store", "backup", "store.bak", "--json").document["key"]
    (customer.home / "keys/master.key").write_bytes(base64.b64encode(bytes(32)))
    shutil.move(customer.home / "state", customer.home / "old")
    done = customer.run("store", "restore", "store.bak")

    assert 5 == done.code
    assert f"needs the master key {needed}" in done.err
    assert not (customer.home / "state").exists()


def test_a_copy_says_what_to_do_next(customer: Person) -> None:
    """Here the store is out of use from then on (1), there it is served."""
    done = customer.run("store", "copy", "--to", "sqlite:new/store.db")
    place = f"sqlite:{customer.home}/new/store.db"

    assert 0 == done.code, done.err
    assert f"To do, in config.yaml: `store: {place}`" in done.err
    refused = customer.run("clients", "list")
    assert 1 == refused.code
    assert f"To fix: set `store: {place}` in the configuration" in refused.err
    customer.write_config(**{"sqlite:state/store.db": place})
    assert 1 == customer.run("clients", "list", "--json").document["clients"][0]["keys"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Give one of --to and --cancel"),
        (("--to", "sqlite:x", "--cancel"), "Give one of --to and --cancel"),
        (("--to", "mysql://x/y"), "Write --to sqlite:PATH"),
        (("--to", "postgresql://u:s3k-r3t@h/d"), "may hold no password"),
    ],
    ids=range(4),
)
def test_where_to_must_be_said_well(customer: Person, arguments: tuple[str, ...], words: str) -> None:
    """And a password that was typed is not repeated."""
    result = invoke("-c", str(customer.config), "store", "copy", *arguments)

    assert result.exit_code in (1, 2)
    assert words in result.stderr
    assert "s3k-r3t" not in result.output


async def test_a_copy_that_is_killed_goes_on(customer: Person) -> None:
    """At several stages, one after the other: neither end can be served meanwhile, and the end is whole."""
    await enlarge(customer.home)
    old, new = customer.home / "state/store.db", customer.home / "new/store.db"
    to = f"sqlite:{new}"
    stages: list[Callable[[], bool]] = [
        lambda: 0 < head(new)[1] < MANY,
        lambda: head(new)[1] >= MANY,
        lambda: head(old)[0] == MOVED + to,
    ]

    def kill_at(stage: Callable[[], bool]) -> bool:
        killed = kill_when(customer.start("store", "copy", "--to", to), stage)
        states = head(old)[0], head(new)[0]
        assert states[0] == MOVING + to or (states[0] == MOVED + to and states[1] in (COPYING, ""))
        return killed

    killed = [await asyncio.to_thread(kill_at, stage) for stage in stages]
    assert [True, True] == killed[:2]
    done = await asyncio.to_thread(customer.run, "store", "copy", "--to", to, "--json")

    assert 0 == done.code, done.err
    assert MANY + OWN == done.document["records"]
    assert (MOVED + to, "") == (head(old)[0], head(new)[0])
    customer.write_config(**{"sqlite:state/store.db": to})
    stands = await asyncio.to_thread(customer.run, "store", "status", "--json")
    assert {"audit": 2, "client": 1, "custody": 1, "grant": MANY} == stands.document["rows"]
    assert 0 == stands.document["quarantine"]["epoch"]


async def test_a_copy_into_a_database_that_is_killed_goes_on(customer: Person, postgres: Server) -> None:
    """The tables are made by the copy, and are out of use until it is whole; it can be taken back as long as it is."""
    await enlarge(customer.home)
    address = await asyncio.to_thread(postgres.create)

    def count() -> int:
        with contextlib.suppress(AssertionError):
            return int(postgres.query("SELECT count(*) FROM bearerd.records", address))
        return 0

    program = customer.start("store", "copy", "--to", address)
    assert await asyncio.to_thread(kill_when, program, lambda: 0 < count() < MANY)
    assert COPYING == await asyncio.to_thread(postgres.query, "SELECT state FROM bearerd.meta", address)
    assert 0 == (await asyncio.to_thread(customer.run, "store", "copy", "--cancel")).code
    assert 0 == (await asyncio.to_thread(customer.run, "clients", "list")).code
    done = await asyncio.to_thread(customer.run, "store", "copy", "--to", address, "--json")

    assert 0 == done.code, done.err
    assert {"store": address, "state": f"{customer.home}/state"} == done.document["settings"]
    assert MANY + OWN == await asyncio.to_thread(count)
    assert "" == await asyncio.to_thread(postgres.query, "SELECT state FROM bearerd.meta", address)


async def test_a_restore_that_is_killed_is_repeated(customer: Person) -> None:
    """Until then nobody can serve the half of it."""
    await enlarge(customer.home)
    assert 0 == (await asyncio.to_thread(customer.run, "store", "backup", "store.bak")).code
    shutil.move(customer.home / "state", customer.home / "old")
    store = customer.home / "state/store.db"
    program = customer.start("store", "restore", "store.bak")
    assert await asyncio.to_thread(kill_when, program, lambda: 0 < head(store)[1] < MANY)
    assert RESTORING == head(store)[0]

    refused = await asyncio.to_thread(customer.run, "clients", "list")
    assert re.search(r"a restore into .* is not finished", refused.err)
    assert "To fix: bearerd store restore FILE" in refused.err
    done = await asyncio.to_thread(customer.run, "store", "restore", "store.bak", "--json")
    assert MANY + OWN == done.document["records"]
    assert ("", MANY + OWN + 1) == head(store)  # the restore is in the audit trail of this state directory


def test_migrating_a_file_is_nothing_to_do(customer: Person) -> None:
    """It has its tables; the list of what was done is empty."""
    done = customer.run("store", "migrate", "--json")

    assert (0, []) == (done.code, done.document["applied"])
