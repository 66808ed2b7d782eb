"""Tradier's streams: HTTP on one host, sockets on another (https://docs.tradier.com/reference/{http-streaming,streaming}).

A session's id opens them, no token; one that comes along all the same must be good. A market stream ends when its
user begins another market session, and after 15 minutes in which there was nothing to say.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

from aiohttp import web

from proxy.simulator import websocket
from proxy.simulator.authorize import form_of
from proxy.simulator.chunked import Chunked
from proxy.simulator.front import Front
from proxy.simulator.listener import JSON, TEXT, Answer
from proxy.simulator.streams import Shared, Stream, Streams
from proxy.simulator.tokens import Standing
from proxy.simulator.tradier import account, answers
from proxy.simulator.tradier.sessions import ACCOUNTS, MARKETS, Session, Sessions
from proxy.simulator.tradier.ticks import Asked, asked, encoded
from proxy.simulator.websocket import Message, Over, Socket, framed

PATHS: Mapping[str, str] = {f"/v1/{kind}/events": kind for kind in (MARKETS, ACCOUNTS)}
QUIET = 900.0  # seconds without a message after which a market stream ends
_PATIENCE = 30.0  # how long a socket may say nothing; not documented
_NO_SESSION = encoded({"error": "Session not found"})  # its real text is not known
_NOT_FOUND = Answer(404, b"Not Found", TEXT)
Record = dict[str, object]


class Streaming:
    """Both hosts of streams. `judge`: what an `Authorization` header is worth, counted."""

    def __init__(
        self,
        streams: Streams,
        sessions: Sessions,
        front: Front,
        judge: Callable[[str, str], Standing],
        *,
        now: Callable[[], float],
    ) -> None:
        self.streams = streams
        self.sessions = sessions
        self.now = now
        self._front = front
        self._judge = judge
        self.seen: Counter[str] = Counter()
        self.authorizations: Counter[str] = Counter()

    async def http(self, request: web.BaseRequest) -> web.StreamResponse:
        """The host of the HTTP stream: GET with a query, or POST with a form."""
        path, _, query = request.raw_path.partition("?")
        fields = dict(parse_qsl(query)) | dict(await form_of(request))
        session, refusal = await self._opened(request, fields.get("sessionid"))
        if refusal is not None:
            return refusal
        if path not in PATHS or PATHS[path] != MARKETS or request.method not in ("GET", "POST"):
            return _NOT_FOUND.response()
        if session is None or self.streams.auth_refused():
            return Answer(401, _NO_SESSION, JSON).response()
        wanted, wrong = asked(fields)
        return await MarketStream(request, self, session, wanted).answer(wrong)

    async def socket(self, request: web.BaseRequest) -> web.StreamResponse:
        """The host of the sockets: the session's id comes in the first frame."""
        path = request.raw_path.partition("?")[0]
        self.seen[f"{request.method} {path}"] += 1
        if not websocket.wanted(request) or path not in PATHS:
            return _NOT_FOUND.response()
        spoilt = await self._front.handshake(request) or self._refusal()
        return spoilt or await EventSocket(request, self, PATHS[path]).serve()

    def tell(self, event: Record) -> None:
        """Something has happened to an order."""
        news = framed(encoded(event), text=True)
        self.streams.tell(lambda stream: news if _hears(stream) else None)

    def found(self, kind: str, name: object) -> Session | None:
        """The session of this id, if a stream may be opened by it; what the id is worth is counted."""
        session, standing = self.sessions.find(kind, name)
        self.authorizations[standing if name else "none"] += 1
        return session

    async def _opened(
        self, request: web.BaseRequest, name: str | None
    ) -> tuple[Session | None, web.StreamResponse | None]:
        """Count a request, and judge what it presents; the answer in the stream's place, if there is one."""
        self.seen[f"{request.method} {request.raw_path.partition('?')[0]}"] += 1
        header = request.headers.get("Authorization")
        session, standing = self.sessions.find(MARKETS, name)
        if header is not None:
            scheme, _, token = header.partition(" ")
            if self._judge(scheme, token) is not Standing.CURRENT:
                return None, answers.INVALID_TOKEN.response()
        else:
            self.authorizations[standing if name else "none"] += 1
        return session, await self._front.handshake(request) or self._refusal()

    def _refusal(self) -> web.StreamResponse | None:
        status = self.streams.refusal()
        return None if status is None else Answer(status, b"", TEXT).response()


def _hears(stream: Stream) -> bool:
    return isinstance(stream, EventSocket) and stream.kind == ACCOUNTS


class _Quiet:
    """When there was something to say last. Times are Unix seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._last = now()

    def spoke(self) -> None:
        self._last = self._now()

    @property
    def long(self) -> bool:
        return self._now() - self._last >= QUIET


class MarketStream(Chunked):
    """The HTTP stream: JSON objects, one after the other."""

    def __init__(self, request: web.BaseRequest, streaming: Streaming, session: Session, wanted: Asked) -> None:
        super().__init__(request, streaming.streams, JSON)
        self._streaming = streaming
        self._wanted = wanted
        self._quiet_for = _Quiet(streaming.now)
        self._session = session
        self.presented = session.id

    async def answer(self, wrong: list[str]) -> web.StreamResponse:
        """The whole stream, which begins with a complaint about symbols that are none."""
        end = b"\n" if self._wanted.lines else b""
        return await self.serve(b"".join(self.framed(_invalid(symbol) + end) for symbol in wrong))

    def due(self, beats: range, shared: Shared) -> bytes:
        if self._session.over:
            self.end()
            return b""
        if self._wanted not in shared:
            messages = self._wanted.messages(beats, self._streaming.now())
            shared[self._wanted] = b"".join(map(self.framed, messages))
        if shared[self._wanted]:
            self._quiet_for.spoke()
        self.sent += len(beats) * len(self._wanted.symbols) * len(self._wanted.kinds)
        return shared[self._wanted]

    def signs(self) -> bytes:
        """Nothing: it has no heartbeat, and ends when it has been quiet for too long."""
        if self._quiet_for.long or self._session.over:
            self.end()
        return b""


class EventSocket(Socket):
    """A socket of the market or of the account."""

    def __init__(self, request: web.BaseRequest, streaming: Streaming, kind: str) -> None:
        super().__init__(request, streaming.streams)
        self.kind = kind
        self._streaming = streaming
        self._session: Session | None = None
        self._wanted = Asked()
        self._quiet_for = _Quiet(streaming.now)

    async def greet(self) -> None:
        """The session's id, and what is wanted."""
        patience = self.streams.flow.patience
        try:
            fields = _read(await self.next(_PATIENCE if patience is None else patience))
        except (TimeoutError, Over):
            self._streaming.found(self.kind, None)
            raise Over(1000) from None
        name = fields.get("sessionid")
        session = self._streaming.found(self.kind, name)
        if session is None or self.streams.auth_refused():
            await self.say(_NO_SESSION)
            raise Over(1000)
        self._session, self.presented = session, session.id
        await self._follow(fields)
        self.streams.join(self)

    async def hear(self, message: Message) -> None:
        """A frame of the same form takes the place of the one before."""
        fields = _read(message)
        if self._session is None or fields.get("sessionid") != self._session.id:
            await self.say(_NO_SESSION)
            return
        await self._follow(fields)

    async def _follow(self, fields: Mapping[str, object]) -> None:
        if self.kind == MARKETS:
            self._wanted, wrong = asked(fields)
            for symbol in wrong:
                await self.say(_invalid(symbol))

    def due(self, beats: range, shared: Shared) -> bytes:
        if self.kind == ACCOUNTS:
            return b""
        if self._session is not None and self._session.over:
            self.end(1000)
            return b""
        key = ("socket", self._wanted)
        if key not in shared:
            messages = self._wanted.messages(beats, self._streaming.now())
            shared[key] = b"".join(framed(message, text=True) for message in messages)
        if shared[key]:
            self._quiet_for.spoke()
        self.sent += len(beats) * len(self._wanted.symbols) * len(self._wanted.kinds)
        return shared[key]

    def signs(self) -> bytes:
        """Of an account's socket a heartbeat; one of the market has none, and ends when it has been quiet too long."""
        if self.kind == ACCOUNTS:
            moment = int(self._streaming.now() * 1000)
            return self.framed(encoded({"event": "heartbeat", "status": "active", "timestamp": moment}))
        if self._quiet_for.long or (self._session is not None and self._session.over):
            self.end(1000)
        return b""


def order_event(order: Record) -> Record:
    """What an account's stream says of an order."""
    return {
        "id": order["id"],
        "event": "order",
        "status": order["status"],
        "type": order["type"],
        "price": order.get("price", 0.0),
        "stop_price": order.get("stop_price", 0.0),
        "avg_fill_price": order["avg_fill_price"],
        "executed_quantity": order["exec_quantity"],
        "last_fill_quantity": order["last_fill_quantity"],
        "remaining_quantity": order["remaining_quantity"],
        "transaction_date": order["transaction_date"],
        "create_date": order["create_date"],
        "account": account.NUMBER,
    }


def _invalid(symbol: str) -> bytes:
    return encoded({"error": f"{symbol} is not a valid symbol"})


def _read(message: Message) -> Mapping[str, object]:
    """The object in a text frame; an empty one if there is none."""
    try:
        found = json.loads(message) if isinstance(message, str) else None
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}
