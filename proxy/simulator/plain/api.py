"""The API of a plain broker: what every call passes before it is answered with its sample, in order."""

import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from aiohttp import web

from proxy.simulator.front import Front
from proxy.simulator.listener import Answer
from proxy.simulator.options import Options
from proxy.simulator.plain.credentials import presented
from proxy.simulator.plain.rates import RateLimit
from proxy.simulator.plain.setup import Call, Setup
from proxy.simulator.tokens import Standing

_KEPT = 100
_NOT_FOUND = Answer(404, b'{"error":"not found"}')
_WRONG_METHOD = Answer(405, b'{"error":"method not allowed"}')
_NAME = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Received:
    """One call as it arrived, credentials and all."""

    method: str
    target: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


class Api:
    """The handler of all paths but those of the login. `standing` judges a credential."""

    def __init__(self, setup: Setup, front: Front, standing: Callable[[str], Standing], options: Options) -> None:
        self._setup = setup
        self._options = options
        self._rate = RateLimit()
        self._front = front
        self._standing = standing
        self._calls = [(_segments(call.path), call) for call in setup.calls]
        self.seen: Counter[str] = Counter()  # by method and raw target without its query
        self.authorizations: Counter[str] = Counter()
        self.orders = 0
        self.received: deque[Received] = deque(maxlen=_KEPT)  # the newest last

    async def handle(self, request: web.BaseRequest, origin: str) -> web.StreamResponse:
        """One call that reached `origin`."""
        path, _, query = request.raw_path.partition("?")
        headers = tuple((name, value) for name, value in request.headers.items())
        body = await request.read() if request.can_read_body else b""
        self.received.append(Received(request.method, request.raw_path, headers, body))
        self.seen[f"{request.method} {path}"] += 1
        credential = presented(self._setup.placement, headers, query)
        worth = "none" if credential is None else self._standing(credential)
        self.authorizations[worth] += 1

        async def answer() -> Answer:
            if worth != Standing.CURRENT:
                return self._setup.refused
            if self._options.limit is None:
                return self._answer(request.method, path, origin)
            counted = self._rate.count(self._options.now(), *self._options.limit)
            if counted.over:
                return counted.refusal()
            found = self._answer(request.method, path, origin)
            return replace(found, headers={**found.headers, **counted.headers()})

        return await self._front.api(request, answer)

    def _answer(self, method: str, path: str, origin: str) -> Answer:
        segments = _segments(path)
        fitting = [(names, call) for template, call in self._calls if (names := _taken(template, segments)) is not None]
        found = next(((names, call) for names, call in fitting if call.method == method), None)
        if found is None:
            return _WRONG_METHOD if fitting else _NOT_FOUND
        names, call = found
        self.orders += call.order
        return _filled(call, {**names, "origin": origin, "order": str(self.orders)})


def _segments(path: str) -> tuple[str, ...]:
    return tuple(path[1:].split("/"))


def _taken(template: tuple[str, ...], segments: tuple[str, ...]) -> dict[str, str] | None:
    """What the names of the template stand for; None if it does not fit."""
    if len(template) != len(segments):
        return None
    names: dict[str, str] = {}
    for wanted, segment in zip(template, segments, strict=True):
        name = _NAME.fullmatch(wanted)
        if name and segment:
            names[name[1]] = segment
        elif wanted != segment:
            return None
    return names


def _filled(call: Call, names: Mapping[str, str]) -> Answer:
    headers = {
        key: _NAME.sub(lambda found: names.get(found[1], found[0]), value) for key, value in call.answer.headers.items()
    }
    return replace(call.answer, headers=headers)
