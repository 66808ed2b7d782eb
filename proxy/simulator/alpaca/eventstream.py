"""A stream of server-sent events that stays open."""

from collections.abc import Callable

from aiohttp import web

from proxy.simulator.alpaca.events import GREETING, HEARTBEAT, STREAM, TOO_SLOW, Events
from proxy.simulator.chunked import Chunked
from proxy.simulator.streams import Shared, Streams


class EventStream(Chunked):
    """One client's stream. It ends by itself where the client asked for that; `now` is Unix time."""

    def __init__(self, request: web.BaseRequest, streams: Streams, events: Events, now: Callable[[], float]) -> None:
        super().__init__(request, streams, STREAM)
        self._events = events
        self._now = now
        self._dropped = 0

    async def answer(self, past: list[bytes], *, hold: bool) -> web.StreamResponse:
        """Send the past, and then what happens; without `hold` only the past."""
        if not hold or self._events.over(self._now()):
            self.end()
        self.sent += len(past)
        return await self.serve(b"".join(map(self.framed, [GREETING, *past])))

    def due(self, beats: range, shared: Shared) -> bytes:  # noqa: ARG002  each client is at an event of its own
        """The events of these beats, each in a chunk of its own."""
        return self.further(beats[-1])

    def further(self, beat: int) -> bytes:
        """What has happened that this client has not heard of."""
        events = self._events.further(beat)
        if super().too_slow(self.streams.flow.backlog):
            self._dropped += len(events)
            return b""
        self.sent += len(events)
        if self._dropped:
            events.insert(0, (TOO_SLOW % self._dropped).encode())
            self._dropped = 0
        if self._events.over(self._now()):
            self.end()
        return b"".join(map(self.framed, events))

    def too_slow(self, backlog: int) -> bool:  # noqa: ARG002  it is not asked
        """Never so that it is cut off: what a client does not take is dropped, and it is told how much."""
        return False

    def signs(self) -> bytes:
        return self.framed(HEARTBEAT)

    def framed(self, payload: bytes) -> bytes:
        """A chunk; what is no event yet, such as an echo, is made one."""
        if payload and not payload.endswith(b"\n\n"):
            payload = b"data: " + payload + b"\n\n"
        return super().framed(payload)
