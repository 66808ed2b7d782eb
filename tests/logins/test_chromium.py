"""Logins over the brokers' pages in a real browser: from our console to the simulated broker's page, and back.

Everything that the browser keeps, and everything that the server writes, is searched for codes, states and tokens.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Request, async_playwright

from proxy.simulator import Simulator, serve
from proxy.simulator.plain.broker import Plain, options_for
from proxy.simulator.plain.reading import read_setup
from proxy.simulator.serve import Kind
from proxy.store.keys import Source
from tests.callers import ask
from tests.cli.terminal import free_port
from tests.consent import parameters
from tests.ownhouse import EXAMPLE, EXAMPLE_SIMULATOR, described
from tests.product import Program, run

pytestmark = pytest.mark.asyncio(loop_scope="module")  # of the browser, which is one for all

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]


@dataclass(frozen=True)
class Scene:
    """A broker: its login, a mount of it, a call that the mount may make, and the scopes that the page must show."""

    broker: str
    login: str
    mount: Mapping[str, Any]
    call: str
    scopes: str


SCENES = {
    "questrade": Scene("questrade", "code", {"scopes": ["read_acc", "read_md"]}, "/v1/accounts", ""),
    "tradier": Scene("tradier", "code", {"scopes": ["read", "market"]}, "/v1/user/profile", "read market"),
    "alpaca": Scene(
        "alpaca", "connect", {"api": "trading", "scopes": ["account:read", "trading"]}, "/v2/account", "trading"
    ),
    "a broker of one's own": Scene(
        "schwab", "oauth", {"api": "trader", "scopes": ["account.read"]}, "/trader/v1/accounts/accountNumbers", ""
    ),
}


@dataclass
class Stage:
    """A running server with one mount, and the simulated broker behind it. `seen` are secrets that went by."""

    scene: Scene
    directory: Path
    simulator: Simulator
    server: Program
    console: str
    key: str
    seen: set[str] = field(default_factory=set)

    async def bearerd(self, *arguments: str) -> str:
        done = await asyncio.to_thread(run, self.directory, *arguments)
        assert 0 == done.code, done.output
        return done.out


def configuration(scene: Scene, simulator: Simulator, port: int) -> dict[str, Any]:
    links = simulator.links()
    own = described(EXAMPLE)["brokers"] if scene.broker == "schwab" else {}
    needs = {name: text for name, text in links.logins[scene.login].items() if name != "redirect_uri"}
    brokers = own or {scene.broker: {"environments": {}}}
    brokers[scene.broker]["environments"]["simulator"] = dict(links.environment)
    mount = {"broker": scene.broker, "environment": "simulator", "grant": "ada", **scene.mount}
    return {
        "version": 1, "listen": "127.0.0.1:0", "console": f"127.0.0.1:{port}", "store": "sqlite:state/store.db",
        "key": "file:master.key", "mounts": {"here": mount}, "brokers": brokers,
        "grants": {"ada": {"login": scene.login, **needs}},
        "clients": {"bot": {"here": scene.mount["scopes"]}},
    }  # fmt: skip


def kinds() -> dict[str, Kind]:
    setup = read_setup(EXAMPLE_SIMULATOR)
    return {setup.name: Kind(partial(Plain, setup), partial(options_for, setup))}


@asynccontextmanager
async def staged(scene: Scene, directory: Path) -> AsyncIterator[Stage]:
    """A server that nobody has logged in."""
    async with AsyncExitStack() as stack:
        port, more = free_port(), await asyncio.to_thread(kinds)
        options = serve.knobs([scene.broker], more=more, callback=f"http://127.0.0.1:{port}/callback")
        running = await serve.start([scene.broker], directory=directory / "ca", options=options, more=more)
        stack.push_async_callback(running.stop)
        simulator = running.simulators[scene.broker]
        (directory / "config.yaml").write_text(json.dumps(configuration(scene, simulator, port)))
        await asyncio.to_thread(Source("file:master.key", directory).create)
        server = Program(directory, "serve", "--log-level", "debug", "--log-format", "json")
        stack.callback(server.kill)
        await asyncio.to_thread(server.until, "To do: ")
        found = Stage(scene, directory, simulator, server, "", "")
        found.key = json.loads(await found.bearerd("clients", "add", "bot", "--json"))["key"]
        found.console = (await found.bearerd("status", "--console")).strip()
        yield found


class Watch:
    """What a browser sends, in order."""

    def __init__(self, page: Page) -> None:
        self.requests: list[Request] = []
        page.on("request", self._note)

    def _note(self, request: Request) -> None:
        self.requests.append(request)

    def back(self) -> str:
        """The address that the broker led back to."""
        (found,) = [request.url for request in self.requests if urlsplit(request.url).path == "/callback"]
        return found

    async def referrers(self) -> list[tuple[str, str]]:
        """Address and referrer of each request that had one on the wire."""
        pairs = [(request.url, await request.header_value("referer")) for request in self.requests]
        return [(url, referrer) for url, referrer in pairs if referrer is not None]


@pytest_asyncio.fixture(name="browser", scope="module", loop_scope="module")
async def _browser(program: Callable[[str], str]) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program("chromium"), args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(name="page", loop_scope="module")
async def _page(browser: Browser) -> AsyncIterator[Page]:
    """A window with a fresh profile of its own, which trusts the simulator's certificate."""
    context = await browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(20_000)
    yield await context.new_page()
    await context.close()


async def history(page: Page) -> list[str]:
    """Addresses and titles that the window keeps."""
    session = await page.context.new_cdp_session(page)
    entries = (await session.send("Page.getNavigationHistory"))["entries"]
    return [f"{entry['url']} {entry['userTypedURL']} {entry['title']}" for entry in entries]


async def nothing_is_left(stage: Stage, page: Page, watch: Watch) -> None:
    """No code or token anywhere, and no state but in the address of the broker's own page."""
    back = parameters(watch.back())
    code, state = back["code"], back["state"]
    kept = await history(page)
    console = stage.console.partition("?")[0]
    assert code not in repr(kept)
    assert [] == [entry for entry in kept if state in entry and entry.startswith(console)]
    assert "?" not in page.url
    assert "/callback/done/" in page.url
    shown = await page.content() + await page.title() + page.url
    assert [] == [secret for secret in (code, state) if secret in shown]
    assert [] == await page.context.cookies(watch.back())
    # Nobody learns from where it came: neither the broker from our console, nor a page that is opened afterwards.
    await page.evaluate("location.href = 'http://127.0.0.1:9/elsewhere'")
    await asyncio.sleep(0.3)
    referrers = await watch.referrers()
    assert [] != referrers  # the broker's own form has one
    assert [] == [pair for pair in referrers if pair[1].startswith(console[:-1]) and not pair[0].startswith(console)]
    assert [] == [pair for pair in referrers if code in pair[1]]
    await asyncio.to_thread(stage.server.until, "a login was completed")
    for secret in (code, state, stage.key):
        assert secret not in stage.server.output


async def allow(page: Page, decision: str = "allow") -> None:
    """The person presses a button on the broker's page."""
    async with page.expect_navigation(url=re.compile("/callback/done/")):
        await page.click(f"button[name=decision][value={decision}]")


@pytest.mark.parametrize("name", SCENES)
async def test_a_person_logs_in_from_the_console(state_dir: Path, page: Page, name: str) -> None:
    """One click here, one at the broker; the page says what was granted, and calls pass."""
    scene = SCENES[name]
    async with staged(scene, state_dir) as stage:
        watch = Watch(page)
        await page.goto(stage.console)
        await page.click("text=Log in on the broker's page")
        await page.wait_for_selector("button[name=decision]")
        await allow(page)

        text = await page.inner_text("main")
        assert "✓ Logged in" in text
        assert scene.scopes in text
        url = json.loads(await stage.bearerd("status", "--json"))["mounts"][0]["url"]
        assert 200 == (await ask(url.removesuffix("/here"), "GET", f"/here{scene.call}", stage.key)).status
        await nothing_is_left(stage, page, watch)


@pytest.mark.parametrize("name", SCENES)
async def test_a_person_opens_the_address_that_a_command_has_printed(state_dir: Path, page: Page, name: str) -> None:
    """Without a cookie of the console; the command hears of it by itself."""
    async with staged(SCENES[name], state_dir) as stage:
        watch = Watch(page)
        login = Program(stage.directory, "login", "here")
        try:
            await asyncio.to_thread(login.until, "Waiting for the browser")
            address = re.search(r"https://\S+", login.err)
            assert address is not None
            await page.goto(address[0])
            await allow(page)

            assert 0 == await asyncio.to_thread(login.end)
        finally:
            login.kill()
        assert "ada is logged in" in login.out
        await nothing_is_left(stage, page, watch)


async def test_a_person_who_declines_is_told(state_dir: Path, page: Page) -> None:
    """Nothing was posted, and the page says how to begin anew."""
    async with staged(SCENES["questrade"], state_dir) as stage:
        await page.goto(stage.console)
        await page.click("text=Log in on the broker's page")
        await page.wait_for_selector("button[name=decision]")
        await allow(page, "deny")

        text = await page.inner_text("main")
        assert "✗ Not logged in" in text
        assert "bearerd login ada" in text
        assert 0 == stage.simulator.state()["token_posts"]


async def test_a_foreign_page_cannot_complete_a_login(state_dir: Path, page: Page) -> None:
    """Neither by a script nor by an image or a frame, even if it knew the address; the person still can."""
    async with staged(SCENES["questrade"], state_dir) as stage:
        begun = json.loads(await stage.bearerd("login", "here", "--non-interactive"))
        answer = stage.simulator.approve(begun["authorize_url"])
        foreign = urlsplit(begun["authorize_url"])
        await page.goto(f"{foreign.scheme}://{foreign.netloc}/elsewhere")
        await page.evaluate(
            """async address => {
                await fetch(address, {mode: 'no-cors'}).catch(() => null);
                await fetch(address).catch(() => null);
                const image = new Image(), frame = document.createElement('iframe');
                image.src = frame.src = address;
                document.body.append(image, frame);
                await new Promise(done => setTimeout(done, 1000));
            }""",
            answer,
        )
        assert 0 == stage.simulator.state()["token_posts"]

        await page.goto(answer)
        assert "✓ Logged in" in await page.inner_text("main")
        assert 1 == stage.simulator.state()["token_posts"]
