"""A store full of members, made quickly, and what a running bearerd needs to live with them."""

import asyncio
import hashlib
import json
import logging
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from proxy import eventloop
from proxy.admin import call
from proxy.brokers import builtin
from proxy.brokers.origin import Origin
from proxy.clock import Now, SystemClock
from proxy.config import Config
from proxy.custody import Custody
from proxy.keepers import Keepers
from proxy.secret import Secret
from proxy.settings import Settings, read
from proxy.store.keys import Source
from proxy.store.rekey import find
from proxy.store.sealing import Sealer
from proxy.store.sqlite import SQLiteStore
from proxy.tokens.answer import Terms
from proxy.tokens.grant import HOUR, Grant
from proxy.tokens.oauth import RawAnswer, Wish
from proxy.tokens.quarantine import Quarantine
from proxy.tokens.roster import Reader, Roster

GRANT = "questrade"
CLIENT = "web"
_PAGE = 1000


def prepare(directory: Path) -> tuple[Settings, Source]:
    """A configuration for one application, whose token endpoint is not there, and its master key. Blocks."""
    environment = {"token_url": "https://127.0.0.1:1/oauth2/token", "api_hosts": ["127.0.0.1:*"]}
    configuration = {
        "version": 1,
        "listen": "127.0.0.1:0",
        "console": "off",
        "store": "sqlite:store.db",
        "key": "file:master.key",
        "mounts": {GRANT: {"broker": "questrade", "environment": "lab", "scopes": ["read_acc"]}},
        "clients": {CLIENT: {GRANT: ["read_acc"]}},
        "brokers": {"questrade": {"environments": {"lab": environment}}},
    }
    file = directory / "config.yaml"
    file.write_text(json.dumps(configuration))
    settings = read(file, {"HOME": str(directory)})
    source = Source(settings.config.key, base=settings.config.base, state=settings.config.state_dir)
    source.create()
    return settings, source


def member(number: int, wall: float, *, spread: float = 10 * HOUR) -> Grant:
    """One of many who logged in within the last hours; its access token is long dead, its refresh token good."""
    token = hashlib.sha256(str(number).encode()).hexdigest()
    refreshed = wall - spread * (number % 997) / 997
    return Grant(
        f"{GRANT}/user-{number}",
        lineage="a-login",
        issuer="questrade/lab",
        refresh_token=Secret(f"r-{token}"),
        access_token=Secret(f"a-{token}"),
        origin=Origin("127.0.0.1", 9),
        refreshed=refreshed,
        expires=refreshed + 1800,
        life=1800.0,
        login="refresh-token",
        logged_in=refreshed,
    )


def key_of(number: int) -> str:
    """What is stored instead of a member's client key."""
    return hashlib.sha256(f"key {number}".encode()).hexdigest()


async def fill(config: Config, source: Source, count: int, wall: float, *, keys: bool) -> None:
    """Put so many members into a new store, each with a bound client key if `keys`."""
    path = config.store_path
    assert path is not None
    store = await SQLiteStore.open(path)
    await store.adopt_key(Sealer(await asyncio.to_thread(source.load), store.store_id).key_id)
    sealer = await find(store, source)
    await store.close()
    await asyncio.to_thread(_insert, path, sealer, count, wall, keys=keys)


def _insert(path: Path, sealer: Sealer, count: int, wall: float, *, keys: bool) -> None:
    connection = sqlite3.connect(path)
    with connection:
        statement = "INSERT INTO records (name, generation, commit_number, sealed) VALUES (?, 1, 0, ?)"
        connection.executemany(statement, _records(sealer, count, wall, keys=keys))
    connection.close()


def _records(sealer: Sealer, count: int, wall: float, *, keys: bool) -> Iterator[tuple[str, bytes]]:
    for number in range(count):
        grant = member(number, wall)
        name = f"grant/{grant.name}"
        yield name, sealer.seal(name, 1, json.dumps(grant.to_record()).encode())
        if keys:
            name = f"bound/{CLIENT}/{number + 1}"
            value = {"client": CLIENT, "created": wall, "digest": key_of(number), "grants": [grant.name]}
            yield name, sealer.seal(name, 1, json.dumps(value).encode())


class Desk:
    """A token endpoint that answers at once."""

    def __init__(self) -> None:
        self.posts = 0

    async def ask(self, _wish: Wish, arrived: Callable[[RawAnswer], None]) -> RawAnswer:
        self.posts += 1
        await asyncio.sleep(0)
        fields = {
            "access_token": f"access-{self.posts:064}",
            "refresh_token": f"refresh-{self.posts:064}",
            "api_server": "https://127.0.0.1:9/",
            "expires_in": 1800,
        }
        raw = RawAnswer(200, "application/json", json.dumps(fields).encode())
        arrived(raw)
        return raw


@asynccontextmanager
async def keeping(directory: Path, desk: Desk) -> AsyncIterator[tuple[Keepers, Custody, Source]]:
    """Running keepers on a real store without members, beside a real journal."""
    settings, source = await asyncio.to_thread(prepare, directory)
    custody = await Custody.open(settings.config, source)
    grant = settings.grants[GRANT]
    grant = replace(grant, environment=replace(grant.environment, max_rotations_per_day=0))
    settings = replace(settings, grants={GRANT: grant})
    keepers = Keepers(
        settings,
        custody,
        SystemClock(),
        endpoint_of=lambda _settings, _grant: desk,  # type: ignore[arg-type,return-value]
        observe=lambda _grant, _outcome: None,
    )
    keepers.take_over(settings, await keepers.new(settings))
    task = asyncio.get_running_loop().create_task(keepers.run())
    while keepers.reading(GRANT):  # noqa: ASYNC110  it happens in a task of the keepers
        await asyncio.sleep(0.01)
    yield keepers, custody, source
    task.cancel()
    await asyncio.wait((task,))
    await keepers.close()
    await custody.close()


async def _renew_at_once(directory: Path, count: int) -> dict[str, Any]:
    """Have so many members renewed at once: the seconds, of processor time and by the clock, that each took."""
    desk = Desk()
    async with keeping(directory, desk) as (keepers, custody, source):
        config = (await asyncio.to_thread(read, directory / "config.yaml", {"HOME": str(directory)})).config
        await fill(config, source, count, SystemClock().now().wall - 14 * HOUR, keys=False)
        rows = await custody.store.read_all(f"grant/{GRANT}/")
        await keepers.look_again(rows, [])  # from here on they are known, as they are to a server that runs
        began, start = time.process_time(), time.monotonic()
        while desk.posts < count or any("/" in keeper.name for keeper in keepers.here()):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        spent, took = (time.process_time() - began) / count, (time.monotonic() - start) / count
        states = {state.value: number for state, number in keepers.members(GRANT).items()}
    return {"spent": spent, "took": took, "posts": desk.posts, "states": states}


def renewed_at_once(directory: Path, count: int) -> dict[str, Any]:
    """The same in a process of its own. Blocks."""
    arguments = [sys.executable, __file__, str(directory), str(count)]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(arguments, env=environ, capture_output=True, text=True, timeout=300, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@dataclass
class Started:
    """A server in a process of its own. Times are seconds since it was called, `memory` is in bytes."""

    listening: float
    read: float
    memory: int
    clients: list[dict[str, Any]]
    members: dict[str, Any]


async def started(directory: Path, count: int, *, keys: bool) -> Started:
    """Start a server on a store with so many members, wait until it knows them all, and stop it."""
    from tests.product import COMMAND, Program

    await asyncio.to_thread(directory.mkdir, mode=0o700)
    settings, source = await asyncio.to_thread(prepare, directory)
    await fill(settings.config, source, count, SystemClock().now().wall, keys=keys)
    began = time.monotonic()
    server = await asyncio.to_thread(Program, directory, "serve", "-c", "config.yaml", command=COMMAND)
    try:
        await asyncio.to_thread(server.until, "serves http")
        listening = time.monotonic() - began
        while True:
            status = await call(directory / "admin.sock", "status", {}, timeout=30)
            if not status["mounts"][0]["members"]["reading"]:
                break
            await asyncio.sleep(0.05)
        read = time.monotonic() - began
        await asyncio.sleep(1.0)
        memory = _memory(server.pid)
    finally:
        assert 0 == await asyncio.to_thread(server.stop)
    return Started(listening, read, memory, status["clients"], status["mounts"][0]["members"])


def _memory(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("ascii"))
    assert found is not None
    return 1024 * int(found[1])


def timer_work(count: int) -> tuple[int, float]:
    """How many of so many members were called up once in a cycle of theirs, and the seconds that it took for each."""
    now, broker = Now(1.8e9, 1e6), builtin("questrade")
    terms = Terms.of(broker, broker.environments["live"], broker.login())
    reader = Reader(terms, "questrade/lab", "refresh-token", Quarantine())
    one = reader.read("questrade/x", 1, member(1, now.wall).to_record(), None, now)
    roster = Roster("a server")
    for number in range(count):
        _ = roster.put(replace(one, name=f"questrade/user-{number}", refreshed=now.wall - 11 * HOUR * number / count))
    began = time.process_time()
    for each in roster:
        roster.look(each, roster.keep_alive(each, now))
    seen = sum(1 for boot in range(int(now.boot), int(now.boot + 14 * HOUR)) for _ in roster.due(boot))
    return seen, (time.process_time() - began) / count


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # as a server does with the level `error`
    print(json.dumps(eventloop.run(_renew_at_once(Path(sys.argv[1]), int(sys.argv[2])), eventloop.factory())))
