"""Shears in the wire between bearerd and a broker: each connection may be cut after so many bytes, either way."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

from tests.wire import reset

How = Literal["reset", "close", "stall"]


@dataclass(frozen=True)
class Cut:
    """After `after` bytes, to the broker (`up`) or from it, both ends are reset or closed, or hear nothing more."""

    up: bool
    after: int
    how: How


class Shears:
    """Forwards connections to a port of this machine, which may change. `plan` is asked once for each connection.

    What it forwards is TLS: where in a message a cut falls is left to chance.
    """

    def __init__(self, target: Callable[[], int], plan: Callable[[], Cut | None]) -> None:
        self.port = 0
        self.cuts = 0
        self._target = target
        self._plan = plan
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        ends = [writer]
        try:
            back_reader, back = await asyncio.open_connection("127.0.0.1", self._target())
            ends.append(back)
            cut = self._plan()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, back, ends, cut if cut and cut.up else None))
                group.create_task(self._pump(back_reader, writer, ends, cut if cut and not cut.up else None))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            for end in ends:
                end.close()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ends: list[asyncio.StreamWriter],
        cut: Cut | None,
    ) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if cut is not None and passed + len(data) >= cut.after:
                    self.cuts += 1
                    writer.write(data[: cut.after - passed])
                    await self._end(cut.how, ends)
                    return
                passed += len(data)
                writer.write(data)
                await writer.drain()
        for end in ends:
            end.close()

    async def _end(self, how: How, ends: list[asyncio.StreamWriter]) -> None:
        if how == "stall":
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(0)  # what was written goes out first
        for end in ends:
            if how == "reset":
                reset(end)
            else:
                end.close()
