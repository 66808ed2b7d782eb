"""`python tests/replica.py CONFIG PORT CLOCK`: the real server, on a machine whose wall clock can be set wrong.

The file CLOCK holds one number: by how many seconds the wall clock is off. It may be changed at any time. The clock
that counts since the boot goes on, as it does when a person or NTP sets the time.
"""

import asyncio
import logging
import mmap
import os
import struct
import sys
from pathlib import Path

from proxy import logs
from proxy.app import App
from proxy.cli.serve import Signals
from proxy.clock import Now, SystemClock
from proxy.custody import Custody
from proxy.settings import Settings, read
from proxy.store.keys import Source

_NUMBER = struct.Struct("d")


class SteppedClock:
    """The machine's clocks, the wall clock off by what a file says."""

    def __init__(self, file: Path) -> None:
        with file.open("rb") as content:
            self._off = mmap.mmap(content.fileno(), _NUMBER.size, access=mmap.ACCESS_READ)
        self._system = SystemClock()

    def now(self) -> Now:
        now = self._system.now()
        return Now(now.wall + _NUMBER.unpack(self._off)[0], now.boot)


def step(file: Path, seconds: float) -> None:
    """Set the wall clock of whoever reads this file wrong, by so many seconds. Makes the file."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, _NUMBER.pack(seconds), 0)
    finally:
        os.close(descriptor)


async def serve(settings: Settings, clock: SteppedClock) -> None:
    """What `bearerd serve` does, with another clock."""
    stopping = asyncio.Event()
    Signals(stopping).install(lambda: None)
    config = settings.config
    custody = await Custody.open(config, Source(config.key, config.base, config.state_dir))
    try:
        app = App(settings, custody, lambda: settings, clock=clock)
        try:
            await app.start()
            await stopping.wait()
        finally:
            await app.stop()
    finally:
        await custody.close()


def main() -> None:
    file, port, clock = sys.argv[1:]
    settings = read(Path(file).absolute(), os.environ, {"listen": f"127.0.0.1:{port}"})
    logs.setup("json", "info", sys.stderr, color=False)
    logging.getLogger("tokens").setLevel(logging.DEBUG)  # every state that a grant goes through: see `Replica.states`
    asyncio.run(serve(settings, SteppedClock(Path(clock))))


if __name__ == "__main__":
    main()
