"""Both ends of a wire, byte by byte: a client without any HTTP library, and a broker that does what it is told."""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Reply:
    """An answer as it came. `complete` is False if the connection ended before its framing said so."""

    status: int
    headers: Headers
    body: bytes
    complete: bool = True

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def one(self, name: str) -> str | None:
        found = self.all(name)
        assert len(found) < 2
        return found[0] if found else None

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> tuple[int, str]:
        """Status and name of a refusal of ours, each part of which is as promised."""
        said = self.document
        name = str(said["type"].rpartition("/")[2])
        assert "application/problem+json" == self.one("Content-Type")
        assert self.status == said["status"] == said["code"] // 100
        assert isinstance(said["code"], int)
        assert said["message"]
        assert said["request_id"] == self.one("X-Request-Id")
        proxy_status = self.one("Proxy-Status") or ""
        assert proxy_status.startswith("bearerd; error=")
        assert proxy_status.endswith(f'; details="{name}"')
        return self.status, name


class Wire:
    """One connection of a client. What it sends is what it is given."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        if self.writer.is_closing():  # uvloop has another error for it than asyncio
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, Headers]:
        """Status line and headers of the next answer."""
        raw = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)
        first, *lines = raw[:-4].decode("latin-1").split("\r\n")
        assert first.startswith("HTTP/1.")  # 1.0 only where a head could not be read at all
        pairs = (line.partition(":") for line in lines)
        return int(first.split(" ")[1]), [(name, value.strip()) for name, _, value in pairs]

    async def reply(self, *, method: str = "GET") -> Reply:
        """The next whole answer."""
        status, headers = await self.head()
        reply = Reply(status, headers, b"")
        if method == "HEAD" or status in (100, 204, 304):
            return reply
        length, chunked = reply.one("Content-Length"), reply.one("Transfer-Encoding")
        assert (length is None) != (chunked is None), "one framing, and only one"
        body = bytearray()
        try:
            if length is not None:
                body += await asyncio.wait_for(self.reader.readexactly(int(length)), 20)
            else:
                while chunk := await self.chunk():
                    body += chunk
        except asyncio.IncompleteReadError as error:
            return Reply(status, headers, bytes(body) + error.partial, complete=False)
        except ConnectionError:
            return Reply(status, headers, bytes(body), complete=False)
        return Reply(status, headers, bytes(body))

    async def chunk(self) -> bytes:
        """The next chunk; empty at the end of the body."""
        line = await asyncio.wait_for(self.reader.readuntil(b"\r\n"), 20)
        data = await asyncio.wait_for(self.reader.readexactly(int(line, 16) + 2), 20)
        return data[:-2]

    async def ended(self) -> bool:
        """Whether the other end closes the connection, with nothing more on it."""
        try:
            return await asyncio.wait_for(self.reader.read(1), 5) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        reset(self.writer)


@asynccontextmanager
async def connected(host: str, port: int) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a TCP reset."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@dataclass
class Visit:
    """One request that reached a `ScriptedBroker`, and the way to answer it."""

    line: bytes
    headers: Headers
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    body: bytes = b""
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # set when the other end has closed the connection

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def target(self) -> bytes:
        return self.line.split(b" ")[1]

    @property
    def bearer(self) -> str:
        (value,) = self.all("Authorization")
        return value.removeprefix("Bearer ")

    async def read(self) -> bytes:
        """The whole request body, its framing undone."""
        if self.all("Transfer-Encoding"):
            while chunk := await Wire(self.reader, self.writer).chunk():
                self.body += chunk
        elif length := self.all("Content-Length"):
            self.body += await self.reader.readexactly(int(length[0]) - len(self.body))
        return self.body

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def json(self, document: object, status: int = 200, *extra: str) -> None:
        await self.write(answer(status, json.dumps(document).encode(), "Content-Type: application/json", *extra))

    async def wait_gone(self) -> None:
        """Until the other end closes."""
        await self.reader.read()
        self.gone.set()


Step = Callable[[Visit], Awaitable[None]]


def answer(status: int, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """A whole answer with a Content-Length, which may lie."""
    lines = [f"HTTP/1.1 {status} Whatever", *headers, f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def accept(visit: Visit) -> None:
    """Read the request and answer `{"ok": true}`."""
    await visit.read()
    await visit.json({"ok": True})


class ScriptedBroker:
    """A TLS server that plays `script`, a step a request, and after its end `otherwise`. All visits are kept."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.script: list[Step] = []
        self.otherwise: Step = accept
        self.visits: list[Visit] = []
        self.connections = 0
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self, port: int = 0, *, host: str = "127.0.0.1") -> None:
        self._server = await asyncio.start_server(self._serve, host, port, ssl=self._tls)

    async def stop(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while True:
                raw = await reader.readuntil(b"\r\n\r\n")
                first, *lines = raw[:-4].decode("latin-1").split("\r\n")
                pairs = [line.partition(": ") for line in lines]
                visit = Visit(first.encode("latin-1"), [(name, value) for name, _, value in pairs], reader, writer)
                self.visits.append(visit)
                step = self.script.pop(0) if self.script else self.otherwise
                await step(visit)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
