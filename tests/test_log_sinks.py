"""Whoever is to read the log may have gone, be full, or take nothing: calls go on, and so do reloads and stops."""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from proxy.admin import ServerGone, call
from proxy.simulator import serve
from proxy.simulator.questrade.broker import Questrade
from proxy.simulator.questrade.options import Options
from proxy.store.keys import Source
from tests.callers import Wire, eventually
from tests.product import COMMAND, START, Program
from tests.workers.house import ACCOUNTS, configuration

SMALLEST = 4096  # bytes of a pipe
STOP = 8.0  # seconds
IDLE = 0.25  # processor seconds in 0.6 s in which nobody calls

Streams = tuple[int | None, int | None]  # the end that the server writes to, and the other one


@contextmanager
def blocked(*, waits: bool = True) -> Iterator[Streams]:
    """A pipe that nobody reads, full from the beginning. `waits` False: whoever writes is told so instead."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, SMALLEST)
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writer, b"x" * SMALLEST):
            pass
    os.set_blocking(writer, waits)
    try:
        yield writer, reader
    finally:
        os.close(writer)
        os.close(reader)


@contextmanager
def gone() -> Iterator[Streams]:
    """A pipe whose reader has ended."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        yield writer, None
    finally:
        os.close(writer)


@contextmanager
def full() -> Iterator[Streams]:
    """A disk without room."""
    writer = os.open("/dev/full", os.O_WRONLY)
    try:
        yield writer, None
    finally:
        os.close(writer)


@contextmanager
def closed() -> Iterator[Streams]:
    """None at all, and no stdout either."""
    yield None, None


SINKS: Mapping[str, Callable[[], contextlib.AbstractContextManager[Streams]]] = {
    "blocked": blocked,
    "blocked-nonblocking": lambda: blocked(waits=False),
    "gone": gone,
    "full": full,
    "closed": closed,
}


@dataclass
class Served:
    """A server behind a sink, and what its callers saw."""

    home: Path
    program: Program
    reader: int | None
    url: str = ""
    key: str = field(default="", repr=False)
    good: int = 0
    others: list[str] = field(default_factory=list)

    async def command(self, name: str, /, **params: Any) -> dict[str, Any]:
        return await call(self.home / "state/admin.sock", name, params, timeout=30)

    async def ready(self) -> None:
        async for _ in eventually(START, 0.05):
            with contextlib.suppress(ServerGone):
                status = await self.command("status")
                if status["url"] and all(each["ready"] for each in status["workers"]):
                    self.url = status["url"]
                    return
            assert self.program.code is None, self.program.code
        raise AssertionError("it does not start")

    async def load(self, callers: int, calls: int) -> None:
        """Kept connections and new ones, each call a line of the log."""
        async with asyncio.TaskGroup() as group:
            for number in range(callers):
                group.create_task(self._calls(calls, kept=number % 2 == 0))

    async def _calls(self, calls: int, *, kept: bool) -> None:
        wire = Wire(self.url)
        for _ in range(calls):
            reply = await wire.call("GET", ACCOUNTS, self.key)
            if reply is not None and reply.status == 200:
                self.good += 1
            else:
                self.others.append(str(reply))
            if not kept:
                await wire.close()
        await wire.close()

    def worked(self) -> float:
        """Processor seconds of all processes so far."""
        family = [psutil.Process(self.program.pid)]
        family += family[0].children(recursive=True)
        return sum(sum(each.cpu_times()[:2]) for each in family)


@asynccontextmanager
async def behind(
    name: str, directory: Path, simulator: Questrade, environment: object, workers: int
) -> AsyncIterator[Served]:
    """A server whose stderr is this sink, logged in, at its most talkative."""
    home = directory / f"{name}-{workers}"
    home.mkdir(mode=0o700)
    text = configuration(environment, workers) | {"log": {"level": "debug", "format": "json"}}
    (home / "config.yaml").write_text(json.dumps(text, indent=1))
    await asyncio.to_thread(Source("file:master.key", home).create)
    arguments = ("serve", "-c", "config.yaml")
    silent = ("sh", "-c", 'exec "$0" "$@" >&- 2>&-', *COMMAND)
    with SINKS[name]() as (writer, reader):
        program = Program(home, *arguments, command=silent if writer is None else (), sink=writer)
        served = Served(home, program, reader)
        try:
            await served.ready()
            await served.command("login", mount="questrade", token=simulator.new_refresh_token())
            served.key = (await served.command("clients-add", name="bot"))["key"]
            yield served
        finally:
            program.kill()


def change(file: Path) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | {"limits": {"body_bytes": 4711}}))


async def life(served: Served, callers: int, calls: int) -> None:
    """Calls, a reload in between, a moment of silence, and a stop."""
    await served.load(callers, calls)
    await asyncio.to_thread(change, served.home / "config.yaml")
    assert ["limits.body_bytes: 1048576 → 4711"] == (await served.command("reload"))["changes"]
    await served.load(callers, calls)
    before = served.worked()
    await asyncio.sleep(0.6)
    idle = served.worked() - before
    served.program.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(served.program.end, STOP)
    assert ([], 2 * callers * calls, 0) == (served.others[:3], served.good, code)
    assert idle < IDLE


async def lives(directory: Path, sinks: Mapping[str, int], callers: int, calls: int) -> None:
    """So many processes behind each sink, all at the same time."""
    async with AsyncExitStack() as stack:
        running = await serve.start(directory=directory / "ca", options=Options())
        stack.push_async_callback(running.stop)
        simulator = running.simulators["questrade"]
        assert isinstance(simulator, Questrade)
        environment = running.description()["environment"]

        async def one(name: str, workers: int) -> None:
            async with behind(name, directory, simulator, environment, workers) as served:
                await life(served, callers, calls)

        async with asyncio.TaskGroup() as group:
            for name, workers in sinks.items():
                group.create_task(one(name, workers))


async def test_no_sink_of_the_log_stops_calls_reloads_or_stops(state_dir: Path) -> None:
    """Here it is blocked from before the start, for supervisor, custody and workers."""
    await lives(state_dir, {"blocked": 2}, 4, 25)


@pytest.mark.soak
async def test_no_other_sink_does_so_either(state_dir: Path) -> None:
    """Full, closed, gone, or one that tells whoever writes to wait."""
    await lives(state_dir, {"full": 1, "gone": 2, "closed": 2, "blocked-nonblocking": 1}, 4, 25)


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("sink", SINKS)
async def test_no_sink_of_the_log_stops_anything_for_long(state_dir: Path, sink: str, workers: int) -> None:
    """The same with more lines than may wait."""
    await lives(state_dir, {sink: workers}, 8, 1500)
