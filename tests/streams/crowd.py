"""A thousand clients of a data feed in one light process: raw sockets, frames read by hand, every message counted.

Run as a program it connects, subscribes, counts for a while and prints what it has seen as one line of JSON.
"""

import argparse
import asyncio
import json
import re
import secrets
import struct
import time
from dataclasses import asdict, dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import msgpack  # type: ignore[import-untyped]  # there are no stubs

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
GAP = re.compile(r"missed for ([0-9.]+) s")
SHARED = "AAPL"
AT_ONCE = 50  # clients that connect at a time


@dataclass
class Seen:
    """What all clients have seen together. `lost`: messages that were missing without a word before the next one."""

    clients: int = 0
    messages: int = 0
    frames: int = 0
    gaps: int = 0  # frames that announced one
    missed: int = 0  # messages in announced gaps
    lost: int = 0
    foreign: int = 0
    disorder: int = 0
    understated: int = 0  # gaps that were longer than was said
    errors: int = 0
    latencies: list[int] | None = None  # nanoseconds since the broker sent it
    closed: dict[str, int] = field(default_factory=dict)  # by code


class Client(asyncio.Protocol):
    """One client: it subscribes to its symbols as soon as it is authenticated, and answers pings."""

    def __init__(self, seen: Seen, head: bytes, symbols: list[str], *, binary: bool, rate: float) -> None:
        self.seen = seen
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.last = dict.fromkeys(symbols, 0)
        self.counting = False
        self._head, self._binary, self._rate = head, binary, rate
        self._announced: dict[str, float] = {}
        self._buffer = b""
        self._upgraded = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._transport.write(self._head)

    def connection_lost(self, _error: Exception | None) -> None:
        self._closed("lost")
        if not self.ready.done():
            self.ready.set_exception(ConnectionResetError("the server hung up"))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        if not self._upgraded:
            head, found, rest = buffer.partition(b"\r\n\r\n")
            if not found:
                self._buffer = buffer
                return
            assert b" 101 " in head[:20], head
            self._upgraded, buffer = True, rest
        at = 0
        while len(buffer) - at >= 2:
            size, start = buffer[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(buffer[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, start = int.from_bytes(buffer[at + 2 : at + 10], "big"), at + 10
            if len(buffer) < start + size:
                break
            self._frame(buffer[at], buffer[start : start + size])
            at = start + size
        self._buffer = buffer[at:]

    def _frame(self, kind: int, payload: bytes) -> None:
        if kind in (BINARY, TEXT):
            assert self._binary == (kind == BINARY)
            messages = msgpack.unpackb(payload, timestamp=2) if self._binary else json.loads(payload)
            if self.counting:
                self.seen.frames += 1
            for message in messages:
                self._message(message)
        elif kind == PING:
            self._write(PONG, payload)
        elif kind == CLOSE:
            self._closed(str(int.from_bytes(payload[:2], "big")))

    def _closed(self, how: str) -> None:
        self.seen.closed[how] = self.seen.closed.get(how, 0) + 1

    def _message(self, message: dict[str, Any]) -> None:
        match message["T"]:
            case "t":
                self._trade(message["S"], message["i"])
                if self.seen.latencies is not None and self.counting:
                    self.seen.latencies.append(time.time_ns() - message["t"])
            case "subscription":
                if not self.ready.done():
                    self.ready.set_result(None)
            case "success" if message["msg"] == "authenticated":
                asked = {"action": "subscribe", "trades": list(self.last)}
                self._write(BINARY, msgpack.packb(asked))
            case "error" if found := GAP.search(message["msg"]):
                self.seen.gaps += 1
                self._announced = dict.fromkeys(self.last, float(found[1]))
            case "error":
                self.seen.errors += 1
            case _:
                pass

    def _trade(self, symbol: str, number: int) -> None:
        before = self.last.get(symbol)
        if before is None:
            self.seen.foreign += 1
            return
        said = self._announced.pop(symbol, None)
        if before and number != before + 1:
            if number <= before:
                self.seen.disorder += 1
            elif said is None:
                self.seen.lost += number - before - 1
            else:
                self.seen.missed += number - before - 1
                # What is said is rounded, and a beat may just have been due.
                self.seen.understated += number - before - 1 > (said + 0.1) * self._rate + 2
        self.last[symbol] = number
        self.seen.messages += self.counting

    def _write(self, kind: int, payload: bytes) -> None:
        mask = secrets.token_bytes(4)
        size = len(payload)
        head = struct.pack("!BB", kind, 0x80 | size) if size < 126 else struct.pack("!BBH", kind, 0xFE, size)
        masked = bytes(byte ^ mask[at & 3] for at, byte in enumerate(payload))
        if self._transport is not None:
            self._transport.write(head + mask + masked)

    def leave(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def head(url: str, key: str, *, binary: bool) -> bytes:
    """A handshake that names the client."""
    parts = urlsplit(url)
    lines = [
        f"GET {parts.path} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Authorization: Bearer {key}",
        *(["Content-Type: application/msgpack"] if binary else []),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def symbols_of(number: int, own: str) -> list[str]:
    """`shared`: all have the same one; `own`: each has one of its own; `both`."""
    return [SHARED][: own != "own"] + [f"S{number}"][: own != "shared"]


async def crowd(url: str, key: str, count: int, *, own: str, text: float, rate: float) -> tuple[Seen, list[Client]]:
    """Clients that are connected and subscribed. `text`: the part of them that speak JSON."""
    loop, seen, parts = asyncio.get_running_loop(), Seen(), urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    clients: list[Client] = []
    for first in range(0, count, AT_ONCE):
        batch = []
        for number in range(first, min(first + AT_ONCE, count)):
            binary = number % 100 >= text * 100
            client = Client(seen, head(url, key, binary=binary), symbols_of(number, own), binary=binary, rate=rate)
            batch.append(client)
        await asyncio.gather(
            *(loop.create_connection(lambda client=client: client, host, port) for client in batch)  # type: ignore[misc]
        )
        async with asyncio.timeout(30):
            await asyncio.gather(*(client.ready for client in batch))
        clients += batch
    seen.clients = len(clients)
    return seen, clients


async def main() -> None:
    """Connect, say so; count from one line on stdin to the next; print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--own", choices=["shared", "own", "both"], default="both")
    parser.add_argument("--text", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=5.0)
    parser.add_argument("--latency", action="store_true")
    given = parser.parse_args()
    seen, clients = await crowd(given.url, given.key, given.count, own=given.own, text=given.text, rate=given.rate)
    seen.latencies = [] if given.latency else None
    loop = asyncio.get_running_loop()
    print("ready", flush=True)
    await loop.run_in_executor(None, input)
    for client in clients:
        client.counting = True
    await loop.run_in_executor(None, input)
    for client in clients:
        client.counting = False
    print(json.dumps(asdict(seen)), flush=True)
    for client in clients:
        client.leave()


if __name__ == "__main__":
    asyncio.run(main())
