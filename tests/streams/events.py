"""A crowd of readers of events (SSE) through bearerd: what each takes in memory, and whether each gets every event.

    python -m tests.streams.events [--count 1000] [--rate 1] [--seconds 5]

Each reader has a stream of its own at the simulated broker. Prints; gates nothing.
"""

import argparse
import asyncio
import re
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast
from urllib.parse import urlsplit

from tests.streams.crowdstage import Server, Stage, staged

TARGET = "/feed/v1beta1/events/corporate-actions"
AT_ONCE = 10  # readers that connect at a time; more of them would be shed on a busy machine
_NUMBER = re.compile(rb'"number": ?(\d+)')


@dataclass(frozen=True)
class Result:
    """`memory`: bytes a reader; `cpu`: seconds of processor time an event; `lost`: events that a reader did not get."""

    memory: float
    cpu: float
    events: int
    lost: int


class Reader(asyncio.Protocol):
    """One reader: it looks at the numbers of what comes, and keeps nothing else."""

    def __init__(self, head: bytes) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.events = self.lost = 0
        self._head, self._left, self._last = head, b"", 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        if not self.ready.done():
            if not data.startswith(b"HTTP/1.1 200 "):
                self.ready.set_exception(ConnectionError(data[-300:].decode("latin-1")))
                return
            self.ready.set_result(None)
        *lines, self._left = (self._left + data).split(b"\n")
        for line in lines:
            if found := _NUMBER.search(line):
                number = int(found[1])
                self.lost += number - self._last - 1 if self._last else 0
                self._last = number
                self.events += 1


async def _read(server: Server, stage: Stage, count: int, rate: float, seconds: float) -> Result:
    at = urlsplit(server.url)
    head = f"GET {TARGET} HTTP/1.1\r\nHost: {at.netloc}\r\nAuthorization: Bearer {server.key}\r\n\r\n".encode()
    await asyncio.to_thread(stage.turn, rate=0.0)
    loop = asyncio.get_running_loop()
    lines, readers = [], []
    before = 0
    for number in range(count + AT_ONCE):
        line, reader = await loop.create_connection(lambda: Reader(head), at.hostname or "", at.port or 80)
        lines.append(line)
        readers.append(reader)
        if (number + 1) % AT_ONCE == 0:
            await asyncio.gather(*(reader.ready for reader in readers[-AT_ONCE:]))
        if number + 1 == AT_ONCE:  # what the first ones took is there for all
            before = server.memory
    memory = (server.memory - before) / count
    await asyncio.to_thread(stage.turn, rate=rate)
    spent, began = server.spent, time.monotonic()
    await asyncio.sleep(seconds)
    await asyncio.to_thread(stage.turn, rate=0.0)
    await asyncio.sleep(max(1.0, (time.monotonic() - began) / 10))
    spent = server.spent - spent
    events, lost = sum(reader.events for reader in readers), sum(reader.lost for reader in readers)
    for line in lines:
        line.abort()
    return Result(memory, spent / max(1, events), events, lost)


def measure(stage: Stage, count: int, rate: float, seconds: float) -> Result:
    """So many readers at once. Blocks."""
    return asyncio.run(_read(stage.hub, stage, count, rate, seconds))


def main(count: int, rate: float, seconds: float) -> Result:
    """Start everything, measure, print."""
    with TemporaryDirectory(prefix="brd-bench-") as home, staged(Path(home)) as stage:
        stage.turn(connections=0)
        found = measure(stage, count, rate, seconds)
    print(
        f"{count:,} readers of events: {found.memory / 1e3:.1f} kB each; {found.events} events, {found.lost} lost, "
        f"{found.cpu * 1e6:.0f} µs each",
        flush=True,
    )
    return found


def arguments() -> argparse.ArgumentParser:
    """Of this program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    return parser


if __name__ == "__main__":
    main(**vars(arguments().parse_args()))
