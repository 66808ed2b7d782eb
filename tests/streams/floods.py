"""Clients with sockets that mean harm, as a program: `floods.py ADDRESS KEY SECONDS ACT,ACT…`.

Whoever is cut off comes back, until the time is up. Then one line of JSON tells how each act ended how often, and all
leave.
"""

import asyncio
import contextlib
import json
import socket
import sys
import zlib
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.streams.frames_by_hand import BINARY, PING, TEXT, Line, frame, handshake

GIANT = 64 << 20
MEGABYTE = 1 << 20
PIECE = bytes(65_536)
BOMB = 64 << 20


def bomb(size: int) -> bytes:
    """A frame that is small as long as it is compressed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    payload = packer.compress(bytes(size)) + packer.flush(zlib.Z_SYNC_FLUSH)
    return frame(BINARY, payload[:-4], bits=4)


SMALL_BOMB = bomb(BOMB)


@dataclass
class Gang:
    """Where they go, with a client's key, and until when (in the loop's time)."""

    url: str
    key: str
    end: float
    ends: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    sent: Counter[str] = field(default_factory=Counter)

    @property
    def over(self) -> bool:
        return asyncio.get_running_loop().time() > self.end

    async def line(self, path: str = "echo", *head: str) -> Line:
        return await Line.open(f"{self.url}/lab/v1/{path}", f"Authorization: Bearer {self.key}", *head)

    async def pour(self, line: Line, name: str, data: bytes, *, pause: float = 0.0, most: int | None = None) -> str:
        """Send the same again and again, until the socket is closed: with which code?

        `pause`: seconds after each time. `most`: at most so often.
        """
        reading = asyncio.ensure_future(line.outcome())
        try:
            while not self.over and not reading.done() and (most is None or self.sent[name] < most):
                self.sent[name] += 1
                line.writer.write(data)
                await asyncio.wait_for(line.writer.drain(), 30)
                await asyncio.sleep(pause)
        except (ConnectionError, TimeoutError):
            pass
        if self.over:
            reading.cancel()
            return "open"
        async with asyncio.timeout(30):
            found = await reading
        return "cut" if found.cut else str(found.code)

    # -- what they do: each tells how it ended ------------------------------------------------------------------------

    async def giant(self) -> str:
        """A frame that says it will be 64 MiB, and what it holds."""
        line = await self.line()
        with contextlib.closing(_Leaving(line)):
            line.writer.write(frame(BINARY, size=GIANT))
            return await self.pour(line, "giant", PIECE)

    async def crumbs(self) -> str:
        """A message in 100,000 parts of one byte, and then the next."""
        line = await self.line()
        with contextlib.closing(_Leaving(line)):
            data = frame(BINARY, b"*", fin=False) + frame(0, b"*", fin=False) * 99_998 + frame(0, b"*")
            return await self.pour(line, "crumbs", data, pause=0.3)

    async def empties(self) -> str:
        """A message in parts of no byte, without end."""
        line = await self.line()
        with contextlib.closing(_Leaving(line)):
            line.writer.write(frame(BINARY, fin=False))
            return await self.pour(line, "empties", frame(0, fin=False) * 10_000, pause=0.1)

    async def pings(self) -> str:
        line = await self.line()
        with contextlib.closing(_Leaving(line)):
            return await self.pour(line, "pings", frame(PING, b"*") * 100, pause=0.01)

    async def tiny(self) -> str:
        """Messages of one byte, 10,000 in a second, or as many as go through."""
        line = await self.line()
        with contextlib.closing(_Leaving(line)):
            return await self.pour(line, "tiny", frame(TEXT, b"*") * 1000, pause=0.1)

    async def nothings(self) -> str:
        """Messages of no byte at all."""
        line = await self.line()
        with contextlib.closing(_Leaving(line)):
            return await self.pour(line, "nothings", frame(TEXT) * 1000, pause=0.5)

    async def deaf(self) -> str:
        """Never reads what a talkative broker says."""
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.setblocking(False)
        host, _, port = self.url.removeprefix("http://").partition(":")
        await asyncio.get_running_loop().sock_connect(made, (host, int(port)))
        made.send(handshake(f"{self.url}/lab/v1/talk", f"Authorization: Bearer {self.key}"))
        return await self.held(made)

    async def held(self, made: socket.socket) -> str:
        """Hold a connection without reading, until the other end has had enough of it."""
        with made:
            while not self.over:
                await asyncio.sleep(0.5)
                with contextlib.suppress(BlockingIOError):
                    try:
                        made.send(b"")
                        # A reset is seen here; what waits to be read stays.
                        made.recv(1, socket.MSG_PEEK)
                    except ConnectionError:
                        return "cut"
                if made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    return "cut"
        return "open"

    async def talker(self) -> str:
        """Talks to a broker that never reads."""
        line = await self.line("deaf")
        with contextlib.closing(_Leaving(line)):
            return await self.pour(line, "talker", frame(BINARY, PIECE))

    async def stranger(self) -> str:
        """Opens a socket without a key, where one may come later, and never says who it is."""
        try:
            line = await Line.open(f"{self.url}/lab/v1/late")
        except ConnectionRefusedError as refused:
            return str(refused).split(" ")[1]
        with contextlib.closing(_Leaving(line)):
            self.sent["stranger"] += 1
            return await self.pour(line, "quiet", b"", most=0)

    async def hoarder(self) -> str:
        """A stranger, too, whose first frame is as large as it may be, but for its last byte."""
        try:
            line = await Line.open(f"{self.url}/lab/v1/late")
        except ConnectionRefusedError as refused:
            return str(refused).split(" ")[1]
        with contextlib.closing(_Leaving(line)):
            line.writer.write(frame(TEXT, bytes(MEGABYTE - 1), size=MEGABYTE))
            return await self.pour(line, "quiet", b"", most=0)

    async def half(self) -> str:
        """Half a handshake, and nothing more."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            head = handshake(f"{self.url}/lab/v1/echo", f"Authorization: Bearer {self.key}")
            writer.write(head[: len(head) // 2])
            for byte in head[len(head) // 2 : -3]:
                if self.over or reader.at_eof():
                    break
                writer.write(bytes((byte,)))
                await asyncio.sleep(0.5)
            return "open" if self.over else "cut"
        finally:
            writer.close()

    async def bomb(self) -> str:
        """A small frame that holds 64 MiB of zeros."""
        line = await self.line("echo", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
        with contextlib.closing(_Leaving(line)):
            line.writer.write(SMALL_BOMB)
            return await self.pour(line, "bomb", b"", most=0)

    async def bombed(self) -> str:
        """Asks a broker that sends such a thing."""
        line = await self.line("bomb")
        with contextlib.closing(_Leaving(line)):
            return await self.pour(line, "bombed", b"", most=0)

    async def again(self, name: str) -> None:
        """Over and over."""
        act: Callable[[], Awaitable[str]] = getattr(self, name)
        while not self.over:
            try:
                how = await act()
            except (OSError, asyncio.IncompleteReadError) as error:
                how = type(error).__name__
            self.ends[name][how] += 1
            await asyncio.sleep(0.01)


@dataclass
class _Leaving:
    line: Line

    def close(self) -> None:
        self.line.writer.transport.abort()


async def main(url: str, key: str, seconds: float, acts: list[str]) -> dict[str, Any]:
    """All of them at once. `ACT*9`: nine of them."""
    gang = Gang(url, key, asyncio.get_running_loop().time() + seconds)
    print("begun", flush=True)
    tasks = []
    for act in acts:
        name, _, many = act.partition("*")
        tasks += [asyncio.ensure_future(gang.again(name)) for _ in range(int(many or 1))]
    await asyncio.wait(tasks, timeout=seconds + 1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {"ends": gang.ends, "sent": gang.sent}


if __name__ == "__main__":
    print(
        json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4].split(",")))), flush=True
    )
