"""The API hosts: what every call passes before it is answered, in order."""

import ssl
from collections import Counter

from aiohttp import web

from proxy.simulator.faults import Faults
from proxy.simulator.front import broken_off, spoiled
from proxy.simulator.listener import JSON, Answer
from proxy.simulator.questrade.answers import (
    ERRORS,
    USER_AGENT_BLOCKED,
    Mistake,
    encoded,
    user_agent_blocked,
)
from proxy.simulator.questrade.calls import Call, Calls, shape
from proxy.simulator.questrade.faults import API, ORDER, REFUSALS
from proxy.simulator.questrade.grants import Grants
from proxy.simulator.questrade.options import Options
from proxy.simulator.questrade.orders import OrderBook
from proxy.simulator.questrade.ports import Session, StreamPorts
from proxy.simulator.questrade.rates import RateLimits
from proxy.simulator.streams import Streams
from proxy.simulator.tokens import Standing

_UNLIMITED: dict[str, str] = {}


class Api:
    """The handler of the API hosts. `home` is the number of the one where the API lives now."""

    def __init__(
        self,
        grants: Grants,
        book: OrderBook,
        faults: Faults,
        options: Options,
        *,
        streams: Streams,
        tls: ssl.SSLContext,
    ) -> None:
        self._grants = grants
        self._book = book
        self._faults = faults
        self._options = options
        self._rates = RateLimits()
        self.home = 0
        self.seen: Counter[str] = Counter()  # by method and raw target without its query
        self.authorizations: Counter[str] = Counter()
        self._called_at: dict[object, float] = {}  # whose session was last used when
        session = Session(self._judged, self._alive, grants.owner)
        self.ports = StreamPorts(streams, session, self.seen, home=lambda: self.home, tls=tls)
        self._calls = Calls(book, self.ports.port_for)
        book.told = self.ports.tell

    async def handle(self, host: int, request: web.BaseRequest) -> web.StreamResponse:
        """One request that reached the API host number `host`."""
        path, _, query = request.raw_path.partition("?")
        self.seen[f"{request.method} {path}"] += 1
        wrong = self._authorization(request.headers.get("Authorization"))
        fault = self._faults.take(API)
        if fault is not None:
            if fault in REFUSALS:
                return REFUSALS[fault].response()
            if fault == "api-429":
                return self._over_limit().response()
            if (broken := await broken_off(request, fault)) is not None:
                return broken
        if user_agent_blocked(request.headers.get("User-Agent")):
            return USER_AGENT_BLOCKED.response()
        if wrong is None and host != self.home:
            wrong = 1017
        answer = ERRORS[wrong] if wrong else await self._called(request, path, query)
        await self.ports.ready()
        return await spoiled(request, answer, fault, slow=self._options.slow)

    def _authorization(self, header: str | None) -> int | None:
        """Count what was presented; the code of the error, None if it is the current token."""
        if header is None:
            self.authorizations["none"] += 1
            return 1014
        scheme, _, token = header.partition(" ")
        if scheme != "Bearer" or not token or " " in token:
            self.authorizations[Standing.FOREIGN] += 1
            return 1015
        standing = self._grants.standing(token, self._options.now())
        self.authorizations[standing] += 1
        if standing is not Standing.CURRENT:
            return 1017
        self._called_at[self._grants.owner(token)] = self._options.now()
        return None

    def _judged(self, token: str | None) -> Standing:
        """What the first frame of a stream is worth; counted."""
        standing = Standing.FOREIGN if token is None else self._grants.standing(token, self._options.now())
        self.authorizations["none" if token is None else standing] += 1
        return standing

    def _alive(self, token: str) -> bool:
        now = self._options.now()
        used = self._called_at.get(self._grants.owner(token), now)
        return self._grants.standing(token, now) is Standing.CURRENT and now - used < self._options.session

    async def _called(self, request: web.BaseRequest, path: str, query: str) -> Answer:
        try:
            body = await request.read() if request.can_read_body else b""
        except web.HTTPRequestEntityTooLarge:
            return ERRORS[1005]
        try:
            return self._answer(request, path, query, body)
        except Mistake as mistake:
            return ERRORS[mistake.code]

    def _answer(self, request: web.BaseRequest, path: str, query: str, body: bytes) -> Answer:
        pattern, numbers = shape(path)
        methods = self._calls.routes.get(pattern)
        if methods is None:
            raise Mistake(1001)
        route = methods.get(request.method)
        if route is None:
            raise Mistake(1012)
        if not _takes_json(request.headers.get("Accept")):
            raise Mistake(1013)
        if route.scope not in self._options.scopes:
            raise Mistake(1016)
        headers = _UNLIMITED
        now = self._options.now()
        if route.rate is not None:
            self._rates.enforce, self._rates.limit = self._options.enforces, self._options.limit
            counted = self._rates.count(route.rate, now)
            headers = counted.headers()
            if counted.over:
                return Answer(429, ERRORS[1006].body, JSON, headers)
        if route.places_order and self._faults.take(ORDER):
            return Answer(200, self._order_rejected(numbers))
        try:
            return Answer(200, route.answer(Call(numbers, query, body, path, now)), JSON, headers)
        except Mistake as mistake:
            wrong = ERRORS[mistake.code]
            return Answer(wrong.status, wrong.body, JSON, headers)

    def _order_rejected(self, numbers: tuple[str, ...]) -> bytes:
        """An order error: it comes with 200, and names the order that it is about."""
        order_id = int(numbers[1]) if len(numbers) > 1 else self._book.next_id
        rejected = {"code": 3054, "message": "Order was rejected by the exchange", "orderId": order_id, "orders": []}
        return encoded(rejected)

    def _over_limit(self) -> Answer:
        headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(self._options.now()) + 1)}
        return Answer(429, ERRORS[1006].body, JSON, headers)


def _takes_json(accept: str | None) -> bool:
    return accept is None or any(kind in accept for kind in ("*/*", "application/json", "application/*"))
