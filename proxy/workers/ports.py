"""The listening sockets of a server with workers: opened by custody, used by workers, kept by the supervisor.

At TCP addresses there is one for each worker, and the system shares connections out among them. With one for all,
whoever wakes first takes all that wait: a few clients would all be one worker's. The supervisor's copies keep a door
open, and those who wait at it, while a worker or custody is started anew.
"""

import itertools
import socket
import sys
from collections.abc import Callable, Iterable
from functools import partial

from proxy.config import Address, Tcp, Unix
from proxy.listener import BACKLOG, OPEN, Entry, Given, bind_at
from proxy.sockets import bind_tcp


class Ports:
    """Those of one custody. `say` tells the supervisor of each that is opened or closed."""

    def __init__(self, say: Callable[..., object]) -> None:
        self._say = say
        self._shelved: dict[str, int] = {}
        self._sockets: dict[str, list[socket.socket]] = {}

    def inherit(self, shelved: dict[str, int]) -> None:
        """Open files by name: sockets of the custody before us."""
        self._shelved = shelved

    def tidy(self) -> None:
        """Close those of them that nobody has asked for: the configuration has them no longer."""
        for name, file in self._shelved.items():
            self._free(name)
            socket.socket(fileno=file).close()
        self._shelved = {}

    @property
    def names(self) -> Iterable[str]:
        """The doors at which workers accept."""
        return self._sockets

    def one_of(self, name: str, worker: int) -> int:
        """The open file of a worker's socket at a door; workers are counted from 1."""
        ends = self._sockets[name]
        return ends[(worker - 1) % len(ends)].fileno()

    async def of_door(self, name: str, address: Address, entry: Entry, count: int) -> Given:
        """The sockets of a door, for so many workers. `OSError` names the address."""
        ends = self._sockets[name] = await self._bound(name, address, entry, count)
        return Given(ends[0], accepts=False, closed=partial(self._closed, name, address))

    async def own(self, address: Address) -> Given:
        """One that custody itself accepts at. `OSError`."""
        name = f"console {address}"
        (end,) = await self._bound(name, address, OPEN, 1)
        return Given(end, accepts=True, closed=partial(self._free, f"{name} 0"))

    async def _bound(self, name: str, address: Address, entry: Entry, count: int) -> list[socket.socket]:
        if f"{name} 0" in self._shelved:
            names = (f"{name} {number}" for number in itertools.count())
            return [socket.socket(fileno=self._shelved.pop(each)) for each in itertools.takewhile(self._is_kept, names)]
        ends = await _bind(address, entry, count)
        for number, end in enumerate(ends):
            end.listen(BACKLOG)
            self._say("listening", f"{name} {number}", files=[end.fileno()])
        return ends

    def _is_kept(self, name: str) -> bool:
        return name in self._shelved

    def _closed(self, name: str, address: Address) -> None:
        ends = self._sockets.pop(name)
        if isinstance(address, Unix):
            # While it listens, nobody takes the name for a stale one: it is certainly ours to remove.
            address.path.unlink(missing_ok=True)
        for number, end in enumerate(ends):
            end.close()
            self._free(f"{name} {number}")

    def _free(self, name: str) -> None:
        self._say("closed", name)


async def _bind(address: Address, entry: Entry, count: int) -> list[socket.socket]:
    first = await bind_at(address, entry)  # alone: another server may listen there
    if count == 1 or not isinstance(address, Tcp) or sys.platform != "linux":
        return [first]
    place = Tcp(address.host, first.getsockname()[1])
    first.close()
    return [bind_tcp(place, shared=True) for _ in range(count)]
