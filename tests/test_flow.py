"""What waits in memory for ends that are slow, on real sockets: the library's own settings are what is changed.

`there` is a client with whatever TLS its loop has; `here` is a connection as our listeners have them.
"""

import asyncio
import fcntl
import socket
import ssl
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy import tlsline
from proxy.flow import PIECE, WAITING, keep_little
from proxy.simulator import ca
from proxy.sockets import untaken
from tests.callers import eventually

BOTH_LOOPS = True
ONE_READ = 256 * 1024  # bytes: what uvloop reads of a plain connection at once, into one buffer for all of them
MUCH = 24 << 20  # bytes: more than a system keeps for a connection that nobody reads


class End(asyncio.Protocol):
    """One end of a connection, which keeps little."""

    def __init__(self) -> None:
        self.pieces: list[int] = []
        self.waits = asyncio.Event()
        self.line: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.line = transport
        keep_little(self.line)

    def data_received(self, data: bytes) -> None:
        self.pieces.append(len(data))

    def pause_writing(self) -> None:
        self.waits.set()


@pytest.fixture(params=["plain", "TLS"])
async def ends(request: pytest.FixtureRequest, authority: ca.Authority) -> AsyncIterator[tuple[End, End]]:
    """Both ends of one connection, which read nothing before they are told to."""
    tls = request.param == "TLS"
    trusting = ssl.create_default_context(cafile=authority.ca_file) if tls else None
    async with joined(authority.tls if tls else None, trusting) as both:
        yield both


@asynccontextmanager
async def joined(serving: ssl.SSLContext | None, trusting: ssl.SSLContext | None) -> AsyncIterator[tuple[End, End]]:
    loop, here, there = asyncio.get_running_loop(), End(), End()
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(0)
    async with asyncio.TaskGroup() as group:
        group.create_task(loop.create_connection(lambda: there, *listening.getsockname(), ssl=trusting))
        accepted, _ = await loop.sock_accept(listening)
        if serving is None:
            await loop.connect_accepted_socket(lambda: here, accepted)
        else:
            await tlsline.receive(accepted, lambda: here, serving, patience=5.0, farewell=1.0)
    await asyncio.sleep(0.05)  # the handshake's last words, which would stay unsaid
    here.line.pause_reading()
    there.line.pause_reading()
    try:
        yield here, there
    finally:
        here.line.abort()
        there.line.abort()
        listening.close()


async def still(measure: Callable[[], int]) -> int:
    """What is measured once it has not changed for a while."""
    seen = [-1]
    async for _ in eventually(5, pause=0.02):
        seen.append(measure())
        if len(seen) > 10 and len(set(seen[-8:])) == 1 and seen[-1]:
            break
    return seen[-1]


async def test_little_is_read_that_nobody_takes(ends: tuple[End, End]) -> None:
    """Of 24 megabytes a few pieces come in; the rest waits in the system, and with its sender."""
    here, there = ends
    there.line.write(b"x" * MUCH)
    most = 2 * PIECE
    if hasattr(here.line, "get_read_buffer_size"):
        waiting = await still(here.line.get_read_buffer_size)
        assert 0 < waiting < 2 * PIECE
        assert PIECE == len(here.line._ssl_protocol.get_buffer(-1))
    else:
        await asyncio.sleep(0.1)
        most = getattr(here.line, "max_size", ONE_READ)
        assert most in (PIECE, ONE_READ)
    assert [] == here.pieces

    here.line.resume_reading()
    async for _ in eventually(5):
        if sum(here.pieces) == MUCH:
            break
    assert MUCH == sum(here.pieces)
    assert max(here.pieces) <= most


async def test_who_writes_has_to_wait_soon(ends: tuple[End, End]) -> None:
    """When nothing is taken, no more than a limit and a part waits here."""
    here, there = ends
    for _ in range(MUCH // PIECE):
        if here.waits.is_set():
            break
        here.line.write(b"x" * PIECE)
        await asyncio.sleep(0)
    assert here.waits.is_set()
    assert WAITING < here.line.get_write_buffer_size() < WAITING + 2 * PIECE
    there.line.resume_reading()
    async for _ in eventually(5):
        if not here.line.get_write_buffer_size():
            break
    assert 0 == here.line.get_write_buffer_size()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere what waits in the system is not known")
async def test_all_that_waits_is_counted(ends: tuple[End, End]) -> None:
    """With TLS it waits in two places here; a slow client's progress would not show in one of them."""
    here, there = ends
    written = 0
    while not here.waits.is_set() and written < MUCH:
        here.line.write(b"x" * PIECE)
        written += PIECE
        await asyncio.sleep(0)
    waiting = await still(lambda: untaken(here.line))
    arrived = fcntl.ioctl(there.line.get_extra_info("socket").fileno(), termios.FIONREAD, bytes(4))
    inside = there.line.get_read_buffer_size() if hasattr(there.line, "get_read_buffer_size") else 0

    assert written <= waiting + int.from_bytes(arrived, sys.byteorder) + inside
