"""Clients that ask for more than can be had, in a process of their own.

`python tests/stampede.py ADDRESS TARGET KEY CLIENTS RATE SECONDS` has so many clients send RATE reads a second between
them, each as soon as its turn has come and its last answer is there. Prints what came, as JSON.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from functools import partial
from typing import cast
from urllib.parse import urlsplit

from proxy import eventloop

RISE = 0.5  # seconds until all clients are there


class Client(asyncio.Protocol):
    """One connection that asks again and again."""

    def __init__(self, head: bytes, period: float, first: float, end: float) -> None:
        self.statuses: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.lost = 0
        self._head = head
        self._period = period
        self._due = first
        self._end = end
        self._sent = 0.0
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._line = cast("asyncio.WriteTransport", transport)  # uvloop's is none by its type
        self._next()

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, body = self._read.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
        if len(body) < length:
            return
        self._read = b""
        self.statuses[head[9:12].decode()] += 1
        self.seconds.append(time.perf_counter() - self._sent)
        self._next()

    def connection_lost(self, _error: Exception | None) -> None:
        self.lost += time.perf_counter() < self._end

    def _next(self) -> None:
        now = time.perf_counter()
        self._due = max(self._due + self._period, now)
        if self._due >= self._end:
            return
        asyncio.get_running_loop().call_later(self._due - now, self._send)

    def _send(self) -> None:
        if not self._line.is_closing():
            self._sent = time.perf_counter()
            self._line.write(self._head)


def _the(client: Client) -> Client:
    return client


async def stampede(
    address: str, target: str, key: str, *, count: int, rate: float, seconds: float
) -> dict[str, object]:
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port or 80
    head = f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    began = time.perf_counter()
    end = began + RISE + seconds
    clients = [Client(head, count / rate, began + RISE * number / count, end) for number in range(count)]
    for client in clients:
        await asyncio.get_running_loop().create_connection(partial(_the, client), host, port)
    await asyncio.sleep(end - time.perf_counter() + 0.1)
    waits = sorted(second for client in clients for second in client.seconds) or [0.0]
    statuses: Counter[str] = Counter()
    for client in clients:
        statuses.update(client.statuses)
    return {
        "statuses": statuses,
        "lost": sum(client.lost for client in clients),
        "p50": waits[len(waits) // 2],
        "p99": waits[int(len(waits) * 0.99)],
    }


if __name__ == "__main__":
    work = stampede(*sys.argv[1:4], count=int(sys.argv[4]), rate=float(sys.argv[5]), seconds=float(sys.argv[6]))
    print(json.dumps(eventloop.run(work, eventloop.factory())), flush=True)
