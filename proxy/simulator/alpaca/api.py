"""What every call to a host passes before it is answered, in order: counted, judged, found, counted again, answered."""

import uuid
from collections import Counter
from collections.abc import Callable, Mapping

from aiohttp import web

from proxy.simulator import websocket
from proxy.simulator.alpaca import answers
from proxy.simulator.alpaca.account import Account
from proxy.simulator.alpaca.answers import Refused, Reply, encoded
from proxy.simulator.alpaca.credentials import Credentials, Host, Verdict
from proxy.simulator.alpaca.events import STREAM, Events
from proxy.simulator.alpaca.eventstream import EventStream
from proxy.simulator.alpaca.faults import ORDER_REFUSALS
from proxy.simulator.alpaca.options import Options
from proxy.simulator.alpaca.rates import MINUTE, RateLimit
from proxy.simulator.alpaca.routes import DENIED, Call, Route, Routes
from proxy.simulator.alpaca.sockets import Sockets, presented
from proxy.simulator.front import Front
from proxy.simulator.listener import JSON, Answer
from proxy.simulator.tokens import KINDS

_TOO_LONG = Refused(41310000, "request entity too large").answer()
_Stream = tuple[Events, list[bytes]]  # and what it begins with
_Found = tuple[Route, dict[str, str]] | None


class Api:
    """The handler of one host.

    `account_of` tells whose account the captures of a path and the person of a credential are about, or refuses.
    """

    def __init__(
        self,
        host: Host,
        routes: Routes,
        *,
        account_of: Callable[[Mapping[str, str], str | None], Account],
        credentials: Credentials,
        front: Front,
        options: Options,
        sockets: Sockets,
    ) -> None:
        self._sockets = sockets
        self._host = host
        self._routes = routes
        self._account_of = account_of
        self._credentials = credentials
        self._front = front
        self._options = options
        self._rate = RateLimit()
        self.seen: Counter[str] = Counter()  # by method and raw target without its query
        self.authorizations: Counter[str] = Counter()
        self.several = 0  # calls that brought more than one credential
        self.denied = 0  # calls that no documented scope covers

    def state(self) -> dict[str, object]:
        """What arrived here."""
        return {
            "calls": dict(self.seen),
            "authorizations": {kind: self.authorizations[kind] for kind in KINDS},
            "several_credentials": self.several,
            "denied": self.denied,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, counted whatever becomes of it."""
        path, _, query = request.raw_path.partition("?")
        self.seen[f"{request.method} {path}"] += 1
        verdict = self._credentials.judge(self._host, request.headers, self._options.now())
        self.several += verdict.several
        if websocket.wanted(request) and self._sockets.has(self._host, path):
            return await self._opened(request, verdict)
        self.authorizations[verdict.kind] += 1
        found = self._routes.find(request.method, path)
        self.denied += found is not None and found[0].scope == DENIED
        streams: list[_Stream] = []

        async def answer() -> Answer:
            wrong = self._refused(verdict, found)
            if wrong is not None or found is None:
                return wrong or answers.NO_SUCH_PATH
            return await self._answered(request, found, query, streams, verdict)

        response = await self._front.api(request, answer)
        # A fault may have put something else in the place of the stream, or have sent a part of it.
        if streams and not response.prepared and response.headers.get("Content-Type") == STREAM:
            return await self._streamed(request, *streams[0])
        return response

    async def _opened(self, request: web.BaseRequest, verdict: Verdict) -> web.StreamResponse:
        """A socket. One whose handshake brings no credential says in its first frame who it is, and is counted then."""
        sockets, scope = self._sockets, self._sockets.scope(self._host)
        if verdict.kind != "none":
            self.authorizations[verdict.kind] += 1
        if (spoilt := await self._front.handshake(request)) is not None:
            return spoilt
        if (status := sockets.streams.refusal()) is not None:
            return Answer(status, b'{"message":"the stream was refused"}').response()
        if verdict.good and verdict.scopes is not None and scope not in verdict.scopes:
            return answers.NOT_IN_SCOPE.response()
        if verdict.kind not in ("none", "current") and sockets.streams.flow.refuses == "handshake":
            return answers.NOT_AUTHORIZED.response()
        return await sockets.serve(request, self._host, verdict, self._judged, self._account_id)

    def _account_id(self, verdict: Verdict) -> str:
        """The account that a socket on a trading host is about."""
        return self._account_of({}, verdict.person).id

    def _judged(self, key: str, secret: str) -> Verdict:
        """What the credential in a socket's first frame is worth; counted."""
        verdict = self._credentials.judge_frame(self._host, key, secret, self._options.now())
        self.authorizations[verdict.kind] += 1
        scope = self._sockets.scope(self._host)
        lacking = verdict.good and verdict.scopes is not None and scope not in verdict.scopes
        return Verdict("foreign") if lacking else verdict

    def _refused(self, verdict: Verdict, found: _Found) -> Answer | None:
        """The answer to a credential that is not good for this call."""
        if verdict.kind == "none":
            return None if found is not None and found[0].public else answers.GATEWAY_UNAUTHORIZED
        if not verdict.good:
            return answers.NOT_AUTHORIZED
        # What a Connect token may do of the calls without a scope is not known: here all, and they are counted.
        scopes = verdict.scopes
        if found is not None and scopes is not None and found[0].scope not in scopes | {DENIED}:
            return answers.NOT_IN_SCOPE
        return None

    async def _answered(
        self,
        request: web.BaseRequest,
        found: tuple[Route, dict[str, str]],
        query: str,
        streams: list[_Stream],
        verdict: Verdict,
    ) -> Answer:
        route, captures = found
        now, enforce = self._options.now(), self._options.enforces
        limit, length = self._options.limit or (self._options.requests_per_minute, MINUTE)
        counted = self._rate.count(now, limit, enforce=enforce, length=length)
        headers = {**counted.headers(), "X-Request-ID": uuid.uuid4().hex}
        if counted.over:
            wait = {"Retry-After": str(max(1, counted.reset - int(now)))}
            return Answer(429, answers.TOO_MANY_REQUESTS.body, JSON, headers | wait)
        try:
            body = await request.read() if request.can_read_body else b""
        except web.HTTPRequestEntityTooLarge:
            return _TOO_LONG
        fault = self._front.order_fault() if route.orders else None
        if fault is not None:
            return ORDER_REFUSALS[fault]
        try:
            account = self._account_of(captures, verdict.person)
            sent = {name.lower(): value for name, value in request.headers.items()}
            document = route.answer(Call(request.method, captures, query, body, now, account, sent))
        except Refused as refused:
            wrong = refused.answer()
            return Answer(wrong.status, wrong.body, JSON, headers)
        if isinstance(document, Events):
            if (status := self._sockets.streams.refusal()) is not None:
                return Answer(status, b'{"message":"the stream was refused"}', JSON, headers)
            past = document.begin(self._sockets.streams.beat)
            streams.append((document, past))
            return Answer(200, b"".join(past), STREAM, headers)
        return _written(document, headers)

    async def _streamed(self, request: web.BaseRequest, events: Events, past: list[bytes]) -> web.StreamResponse:
        stream = EventStream(request, self._sockets.streams, events, self._options.now)
        stream.presented = presented(request)
        stream.good = lambda: self._credentials.still_good(stream.presented, self._options.now())
        return await stream.answer(past, hold=self._options.hold_events)


def _written(document: object, headers: Mapping[str, str]) -> Answer:
    reply = document if isinstance(document, Reply) else Reply(document)
    more = {name: value for name, value in reply.headers.items() if name != "Content-Type"}
    content_type = reply.headers.get("Content-Type", JSON)
    if reply.document is None:
        body = b""
    else:
        body = reply.document if isinstance(reply.document, bytes) else encoded(reply.document)
    return Answer(reply.status, body, content_type, {**headers, **more})
