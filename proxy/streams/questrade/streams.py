"""Questrade's streams: notifications of orders, and quotes, each at a port of its own.

A call with `mode=WebSocket` is answered with the number of a port (`rewritten` puts one of ours into the answer), and a
client that connects there gets the stream that the port stands for (`serve`).
"""

import asyncio
from collections.abc import Callable, Mapping

from proxy import logs
from proxy.admission import Mount
from proxy.brokers import Origin
from proxy.errors import Refusal
from proxy.gate.localport import Stream, StreamPort
from proxy.gate.rows import Row
from proxy.pacing import Pacing
from proxy.relay.frames import Frame
from proxy.streams.client import ClientSocket, SocketEnded
from proxy.streams.handover import Handed
from proxy.streams.questrade import messages, streamport
from proxy.streams.questrade.hub import USUAL, Hub, Member, Timing
from proxy.streams.questrade.line import Opener, Pulse, Source
from proxy.streams.questrade.ports import StreamPorts
from proxy.streams.questrade.rawjson import Unreadable

PULSE = "time"  # the row that is called when nobody else calls

log = logs.get("streams")


def source_of(mount: Mount, row: Row, grant: str) -> Source:
    """Where the streams of a row come from."""
    pulse = next((each for each in mount.table.rows if each.id == PULSE), None)
    return Source(mount.name, mount.relay, grant, row, mount.user_agent, pulse)


_Key = tuple[str, bool]  # grant, and whether it is of quotes


class QuestradeStreams:
    """Every hub of this server. `run()` must be running for one to open its socket. `mounts` gives those in force."""

    def __init__(
        self, pacing: Pacing, ports: StreamPorts, mounts: Callable[[], Mapping[str, Mount]], timing: Timing = USUAL
    ) -> None:
        self.ports = ports
        self._mounts = mounts
        self._timing = timing
        self._pacing = pacing
        self._hubs: dict[_Key, Hub] = {}
        self._openers: dict[_Key, Opener] = {}
        self._pulses: dict[str, Pulse] = {}
        self._starting: asyncio.Queue[tuple[_Key, Hub]] = asyncio.Queue()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                _ = group.create_task(self._run(*await self._starting.get()))

    async def _run(self, key: _Key, hub: Hub) -> None:
        try:
            await hub.run()
        except Exception as error:  # noqa: BLE001  the others go on
            log.error("a stream ended by a fault of ours", error=type(error).__name__)
        finally:
            if self._hubs.get(key) is hub:
                del self._hubs[key]

    @property
    def hubs(self) -> int:
        """How many sockets are held, or about to be, at the broker."""
        return len(self._hubs)

    def called(self, grant: str) -> None:
        """Somebody has called with this grant: its session lives on."""
        if grant in self._pulses:
            self._pulses[grant].beat()

    def pulse(self, grant: str) -> Pulse:
        """When somebody last called with this grant, as far as its streams know."""
        return self._pulses.setdefault(grant, Pulse())

    # -- calls that are answered with a port --------------------------------------------------------------------------

    def prepare(self, handed: Handed) -> None:
        """Before anything is sent. `Refusal`: no port could be handed out."""
        _stream_of(handed)
        self.ports.check(handed.mount.name)

    async def rewritten(self, handed: Handed, body: bytes, origin: Origin) -> bytes:
        """The answer with a port of ours in it. `Refusal`.

        What speaks of no port passes as it is: an error with status 200, a page.
        """
        try:
            found = streamport.find(body)
        except Unreadable as error:
            raise Refusal("bad-answer", f"The broker's answer was withheld: {error}.") from None
        if found is None:
            return body
        stream, host = _stream_of(handed)
        number = await self.ports.hand_out(stream, host, handed.client.name)
        source = source_of(handed.mount, handed.row, handed.grant)
        self._opener(source).learn(frozenset(stream.ids), found.port, origin)
        return streamport.replaced(body, found, number)

    # -- clients at their ports ---------------------------------------------------------------------------------------

    async def serve(
        self, socket: ClientSocket, port: StreamPort, source: Source, heard: Callable[[Frame], None] = lambda _: None
    ) -> None:
        """Give a client, who is known and allowed, what its port stands for. Until it has gone, or was ended.

        What it says goes nowhere but to `heard`: a stream is defined by the call for its port.
        """
        member = Member(socket, frozenset(port.stream.ids))
        hub = self._hub(source)
        hub.join(member)
        try:
            while True:
                message = await socket.receive()
                if message.kind == "ping":
                    await socket.pong(message.payload)
                elif message.kind in ("text", "binary"):
                    heard(message.data)
        except SocketEnded:
            pass
        finally:
            hub.leave(member)

    def _hub(self, source: Source) -> Hub:
        key = (source.grant, source.of_quotes)
        hub = self._hubs.get(key)
        if hub is None or hub.over:
            hub = self._hubs[key] = Hub(source, self._opener(source), self._current, self._timing)
            self._starting.put_nowait((key, hub))
        return hub

    def _current(self, source: Source) -> Source:
        """The same by the configuration in force: after a reload the way there may be another."""
        mount = self._mounts().get(source.mount)
        row = next((row for row in mount.table.rows if row.id == source.row.id), None) if mount else None
        return source_of(mount, row, source.grant) if mount and row else source

    def _opener(self, source: Source) -> Opener:
        key = (source.grant, source.of_quotes)
        if key not in self._openers:
            self._openers[key] = Opener(self._pacing, self.pulse(source.grant))
        return self._openers[key]


def _stream_of(handed: Handed) -> tuple[Stream, str]:
    """What a call asks for, and the address that was called. `Refusal("bad-request")`."""
    if handed.visit.door.address is None:
        fix = "call it over an address of `listen`, as in 127.0.0.1:8080"
        raise Refusal("bad-request", "A stream's port is a TCP port, and this call came over a Unix socket.", fix=fix)
    ids = messages.asked_ids(handed.wanted.query) if "ids" in handed.row.query else ()
    return Stream(handed.mount.name, handed.grant, handed.row.id, ids), handed.visit.door.address.host
