"""A network cable for tests: TCP that can fall silent, be cut, or be cut when certain bytes have just passed."""

import asyncio
import contextlib
from typing import Self
from urllib.parse import urlsplit


class Cable:
    """Forwards connections to one port of this machine. `async with Cable(port) as cable`.

    `delay`: seconds until it passes on what a new connection brings first.
    """

    def __init__(self, port: int, delay: float = 0.0) -> None:
        self.port = 0
        self.connections = 0  # that were ever made
        self._target = port
        self._delay = delay
        self._open: list[_Wire] = []
        self._silent = False
        self._last_words: bytes | None = None
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    def through(self, dsn: str) -> str:
        """The address `dsn` by way of this cable."""
        host = urlsplit(dsn).netloc.rpartition("@")[2]
        return dsn.replace(host, f"127.0.0.1:{self.port}", 1)

    def cut(self) -> None:
        """End what is connected, at both sides."""
        for wire in self._open:
            wire.cut()

    def forget(self) -> None:
        """Pass nothing on any more of what is connected, and end nothing; new connections work."""
        for wire in self._open:
            wire.silent = True

    def fall_silent(self) -> None:
        """Pass nothing on any more at all, and end nothing."""
        self._silent = True
        self.forget()

    def heal(self) -> None:
        """New connections work again."""
        self._silent = False

    def cut_after(self, words: bytes) -> None:
        """Once a client has sent `words`, pass them on and cut before the answer comes back."""
        self._last_words = words

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        wire = _Wire(writer, silent=self._silent)
        self._open.append(wire)
        try:
            await asyncio.sleep(self._delay)
            back_reader, wire.back = await asyncio.open_connection("127.0.0.1", self._target)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._up(reader, wire))
                group.create_task(_down(back_reader, wire))
        except OSError:
            pass
        finally:
            self._open.remove(wire)
            wire.cut()

    async def _up(self, reader: asyncio.StreamReader, wire: "_Wire") -> None:
        with contextlib.suppress(OSError):
            while (data := await reader.read(65536)) and wire.back is not None:
                if wire.silent:
                    continue
                if self._last_words is not None and self._last_words in data:
                    self._last_words, wire.silent = None, True
                    wire.back.write(data)
                    await asyncio.sleep(0.2)  # until the server has done it
                    wire.cut()
                    return
                wire.back.write(data)
        wire.end()


class _Wire:
    """One connection: its two ends."""

    def __init__(self, front: asyncio.StreamWriter, *, silent: bool) -> None:
        self.front = front
        self.back: asyncio.StreamWriter | None = None
        self.silent = silent

    def end(self) -> None:
        """One end is gone: the other hears of it, unless nothing passes."""
        if not self.silent:
            self.cut()

    def cut(self) -> None:
        for end in (self.front, self.back):
            if end is not None:
                end.transport.abort()


async def _down(reader: asyncio.StreamReader, wire: _Wire) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            if not wire.silent:
                wire.front.write(data)
    wire.end()
