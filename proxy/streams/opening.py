"""One socket that a client opens, after the gate has matched it: what every dialect is served from."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Protocol

from aiohttp import web

from proxy.audit.record import Record
from proxy.errors import Refusal
from proxy.gate.clients import Client
from proxy.gate.rows import Row
from proxy.relay.dialling import Handshake
from proxy.relay.frames import SocketLimits
from proxy.relay.headers import Text
from proxy.relay.http import Relay
from proxy.relay.websocket import BrokerSocket
from proxy.streams import codes
from proxy.streams.client import ClientSocket
from proxy.streams.register import OpenStream, Streams

UNKNOWN_BYTES = 256 * 1024  # of a message of one who came without a key: 64 of them may be here, and fill memory
OTHERS = "The session belongs to another person than the one that the key stands for."
IDLE = 60.0  # seconds for which a broker may be silent, where its row does not say
# What is said before the 101 of what is a close code after it.
_ENDED = {codes.STOPPING: "draining", codes.UNKNOWN_CLIENT: "unknown-client", codes.HALTED: "halted"}


class Begun(Protocol):
    """Where records of streams go: `audit.calls.Calls` is such a thing."""

    def begun(self, record: Record) -> None: ...


@dataclass(slots=True)
class Opening:
    """A handshake that the gate let through. `target` and `headers` are what goes to the broker.

    `client` is None as long as nobody knows who it is: then its first frame says so, and `admit` (with the key that
    stands there, or None) finds out, or raises `Refusal`. `subprotocols` are those that it offers. `local`: anybody may
    call. `now`: Unix time when it came.
    """

    request: web.BaseRequest
    mount: str
    row: Row
    relay: Relay
    target: bytes = field(repr=False)
    headers: Text = field(repr=False)
    subprotocols: tuple[str, ...]
    record: Record
    limits: SocketLimits
    streams: Streams
    calls: Begun
    identify: Callable[["Opening", str | None, str | None], None] = field(repr=False)
    now: float
    client: Client | None = None
    digest: str | None = field(default=None, repr=False)
    stream: OpenStream | None = None

    def admit(self, key: str | None) -> None:
        """Find out whose key it is, and whether its client may do this. Sets `client`. Raises `Refusal`."""
        self.identify(self, key, None)

    def admit_as(self, fingerprint: str | None, grant: str) -> None:
        """The same by the digest of a key that was shown before, for the grant that it was shown for."""
        if grant.partition("/")[0] != self.relay.grant:
            raise Refusal("unknown-client", "The session belongs to another grant than the mount's.")
        self.identify(self, None, fingerprint or "")
        if self.grant != grant:
            raise Refusal("unknown-client", OTHERS)

    @property
    def grant(self) -> str:
        """Whose credential goes along."""
        return self.record.grant or self.relay.grant

    @contextmanager
    def entered(self, socket: ClientSocket | None = None) -> Iterator[OpenStream]:
        """Count it among the open streams within the block. `Refusal`: the client has too many."""
        if self.client is None:
            raise AssertionError("a stream was about to be opened for nobody")
        end = _before if socket is None else socket.end
        stream = OpenStream(
            self.mount, self.client, self.row, self.digest, "socket", self.now, end, grant=self.record.grant or ""
        )
        stream.traffic = socket.traffic if socket is not None else None
        with self.streams.enter(stream):
            self.stream = stream
            yield stream

    async def open_broker(self, *, credential: bool = True) -> BrokerSocket:
        """The broker's socket. `Refusal` or `HandshakeRefused`."""
        handshake = Handshake(
            self.target,
            self.headers,
            credential=credential,
            subprotocols=self.subprotocols,
            idle=self.row.idle or IDLE,
            beat=self.limits.beat,
            compress=self.limits.compression,
            most=self.limits.message_bytes,
        )
        trace, began = self.record.trace, perf_counter()
        if trace is not None:
            trace.sets_off()
        socket = await self.relay.open_socket(handshake, self.record.grant)
        if trace is not None:
            trace.answered(101, perf_counter() - began)
        self.record.generation = socket.pair.generation
        return socket

    async def accept(self, subprotocol: str | None = None) -> ClientSocket:
        """Answer 101, after one last look. `Refusal` if it has been ended meanwhile."""
        if self.stream is not None and self.stream.over is not None:
            code, reason = self.stream.over
            kind = _ENDED.get(code, "scope-denied")
            retry = 1 if kind == "draining" else None
            raise Refusal(kind, f"It was ended while it was opened: {reason}.", retry_after=retry, close=True)
        limits = self.limits
        if self.client is None:
            limits = replace(limits, message_bytes=min(limits.message_bytes, UNKNOWN_BYTES))
        socket = await ClientSocket.accept(self.request, limits=limits, record=self.record, subprotocol=subprotocol)
        # A stranger may vanish before it has said a word.
        self.record.status, self.record.outcome = 101, "unknown-client" if self.client is None else "broker"
        if self.stream is not None:
            self.stream.end, self.stream.traffic = socket.end, socket.traffic
        if self.client is not None:
            self.calls.begun(self.record)
        return socket

    def refused(self, refusal: Refusal) -> None:
        """The 101 was said already: the record tells what came of it."""
        self.record.outcome, self.record.rule = refusal.kind.name, refusal.rule or self.record.rule

    def missed(self) -> None:
        """It left, or said nothing, before anybody knew who it is."""
        self.record.outcome = "unknown-client"

    def began(self) -> None:
        """Record that the socket of one who was not known at its 101 is open."""
        self.record.outcome = "broker"
        self.calls.begun(self.record)


def _before(_code: int, _reason: str) -> None:
    """Nothing is open yet: `accept` looks."""
