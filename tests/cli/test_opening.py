"""How the demo opens."""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.cli.exits import Stop
from proxy.cli.opening import show


def _report(url: str) -> dict[str, Any]:
    names = ("url", "url_tls", "console", "client_key", "trader_key", "ca_file", "control", "config")
    return {name: name for name in names} | {"url": url, "mounts": {"questrade": {}, "tradier": {}, "alpaca": {}}}


async def _bearerd(status: int) -> TestServer:
    async def answer(request: web.Request) -> web.Response:
        assert "Bearer client_key" == request.headers["Authorization"]
        assert "application/json" == request.headers["Accept"]
        return web.json_response({"path": request.path}, status=status)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    server = TestServer(app)
    await server.start_server()
    return server


async def test_each_broker_has_its_first_answer_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """With the command that repeats it, as the client; Tradier's asks for JSON."""
    server = await _bearerd(200)
    try:
        await show(_report(str(server.make_url("")).rstrip("/")))
    finally:
        await server.close()
    text = capsys.readouterr().out

    for path in ("/questrade/v1/accounts", "/tradier/v1/user/profile", "/alpaca/v2/clock"):
        assert f'"path": "{path}"' in text
    assert 3 == text.count('-H "Authorization: Bearer client_key"')
    assert 1 == text.count("-H 'Accept: application/json'")


async def test_a_first_call_that_fails_ends_the_demo() -> None:
    """The mount and the status are named."""
    server = await _bearerd(503)
    try:
        with pytest.raises(Stop, match="first call to /questrade was answered with 503"):
            await show(_report(str(server.make_url("")).rstrip("/")))
    finally:
        await server.close()
