"""Callers of a running product that send exact bytes, many at a time."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from tests.product import Reply


async def eventually(seconds: float, pause: float = 0.01) -> AsyncIterator[float]:
    """Tries at something that will be so before long: how long it took so far, until the time is up."""
    began = time.monotonic()
    while (so_far := time.monotonic() - began) < seconds:
        yield so_far
        await asyncio.sleep(pause)


class Wire:
    """One HTTP/1.1 connection that sends the very bytes it is given and never sends anything again."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 80
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection; its other end may have closed it meanwhile."""
        return self._writer is not None

    async def send(self, data: bytes) -> None:
        """Send; connects if there is no connection."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self.host, self.port)
        self._writer.write(data)
        await self._writer.drain()

    async def reply(self, *, method: str = "GET") -> Reply | None:
        """The next answer; None if the connection ended instead of one."""
        assert self._reader is not None
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            await self.close()
            return None
        lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        status = int(lines[0].split(" ")[1])
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif "chunked" in headers.get("transfer-encoding", ""):
            body = await self._chunks()
        else:
            body = await self._reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            await self.close()
        return Reply(status, headers, body, head + body)

    async def _chunks(self) -> bytes:
        assert self._reader is not None
        body = b""
        while size := int(await self._reader.readline(), 16):
            body += await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)
        return body

    async def call(
        self, method: str, target: str, key: str | None = None, body: object = None, **headers: str
    ) -> Reply | None:
        """One request, and its answer. A `body` goes as JSON; bytes go as they are."""
        await self.send(self.request(method, target, key, body, **headers))
        return await self.reply(method=method)

    def request(self, method: str, target: str, key: str | None = None, body: object = None, **headers: str) -> bytes:
        """The bytes of a request. Header names are written with `_` for `-`."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        if key is not None:
            lines.append(f"Authorization: Bearer {key}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + content

    async def close(self) -> None:
        """End the connection; the next `send` makes a new one."""
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def ask(url: str, method: str, target: str, key: str | None = None, body: object = None, **headers: str) -> Reply:
    """One call over a connection of its own."""
    wire = Wire(url)
    try:
        reply = await wire.call(method, target, key, body, **headers)
    finally:
        await wire.close()
    assert reply is not None, f"no answer to {method} {target}"
    return reply
