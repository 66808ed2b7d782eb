"""The doors: addresses that are opened and closed, and what lies there afterwards."""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.config import Address, Tcp, Unix
from proxy.listener import Listener, open_listener
from tests.service import ANY_PORT, Service, connect, get, talk


@pytest.fixture(name="service")
def _service() -> Service:
    return Service()


@pytest.fixture(name="listener")
async def _listener(service: Service) -> AsyncIterator[Listener]:
    listener = await open_listener(ANY_PORT, service.handle, grace=0.1)
    yield listener
    await listener.close()


async def test_port_0_becomes_a_free_port(listener: Listener) -> None:
    """`bound` and `url` hold the port that was found, `address` what was asked for."""
    assert ANY_PORT == listener.address
    assert isinstance(listener.bound, Tcp)
    assert 0 < listener.bound.port
    assert f"http://127.0.0.1:{listener.bound.port}" == listener.url


async def test_a_taken_port_is_named(listener: Listener, service: Service) -> None:
    """Whoever cannot listen is told where."""
    assert isinstance(listener.bound, Tcp)
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{listener.bound.port}: "):
        await open_listener(listener.bound, service.handle, grace=0)


@pytest.mark.parametrize(
    ("bound", "names"),
    [
        (Tcp("127.0.0.1", 81), ("127.0.0.1:81", "[::1]:81", "localhost:81")),
        (Tcp("::1", 81), ("127.0.0.1:81", "[::1]:81", "localhost:81")),
        (Tcp("0.0.0.0", 81), ("0.0.0.0:81", "127.0.0.1:81", "[::1]:81", "localhost:81")),
        (Tcp("10.1.2.3", 443), ("10.1.2.3:443",)),
        (Tcp("10.1.2.3", 80), ("10.1.2.3", "10.1.2.3:80")),
        (Unix(Path("/run/x.sock")), ()),
    ],
)
def test_the_names_of_an_address(bound: Address, names: tuple[str, ...]) -> None:
    """A loopback address answers to the usual three names, another to itself alone; HTTP's own port is left out."""
    assert names == Listener(bound, bound).names


async def test_greet_comes_before_the_first_request(service: Service) -> None:
    """Whoever opens a listener knows it before anybody calls, bound port included."""
    greeted: list[Listener] = []
    listener = await open_listener(ANY_PORT, service.handle, grace=0, greet=greeted.append)

    assert [listener] == greeted
    await listener.close()


async def test_stop_accepting_lets_requests_finish(listener: Listener, service: Service) -> None:
    """The door is closed to new connections, while a request inside gets its answer."""
    async with asyncio.TaskGroup() as group:
        inside = group.create_task(talk(listener, get(b"/slow")))
        await service.begun.wait()
        await listener.stop_accepting()
        with pytest.raises(ConnectionRefusedError):
            await connect(listener)
        service.go_on.set()

    assert inside.result().endswith(b"here")


async def test_whoever_has_knocked_is_let_in_before_the_door_closes(listener: Listener) -> None:
    """The system has made their connections already: they are answered, and not cut off."""
    assert isinstance(listener.bound, Tcp)
    waiting = [socket.create_connection(("127.0.0.1", listener.bound.port)) for _ in range(50)]
    await listener.stop_accepting()

    answers = []
    for each in waiting:
        each.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=each)
        writer.write(get(b"/"))
        answers.append(await reader.readuntil(b"here"))
        writer.close()
    assert {b"HTTP/1.1 200 OK"} == {answer.partition(b"\r\n")[0] for answer in answers}


async def test_close_ends_what_hangs(listener: Listener, service: Service) -> None:
    """After its grace a request is cut off."""
    async with asyncio.TaskGroup() as group:
        inside = group.create_task(talk(listener, get(b"/slow")))
        await service.begun.wait()
        await listener.close()

    assert b"" == inside.result()


async def test_a_unix_socket_is_private_and_leaves_nothing_behind(state_dir: Path, service: Service) -> None:
    """The socket is 0600 whatever the umask, answers, and is gone after `close`."""
    path = state_dir / "b.sock"
    before = os.umask(0)
    try:
        listener = await open_listener(Unix(path), service.handle, grace=0)
    finally:
        os.umask(before)

    assert 0o600 == mode(path)
    assert f"unix:{path}" == listener.url
    assert (await talk(listener, get(b"/"))).endswith(b"here")
    await listener.close()
    assert [] == names(state_dir)


async def test_a_stale_unix_socket_is_replaced(state_dir: Path, service: Service) -> None:
    """The socket of a killed server is no obstacle."""
    path = state_dir / "b.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    listener = await open_listener(Unix(path), service.handle, grace=0)

    assert (await talk(listener, get(b"/"))).endswith(b"here")
    await listener.close()


async def test_a_living_unix_socket_is_left_alone(state_dir: Path, service: Service) -> None:
    """A second server cannot take the place of the first."""
    address = Unix(state_dir / "b.sock")
    first = await open_listener(address, service.handle, grace=0)
    with pytest.raises(OSError, match="another program listens on"):
        await open_listener(address, service.handle, grace=0)

    assert (await talk(first, get(b"/"))).endswith(b"here")
    await first.close()


async def test_a_file_in_the_place_of_a_unix_socket_is_left_alone(state_dir: Path, service: Service) -> None:
    """What is no socket is not ours to remove."""
    path = state_dir / "notes"
    path.write_text("mine")
    with pytest.raises(OSError, match="cannot listen on"):
        await open_listener(Unix(path), service.handle, grace=0)

    assert "mine" == path.read_text()


async def test_a_successors_socket_survives_the_late_close(state_dir: Path, service: Service) -> None:
    """Closing a door that no longer accepts does not remove the socket of the next server."""
    address = Unix(state_dir / "b.sock")
    first = await open_listener(address, service.handle, grace=0)
    await first.stop_accepting()
    second = await open_listener(address, service.handle, grace=0)
    await first.close()

    assert (await talk(second, get(b"/"))).endswith(b"here")
    await second.close()


def mode(path: Path) -> int:
    """The permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def names(path: Path) -> list[str]:
    """What lies in a directory."""
    return [each.name for each in path.iterdir()]
