"""Questrade's stream ports (https://www.questrade.com/api/documentation/streaming): one for each address asked for.

The path of a handshake there is ignored. The first frame is the bare access token, within five seconds; a second
connection for the same thing ends the first; and an open socket does not keep the session alive, only calls do.
"""

import socket
import ssl
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial

from aiohttp import web

from proxy.simulator import websocket
from proxy.simulator.listener import HOST, TEXT, Answer, Listener
from proxy.simulator.questrade import account, market
from proxy.simulator.questrade.answers import encoded, error_body
from proxy.simulator.streams import Shared, Stream, Streams
from proxy.simulator.tokens import Standing
from proxy.simulator.websocket import Message, Over, Socket, framed

NOTIFICATIONS, QUOTES = "notifications", "quotes"
_PATIENCE = 5.0
_NOT_FOUND = Answer(404, b"Not Found", TEXT)
_ACCEPTED = b'{"success":true}'
_REFUSED = encoded(error_body(1017))
Record = dict[str, object]


# What is asked for (a kind, the whole address, symbols) → its port.
PortFor = Callable[[str, str, Iterable[int]], int]


def closed_port(_kind: str, asked: str, _ids: Iterable[int] = ()) -> int:
    """A port on which nothing listens: the same for the same address."""
    return 20_000 + zlib.crc32(asked.encode()) % 20_000


@dataclass(frozen=True, slots=True)
class Session:
    """What a port asks of the broker.

    - `judge`: what a first frame is worth; it is counted, None as none;
    - `good`: whether the access token is so still, and calls have kept the session alive;
    - `owner`: whose token it is, to be compared.
    """

    judge: Callable[[str | None], Standing]
    good: Callable[[str], bool]
    owner: Callable[[str], object]


@dataclass(slots=True)
class _Port:
    """One port. `key` is what was asked for, `ids` what quotes are sent of."""

    kind: str
    ids: Sequence[int]
    home: int
    bound: socket.socket = field(repr=False)

    @property
    def number(self) -> int:
        number: int = self.bound.getsockname()[1]
        return number


class StreamPorts:
    """All stream ports of one simulated Questrade. `home` tells the number of the host where the API lives now."""

    def __init__(
        self,
        streams: Streams,
        session: Session,
        seen: Counter[str],
        *,
        home: Callable[[], int],
        tls: ssl.SSLContext | None,
    ) -> None:
        self.streams = streams
        self.session = session
        self.home = home
        self._seen = seen
        self._tls = tls
        self._ports: dict[tuple[object, ...], _Port] = {}
        self._new: list[_Port] = []
        self._open: dict[StreamSocket, None] = {}
        self._running = AsyncExitStack()

    def port_for(self, kind: str, asked: str, ids: Iterable[int] = ()) -> int:
        """The port for what was `asked`: the same for the same, and another for another. Listens after `ready`."""
        key = (self.home(), kind, asked)
        if key not in self._ports:
            bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            bound.bind((HOST, 0))
            self._ports[key] = _Port(kind, tuple(ids), self.home(), bound)
            self._new.append(self._ports[key])
        return self._ports[key].number

    async def ready(self) -> None:
        """Listen on the ports that have been asked for."""
        while self._new:
            port = self._new.pop()
            listener = Listener(partial(self._handle, port), tls=self._tls)
            self._running.push_async_callback(listener.stop)
            await listener.start_on(port.bound)

    async def stop(self) -> None:
        """Close every port and connection."""
        self._new.clear()
        await self._running.aclose()
        for port in self._ports.values():
            port.bound.close()
        self._ports.clear()

    def tell(self, orders: Sequence[Record], executions: Sequence[Record]) -> None:
        """Orders have changed."""
        more = {"executions": [*executions]} if executions else {}
        news = framed(encoded({"orders": [*orders], **more, "accountNumber": int(account.NUMBER)}), text=True)

        def heard(stream: Stream) -> bytes | None:
            return news if isinstance(stream, StreamSocket) and stream.kind == NOTIFICATIONS else None

        self.streams.tell(heard)

    def enter(self, newest: "StreamSocket") -> None:
        """A socket has said who it is: it ends the older ones for the same."""
        owner = self.session.owner(newest.presented)
        most = self.streams.flow.connections
        same = [each for each in self._open if each.kind == newest.kind and each.owner == owner]
        if most:
            for older in same[: max(0, len(same) + 1 - most)]:
                older.end(1000)
        newest.owner = owner
        self._open[newest] = None
        self.streams.join(newest)

    def leave(self, stream: "StreamSocket") -> None:
        """This socket is over."""
        self._open.pop(stream, None)

    async def _handle(self, port: _Port, request: web.BaseRequest) -> web.StreamResponse:
        self._seen[f"{request.method} {request.raw_path.partition('?')[0]}"] += 1
        if not websocket.wanted(request):
            return _NOT_FOUND.response()
        if (status := self.streams.refusal()) is not None:
            return Answer(status, b"", TEXT).response()
        return await StreamSocket(request, self, port.kind, port.ids, port.home).serve()


class StreamSocket(Socket):
    """One socket on a stream port."""

    def __init__(self, request: web.BaseRequest, ports: StreamPorts, kind: str, ids: Sequence[int], home: int) -> None:
        super().__init__(request, ports.streams)
        self.kind = kind
        self.owner: object = None
        self._ports = ports
        self._ids = ids
        self._home = home

    async def greet(self) -> None:
        """The token, and what it is worth."""
        session, patience = self._ports.session, self.streams.flow.patience
        try:
            first = await self.next(_PATIENCE if patience is None else patience)
        except (TimeoutError, Over):
            session.judge(None)
            raise Over(1000) from None
        token = first if isinstance(first, str) else ""
        current = session.judge(token) is Standing.CURRENT
        if not current or self._home != self._ports.home() or self.streams.auth_refused():
            await self.say(_REFUSED)
            raise Over(1000)
        self.presented = token
        self.good = lambda: session.good(token) and self._home == self._ports.home()
        await self.say(_ACCEPTED)
        self._ports.enter(self)

    async def hear(self, message: Message) -> None:
        """Whatever a client says later changes nothing; some say `{"success": true}` back."""

    def over(self) -> None:
        super().over()
        self._ports.leave(self)

    def due(self, beats: range, shared: Shared) -> bytes:
        """A frame of quotes a beat, each with the number of the beat as its `volume`."""
        if self.kind != QUOTES or not self._ids:
            return b""
        self.sent += len(beats) * len(self._ids)
        most = self.streams.flow.frame
        key = (self._ids, most)
        if key not in shared:
            parts = [self._ids[at : at + most] for at in range(0, len(self._ids), most)]
            shared[key] = b"".join(_quotes(part, beat) for beat in beats for part in parts)
        return shared[key]

    def expired(self) -> bytes:
        return self.framed(_REFUSED)


def _quotes(ids: Sequence[int], beat: int) -> bytes:
    """L1 quotes: the symbols' names are not among them."""
    quotes = [market.quote(market.find(number, market.QUOTABLE)) | {"volume": beat} for number in ids]
    for quote in quotes:
        del quote["symbol"]
    return framed(encoded({"quotes": quotes}), text=True)
