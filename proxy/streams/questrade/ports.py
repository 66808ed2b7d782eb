"""Local ports that stand for `streamPort`s of Questrade.

As at the broker, one URL has one port for as long as it is used, and another URL another one (DOC/streaming). A port is
opened when it is handed out, at the address that was called.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from proxy import logs
from proxy.config import PortRange
from proxy.errors import Refusal
from proxy.gate.localport import Stream, StreamPort
from proxy.streams import codes

MOST_FREE = 16  # ports in all, where the configuration names none
MOVED = "this port does not stand for that stream any more: ask for yours again"

log = logs.get("streams")


class Doorway(Protocol):
    """A listener at a port."""

    @property
    def number(self) -> int: ...
    async def close(self) -> None: ...


OpenDoorway = Callable[[StreamPort, int], Awaitable[Doorway]]


class StreamPorts:
    """All of them. `open_doorway(port, number)` opens a listener on the port's host; 0 is any free number."""

    def __init__(self, open_doorway: OpenDoorway) -> None:
        self._open_doorway = open_doorway
        self._ports: OrderedDict[tuple[str, Stream], StreamPort] = OrderedDict()  # what was not used for longest, first
        self._doorways: dict[StreamPort, Doorway] = {}
        self._ranges: Mapping[str, PortRange] = {}
        self._mounts: frozenset[str] = frozenset()
        self._free = False
        self._changing = asyncio.Lock()

    def define(self, ranges: Mapping[str, PortRange | None], *, free: bool) -> None:
        """The mounts with their ranges. `free`: a mount without one may have any free port (nobody else reaches us)."""
        self._ranges = {mount: found for mount, found in ranges.items() if found is not None}
        self._mounts, self._free = frozenset(ranges), free

    async def tidy(self) -> None:
        """Close the ports that the definition does not have any more."""
        async with self._changing:
            for key, port in list(self._ports.items()):
                if not self._fits(port):
                    del self._ports[key]
                    await self._close(port)

    async def close(self) -> None:
        """Close all of them, and open no more."""
        self.define({}, free=False)
        await self.tidy()

    def _fits(self, port: StreamPort) -> bool:
        own = self._ranges.get(port.stream.mount)
        if own is not None:
            return port.number in own
        return port.stream.mount in self._mounts and self._free and not port.pinned

    def check(self, mount: str) -> None:
        """`Refusal("overloaded")` if a mount can have no port at all."""
        if mount not in self._ranges and not (self._free and mount in self._mounts):
            raise _none("ports for streams must be named where other machines can call", mount)

    async def hand_out(self, stream: Stream, host: str, client: str) -> int:
        """The number of the port that stands for this stream. `Refusal("overloaded")` if there is none to be had."""
        async with self._changing:
            port = self._ports.get((host, stream)) or await self._new(stream, host, client)
            self._ports[host, stream] = port
            self._ports.move_to_end((host, stream))
            port.hand_to(client)
            return port.number

    async def _new(self, stream: Stream, host: str, client: str) -> StreamPort:
        self.check(stream.mount)
        own = self._ranges.get(stream.mount)
        if own is None:
            return await self._any_free(stream, host, client)
        return await self._pinned(stream, host, own, client)

    async def _any_free(self, stream: Stream, host: str, client: str) -> StreamPort:
        if sum(not port.pinned for port in self._ports.values()) >= MOST_FREE:
            idle = [(key, port) for key, port in self._ports.items() if not (port.pinned or port.sockets)]
            if not idle:
                raise _none(f"all {MOST_FREE} ports for streams are in use", stream.mount)
            key, port = _dispensable(idle, client)
            del self._ports[key]
            await self._close(port)
        port = StreamPort(host, stream)
        try:
            await self._open(port, 0)
        except OSError as error:
            raise _none(f"no port could be opened: {error.strerror}", stream.mount) from None
        return port

    async def _pinned(self, stream: Stream, host: str, own: PortRange, client: str) -> StreamPort:
        port = StreamPort(host, stream, pinned=True)
        taken = {each.number for each in self._ports.values() if each.host == host}
        for number in own:
            if number in taken:
                continue
            try:
                await self._open(port, number)
            except OSError as error:
                log.warning("a port for streams could not be opened", port=number, reason=error.strerror)
            else:
                return port
        idle = [
            (key, each)
            for key, each in self._ports.items()
            if each.host == host and each.number in own and not each.sockets
        ]
        if idle:
            key, port = _dispensable(idle, client)
            del self._ports[key]
            port.stand_for(stream)
            return port
        raise _none(f"all ports of {own} are in use", stream.mount)

    async def _open(self, port: StreamPort, number: int) -> None:
        """`OSError`: somebody else has that number."""
        self._doorways[port] = await self._open_doorway(port, number)
        port.number = self._doorways[port].number

    async def _close(self, port: StreamPort) -> None:
        port.end_all(codes.AGAIN, MOVED)
        await self._doorways.pop(port).close()


_Idle = tuple[tuple[str, Stream], StreamPort]


def _dispensable(idle: Sequence[_Idle], client: str) -> _Idle:
    """Of ports with nobody inside, the one to give up: the client's own before those that others were just told."""
    return next((each for each in idle if each[1].only(client)), idle[0])


def _none(why: str, mount: str) -> Refusal:
    fix = f"give them a range that is wide enough: mounts.{mount}.stream_ports: 8090-8099"
    return Refusal("overloaded", f"A stream needs a port of its own, and there is none: {why}.", fix=fix)
