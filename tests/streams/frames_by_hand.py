"""A client that writes its frames by hand, whole or broken, and tells what came of them."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
MASK = b"\x12\x34\x56\x78"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    bits: int = 0,
    mask: bytes | None = MASK,
    width: int | None = None,
    size: int | None = None,
) -> bytes:
    """One frame of a client. `bits`: the reserved ones. `width`: bytes of its length (0, 2, 8), else the fewest that
    will do; `size`: the length that it claims to have.
    """
    claimed = len(payload) if size is None else size
    if width is None:
        width = 0 if claimed < 126 else 2 if claimed < 1 << 16 else 8
    short = claimed if width == 0 else 126 if width == 2 else 127
    head = bytes((fin << 7 | bits << 4 | opcode, (mask is not None) << 7 | short))
    head += claimed.to_bytes(width, "big") if width else b""
    return head + payload if mask is None else head + mask + masked(payload, mask)


def masked(payload: bytes, mask: bytes = MASK) -> bytes:
    """With the mask over it; twice is none."""
    whole = mask * (len(payload) // 4 + 1)
    return (int.from_bytes(payload, "big") ^ int.from_bytes(whole[: len(payload)], "big")).to_bytes(len(payload), "big")


def close(code: int | None = 1000, reason: bytes = b"") -> bytes:
    """A close frame, with any code."""
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


def fragments(opcode: int, parts: Sequence[bytes], between: bytes = b"") -> bytes:
    """One message in as many frames as there are parts; `between` each two of them stands something else."""
    last = len(parts) - 1
    return b"".join(
        frame(opcode if number == 0 else 0, part, fin=number == last) + (between if number < last else b"")
        for number, part in enumerate(parts)
    )


class Arrived(NamedTuple):
    """One frame of a server."""

    opcode: int
    payload: bytes


@dataclass
class Outcome:
    """What came: messages, pings and pongs; then the code of a close frame (None: it had none), or `cut`."""

    frames: list[tuple[int, bytes]] = field(default_factory=list)
    code: int | None = None
    cut: bool = False  # no close frame came
    reason: bytes = field(default=b"", compare=False)
    broken: str = ""  # what the server did that no server may do


class Line:
    """A connection that has shaken hands. `url`: http://…; `head`: more lines of the handshake."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, url: str, *head: str, limit: int = 1 << 20) -> "Line":
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=limit)
        writer.write(handshake(url, *head))
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 101 "):
            writer.close()
            raise ConnectionRefusedError(answer.decode("latin-1").partition("\r\n")[0])
        return cls(reader, writer)

    async def read(self) -> Arrived:
        """The next frame. `asyncio.IncompleteReadError`: there is none."""
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
        if second & 0x80 or first & 0x70 or not first & 0x80:
            raise ValueError(f"a frame of a server that begins with {first:02x} {second:02x}")
        return Arrived(first & 0x0F, await self.reader.readexactly(size))

    async def outcome(self, *, polite: bool = False) -> Outcome:
        """Read to the end. Pings are answered, as everybody must; a close frame is if we are `polite`."""
        found = Outcome()
        try:
            while (arrived := await self.read()).opcode != CLOSE:
                if arrived.opcode == PING:
                    self.writer.write(frame(PONG, arrived.payload))
                found.frames.append(arrived)
            found.code = int.from_bytes(arrived.payload[:2], "big") if arrived.payload else None
            found.reason = arrived.payload[2:]
            if polite:
                self.writer.write(frame(CLOSE, arrived.payload))
        except (asyncio.IncompleteReadError, ConnectionError):
            found.cut = True
        except ValueError as error:
            found.broken = str(error)
        else:
            with contextlib.suppress(ConnectionError):
                found.broken = "something after the close frame" if await self.reader.read() else ""
        return found

    def leave(self) -> None:
        with contextlib.suppress(OSError):
            self.writer.close()


def handshake(url: str, *head: str) -> bytes:
    """The bytes that ask for a socket."""
    parts = urlsplit(url)
    lines = [
        f"GET {parts.path} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY}",
        *head,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"
