"""Sockets to listen on: their modes, who else could get at their names, and what waits in them. Stale ones:
`test_listener.py`."""

import asyncio
import errno
import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from proxy.config import Tcp
from proxy.sockets import bind_shared, bind_tcp, bind_unix, untaken


@pytest.mark.parametrize("address", [Tcp("127.0.0.1", 0), Tcp("::1", 0)], ids=str)
def test_an_address_is_bound_and_not_yet_open(address: Tcp) -> None:
    """Nobody can connect before everything behind it is ready."""
    with bind_tcp(address) as bound:
        assert address.host == bound.getsockname()[0]
        assert 0 == bound.gettimeout()


def test_a_taken_address_is_named() -> None:
    """With the system's reason."""
    with bind_tcp(Tcp("127.0.0.1", 0)) as bound:
        bound.listen()
        port = bound.getsockname()[1]
        with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use"):
            bind_tcp(Tcp("127.0.0.1", port))


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666], ids=oct)
def test_a_unix_socket_has_the_mode_that_was_asked_for(state_dir: Path, mode: int) -> None:
    """Whatever the umask is, and the group too."""
    with bind_unix(state_dir / "b.sock", mode=mode, group=os.getegid()):
        status = (state_dir / "b.sock").stat()
        assert (mode, os.getegid()) == (stat.S_IMODE(status.st_mode), status.st_gid)


@pytest.mark.parametrize(
    ("place", "modes", "told"),
    [
        (".", (), None),
        ("inner", (0o755,), None),
        ("inner", (0o775,), "inner may be written by other users (mode 0775); run: chmod go-w"),
        ("inner", (0o757,), "inner may be written by other users (mode 0757); run: chmod go-w"),
        ("inner", (0o1777,), "inner may be written by other users (mode 1777); run: chmod go-w"),
        ("inner/deep", (0o1777, 0o700), None),
        ("inner/deep", (0o777, 0o700), "inner may be written by other users, who could put another b.sock there"),
        ("inner/deep", (0o770, 0o700), "inner may be written by other users, who could put another b.sock there"),
    ],
)
def test_nobody_else_can_put_a_socket_in_its_place(
    state_dir: Path, place: str, modes: tuple[int, ...], told: str | None
) -> None:
    """Neither in its directory nor by moving one above it; /tmp is well above, because it is sticky."""
    directory = state_dir
    for name, mode in zip(Path(place).parts, modes, strict=True):
        directory /= name
        directory.mkdir()
        directory.chmod(mode)
    if told is None:
        bind_shared(directory / "b.sock", mode=0o600, group=None).close()
        return
    with pytest.raises(OSError, match=r"cannot listen on .*b\.sock: ") as refused:
        bind_shared(directory / "b.sock", mode=0o600, group=None)
    assert errno.EPERM == refused.value.errno
    assert told in str(refused.value.strerror)
    assert not (directory / "b.sock").exists()


def test_a_directory_that_is_not_there_is_named(state_dir: Path) -> None:
    """It is not made: whoever names it knows whose it is to be."""
    with pytest.raises(OSError, match=r"cannot listen on .*none/b\.sock: No such file or directory"):
        bind_shared(state_dir / "none" / "b.sock", mode=0o600, group=None)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not tell")
async def test_what_waits_in_the_system_has_not_been_taken() -> None:
    """It falls as the other end reads, though our own buffer stays as it is; of a closed connection nothing waits."""
    ours, theirs = socket.socketpair()
    with theirs:
        _, writer = await asyncio.open_connection(sock=ours)
        line = writer.transport
        writer.write(b"x" * (4 << 20))
        here, before = line.get_write_buffer_size(), untaken(line)
        theirs.recv(1)
        assert before > here > 0
        theirs.recv(65_536)
        theirs.recv(65_536)
        assert (True, here) == (untaken(line) < before, line.get_write_buffer_size())
        line.abort()
        await asyncio.sleep(0.01)
        assert 0 == untaken(line)
