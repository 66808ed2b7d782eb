"""The API: what every call passes before it is answered, in order."""

from collections import Counter
from collections.abc import Callable

from aiohttp import web

from proxy.simulator.authorize import same
from proxy.simulator.front import Front
from proxy.simulator.listener import Answer
from proxy.simulator.tokens import Standing, Tokens
from proxy.simulator.tradier import answers
from proxy.simulator.tradier.answers import Mistake, Rejected, rendered
from proxy.simulator.tradier.calls import Call, Calls
from proxy.simulator.tradier.faults import REJECTED
from proxy.simulator.tradier.options import SCOPES, Options
from proxy.simulator.tradier.rates import RateLimits


class Api:
    """The handler of every path of the REST host but the OAuth ones."""

    def __init__(self, tokens: Tokens, calls: Calls, front: Front, rates: RateLimits, options: Options) -> None:
        self._tokens = tokens
        self._calls = calls
        self._front = front
        self._options = options
        self._rates = rates
        self.personal_token = ""
        self.seen: Counter[str] = Counter()  # by method and raw target without its query
        self.authorizations: Counter[str] = Counter()

    async def handle(self, request: web.BaseRequest, path: str, query: str) -> web.StreamResponse:
        """One request, counted whatever becomes of it."""
        self.seen[f"{request.method} {path}"] += 1
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        wrong = self._judged(scheme, token)
        return await self._front.api(request, lambda: self._answer(request, path, query, token, wrong))

    def _judged(self, scheme: str, token: str) -> Answer | None:
        """Count what was presented; the fault that it gets, None if it is a good token."""
        if not scheme:
            self.authorizations["none"] += 1
            return answers.INVALID_TOKEN  # what no token gets is not known
        standing = self.standing(scheme, token)
        if standing is Standing.CURRENT:
            return None
        return answers.EXPIRED_TOKEN if standing is Standing.STALE else answers.INVALID_TOKEN

    def standing(self, scheme: str, token: str) -> Standing:
        """What a credential is worth; counted."""
        if scheme.lower() != "bearer":
            standing = Standing.FOREIGN
        elif same(token, self.personal_token):
            standing = Standing.CURRENT
        else:
            standing = self._tokens.standing(token, self._options.now())
        self.authorizations[standing] += 1
        return standing

    async def _answer(
        self, request: web.BaseRequest, path: str, query: str, token: str, wrong: Answer | None
    ) -> Answer:
        if wrong is not None:
            return wrong
        if request.method in ("POST", "PUT") and not {"Content-Length", "Transfer-Encoding"} & set(request.headers):
            return answers.LENGTH_REQUIRED
        body = await request.read() if request.can_read_body else b""
        found = self._calls.find(path)
        if found is None:
            return answers.UNKNOWN_PATH
        methods, parts = found
        route = methods.get(request.method)
        if route is None:
            return answers.WRONG_METHOD
        if route.scope not in self._scopes(token):
            return answers.SCOPE_MISSING
        now = self._options.now()
        self._rates.enforce, self._rates.limit = self._options.enforces, self._options.limit
        counted = self._rates.count(token, route.bucket, now)
        if counted.over:
            return counted.refusal()
        if route.places_order and self._front.order_fault():
            answer = rendered(Rejected(REJECTED).document, request.headers.get("Accept"))
        else:
            answer = _carried_out(route.answer, Call(parts, query, body, now), request.headers.get("Accept"))
        return Answer(answer.status, answer.body, answer.content_type, counted.headers())

    def _scopes(self, token: str) -> tuple[str, ...]:
        """A personal token has no scopes: it is good for everything (documented)."""
        issued = self._tokens.holder(token, self._options.now())
        return SCOPES if issued is None else issued.scopes


def _carried_out(answer: Callable[[Call], object], call: Call, accept: str | None) -> Answer:
    try:
        return rendered(answer(call), accept)
    except Mistake as mistake:
        return mistake.answer
    except Rejected as rejected:
        return rendered(rejected.document, accept)
