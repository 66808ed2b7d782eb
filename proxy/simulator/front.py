"""What stands before the endpoints of a simulated broker: the faults that all brokers share.

`(refused)`: the request was not processed, tokens and orders are as before. `(done)`: it was, and what fails is the
answer: the refresh token is spent, the order is kept.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from proxy.simulator import streams
from proxy.simulator.authorize import Parameters, form_of
from proxy.simulator.faults import Fault, Faults
from proxy.simulator.listener import HTML, TEXT, Answer, close, drip, hang, head_only, reset, truncate
from proxy.simulator.options import Options
from proxy.simulator.tokens import KINDS, Tokens

TOKEN, API, ORDER = "token", "api", "order"
Texts = Mapping[str, str]
Refusal = Answer | Callable[[], Answer]

# How a connection to an API can break, and how a gateway before it can; every simulated broker has these.
BROKEN = {
    "api-drop": "connection reset (refused)",
    "api-close": "connection closed (refused)",
    "api-early": "503 page before the body is read, then the end of the connection (refused)",
    "api-drop-before-answer": "connection reset instead of an answer (done)",
    "api-close-before-answer": "connection closed instead of an answer (done)",
    "api-close-after-head": "the head of the answer, then the end of the connection (done)",
    "api-hang-after": "never answers (done)",
    "api-drip": "the answer comes in pieces, which takes some seconds (done)",
    "api-gateway-502": "502 page of a gateway that has lost the answer (done)",
    "api-gateway-504": "504 page of a gateway that has lost the answer, with Retry-After: 1 (done)",
}
_TOKEN = {
    "token-invalid-grant": '400 {"error": "invalid_grant"} (refused)',
    "token-403": "403 page (refused)",
    "token-429": "429 with Retry-After: 1 (refused)",
    "token-500": "500 page (refused)",
    "token-503-html-maintenance": "503 page (refused)",
    "token-html-200": "200 with a page (refused)",
    "token-hang": "never answers (refused)",
    "token-drop-before": "connection reset (refused)",
    "token-slow": "answers after some seconds (done)",
    "token-drop-after": "connection reset instead of an answer (done)",
    "token-empty-200": "200 without a body (done)",
    "token-truncated": "the answer ends within the newest token (done)",
    "token-truncated-late": "the answer ends after the newest token (done)",
    "token-junk-expires": '"expires_in": "soon" (done)',
    "token-no-refresh": "no refresh_token in the answer (done)",
    "token-foreign-api-server": "api_server is a host that is not the broker's (done)",
}
_API = {
    "api-500": "500 page (refused)",
    "api-hang": "never answers (refused)",
    **BROKEN,
    "api-slow": "answers after some seconds (done)",
    "api-truncated": "half of the answer, then the end of the connection (done)",
}
_BOTH = {"maintenance": "503 page (refused)"}

_ERROR_PAGE = Answer(500, b"<html><body><h1>Internal Server Error</h1></body></html>", HTML)
_MAINTENANCE = Answer(503, b"<html><body><h1>Down for maintenance</h1></body></html>", HTML)

_PIECES = 4
GATEWAY: Mapping[str, Answer] = {
    "api-gateway-502": Answer(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>", HTML),
    "api-gateway-504": Answer(504, b"<html><body><h1>504 Time-out</h1></body></html>", HTML, {"Retry-After": "1"}),
}

FOREIGN_API_SERVER = "https://api.broker.evil.example/"

REFUSALS: Mapping[str, Answer] = {
    "token-invalid-grant": Answer(400, b'{"error":"invalid_grant"}'),
    "token-403": Answer(403, b"<html><body><h1>403 Forbidden</h1></body></html>", HTML),
    "token-429": Answer(429, b"Too Many Requests", TEXT, {"Retry-After": "1"}),
    "token-500": _ERROR_PAGE,
    "token-503-html-maintenance": _MAINTENANCE,
    "token-html-200": Answer(200, _MAINTENANCE.body, HTML),
    "api-500": _ERROR_PAGE,
    "maintenance": _MAINTENANCE,
}


def catalogue(
    *, token: Texts | None = None, api: Texts | None = None, order: Texts | None = None, streaming: bool = False
) -> Faults:
    """The shared faults and a broker's own, by what they hit; none armed. A broker's text replaces the shared one.

    `streaming`: those of streams too.
    """
    groups = (
        (_TOKEN | dict(token or {}), {TOKEN}, "token endpoint"),
        (_API | dict(api or {}), {API}, "any API call"),
        (_BOTH, {TOKEN, API}, "token endpoint and any API call"),
        (dict(order or {}), {ORDER}, "calls that place, change or cancel orders"),
    )
    own = [
        Fault(name, frozenset(places), f"{where}: {what}")
        for texts, places, where in groups
        for name, what in texts.items()
    ]
    return Faults([*own, *(streams.FAULTS if streaming else ())])


class Front:
    """Passes requests on to a broker, unless a fault is armed.

    `refusals`: a broker's own, by the fault's name; one that depends on the time is a function.
    """

    def __init__(self, faults: Faults, options: Options, refusals: Mapping[str, Refusal] | None = None) -> None:
        self._faults = faults
        self._options = options
        self._refusals: dict[str, Refusal] = {**REFUSALS, **(refusals or {})}
        self.token_posts = 0  # requests to the token endpoint, whatever became of them

    async def token(
        self, request: web.BaseRequest, redeem: Callable[[Parameters], Mapping[str, object] | Answer]
    ) -> web.StreamResponse:
        """One request to a token endpoint. `redeem` makes the form into the fields of a token answer, or an error."""
        self.token_posts += 1
        fault = self._faults.take(TOKEN)
        if fault is not None and fault in self._refusals:
            return self._refusal(fault).response()
        if fault == "token-hang":
            await hang()
        if fault == "token-drop-before":
            return reset(request)
        # Redeeming awaits nothing: to a client that leaves, the token is spent or untouched.
        fields = redeem(await form_of(request))
        delay = self._options.token_latency + (self._options.slow if fault == "token-slow" else 0)
        if delay:
            await asyncio.sleep(delay)
        if fault == "token-drop-after":
            return reset(request)
        if isinstance(fields, Answer):
            return fields.response()
        return await _granted(request, dict(fields), fault)

    def state(
        self, tokens: Tokens, *, api_server: str, calls: Mapping[str, int], authorizations: Counter[str], orders: int
    ) -> dict[str, object]:
        """What `GET /state` answers for a broker whose tokens are all in one place."""
        return {
            "token_posts": self.token_posts,
            "rotations": tokens.rotations,
            "reused_refresh_tokens": tokens.reused,
            "generation": tokens.generation,
            "api_server": api_server,
            "calls": dict(calls),
            "authorizations": {kind: authorizations[kind] for kind in KINDS},
            "orders": orders,
        }

    def order_fault(self) -> str | None:
        """The fault that a call which places, changes or cancels an order suffers, if any; it is used up by one."""
        return self._faults.take(ORDER)

    async def handshake(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """The handshake of a socket, already counted: what a fault answers in its place."""
        return await handshake(request, self._faults.take(API), self._refusals, slow=self._options.slow)

    def _refusal(self, fault: str) -> Answer:
        found = self._refusals[fault]
        return found if isinstance(found, Answer) else found()

    async def api(self, request: web.BaseRequest, answer: Callable[[], Awaitable[Answer]]) -> web.StreamResponse:
        """One API call, already counted. `answer` carries it out."""
        fault = self._faults.take(API)
        if fault is not None and fault in self._refusals:
            return self._refusal(fault).response()
        if (broken := await broken_off(request, fault)) is not None:
            return broken
        return await spoiled(request, await answer(), fault, slow=self._options.slow)


async def handshake(
    request: web.BaseRequest, fault: str | None, refusals: Mapping[str, Refusal], *, slow: float
) -> web.StreamResponse | None:
    """What becomes of a stream's handshake by an API fault; None: it goes on. There is no answer to be spoiled, so that
    faults of that kind reset the connection."""
    if fault is None:
        return None
    if fault in refusals:
        found = refusals[fault]
        return (found if isinstance(found, Answer) else found()).response()
    if (broken := await broken_off(request, fault)) is not None:
        return broken
    if fault == "api-slow":
        await asyncio.sleep(slow)
        return None
    return reset(request)


async def broken_off(request: web.BaseRequest, fault: str | None) -> web.StreamResponse | None:
    """How an API's connection ends by a fault of those that keep a call from being carried out, if it is one."""
    match fault:
        case "api-hang":
            await hang()
        case "api-drop":
            return reset(request)
        case "api-close":
            return close(request)
        case "api-early":
            return await truncate(request, _MAINTENANCE, len(_MAINTENANCE.body))
        case _:
            pass
    return None


async def spoiled(request: web.BaseRequest, answer: Answer, fault: str | None, *, slow: float) -> web.StreamResponse:
    """An API's answer, after a fault of those that let the call be carried out. `slow`: seconds that api-slow takes."""
    match fault:
        case "api-slow":
            await asyncio.sleep(slow)
        case "api-drop-before-answer":
            return reset(request)
        case "api-close-before-answer":
            return close(request)
        case "api-close-after-head":
            return head_only(request, answer)
        case "api-hang-after":
            await hang()
        case "api-drip":
            return await drip(request, answer, _PIECES, slow / _PIECES)
        case "api-gateway-502" | "api-gateway-504":
            return GATEWAY[fault].response()
        case "api-truncated":
            return await truncate(request, answer, len(answer.body) // 2)
        case _:
            pass
    return answer.response()


async def _granted(request: web.BaseRequest, fields: dict[str, object], fault: str | None) -> web.StreamResponse:
    """A good token answer, spoiled if there is a fault for it."""
    if fault == "token-empty-200":
        return Answer(200, b"").response()
    if fault == "token-junk-expires":
        fields["expires_in"] = "soon"
    if fault == "token-no-refresh":
        fields.pop("refresh_token", None)
    if fault == "token-foreign-api-server":
        fields["api_server"] = FOREIGN_API_SERVER
    answer = Answer(200, json.dumps(fields).encode(), headers={"Cache-Control": "no-store"})
    if fault in ("token-truncated", "token-truncated-late"):
        newest = str(fields.get("refresh_token") or fields["access_token"]).encode()
        length = len(newest) // 2 if fault == "token-truncated" else len(newest) + 2
        return await truncate(request, answer, answer.body.index(newest) + length)
    return answer.response()
