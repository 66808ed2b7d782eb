"""Whatever a broker answers: a client gets the same of it, byte for byte, and everybody else learns the same."""

import asyncio
import base64
import gzip
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from proxy.relay.http import SMALL
from tests.lab import REFUSED, access_token
from tests.lanes.scene import ACCOUNTS, Play, Scene, both, later, sends
from tests.test_hostile_answers import FAMILIES
from tests.wire import Step, Visit, answer, reset

pytestmark = pytest.mark.soak
TOKEN = access_token(1)
STATUSES = (
    200, 201, 202, 203, 205, 206, 299, 300, 301, 302, 303, 307, 308, 399, 400, 402, 403, 404, 405, 406, 409, 410, 413,
    416, 418, 421, 422, 425, 426, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 511, 599,
)  # fmt: skip
BODY = b'{"ok": true}'
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HEADERS = (
    "Content-Type: text/html", "Content-Type: image/svg+xml; charset=utf-8", "content-type: application/json",
    "Set-Cookie: a=b", "Access-Control-Allow-Origin: *", "WWW-Authenticate: Basic", "Location: /v1/x",
    "Location: https://127.0.0.1:{port}/v1/x?y", "Location: https://evil.example/", "Location: //evil.example/",
    "Location: /../none", "Location: /beta/AAPL/news:latest", "Retry-After: 3", "X-RateLimit-Remaining: 0",
    "X-Request-Id: theirs", "Date: Thu, 01 Jan 2026 00:00:00 GMT", "Server: theirs", "Via: 1.1 theirs",
    "Connection: close", "Connection: keep-alive", "Connection: x-secret\r\nX-Secret: 1", "Keep-Alive: timeout=5",
    "Proxy-Status: theirs", "Content-Encoding: gzip", 'ETag: "a"', "X-Empty:", "X-Tab: a\tb", "X-Odd: \xff",
    "X_Odd: 1", "Upgrade: h2c", "Trailer: X", "Alt-Svc: h3", "Strict-Transport-Security: max-age=1",
    "X-Twice: 1\r\nX-Twice: 2", "Cache-Control: no-store", "Date: x\r\nDate: y", "Date: \x01", "DATE: \xff",
    "Content-Type: \xff", "Content-Type:", "X-Request-Id: a\r\nX-Request-Id: b", "X-Request-Id: \xff",
    "Connection: date, server\r\nDate: x", "Connection: content-type\r\nContent-Type: text/html",
    "Connection: location\r\nLocation: /v1/x", "Connection: x-request-id\r\nX-Request-Id: a",
    "Connection: content-length", "Location: /a\r\nLocation: /b", "Location: /v1/\xff", "Location: /v1/%2e%2e/x",
    "LOCATION: /v1/x", "cOnTeNt-TyPe: TEXT/HTML", "Access-Control-Allow-Origin : *", "access-control-x: 1",
    "proxy-status-x: 1", "Transfer-Encoding: identity", "X-Sp:  a  ", "Connection: \xff", "Set-Cookie2: a",
    "Clear-Site-Data: *", "X!#$%&'*+.^`|~: 1", "Content_Length: 9", "Content-Disposition: a", "Content-Length: 12",
    "Content-Length: 012", "Content-Length: 13", "X-Long: {long}", "Refresh: 0", "Content-Type: a\r\nContent-Type: b",
    f"X-Token: {TOKEN}", f"X-Token: x{base64.b64encode(TOKEN.encode()).decode()}",
)  # fmt: skip


async def hostile_ones(scene: Scene) -> None:
    """Each of the answers that no honest broker sends, at the end of which its connection is closed."""
    cases = [case for family in FAMILIES.values() for case in family()]
    for case in cases:
        request = scene.lab.request(case.method, ACCOUNTS)
        await scene.talk(
            f"{case.name} to {case.method}", request, methods=[case.method], script=[sends(case.data, close=True)]
        )


async def honest_ones(scene: Scene) -> None:
    """Statuses, headers and lengths, over a connection that stays."""
    for method in ("GET", "HEAD"):
        request = scene.lab.request(method, ACCOUNTS)

        async def ask(
            name: str, *data: bytes | float, request: bytes = request, method: str = method, close: bool = False
        ) -> None:
            await scene.talk(f"{name} to {method}", request, methods=[method], script=[sends(*data, close=close)])

        body = b"" if method == "HEAD" else BODY
        for status in STATUSES:
            await ask(f"status {status}", answer(status, body, length=len(BODY)))
        for line in HEADERS:
            text = line.format(port=scene.lab.broker.port, long="x" * 9000)
            await ask(f"header {line[:60]}", answer(200, body, text, length=len(BODY)))
        for status in (204, 304):
            await ask(f"{status} alone", b"HTTP/1.1 %d X\r\n\r\n" % status)
            await ask(f"{status} with a length", b"HTTP/1.1 %d X\r\nContent-Length: 5\r\nETag: a\r\n\r\n" % status)
        await ask("no length", OK + b"\r\n" + body, close=True)
        await ask("version 1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 12\r\n\r\n" + body, close=True)
        await ask(
            "version 1.0 that stays", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 12\r\n\r\n" + body
        )
        for size in (0, 1, SMALL - 1, SMALL, SMALL + 1, 5 * SMALL):
            await ask(f"{size} bytes", answer(200, b"" if method == "HEAD" else b"x" * size, length=size))
        await ask(
            "an interim answer",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nLink: a\r\n\r\n",
            answer(200, body, length=len(BODY)),
        )
        if method == "GET":
            await ask("chunks", CHUNKED + b"5\r\nabcde\r\n", 0.005, b"3;x=y\r\nabc\r\n0\r\n\r\n")
            await ask("chunks with a trailer", CHUNKED + b"3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n")
            await ask("a body in pieces", OK + b"Content-Length: 6\r\n\r\n", 0.005, b"abc", 0.005, b"def")
            await ask(
                "a head in pieces",
                b"HTT",
                0.005,
                b"P/1.1 200 OK\r\nContent-Le",
                0.005,
                b"ngth: 2\r\n",
                0.005,
                b"\r\n{}",
            )
            await ask("something behind it", answer(200, BODY) + answer(200, BODY, "X-Smuggled: 1"))
            await ask("something behind it, later", answer(200, BODY), 0.01, b"x")
            await ask("a packed body", answer(200, gzip.compress(BODY, mtime=0), "Content-Encoding: gzip"))
            await ask("half a body", OK + b"Content-Length: 12\r\n\r\n{", close=True)
            await ask("half a long body", OK + b"Content-Length: 100000\r\n\r\n" + b"x" * 70_000, close=True)
            await ask("half a chunk", CHUNKED + b"5\r\nabc", close=True)


async def echoes(scene: Scene) -> None:
    """Our credential in an answer, in each of the ways that are looked for; whole, long and in chunks."""
    spelled = {
        "plain": TOKEN, "percent": quote(TOKEN, safe=""), "base64": base64.b64encode(TOKEN.encode()).decode(),
        "base64 of more": base64.b64encode(b"x" + TOKEN.encode()).decode(), "half": TOKEN[:-4],
    }  # fmt: skip
    for name, text in spelled.items():
        body = b'{"t": "%s"}' % text.encode()
        chunked = CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        for kind, data in {"whole": answer(200, body), "long": answer(200, b"x" * SMALL + body), "chunked": chunked,
                           "401": answer(401, body), "500": answer(500, body)}.items():  # fmt: skip
            await scene.talk(f"{name}, {kind}", scene.get(), script=[sends(data)])


async def refused_tokens(scene: Scene) -> None:
    """401s of every kind: with what is the token's fault, the header's, nobody's; twice; chunked; to a HEAD."""

    async def dead(visit: Visit) -> None:
        await visit.json(REFUSED, 401)

    async def bare(visit: Visit) -> None:
        await visit.write(answer(401, b"", length=0))

    async def no_header(visit: Visit) -> None:
        await visit.json({"code": 1014}, 401)

    async def in_chunks(visit: Visit) -> None:
        head = b"HTTP/1.1 401 X\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        await visit.write(head + b'E\r\n{"code": 1017}\r\n0\r\n\r\n')

    async def of_the_head(visit: Visit) -> None:
        await visit.write(b"HTTP/1.1 401 X\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n")

    for step in (dead, bare, no_header, in_chunks):
        await scene.talk(f"{step.__name__} once", scene.get(), script=[step])
        await scene.talk(f"{step.__name__} twice", scene.get(), script=[step, step])
    await scene.talk("of a HEAD", scene.lab.request("HEAD", ACCOUNTS), methods=["HEAD"], script=[of_the_head])


async def lost_connections(scene: Scene) -> None:
    """A broker that goes: before anything is sent, in the answer's head, in its body; and one that is slow."""

    async def cut(visit: Visit) -> None:
        reset(visit.writer)

    async def close(visit: Visit) -> None:
        visit.writer.close()

    def after(data: bytes, then: Step) -> Step:
        async def step(visit: Visit) -> None:
            await visit.write(data)
            await asyncio.sleep(0.01)
            await then(visit)

        return step

    for then in (cut, close):
        name = then.__name__
        for data in (b"", b"HTTP", OK + b"Content-", OK + b"Content-Length: 12\r\n\r\n{", answer(200, BODY)):
            await scene.talk(f"{name} behind {data[-9:]!a}", scene.get(), script=[after(data, then)])
        await scene.talk(f"{name} twice", scene.get(), script=[then, then, then])
    await scene.talk("late", scene.get(), script=[later(0.05)])
    await scene.talk("too late", scene.get(), script=[later(2)])
    await scene.talk("a body too late", scene.get(), script=[sends(OK + b"Content-Length: 12\r\n\r\n{", 2.0)])


PLAYS: dict[str, tuple[Play, dict[str, Any]]] = {
    "honest": (honest_ones, {}), "echoes": (echoes, {}), "401": (refused_tokens, {}), "hostile": (hostile_ones, {}),
    "lost": (lost_connections, {"total": 1.0}),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAYS)
async def test_no_answer_is_passed_on_otherwise(name: str, figure: Callable[[object], None]) -> None:
    """To the client, to the trail and to the metrics; lost ones with the same refusal, and the same second attempt."""
    play, options = PLAYS[name]
    faults, seen = await both(play, **options)
    figure(f"{len(seen.talks)} talks, {seen.taken} of {seen.calls} calls taken")
    assert [] == faults, "\n".join(faults)
    assert len(seen.talks) < seen.taken
