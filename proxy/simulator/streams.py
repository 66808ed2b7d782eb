"""The open streams of one simulated broker: who hears what at each beat, and what goes wrong with whom.

One timer serves them all, and it awaits nothing: what many streams are to hear is encoded once and written to each
connection, so that a simulator keeps up with whatever stands between it and a thousand clients.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping

from aiohttp import web

from proxy.simulator.faults import Fault, Faults
from proxy.simulator.flow import Beats, Flow
from proxy.simulator.listener import reset

HANDSHAKE, AUTH, OPEN = "stream handshake", "stream authentication", "open stream"
_LOOK = 0.02  # seconds between two looks at faults and tokens while a stream is open
_SHORTEST = 0.002  # seconds between two looks at the beat: more of them at once go into one write

Shared = dict[object, bytes]  # what has been encoded for this beat, by what it depends on

_HANDSHAKE = {
    "stream-401": "401 instead of the stream (refused)",
    "stream-403": "403 instead of the stream (refused)",
    "stream-500": "500 instead of the stream (refused)",
}
_AUTH = {"stream-auth-refused": "a good credential is refused in the broker's own words"}
_OPEN = {
    "stream-silence": "nothing more is sent; pings are still answered",
    "stream-half-open": "nothing more is sent, read or answered, and the connection stays",
    "stream-drop": "connection reset",
    "stream-close": "closed: a socket with the code that POST /stream sets, an HTTP stream by its end",
    "stream-token-expired": "the broker says that the token is not good any more, and closes",
    "stream-wrong-frame": "a message that makes no sense",
    "stream-broken-frame": "bytes that are no frame at all",
    "stream-echo": "a message that holds the credential that was presented",
    "stream-burst": "as many messages at once as POST /stream sets",
    "stream-slow-reader": "nothing is read for some seconds",
}
FAULTS = tuple(
    Fault(name, frozenset({place}), f"{where}: {what}")
    for texts, place, where in (
        (_HANDSHAKE, HANDSHAKE, "the next stream that is asked for"),
        (_AUTH, AUTH, "the next stream that is authenticated"),
        (_OPEN, OPEN, "a stream that is open"),
    )
    for name, what in texts.items()
)
STATUS: Mapping[str, int] = {"stream-401": 401, "stream-403": 403, "stream-500": 500}


class Stream(ABC):
    """One open stream. `good` tells whether its credential, `presented`, is still worth something.

    Everything here returns at once; whoever serves the stream waits for `ended()` and then ends it in its own way.
    """

    def __init__(self, request: web.BaseRequest) -> None:
        self.request = request
        self.good: Callable[[], bool] = lambda: True
        self.presented = ""
        self.sent = 0  # messages
        self.broken = False  # it ended without a word
        self._quiet = False
        self._end: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self.spoilt = False  # a fault has hit it that leaves nothing for another

    def due(self, beats: range, shared: Shared) -> bytes:  # noqa: ARG002  not every stream keeps the beat
        """What goes on the wire for these beats; nothing of what keeps none."""
        return b""

    @abstractmethod
    def framed(self, payload: bytes) -> bytes:
        """One message as it goes on the wire."""

    @property
    @abstractmethod
    def nonsense(self) -> tuple[bytes, bytes]:
        """A message that makes no sense, and bytes that are no frame; both as they go on the wire."""

    def expired(self) -> bytes:
        """What the broker says when a token has come to its end; nothing if it just closes."""
        return b""

    def slow(self) -> bytes:
        """What the broker says to who is too slow."""
        return b""

    def signs(self) -> bytes:
        """The sign of life that this stream gives when a heartbeat is due."""
        return b""

    def write(self, wire: bytes) -> None:
        """Put bytes on the wire, unless the stream is silent, or over."""
        transport = self.request.transport
        if wire and not self._quiet and transport is not None and not transport.is_closing():
            transport.write(wire)

    def end(self, code: int | None = None) -> None:
        """Have it closed, a socket with this code."""
        self.spoilt = True
        if not self._end.done():
            self._end.set_result(code)

    def drop(self) -> None:
        """Break the connection."""
        self.spoilt = self.broken = True
        if self.request.transport is not None:
            reset(self.request)
        if not self._end.done():
            self._end.set_result(None)

    async def ended(self) -> int | None:
        """Wait for the end; the code to close with."""
        return await self._end

    def hush(self, *, deaf: bool = False) -> None:
        """Send nothing more; if `deaf`, read nothing either."""
        self.spoilt = self._quiet = True
        if deaf and self.request.transport is not None:
            self.request.transport.pause_reading()

    def doze(self, seconds: float) -> None:
        """Read nothing for a while."""
        transport = self.request.transport
        if transport is not None:
            transport.pause_reading()
            asyncio.get_running_loop().call_later(seconds, _resume, transport)

    def too_slow(self, backlog: int) -> bool:
        """Whether more than so many bytes wait for the client to take them."""
        transport = self.request.transport
        return transport is not None and transport.get_write_buffer_size() > backlog


class Streams:
    """All open streams of one broker. `slow`: seconds that stream-slow-reader takes."""

    def __init__(self, faults: Faults, *, slow: Callable[[], float], flow: Flow | None = None) -> None:
        self.flow = flow or Flow()
        self.opened = 0  # ever
        self.sent = 0  # messages on streams that are over
        self._faults = faults
        self._slow = slow
        self._open: dict[Stream, None] = {}  # the oldest first
        self._beats: Beats | None = None
        self._beat = 0
        self._signed = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def turn(self, changes: Mapping[str, object]) -> None:
        """Turn knobs. Raises WrongKnob, and then nothing has been turned."""
        self.flow.turn(changes)
        self._counter().turn(_now(), self.flow.rate)
        if self._open:
            self._wake(0.0)

    def state(self) -> dict[str, object]:
        """The knobs, how many streams are open and ever were, the number of the beat, messages sent."""
        sent = self.sent + sum(stream.sent for stream in self._open)
        numbers = {"open": len(self._open), "opened": self.opened, "beat": self.beat, "sent": sent}
        return {**self.flow.shown(), **numbers}

    @property
    def beat(self) -> int:
        """The number of the newest beat."""
        return self._counter().at(_now())

    def join(self, stream: Stream) -> None:
        """From the next beat on this stream is heard."""
        if not self._open:
            self._beat, self._signed = self.beat, _now()
        self._open[stream] = None
        self.opened += 1
        self._wake(0.0)

    def leave(self, stream: Stream) -> None:
        """This stream is over."""
        if stream in self._open:
            del self._open[stream]
            self.sent += stream.sent
        if not self._open and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def tell(self, which: Callable[[Stream], bytes | None]) -> None:
        """Something has happened: `which` says what of it each stream hears."""
        for stream in self._well():
            wire = which(stream)
            if wire:
                stream.write(wire)
                stream.sent += 1

    def refusal(self) -> int | None:
        """The status with which a fault refuses the handshake at hand, if one does."""
        fault = self._faults.take(HANDSHAKE)
        return None if fault is None else STATUS[fault]

    def auth_refused(self) -> bool:
        """Whether a fault refuses the good credential at hand."""
        return self._faults.take(AUTH) is not None

    def _counter(self) -> Beats:
        if self._beats is None:
            self._beats = Beats(_now(), self.flow.rate)
        return self._beats

    def _wake(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay, self._look)

    def _look(self) -> None:
        now, counter = _now(), self._counter()
        self._suffer()
        self._judge()
        newest = counter.at(now)
        if newest > self._beat:
            beats, self._beat = range(self._beat + 1, newest + 1), newest
            self._send(beats)
        if now - self._signed >= self.flow.heartbeat:
            self._signed = now
            for stream in self._well():
                stream.write(stream.signs())
        if self._open:
            self._wake(max(_SHORTEST, min(_LOOK, counter.wait(now))))

    def _send(self, beats: range) -> None:
        shared: Shared = {}
        for stream in self._well():
            stream.write(stream.due(beats, shared))
            if stream.too_slow(self.flow.backlog):
                stream.write(stream.slow())
                stream.drop()

    def _judge(self) -> None:
        """Streams whose credential is not good any more."""
        if self.flow.stale == "keep":
            return
        for stream in self._well():
            if not stream.good():
                if self.flow.stale == "drop":
                    stream.drop()
                else:
                    stream.write(stream.expired())
                    stream.end(self.flow.code)

    def _suffer(self) -> None:
        """Each armed fault hits the oldest stream that it can still hit."""
        for stream in self._well():
            fault = self._faults.take(OPEN)
            if fault is None:
                return
            self._hit(stream, fault)

    def _hit(self, stream: Stream, fault: str) -> None:
        wrong, broken = stream.nonsense
        match fault:
            case "stream-silence" | "stream-half-open":
                stream.hush(deaf=fault == "stream-half-open")
            case "stream-drop":
                stream.drop()
            case "stream-close":
                stream.end(self.flow.code)
            case "stream-token-expired":
                stream.write(stream.expired())
                stream.end(self.flow.code)
            case "stream-wrong-frame" | "stream-broken-frame":
                stream.write(wrong if fault == "stream-wrong-frame" else broken)
            case "stream-echo":
                stream.write(stream.framed(stream.presented.encode()))
            case "stream-burst":
                self._counter().skip(self.flow.burst)
            case _:  # stream-slow-reader
                stream.doze(self._slow())

    def _well(self) -> Iterable[Stream]:
        """Those that have not been hit, the oldest first."""
        return [stream for stream in self._open if not stream.spoilt]


def _now() -> float:
    return asyncio.get_running_loop().time()


def _resume(transport: asyncio.Transport) -> None:
    if not transport.is_closing():
        transport.resume_reading()
