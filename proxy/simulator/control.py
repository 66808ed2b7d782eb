"""The control listener: plain HTTP on loopback, by which a person or a test drives the simulators.

`GET /state`, `GET /faults`; `POST /expire`, `/move-api-server`, `/steal` with `{"broker": name}`; `POST /faults` with
`{"broker": name, "fault": name, "times": 1}`; `POST /limits` with `{"broker": name, "calls": 5, "seconds": 10}`, which
are from then on the limit of each of the broker's rate categories; `"calls": 0` lifts it. A POST answers the broker's
new state, `POST /faults` what is armed now, `POST /limits` what it was sent. `POST /stream` with `{"broker": name}` and
knobs of `flow.Flow` (`"rate": 10`, messages a second for each thing that is subscribed to, …) turns them and answers
all of them, with what is open; `GET /stream` answers that for every broker. A mistake, or a command that makes no
sense for the broker, is a 400 (404 and 405 for path and method) with `{"error": one sentence}`, and nothing was done.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from http import HTTPStatus

from aiohttp import web

from proxy.simulator import NotSupported, Simulator
from proxy.simulator.faults import UnknownFault
from proxy.simulator.flow import Flow, WrongKnob
from proxy.simulator.listener import Answer, Listener

_COMMANDS = frozenset({"/expire", "/move-api-server", "/steal", "/faults", "/limits", "/stream"})
_ARGUMENTS = {
    "/faults": {"broker", "fault", "times"},
    "/limits": {"broker", "calls", "seconds"},
    "/stream": {"broker", *(field.name for field in fields(Flow))},
}
_DAY = 86_400.0
_READS = frozenset({"/state", "/faults", "/stream"})


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Control:
    """One control listener for all simulators."""

    def __init__(self, simulators: Mapping[str, Simulator]) -> None:
        self._simulators = simulators
        self._listener = Listener(self._handle)

    @property
    def url(self) -> str:
        return self._listener.url

    async def start(self, port: int) -> None:
        await self._listener.start(port)

    async def stop(self) -> None:
        await self._listener.stop()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return _json(HTTPStatus.OK, self._answer(request.method, request.raw_path, await request.read()))
        except _Refused as refused:
            return _json(refused.status, {"error": refused.sentence})

    def _answer(self, method: str, target: str, body: bytes) -> dict[str, object]:
        path = target.partition("?")[0]
        if method == "GET" and path in _READS:
            return self._read(path)
        if method == "POST" and path in _COMMANDS:
            return self._command(path, _arguments(body, path))
        if path in _COMMANDS | _READS:
            raise _Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} does not take this method")
        raise _Refused(HTTPStatus.NOT_FOUND, f"paths: {', '.join(sorted(_COMMANDS | _READS))}")

    def _read(self, path: str) -> dict[str, object]:
        if path == "/state":
            return {name: simulator.state() for name, simulator in self._simulators.items()}
        if path == "/stream":
            found = ((name, simulator.streams) for name, simulator in self._simulators.items())
            return {name: streams.state() for name, streams in found if streams is not None}
        return {name: simulator.faults.catalogue() for name, simulator in self._simulators.items()}

    def _command(self, path: str, arguments: dict[str, object]) -> dict[str, object]:
        name = arguments.get("broker")
        simulator = self._simulators.get(name) if isinstance(name, str) else None
        if simulator is None:
            raise _Refused(HTTPStatus.BAD_REQUEST, f"broker must be one of: {', '.join(self._simulators)}")
        if path == "/faults":
            return {simulator.name: _arm(simulator, arguments)}
        if path == "/limits":
            return {simulator.name: _limit(simulator, arguments)}
        if path == "/stream":
            return {simulator.name: _turn(simulator, arguments)}
        commands = {
            "/expire": simulator.expire,
            "/move-api-server": simulator.move_api_server,
            "/steal": simulator.steal,
        }
        try:
            commands[path]()
        except NotSupported as reason:
            raise _Refused(HTTPStatus.BAD_REQUEST, str(reason)) from None
        return {simulator.name: simulator.state()}


def _arm(simulator: Simulator, arguments: dict[str, object]) -> dict[str, int]:
    fault, times = arguments.get("fault"), arguments.get("times", 1)
    if not isinstance(fault, str) or not isinstance(times, int):
        raise _Refused(HTTPStatus.BAD_REQUEST, "fault must be a name, times a whole number")
    try:
        simulator.faults.add(fault, times)
    except UnknownFault as unknown:
        raise _Refused(HTTPStatus.BAD_REQUEST, str(unknown)) from None
    return simulator.faults.armed()


def _limit(simulator: Simulator, arguments: dict[str, object]) -> dict[str, object]:
    calls, seconds = arguments.get("calls"), arguments.get("seconds", 60)
    if not isinstance(calls, int) or isinstance(calls, bool) or not isinstance(seconds, int | float):
        raise _Refused(HTTPStatus.BAD_REQUEST, "calls must be a whole number, seconds a number")
    if calls < 0 or not 0 < seconds <= _DAY:
        raise _Refused(HTTPStatus.BAD_REQUEST, "calls must be 0 or more, seconds above 0 and at most a day")
    simulator.options.limit = (calls, seconds) if calls else None
    return {"calls": calls, "seconds": seconds}


def _turn(simulator: Simulator, arguments: dict[str, object]) -> dict[str, object]:
    if simulator.streams is None:
        raise _Refused(HTTPStatus.BAD_REQUEST, f"{simulator.name} has no streams")
    try:
        simulator.streams.turn({name: value for name, value in arguments.items() if name != "broker"})
    except WrongKnob as wrong:
        raise _Refused(HTTPStatus.BAD_REQUEST, str(wrong)) from None
    return simulator.streams.state()


def _arguments(body: bytes, path: str) -> dict[str, object]:
    known = _ARGUMENTS.get(path, {"broker"})
    try:
        arguments = json.loads(body)
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict) or not arguments.keys() <= known:
        raise _Refused(HTTPStatus.BAD_REQUEST, f"the body must be a JSON object with: {', '.join(sorted(known))}")
    return arguments


def _json(status: HTTPStatus, document: object) -> web.Response:
    return Answer(status, json.dumps(document).encode()).response()
