"""Clients that mean harm, and a broker, each in a process of its own.

`python tests/attackers.py attack ADDRESS KEY SLOW SECONDS`, and `python tests/attackers.py serve CERTIFICATE KEY`,
which prints its port and answers large and small.

Whoever is cut off comes back, until the time is up; then all stay as they are, holding what they have, until the
process is ended.
"""

import asyncio
import contextlib
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

SMALL, LARGE, ORDERS = "/lab/v1/small", "/bulk/v1/large", "/lab/v1/orders"
PACE = 0.5  # seconds between two bytes


@dataclass
class Gang:
    """Where they go, with a client's key, and until when (in the loop's time)."""

    host: str
    port: int
    key: str
    end: float

    @property
    def over(self) -> bool:
        return asyncio.get_running_loop().time() > self.end

    def head(self, method: str, target: str, *more: str, key: str | None = None) -> bytes:
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        lines += [f"Authorization: Bearer {self.key if key is None else key}", *more, "", ""]
        return "\r\n".join(lines).encode()

    async def line(self, *, deaf: bool = False) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection; `deaf`: with little room for what comes back."""
        made = socket.socket()
        if deaf:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, (self.host, self.port))
        return await asyncio.open_connection(sock=made, limit=1024)

    async def drip(self, writer: asyncio.StreamWriter, reader: asyncio.StreamReader, data: bytes) -> None:
        for byte in data:
            if self.over or reader.at_eof():
                return
            writer.write(bytes([byte]))
            await asyncio.sleep(PACE)

    async def again(self, act: Callable[[], Awaitable[asyncio.StreamWriter]]) -> None:
        """Over and over. The connections that are open in the end stay open."""
        kept = []
        while not self.over:
            with contextlib.suppress(OSError):
                kept = [await act()]
            await asyncio.sleep(0.01)
        await asyncio.Event().wait()
        del kept

    # -- what they do -------------------------------------------------------------------------------------------------

    async def slow_head(self) -> asyncio.StreamWriter:
        reader, writer = await self.line()
        await self.drip(writer, reader, self.head("GET", SMALL, "X-Filler: " + "a" * 1000))
        return writer

    async def slow_body(self) -> asyncio.StreamWriter:
        reader, writer = await self.line()
        writer.write(self.head("POST", ORDERS, "Content-Type: application/json", "Content-Length: 50000"))
        await self.drip(writer, reader, b"{" + b" " * 1000)
        return writer

    async def slow_reader(self) -> asyncio.StreamWriter:
        """Asks for large answers, one after the other, and takes none."""
        _, writer = await self.line(deaf=True)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        request = self.head("GET", LARGE)
        writer.write(request * 30)
        while not self.over and not writer.is_closing():  # noqa: ASYNC110  the other end has no event to set
            await asyncio.sleep(PACE)
        return writer

    async def idler(self) -> asyncio.StreamWriter:
        """Connects, and says nothing."""
        reader, writer = await self.line()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.1, self.end - asyncio.get_running_loop().time())):
                await reader.read()
        return writer

    async def stranger(self) -> asyncio.StreamWriter:
        """Asks a thousand times at once, with no key of ours."""
        reader, writer = await self.line()
        writer.write(self.head("GET", SMALL, key="brd_nobody") * 1000)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20):
                for _ in range(1000):
                    await reader.readuntil(b"\r\n\r\n")
                    if self.over:
                        break
        writer.close()
        await asyncio.sleep(2)
        return writer

    async def giant(self) -> asyncio.StreamWriter:
        """A head that never ends."""
        reader, writer = await self.line()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
        with contextlib.suppress(OSError):
            for number in range(200):
                writer.write(b"X-%d: %s\r\n" % (number, b"a" * 8000))
                await writer.drain()
                if reader.at_eof():
                    break
        writer.close()
        await asyncio.sleep(0.2)
        return writer


async def attack(address: str, key: str, slow: int, seconds: float) -> None:
    """Of each five slow ones two are slow in their heads, two in their bodies, and one does not read."""
    parts = urlsplit(address)
    gang = Gang(parts.hostname or "", parts.port or 80, key, asyncio.get_running_loop().time() + seconds)
    acts = [gang.slow_head, gang.slow_body, gang.slow_reader, gang.slow_head, gang.slow_body]
    async with asyncio.TaskGroup() as group:
        for number in range(slow):
            group.create_task(gang.again(acts[number % len(acts)]))
        for _ in range(2 * slow):
            group.create_task(gang.again(gang.idler))
        for _ in range(2):
            group.create_task(gang.again(gang.stranger))
            group.create_task(gang.again(gang.giant))


async def serve(certificate: str, key: str) -> None:
    """A megabyte to who asks for it, two bytes to all others."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(certificate, key)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = b"x" * (1 << 20) if b"/large" in head.partition(b"\r\n")[0] else b"{}"
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=trust, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(*sys.argv[2:]))
    else:
        asyncio.run(attack(sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])))
