"""Sockets through the whole app: what an operator does to a running server reaches those that are open."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.app import App
from proxy.clock import SystemClock
from proxy.custody import Custody
from proxy.halting import halt
from proxy.settings import Settings, read
from proxy.store.keys import Source
from proxy.streams import codes
from tests.house import port_of
from tests.lab import CA_FILE
from tests.streams.echo import EchoBroker, Socket, broker, until

MOUNT = {"broker": "own", "environment": "here", "scopes": ["read"]}
ROWS = [
    {"id": "socket", "method": "GET", "path": "/v1/socket", "scope": "read", "websocket": True},
    {"id": "calls", "method": "GET", "path": "/v1/calls", "scope": "read"},
]


@dataclass
class House:
    """An app in front of an echo broker, with a client `bot`."""

    app: App
    broker: EchoBroker
    file: Path
    config: dict[str, Any]
    key: str
    client: aiohttp.ClientSession

    async def connect(self) -> Socket:
        url = f"http://127.0.0.1:{port_of(self.app.doors.listeners[0])}/own/v1/socket"
        headers = {"Authorization": f"Bearer {self.key}"}
        socket: Socket = await self.client.ws_connect(url, headers=headers, autoclose=False)
        await socket.send_str("here")
        assert "here" == await socket.receive_str()
        return socket

    async def reload(self, **changes: Any) -> None:
        await asyncio.to_thread(self.file.write_text, json.dumps(self.config | changes), "utf-8")
        await self.app.reload()


def _prepare(file: Path, config: Any) -> tuple[Settings, Source]:
    """The configuration, written and read, and where its new key is."""
    file.write_text(json.dumps(config), "utf-8")
    settings = read(file, {"HOME": str(file.parent)})
    source = Source(settings.config.key, base=settings.config.base, state=settings.config.state_dir)
    source.create()
    return settings, source


@asynccontextmanager
async def house(directory: Path) -> AsyncIterator[House]:
    """Logged in with a plain token."""
    async with broker() as found, aiohttp.ClientSession() as client:
        here = {"api_server": f"https://127.0.0.1:{found.port}", "ca_file": CA_FILE}
        own = {
            "title": "Own",
            "scopes": {"read": "Reading"},
            "params": {},
            "logins": {"token": {"kind": "secret", "title": "A token"}},
            "environments": {"here": here},
            "rows": ROWS,
        }
        config = {
            "version": 1, "listen": "127.0.0.1:0", "console": "off", "store": "sqlite:store.db", "key": "file:key",
            "mounts": {"own": MOUNT, "other": MOUNT | {"grant": "own"}},
            "clients": {"bot": {"own": ["read"], "other": ["read"]}},
            "brokers": {"own": own}, "limits": {"sockets_per_client": 2},
        }  # fmt: skip
        file = directory / "config.yaml"
        settings, source = await asyncio.to_thread(_prepare, file, config)
        custody = await Custody.open(settings.config, source)
        app = App(settings, custody, lambda: read(file, {"HOME": str(directory)}), clock=SystemClock())
        await app.start()
        try:
            await app.operations.login("own", "a-plain-token-of-this-broker")
            key = (await app.operations.clients_add("bot"))["key"]
            yield House(app, found, file, config, key, client)
        finally:
            await app.stop()
            await custody.close()


async def _code(socket: Socket) -> int | None:
    """The close code that comes, within a second and a bit."""
    message = await socket.receive(timeout=1.5)
    assert aiohttp.WSMsgType.CLOSE is message.type
    await socket.close()
    return int(message.data)


async def test_what_an_operator_does_reaches_open_sockets(tmp_path: Path) -> None:
    """A halt, a reload without the mount, the removal of the key, a stop: each within a second, with its code."""
    async with house(tmp_path) as it:
        socket = await it.connect()
        assert [("own", "bot", 1, 1, 1)] == [
            tuple(told[name] for name in ("mount", "client", "open", "up", "down"))
            for told in it.app.operations.status()["streams"]
        ]
        await halt(it.app, {"mount": "own", "by": "me", "reason": "test"})
        assert codes.HALTED == await _code(socket)

        socket = await it.connect()
        await it.reload(mounts={"other": MOUNT | {"grant": "own"}}, clients={"bot": {"other": ["read"]}})
        assert codes.NOT_ALLOWED == await _code(socket)

        await it.reload()
        socket = await it.connect()
        await it.app.operations.clients_remove("bot")
        assert codes.UNKNOWN_CLIENT == await _code(socket)

        it.key = (await it.app.operations.clients_add("bot"))["key"]
        socket = await it.connect()
        assert b'bearerd_streams_open{kind="socket",mount="own"} 1.0' in it.app.rendered_metrics()
        stopping = asyncio.ensure_future(it.app.stop())
        assert codes.STOPPING == await _code(socket)
        await stopping
        await until(lambda: it.broker.open == 0)
        assert {"Bearer a-plain-token-of-this-broker"} == {r.headers["Authorization"] for r in it.broker.requests}


async def test_the_limits_of_the_configuration_count(tmp_path: Path) -> None:
    """Sockets of a key, and the size of a message; a reload changes them for those who come."""
    async with house(tmp_path) as it:
        sockets = [await it.connect() for _ in range(2)]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await it.connect()
        assert 429 == refused.value.status
        await it.reload(limits={"sockets_per_client": 3, "message_bytes": 1024})
        sockets.append(await it.connect())
        await sockets[0].send_str("x" * 1025)
        assert "x" * 1025 == await sockets[0].receive_str()
        await sockets[2].send_str("x" * 1025)
        assert codes.TOO_LARGE == await _code(sockets[2])
        for socket in sockets[:2]:
            await socket.close()
