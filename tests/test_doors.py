"""Doors: where TLS is spoken, which names lead to a listener, and what a reload opens and retires."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from proxy import localca
from proxy.admission import Door
from proxy.certificates import Certificates
from proxy.clock import SystemClock
from proxy.config import Address, Config, Tcp, Tls
from proxy.doors import Doors, entry_at, entry_of
from proxy.gate.localport import Stream, StreamPort
from proxy.listener import Listener
from proxy.settings import read
from tests.wire import connected

OWN = "tls: {local_ca: true}"
PLAIN_AND_TLS = f'{OWN}\nlisten: [127.0.0.1:1, "tls:0.0.0.0:2"]\n'
TEXT = """version: 1
clients: {bot: {questrade: [read_acc]}}
mounts:
  questrade: {broker: questrade, environment: live, scopes: [read_acc], port: 0}
"""
OPEN = 'listen: 127.0.0.1:0\nallowed_hosts: ["desk.internal:8080"]'


def config_of(tmp_path: Path, more: str) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text(TEXT + more, encoding="utf-8")
    return read(path, {"HOME": str(tmp_path)}).config


async def handle(_door: Door, _request: web.BaseRequest) -> web.StreamResponse:
    return web.Response()


async def doors_of(config: Config) -> Doors:
    found = Doors(SystemClock(), handle, print)
    await found.open(config)
    return found


def names(doors: Doors, listener: Listener) -> set[str]:
    """Of those below, the Host values that lead to it."""
    hosts = doors._doors[listener].hosts
    assert hosts is not None
    return {name for name in ("desk.internal:8080", "other.internal:8080") if hosts.allow(name.encode())}


HERE, ANYWHERE = Tcp("127.0.0.1", 3), Tcp("0.0.0.0", 3)


@pytest.mark.parametrize(
    ("more", "listened", "own"),
    [
        ("", {8080: "plain"}, ("plain", "plain")),
        ("tls: {local_ca: true}\nlisten: [127.0.0.1:1, 0.0.0.0:2]", {1: "TLS", 2: "TLS"}, ("TLS", "TLS")),
        (PLAIN_AND_TLS, {1: "plain", 2: "TLS"}, ("both", "TLS")),
        (
            'tls: {local_ca: true}\nlisten: [0.0.0.0:1, "tls:127.0.0.1:2"]\nplaintext: accepted',
            {1: "plain", 2: "TLS"}, ("both", "both"),
        ),
        (
            'tls: {local_ca: true}\nlisten: ["tls:0.0.0.0:1", 10.0.0.1:2]\nplaintext: accepted',
            {1: "TLS", 2: "plain"}, ("both", "TLS"),
        ),
        ("tls: {local_ca: true}\nlisten: tls:127.0.0.1:2", {2: "TLS"}, ("TLS", "TLS")),
        ("tls: {local_ca: true, client_ca_file: a}\nlisten: tls:127.0.0.1:2", {2: "TLS"}, ("TLS", "TLS")),
    ],
    ids=["none", "all", "one", "accepted", "accepted elsewhere", "only TLS", "asked for certificates"],
)  # fmt: skip
async def test_where_tls_is_spoken(tmp_path: Path, more: str, listened: dict[int, str], own: tuple[str, str]) -> None:
    """On `listen` as it is written; at ports of their own both where one has the choice, unless others could read."""
    config = await asyncio.to_thread(config_of, tmp_path, more)
    certificates = None
    if config.tls.on:
        await asyncio.to_thread(localca.make, localca.file_of(config), (), SystemClock().now().wall)
        alone = config.model_copy(update={"tls": Tls.model_construct(local_ca=True)})
        certificates = await Certificates.opened(alone, SystemClock())
    entry = await entry_of(config, certificates, print)

    def spoken(address: Address, *, own_port: bool) -> str:
        found = entry_at(config, entry, address, own_port=own_port)
        return "both" if found.plain_too else "plain" if found.certificates is None else "TLS"

    listening = [each for each in config.listen if isinstance(each, Tcp)]
    assert listened == {each.port: spoken(each, own_port=False) for each in listening}
    assert own == tuple(spoken(address, own_port=True) for address in (HERE, ANYWHERE))


async def test_a_reload_opens_new_roots_and_retires_the_old(tmp_path: Path) -> None:
    """The listeners of `listen` stay; a root that has moved is opened first, and the old one is given up after."""
    old = await asyncio.to_thread(config_of, tmp_path, OPEN)
    doors = await doors_of(old)
    try:
        listening, root = doors.listeners
        assert [(listening, None), (root, "questrade")] == doors.all()
        assert listening.url == doors.url

        moved = old.model_copy(update={"allowed_hosts": ("other.internal:8080",), "mounts": {}})
        assert [] == await doors.new_roots(moved)
        gone = doors.take_over(moved, [], None)
        assert ([root], [listening]) == (gone, doors.listeners)
        assert {"other.internal:8080"} == names(doors, listening)
        await doors.retire(gone, grace=0.1)
        assert 1 == len(doors)
    finally:
        await doors.close()
    assert [] == doors.listeners


async def test_a_root_that_cannot_be_opened_opens_none(tmp_path: Path, unused_tcp_port: int) -> None:
    """Somebody else has the port: the one that was opened before it is closed again."""
    config = await asyncio.to_thread(config_of, tmp_path, OPEN)
    questrade = config.mounts["questrade"]
    doors = await doors_of(config.model_copy(update={"mounts": {}}))
    try:
        taken = doors.listeners[0].bound
        assert isinstance(taken, Tcp)
        ports = {"a": unused_tcp_port, "b": taken.port}
        mounts = {name: questrade.model_copy(update={"port": port}) for name, port in ports.items()}
        with pytest.raises(OSError, match="cannot listen"):
            await doors.new_roots(config.model_copy(update={"mounts": mounts}))
        again = await doors.new_roots(config.model_copy(update={"mounts": {"a": mounts["a"]}}))
        assert 1 == len(again)
        await asyncio.gather(*(listener.close() for listener in again))
    finally:
        await doors.close()


async def test_the_port_of_a_stream_is_known_until_it_closes(tmp_path: Path) -> None:
    """It is none of the listeners that `status` shows."""
    config = await asyncio.to_thread(config_of, tmp_path, OPEN)
    doors = await doors_of(config.model_copy(update={"mounts": {}}))
    port = StreamPort("127.0.0.1", Stream("questrade", "questrade", "notifications"))
    doorway = await doors.open_port(port, 0)
    assert (2, 1) == (len(doors), len(doors.all()))
    assert 0 < doorway.number
    assert port is doors._doors[doorway.listener].stream
    await doorway.close()
    assert 1 == len(doors)
    await doors.close()


async def test_who_was_let_in_last_is_answered(tmp_path: Path) -> None:
    """A connection is there, its request comes a moment later, and the doors are being closed meanwhile."""
    config = await asyncio.to_thread(config_of, tmp_path, OPEN)
    doors = await doors_of(config)
    bound = doors.listeners[0].bound
    assert isinstance(bound, Tcp)
    async with connected("127.0.0.1", bound.port) as wire, connected("127.0.0.1", bound.port):
        await doors.stop_accepting()
        async with asyncio.TaskGroup() as group:
            closing = group.create_task(doors.close())
            await asyncio.sleep(0.05)
            await wire.send(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{bound.port}\r\n\r\n".encode())
            assert 200 == (await wire.reply()).status
        assert closing.done(), "one that says nothing keeps nobody waiting for long"
