"""Leads a TLS client's connection on to the process that serves it: both ways, no faster than either end takes it."""

import asyncio
import socket
from collections.abc import Callable

from proxy import flow


class Pump(asyncio.Protocol):
    """The protocol of the client's connection; `Far` is that of the socket that leads on. `ended` is told."""

    def __init__(self, client: asyncio.Transport, end: socket.socket, ended: Callable[["Pump"], None]) -> None:
        self.client = client
        self._end = end
        self._ended = ended
        self._far: asyncio.Transport | None = None
        self._early = b""
        self._opening: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin. Nothing is read of the client until the other side is there."""
        self.client.pause_reading()
        self._end.settimeout(0)
        self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: Far(self), self._end)
        except OSError:
            self._end.close()
            self.client.abort()

    def joined(self, far: asyncio.Transport) -> None:
        self._far = far
        if self._early:
            far.write(self._early)
            self._early = b""
        if self.client.is_closing():
            far.close()
        else:
            self.client.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self._far is None:
            self._early += data
        else:
            self._far.write(data)

    def pause_writing(self) -> None:
        if self._far is not None:
            self._far.pause_reading()

    def resume_writing(self) -> None:
        if self._far is not None:
            self._far.resume_reading()

    def connection_lost(self, _error: Exception | None) -> None:
        if self._far is not None:
            self._far.close()
        self._ended(self)


class Far(asyncio.Protocol):
    """The side that leads on."""

    def __init__(self, near: Pump) -> None:
        self._near = near

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        far: asyncio.Transport = transport  # type: ignore[assignment]  # what loops give for a stream socket
        flow.keep_little(far)
        self._near.joined(far)

    def data_received(self, data: bytes) -> None:
        self._near.client.write(data)

    def pause_writing(self) -> None:
        if not self._near.client.is_closing():
            self._near.client.pause_reading()

    def resume_writing(self) -> None:
        if not self._near.client.is_closing():
            self._near.client.resume_reading()

    def connection_lost(self, _error: Exception | None) -> None:
        self._near.client.close()
