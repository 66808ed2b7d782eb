"""The faults that simulated brokers share, before an endpoint of their own."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from proxy.simulator.authorize import Parameters
from proxy.simulator.front import ORDER, Front, catalogue
from proxy.simulator.listener import Answer, Listener
from proxy.simulator.options import Options

FIELDS = {"access_token": "access", "refresh_token": "newest-of-all", "expires_in": 60}


class Broker:
    """An endpoint for tokens and an API, which count what was carried out."""

    def __init__(self) -> None:
        self.faults = catalogue(api={"api-own": "418 (refused)"}, order={"order-own": "200 (refused)"})
        own = {"api-own": lambda: Answer(418, b"teapot")}
        self.front = Front(self.faults, Options(slow=0.1), own)
        self.done = 0
        self.listener = Listener(self._handle)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/token":
            return await self.front.token(request, self._redeem)
        return await self.front.api(request, self._answer)

    def _redeem(self, form: Parameters) -> dict[str, object] | Answer:
        if "bad" in form:
            return Answer(400, b"bad")
        self.done += 1
        return dict(FIELDS)

    async def _answer(self) -> Answer:
        self.done += 1
        return Answer(200, b"0123456789")


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    broker = Broker()
    await broker.listener.start(0)
    yield broker
    await broker.listener.stop()


async def _ask(broker: Broker, path: str, **form: str) -> tuple[int, bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(broker.listener.url + path, data=form or {"a": "b"}) as answer,
    ):
        return answer.status, await answer.read()


async def test_without_faults_everything_passes(broker: Broker) -> None:
    """A broker's own error too; each request to the token endpoint is counted."""
    assert 200 == (await _ask(broker, "/token"))[0]
    assert (400, b"bad") == await _ask(broker, "/token", bad="1")
    assert (200, b"0123456789") == await _ask(broker, "/api")
    assert (2, 2) == (broker.front.token_posts, broker.done)


@pytest.mark.parametrize(
    ("path", "fault", "status"),
    [
        ("/token", "token-invalid-grant", 400),
        ("/token", "token-403", 403),
        ("/token", "token-429", 429),
        ("/token", "token-500", 500),
        ("/token", "token-503-html-maintenance", 503),
        ("/token", "token-html-200", 200),
        ("/token", "maintenance", 503),
        ("/api", "maintenance", 503),
        ("/api", "api-500", 500),
        ("/api", "api-own", 418),
    ],
)
async def test_a_refusing_fault_does_nothing(broker: Broker, path: str, fault: str, status: int) -> None:
    """Once."""
    broker.faults.add(fault)

    assert status == (await _ask(broker, path))[0]
    assert 0 == broker.done
    assert 200 == (await _ask(broker, path))[0]


@pytest.mark.parametrize(("path", "fault"), [("/token", "token-hang"), ("/api", "api-hang")])
async def test_a_hang_never_answers_and_does_nothing(broker: Broker, path: str, fault: str) -> None:
    """The client gives up."""
    broker.faults.add(fault)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await _ask(broker, path)

    assert 0 == broker.done


@pytest.mark.parametrize(
    ("path", "fault", "done"),
    [
        ("/token", "token-drop-before", 0),
        ("/token", "token-drop-after", 1),
        ("/api", "api-drop", 0),
        ("/api", "api-close", 0),
        ("/api", "api-close-before-answer", 1),
        ("/api", "api-drop-before-answer", 1),
    ],
)
async def test_a_drop_comes_before_or_after_the_deed(broker: Broker, path: str, fault: str, done: int) -> None:
    """The client cannot tell."""
    broker.faults.add(fault)
    with pytest.raises(aiohttp.ClientConnectionError):
        await _ask(broker, path)

    assert done == broker.done


async def test_a_call_whose_answer_never_comes_was_done(broker: Broker) -> None:
    """The client gives up, and what it asked for has happened."""
    broker.faults.add("api-hang-after")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await _ask(broker, "/api")

    assert 1 == broker.done


@pytest.mark.parametrize(
    ("fault", "status", "done"), [("api-early", 503, 0), ("api-gateway-502", 502, 1), ("api-gateway-504", 504, 1)]
)
async def test_a_gateway_answers_for_the_broker(broker: Broker, fault: str, status: int, done: int) -> None:
    """Before the call has got through, or after it was carried out."""
    broker.faults.add(fault)

    assert (status, done) == ((await _ask(broker, "/api"))[0], broker.done)


async def test_a_dripping_answer_is_whole_in_the_end(broker: Broker) -> None:
    """It takes as long as a slow one."""
    broker.faults.add("api-drip")
    loop = asyncio.get_running_loop()
    start = loop.time()

    assert (200, b"0123456789") == await _ask(broker, "/api")
    assert loop.time() - start >= 0.1


@pytest.mark.parametrize(("path", "fault"), [("/token", "token-slow"), ("/api", "api-slow")])
async def test_a_slow_answer_comes_late(broker: Broker, path: str, fault: str) -> None:
    """As late as the options say."""
    broker.faults.add(fault)
    loop = asyncio.get_running_loop()
    start = loop.time()
    await _ask(broker, path)

    assert loop.time() - start >= 0.1


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("token-empty-200", b""),
        ("token-junk-expires", b'"expires_in": "soon"'),
        ("token-no-refresh", b'{"access_token": "access", "expires_in": 60}'),
        ("token-foreign-api-server", b'"api_server": "https://api.broker.evil.example/"'),
    ],
)
async def test_a_spoiled_answer_was_done(broker: Broker, fault: str, expected: bytes) -> None:
    """200, and something is wrong with it."""
    broker.faults.add(fault)
    status, body = await _ask(broker, "/token")

    assert (200, True, 1) == (status, expected in body if expected else body == b"", broker.done)


@pytest.mark.parametrize("fault", ["token-truncated", "token-truncated-late", "api-truncated", "api-close-after-head"])
async def test_a_truncated_answer_promises_more_than_comes(broker: Broker, fault: str) -> None:
    """It was done all the same."""
    broker.faults.add(fault)
    with pytest.raises(aiohttp.ClientPayloadError):
        await _ask(broker, "/token" if fault.startswith("token") else "/api")

    assert 1 == broker.done


def test_order_faults_are_asked_for_by_the_broker() -> None:
    """They hit neither tokens nor other calls."""
    broker = Broker()
    broker.faults.add("order-own")

    assert broker.faults.take("api") is None
    assert ["order-own", None] == [broker.front.order_fault(), broker.front.order_fault()]
    assert broker.faults.catalogue()["order-own"].startswith("calls that place, change or cancel orders: ")
    assert "order" == ORDER
