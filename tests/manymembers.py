"""A store full of members, made quickly, and what a running bearerd needs to live with them."""

import asyncio
import hashlib
import json
import logging
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxy.brokers.origin import Origin
from proxy.clock import SystemClock
from proxy.config import Config
from proxy.custody import Custody
from proxy.keepers import Keepers
from proxy.secret import Secret
from proxy.settings import Settings, read
from proxy.store.keys import Source
from proxy.store.rekey import find
from proxy.store.sealing import Sealer
from proxy.store.sqlite import SQLiteStore
from proxy.tokens.grant import HOUR, Grant
from proxy.tokens.oauth import RawAnswer, Wish

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
        began, start = time.process_time(), time.monotonic()
        await keepers.look_again(rows, [])
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


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # as a server does with the level `error`
    print(json.dumps(asyncio.run(_renew_at_once(Path(sys.argv[1]), int(sys.argv[2])))))
