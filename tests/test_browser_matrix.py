"""Web pages in a real browser, and raw bytes that look like one: nothing that a page can do reaches a broker.

The listener asks for no key here, so that the rules for browsers are the whole defence.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from playwright.async_api import BrowserContext, Page, Response, Route, async_playwright

from proxy.admission import Door
from proxy.config import Tcp
from proxy.console.server import Console
from proxy.gate.browser import Hosts
from proxy.listener import Listener, open_listener
from tests.callers import eventually
from tests.console.visitor import TOKEN, View, console_at
from tests.lab import Lab, definition, running

ATTACK = Path(__file__).parent / "pages/attack.js"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage",
    # Chromium asks a person before a page of the internet may call this machine. Other browsers don't.
    "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets",
]  # fmt: skip
NAMES = ("evil.test", "rebound.test", "www.rebound.test")
SOME = [
    "fetch-get", "fetch-no-cors-credentials", "fetch-post-no-cors", "fetch-post-json", "form-post", "form-text",
    "frame", "frame-read", "image", "script", "style", "event-source", "beacon-text", "window", "xhr-post-credentials",
    "object", "worker-fetch", "sandbox-form", "redirect-307-post", "data-frame", "prefetch",
    "socket", "socket-sandbox",
]  # fmt: skip
WEBSOCKET = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==",
]
CASE = re.compile(r"case=([a-z-]+\.[a-z0-9-]+)")
SERVICE_WORKER = """
self.onactivate = event => event.waitUntil(clients.claim());
self.onfetch = event => {
  const to = new URL(event.request.url).searchParams.get("to");
  if (to) event.respondWith(fetch(to, {method: "POST", mode: "no-cors", body: "{}"}));
};
"""
# The browser itself keeps foreign pages from these.
NEVER_LEAVE = {"fetch-same-origin", "worker", "service-worker-of-ours"}
PAGE = "<!doctype html><html><body><script src=/attack.js></script></body></html>"


@dataclass
class Call:
    """A request that came through our door, and what became of it."""

    method: str
    headers: dict[str, str]
    status: int = 0
    answered: list[str] = field(default_factory=list)  # names of the answer's headers, in lower case


@dataclass
class Scene:
    """Our doors, a broker behind them, and somebody else's web server. `calls`: by the name of the case."""

    lab: Lab
    console: Console
    view: View
    ours: Tcp
    theirs: int
    home: str = ""  # the console's page, for who is logged in
    calls: defaultdict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))

    @property
    def all(self) -> list[Call]:
        return [call for calls in self.calls.values() for call in calls]


async def serve_pages(request: web.Request) -> web.StreamResponse:
    """Somebody else's server: a page, its script, redirects wherever one likes, and reports about its policy."""
    to = request.query.get("to", "")
    match request.path:
        case "/attack.js":
            return web.Response(text=await asyncio.to_thread(ATTACK.read_text), content_type="text/javascript")
        case "/302" | "/307" | "/308":
            return web.Response(
                status=int(request.path[1:]), headers={"Location": to, "Access-Control-Allow-Origin": "*"}
            )
        case "/policy":
            policy = {"Content-Security-Policy": f"img-src 'none'; report-uri {to}"}
            return web.Response(text="<img src=/x>", content_type="text/html", headers=policy)
        case "/sw.js":
            return web.Response(text=SERVICE_WORKER, content_type="text/javascript")
        case _:
            return web.Response(text=PAGE, content_type="text/html")


@asynccontextmanager
async def staged() -> AsyncIterator[Scene]:
    """Everything but the browser, without client keys."""
    async with AsyncExitStack() as stack:
        lab = await stack.enter_async_context(running(open_to_all=True))
        runner = web.AppRunner(web.Application())
        runner.app.router.add_route("*", "/{tail:.*}", serve_pages)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        console = console_at(Tcp("127.0.0.1", 0), view := View(), reusable=True)
        await console.start()
        stack.push_async_callback(console.stop)
        scene = Scene(lab, console, view, Tcp("127.0.0.1", 0), runner.addresses[0][1])
        door = Door(None)

        async def enter(listener: Listener, request: web.BaseRequest) -> web.StreamResponse:
            call = Call(request.method, {name.lower(): value for name, value in request.headers.items()})
            found = CASE.search(request.raw_path)
            scene.calls[found[1] if found else request.raw_path].append(call)
            response = await lab.gateway.handle(door, request)
            call.status, call.answered = response.status, [name.lower() for name in response.headers]
            return response

        listener = await open_listener(Tcp("127.0.0.1", 0), enter, grace=0)
        stack.push_async_callback(listener.close)
        assert isinstance(listener.bound, Tcp)
        door.hosts, scene.ours = Hosts(listener.names), listener.bound
        yield scene


# -- in a browser -----------------------------------------------------------------------------------------------------


@pytest.fixture(name="browser")
async def _browser(program: Callable[[str], str]) -> AsyncIterator[BrowserContext]:
    """A fresh browser, for which a few names lead here."""
    rules = ", ".join(f"MAP {name} 127.0.0.1" for name in NAMES)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program("chromium"), args=[*FLAGS, f"--host-resolver-rules={rules}"]
        )
        context = await browser.new_context()
        context.set_default_timeout(15_000)
        yield context
        await browser.close()


@dataclass
class Window:
    """Pages of somebody else, in a browser that has no part in what they want."""

    context: BrowserContext
    scene: Scene
    folder: Path

    @property
    def ours(self) -> str:
        return f"127.0.0.1:{self.scene.ours.port}"

    async def open(self, host: str) -> Page:
        """A page from somebody else's server."""
        page = await self.context.new_page()
        await page.goto(f"http://{host}:{self.scene.theirs}/")
        return page

    async def rebound(self) -> Page:
        """A page whose name led elsewhere when it was loaded, and leads to us by now."""
        script = await asyncio.to_thread(ATTACK.read_text)

        async def elsewhere(route: Route) -> None:
            body, kind = (script, "javascript") if route.request.url.endswith(".js") else (PAGE, "html")
            await route.fulfill(body=body, content_type=f"text/{kind}")

        page = await self.context.new_page()
        await page.route("**", elsewhere)
        await page.goto(f"http://rebound.test:{self.scene.ours.port}/")
        await page.unroute_all()
        return page

    async def file(self) -> Page:
        """A page that somebody has downloaded and opened."""
        (self.folder / "attack.js").write_bytes(await asyncio.to_thread(ATTACK.read_bytes))
        (self.folder / "page.html").write_text(PAGE.replace("/attack.js", "attack.js"))
        page = await self.context.new_page()
        await page.goto(f"file://{self.folder}/page.html")
        return page

    async def attack(self, page: Page, name: str, to: str = "", *, only: Sequence[str] = ()) -> dict[str, str]:
        """Everything that a page can do to the data listener under the name `to`, and what it could read."""
        base = f"http://{to or self.ours}/lab/v1"
        return await self.do(page, name, f"{base}/accounts", f"{base}/orders", only)

    async def do(self, page: Page, name: str, read: str, order: str, only: Sequence[str]) -> dict[str, str]:
        away = f"http://127.0.0.1:{self.scene.theirs}"
        asked = {"read": read, "order": order, "page": name, "only": list(only) or None, "away": away}
        found: dict[str, str] = await page.evaluate("asked => run(asked)", asked)
        return found


async def test_no_web_page_reaches_a_broker(
    browser: BrowserContext, tmp_path: Path, figure: Callable[[object], None]
) -> None:
    """Foreign, same-site, downloaded and rebound pages, frames without an origin and workers: all that a page can do.

    Nor do they reach the console of a person who is logged in there. What a person types may read.
    """
    async with staged() as scene:
        window = Window(browser, scene, tmp_path)
        await log_in_at_the_console(window)
        arrived, ways = await attack_the_listener(window)
        judge(scene, arrived, ways)
        scene.calls.clear()
        await attack_the_console(window)
        await type_addresses(window)
        figure(f"{len(arrived)} of {len(ways)} ways came to the listener, and 0 went on")


async def attack_the_listener(window: Window) -> tuple[set[str], set[str]]:
    """The names of the ways that came through our door, and of all that were tried."""
    pages = {
        "foreign": await window.open("evil.test"), "neighbour": await window.open("127.0.0.1"),
        "rebound": await window.rebound(), "file": await window.file(), "worker": await window.open("evil.localhost"),
    }  # fmt: skip
    some = {"worker": ["service-worker"], "file": SOME, "neighbour": SOME}
    hosts = {"rebound": f"rebound.test:{window.scene.ours.port}"}
    runs = [window.attack(page, name, hosts.get(name, ""), only=some.get(name, ())) for name, page in pages.items()]
    read = dict(zip(pages, await asyncio.gather(*runs), strict=True))
    ways = {f"{page}.{way}" for page, found in read.items() for way in found}
    async for _ in eventually(30):  # a busy browser lets a socket wait 5 s after many that failed, one by one
        if NEVER_LEAVE >= {way.partition(".")[2] for way in ways - set(window.scene.calls)}:
            break
    for page in pages.values():
        await page.close()
    assert [] == [text for found in read.values() for text in found.values() if '"ok"' in text or text == "open"]
    return ways & set(window.scene.calls), ways


def judge(scene: Scene, arrived: set[str], ways: set[str]) -> None:
    """All that can leave a browser came, and was refused, with nothing in an answer that would let a page in."""
    assert NEVER_LEAVE >= {way.partition(".")[2] for way in ways - arrived}
    assert {403, 421} == {call.status for call in scene.all}
    sockets = {name.partition(".")[0] for name in arrived if ".socket" in name}
    assert {"foreign", "neighbour", "rebound", "file"} == sockets
    assert [] == scene.lab.broker.visits
    answered = {name for call in scene.all for name in call.answered}
    assert set() == {name for name in answered if name.startswith("access-control-") or name == "set-cookie"}
    # A cookie of our console is no business of other ports, where any program may listen.
    assert [] == [call for call in scene.all if "cookie" in call.headers]
    assert {"null"} < {call.headers["origin"] for call in scene.all if "origin" in call.headers}
    assert {"GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH"} == {call.method for call in scene.all}


async def log_in_at_the_console(window: Window) -> None:
    page = await window.context.new_page()
    await page.goto(f"{window.scene.console.place}?token={TOKEN}")
    assert "questrade" in await page.inner_text("body")
    (cookie,) = await window.context.cookies(page.url)
    assert (True, "Strict", urlsplit(page.url).path) == (cookie["httpOnly"], cookie["sameSite"], cookie["path"])
    window.scene.home = page.url
    await page.close()


async def attack_the_console(window: Window) -> None:
    """With the cookie of a person who is logged in: no page reads a byte of it, and none has anything done."""
    statuses: list[int] = []

    def note(response: Response) -> None:
        if response.url.startswith(window.scene.console.place):
            statuses.append(response.status)

    window.context.on("response", note)
    place, home = window.scene.console.place, window.scene.home
    pages = {"foreign": await window.open("evil.test"), "neighbour": await window.open("127.0.0.1")}
    orders = {"foreign": f"{home}do/reload", "neighbour": f"{place}metrics"}
    runs = [window.do(page, name, home, orders[name], SOME) for name, page in pages.items()]
    read = await asyncio.gather(*runs)
    window.context.remove_listener("response", note)
    assert {403} == set(statuses)
    assert 8 <= len(statuses)  # those of which the browser tells
    texts = " ".join(text for found in read for text in found.values())
    assert [] == [word for word in ("questrade", "bearerd") if word in texts]
    assert [] == window.scene.view.acted


async def type_addresses(window: Window) -> None:
    """The address bar may read; also where it was redirected, which nobody can tell from typing. It changes nothing."""
    page = await window.context.new_page()
    base, visits = f"http://{window.ours}/lab/v1", window.scene.lab.broker.visits
    answer = await page.goto(f"{base}/accounts")
    assert (200, 1) == (answer and answer.status, len(visits))
    away = f"http://evil.test:{window.scene.theirs}/302?to="
    answer = await page.goto(f"{away}{base}/accounts")
    assert (200, 2) == (answer and answer.status, len(visits))
    row = "  - {id: fire, method: GET, path: /v1/fire, scope: trade, mutating: true}\n"
    window.scene.lab.change_mount(table=definition(row).api().table)
    assert 200 == (await window.scene.lab.call("GET", "/lab/v1/fire")).status
    for address in (f"{base}/fire", f"{away}{base}/fire"):
        answer = await page.goto(address)
        assert (403, 3) == (answer and answer.status, len(visits))


# -- in bytes ---------------------------------------------------------------------------------------------------------

SITE = "Origin: https://evil.test"
RAW: dict[str, tuple[str, str, list[str], int]] = {
    "an Origin": ("GET", "/lab/v1/accounts", [SITE], 403),
    "an Origin of nobody": ("GET", "/lab/v1/accounts", ["Origin: null"], 403),
    "an empty Origin": ("GET", "/lab/v1/accounts", ["Origin:"], 403),
    "our own Origin": ("POST", "/lab/v1/orders", ["Origin: http://{host}"], 403),
    "two Origins": ("POST", "/lab/v1/orders", ["Origin: http://{host}", SITE], 403),
    "an extension": ("POST", "/lab/v1/orders", ["Origin: chrome-extension://abc"], 403),
    "capitals": ("POST", "/lab/v1/orders", ["ORIGIN: https://evil.test"], 403),
    "a foreign site": ("GET", "/lab/v1/accounts", ["Sec-Fetch-Site: cross-site"], 403),
    "the same site": ("GET", "/lab/v1/accounts", ["Sec-Fetch-Site: same-site"], 403),
    "the same origin": ("POST", "/lab/v1/orders", ["Sec-Fetch-Site: same-origin"], 403),
    "typed, but a form": ("POST", "/lab/v1/orders", ["Sec-Fetch-Site: none"], 403),
    "typed, and not": ("GET", "/lab/v1/accounts", ["Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"], 403),
    "a word of tomorrow": ("GET", "/lab/v1/accounts", ["Sec-Fetch-Site: cousin"], 403),
    "a preflight": ("OPTIONS", "/lab/v1/orders", [SITE, "Access-Control-Request-Method: POST"], 403),
    "a preflight of LNA": ("OPTIONS", "/lab/v1/orders", ["Access-Control-Request-Private-Network: true"], 403),
    "a preflight of everything": ("OPTIONS", "*", [SITE, "Access-Control-Request-Method: POST"], 403),
    "a preflight without an Origin": ("OPTIONS", "/lab/v1/orders", ["Access-Control-Request-Headers: x-api-key"], 403),
    "a preflight of nothing": ("OPTIONS", "/nothing", [SITE, "Access-Control-Request-Method: GET"], 403),
    "another host": ("GET", "/lab/v1/accounts", ["Host: evil.test"], 421),
    "another port": ("GET", "/lab/v1/accounts", ["Host: 127.0.0.1:1"], 421),
    "no port": ("GET", "/lab/v1/accounts", ["Host: 127.0.0.1"], 421),
    "a dot": ("GET", "/lab/v1/accounts", ["Host: localhost.:{port}"], 421),
    "a name below": ("GET", "/lab/v1/accounts", ["Host: x.localhost:{port}"], 421),
    "an address in another spelling": ("GET", "/lab/v1/accounts", ["Host: 127.1:{port}"], 421),
    "an address as a number": ("GET", "/lab/v1/accounts", ["Host: 2130706433:{port}"], 421),
    "another loopback address": ("GET", "/lab/v1/accounts", ["Host: 127.0.0.2:{port}"], 421),
    "every address": ("GET", "/lab/v1/accounts", ["Host: 0.0.0.0:{port}"], 421),
    "a mapped address": ("GET", "/lab/v1/accounts", ["Host: [::ffff:127.0.0.1]:{port}"], 421),
    "userinfo": ("GET", "/lab/v1/accounts", ["Host: a@{host}"], 421),
    "an empty host": ("GET", "/lab/v1/accounts", ["Host:"], 421),
    "no host": ("GET", "/lab/v1/accounts", [], 400),
    "two hosts": ("GET", "/lab/v1/accounts", ["Host: {host}", "Host: evil.test"], 400),
    "two hosts in one": ("GET", "/lab/v1/accounts", ["Host: {host}, evil.test"], 421),
    "another host, and a 404": ("GET", "/nothing", ["Host: evil.test"], 421),
    "a target that names us": ("GET", "http://{host}/lab/v1/accounts", ["Host: evil.test"], 421),
    "a target that names others": ("GET", "http://evil.test/lab/v1/accounts", [], 400),
    "a forwarded host": ("GET", "/lab/v1/accounts", ["Host: evil.test", "X-Forwarded-Host: {host}"], 421),
    "a WebSocket of a page": ("GET", "/lab/v1/events", [SITE, *WEBSOCKET], 403),
    "a WebSocket of a rebound page": ("GET", "/lab/v1/events", ["Host: rebound.test:{port}", *WEBSOCKET], 421),
    "a WebSocket of our own origin": ("GET", "/lab/v1/events", ["Origin: http://{host}", *WEBSOCKET], 403),
    "a WebSocket by its site": ("GET", "/lab/v1/accounts", ["Sec-Fetch-Site: cross-site", *WEBSOCKET], 403),
    "a tunnel": ("CONNECT", "{host}", [SITE], 403),
    "a trace": ("TRACE", "/lab/v1/accounts", [SITE], 403),
    "a prefetch": ("GET", "/lab/v1/accounts", ["Sec-Purpose: prefetch", "Sec-Fetch-Site: cross-site"], 403),
    "a page with a key": ("POST", "/lab/v1/orders", [SITE, "Authorization: Bearer {key}"], 403),
    "a page with a cookie": ("POST", "/lab/v1/orders", [SITE, "Cookie: key={key}"], 403),
}  # fmt: skip


async def test_bytes_that_look_like_a_page_reach_no_broker(figure: Callable[[object], None]) -> None:
    """Each is refused, wherever its target leads; a program that says nothing of the kind passes."""
    faults = []
    async with running(open_to_all=True) as lab:
        for name, (method, target, headers, status) in RAW.items():
            words = {"host": lab.host, "port": lab.port, "key": lab.key}
            lines = [header.format(**words) for header in headers]
            hosted = any(line.startswith("Host:") for line in lines) or name == "no host"
            lines = lines if hosted else [f"Host: {lab.host}", *lines]
            head = "\r\n".join([f"{method} {target.format(**words)} HTTP/1.1", *lines, "Connection: close", "", ""])
            async with lab.connect() as wire:
                await wire.send(head.encode())
                reply = await wire.reply(method=method)
            inviting = [
                found for found, _ in reply.headers if found.lower().startswith(("access-control", "set-cookie"))
            ]
            faults += [f"{name}: {reply.status} {inviting}"] * (status != reply.status or inviting != [])
        assert [] == lab.broker.visits
        assert 200 == (await lab.call("GET", "/lab/v1/accounts")).status
    assert not faults, "\n".join(faults)
    assert 40 <= len(RAW)
    figure(f"{len(RAW)} heads, and 0 went on")
