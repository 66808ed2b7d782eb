"""A server of several processes: who answers what, what a command has promised, and what is lost when one is killed."""

import asyncio
import json
import os
import signal
import socket
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from proxy import localca
from proxy.admin import CommandFailed
from proxy.clock import SystemClock
from proxy.errors import Refusal
from proxy.gate.rows import Row
from proxy.simulator.questrade.options import Options
from proxy.workers.worker import Keys, OrdersElsewhere
from tests.callers import Wire, ask, eventually
from tests.workers.house import ACCOUNTS, ORDER, ORDERS, Staff, alive, kill, staffed

CALLERS = 4


class Callers:
    """Programs that read over kept connections, without a pause, until they are stopped; what they have heard."""

    def __init__(self, staff: Staff) -> None:
        self.staff = staff
        self.heard: Counter[str] = Counter()
        self.longest = 0.0
        self.stopping = False

    async def run(self) -> None:
        wire = self.staff.wire()
        while not self.stopping:
            began = time.monotonic()
            try:
                reply = await wire.call("GET", ACCOUNTS, self.staff.key)
            except OSError as error:
                await wire.close()
                self.heard[type(error).__name__] += 1
            else:
                self.heard["reset" if reply is None else str(reply.status)] += 1
            self.longest = max(self.longest, time.monotonic() - began)
            await asyncio.sleep(0.002)
        await wire.close()

    @property
    def failed(self) -> dict[str, int]:
        return {name: count for name, count in self.heard.items() if name != "200"}


@asynccontextmanager
async def calling(staff: Staff) -> AsyncIterator[Callers]:
    callers = Callers(staff)
    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(callers.run())
        yield callers
        callers.stopping = True


async def test_one_server_of_several_processes(tmp_path: Path) -> None:
    """Reads and orders on one connection, a removed key, and `kill -9` of a worker, of custody, of the supervisor."""
    async with staffed(tmp_path) as staff:
        wire = staff.wire()
        for method, target, body in (("GET", ACCOUNTS, None), ("POST", ORDERS, ORDER), ("GET", ACCOUNTS, None)):
            reply = await wire.call(method, target, staff.key, body)
            assert reply is not None
            assert reply.status == 200
        await wire.close()
        status = await staff.command("status")
        assert status["pid"] == staff.server.pid
        await _removed_key(staff)
        await _refused_reload(staff)

        async with calling(staff) as callers:
            await asyncio.sleep(0.1)
            killed = (await staff.workers())[0]
            kill(killed)
            await staff.restarted(killed)
        # Connections of the killed process are cut; nobody else notices.
        assert set(callers.failed) <= {"reset", "ConnectionResetError"}
        assert sum(callers.failed.values()) <= CALLERS

        async with calling(staff) as callers:
            killed = staff.custody()
            kill(killed)
            order = await staff.ask(ORDERS, "POST", ORDER)  # it waits for the next custody
            assert order.status == 200
            await staff.restarted(killed)
        assert not callers.failed
        assert callers.heard["200"] > 50
        assert callers.longest < 2

        async for _ in eventually(5):
            if await staff.counted("bearerd_requests_total") >= 50:
                break
        children = list(staff.children())
        os.kill(staff.server.pid, signal.SIGKILL)
        async for _ in eventually(10):
            if not any(alive(pid) for pid in children):
                break
        assert not [pid for pid in children if alive(pid)]
        parts = urlsplit(staff.url)
        with socket.create_server((parts.hostname or "", parts.port or 0)):
            pass  # the port is free


async def _removed_key(staff: Staff) -> None:
    """It counts in every worker as soon as it is made, and in none once it was removed."""
    made = await staff.command("clients-add", name="other")
    key = made["key"]
    assert {(await ask(staff.url, "GET", ACCOUNTS, key)).status for _ in range(6)} == {200}
    await staff.command("clients-remove", name="other")
    assert {(await ask(staff.url, "GET", ACCOUNTS, key)).status for _ in range(6)} == {401}


async def _refused_reload(staff: Staff) -> None:
    """One of two new ports is taken: neither is opened anywhere, and once it is free both are, in the same workers."""
    path = staff.directory / "config.yaml"
    before, workers = await asyncio.to_thread(path.read_text), await staff.workers()
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as taken:
        ports = one.getsockname()[1], taken.getsockname()[1]
        one.close()
        config = json.loads(before)
        mount = config["mounts"]["questrade"]
        config["mounts"] = {"questrade": mount | {"port": ports[0]}}
        config["mounts"]["second"] = mount | {"port": ports[1], "grant": "questrade"}
        await asyncio.to_thread(path.write_text, json.dumps(config))
        with pytest.raises(CommandFailed, match="cannot listen"):
            await staff.command("reload")
    for text in (json.dumps(config), before, json.dumps(config)):
        await asyncio.to_thread(path.write_text, text)
        await staff.command("reload")
    for _ in range(4):
        assert (await ask(f"http://127.0.0.1:{ports[0]}", "GET", "/v1/accounts", staff.key)).status == 200
    assert await staff.workers() == workers


def test_nothing_that_changes_something_is_ever_sent_by_a_worker() -> None:
    """Whatever else went wrong: where halts are looked at, a worker refuses."""
    halts = OrdersElsewhere()
    halts.check("lab", "bot", Row("read", "GET", "/q", "read"))
    with pytest.raises(Refusal, match="internal"):
        halts.check("lab", "bot", Row("order", "POST", "/o", "trade", mutating=True))


def test_keys_that_the_next_custody_does_not_know_count_no_longer() -> None:
    """Until it has told all, those of the last one count."""
    keys = Keys()
    keys.told({"one": ["bot", None, 7.0], "two": ["bot", ["lab/ada"], None]})
    keys.whole()
    assert keys.digests == {"one": "bot", "two": "bot"}
    keys.fresh = set()
    keys.told({"two": ["bot", None, None]})
    assert keys.bindings == {}
    keys.whole()
    assert keys.digests == {"two": "bot"}
    assert keys.expiries == {}


async def _secure(port: int, *requests: bytes) -> list[int]:
    """The statuses of requests over one TLS connection."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    found = []
    for request in requests:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        found.append(int(head.split()[1]))
    writer.close()
    return found


@pytest.mark.soak
async def test_tls_unix_sockets_and_rotations(tmp_path: Path) -> None:
    """Orders over TLS are led to custody; tokens rotate under load without a failed call; SIGTERM ends all."""
    place = tmp_path / "state" / "tls"
    await asyncio.to_thread(_authority, place)
    name = tmp_path / "bearerd.sock"
    more = {"listen": ["127.0.0.1:0", "tls:127.0.0.1:0", f"unix:{name}"], "tls": {"local_ca": True}}
    async with staffed(tmp_path, options=Options(expires_in=3), more=more) as staff:
        status = await staff.command("status")
        port = urlsplit(status["secure_url"]).port or 0
        wire = Wire(f"http://127.0.0.1:{port}")
        read, order = wire.request("GET", ACCOUNTS, staff.key), wire.request("POST", ORDERS, staff.key, ORDER)
        assert await _secure(port, read, order, read, order) == [200] * 4
        reader, writer = await asyncio.open_unix_connection(str(name))
        writer.write(order)
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        writer.close()
        async with calling(staff) as callers:
            await asyncio.sleep(12)
        assert not callers.failed
        after = (await staff.command("status"))["mounts"][0]["generation"]
        assert after - status["mounts"][0]["generation"] >= 4
        children = staff.children()
        assert await asyncio.to_thread(staff.server.stop) == 0
        assert not [pid for pid in children if alive(pid)]
        assert not name.exists()


def _authority(place: Path) -> None:
    place.mkdir(parents=True, mode=0o700)
    place.parent.chmod(0o700)
    localca.make(place / localca.FILE, (), SystemClock().now().wall)
