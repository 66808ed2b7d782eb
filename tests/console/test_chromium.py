"""Everything that a person can do at the console, in a real browser, with scripts and without them.

The server is the whole product; the broker is simulated.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.consent import consenting
from tests.house import House, house
from tests.test_acts_on_record import acts

pytestmark = pytest.mark.asyncio(loop_scope="module")  # of the browser, which is one for all

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
CONSOLE = ('console: "off"', "console: 127.0.0.1:0")
# An environment of this name is one with real money, wherever its addresses lead.
LIVE = ("environment: simulator", "environment: live"), ("      simulator: {", "      live: {")
SCRIPTS = pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])


@pytest_asyncio.fixture(name="browser", scope="module", loop_scope="module")
async def _browser(program: Callable[[str], str]) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program("chromium"), args=FLAGS)
        yield browser
        await browser.close()


@asynccontextmanager
async def looking(browser: Browser, home: House, *, scripts: bool = True) -> AsyncIterator[Page]:
    """A window with a fresh profile, at the console's page. Nothing of it may break the page's own policy."""
    context = await browser.new_context(java_script_enabled=scripts, ignore_https_errors=True)
    context.set_default_timeout(15_000)
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if "Content Security" in message.text else None)
    await page.goto(home.app.console_url or "")
    if scripts:  # the first page of a browser is sent for anew as soon as it is seen to run them
        await page.locator("body:not([data-reloads])").wait_for()
    yield page
    await context.close()
    assert [] == faults


def at(id_: str) -> str:
    return f'[id="{id_}"]'


async def sent(page: Page, **fields: str) -> None:
    """Fill a form in, and send it."""
    for name, text in fields.items():
        await page.fill(f"main [name={name}]", text)
    async with page.expect_navigation():
        await page.click("#send")


@SCRIPTS
async def test_everything_can_be_done_in_a_browser(state_dir: Path, browser: Browser, scripts: bool) -> None:
    """Log in by pasting, keys, halt and resume, reload, log out: each seen on the page, and true for the next call."""
    async with house(state_dir, CONSOLE, login=False) as home, looking(browser, home, scripts=scripts) as page:
        await page.click(at("need-log-in.questrade"))
        await sent(page, token="canary-wrong")
        assert "Not done." in await page.inner_text("[role=alert]")
        assert "" == await page.input_value("#token")
        await sent(page, token=home.simulator.links().refresh_token or "")
        assert "questrade is logged in" in await page.inner_text("#notice")

        await page.click("#client-add")
        await sent(page, name="bot", expires="soon")
        assert "soon" == await page.input_value("#expires")
        assert "Not done." in await page.inner_text("[role=alert]")
        await sent(page, name="bot", expires="90d")
        home.key = await page.inner_text("#key")
        assert 200 == (await home.order()).status
        assert "key/" in page.url
        assert home.key not in page.url
        await page.reload()
        assert home.key not in await page.content()
        await page.click("#back")

        await page.click("#top-halt")
        await sent(page, reason="fat finger")
        assert "fat finger" in await page.inner_text("#notice")
        assert (403, "halted") == (await home.order()).problem
        await page.click(at("need-resume.1"))
        await sent(page, reason="checked")
        assert 200 == (await home.order()).status

        await page.click(at("client.bot"))
        await page.click(at("rotate.2"))
        await sent(page, overlap="30m")
        home.key, old = await page.inner_text("#key"), home.key
        for key in (old, home.key):
            assert 200 == (await home.call("GET", "/questrade/v1/accounts", key=key)).status
        await page.click("#back")
        await page.click(at("client.bot"))
        await page.click("#remove-all")
        await sent(page)
        assert 401 == (await home.order()).status

        await reload(page, home)
        await page.click(at("grant.questrade.revoke"))
        await sent(page)
        assert "revoked here" in await page.inner_text("#notice")
        assert "none" == home.app.operations.status()["mounts"][0]["state"]

        await page.click("#top-log-out")
        assert "You are logged out" in await page.inner_text("main")
        await page.go_back()
        assert "opens with a link" in await page.inner_text("main")
        assert {"console"} == {who for act, who, _, _ in await acts(home)}


async def reload(page: Page, home: House) -> None:
    """The configuration is changed, and loaded from the page."""
    await home.rewrite(("clients:", "limits: {in_flight_per_client: 500}\nclients:"))
    async with asyncio.timeout(10):
        while not home.app.config_changed():  # noqa: ASYNC110  the server looks at the file now and then
            await asyncio.sleep(0.05)
    await page.reload()
    async with page.expect_navigation():
        await page.click("#need-reload")
    assert "The configuration is loaded" in await page.inner_text("#notice")


@SCRIPTS
async def test_real_money_wants_a_second_thought(state_dir: Path, browser: Browser, scripts: bool) -> None:
    """LIVE is said, and what is dangerous is not done before a box is ticked; to halt needs none."""
    async with house(state_dir, CONSOLE, *LIVE) as home, looking(browser, home, scripts=scripts) as page:
        assert "LIVE" in await page.inner_text("#top")
        assert "LIVE" in await page.inner_text("#grants")
        await page.click(at("grant.questrade.halt.questrade"))
        await sent(page, reason="fat finger")
        assert (403, "halted") == (await home.order()).problem

        await page.click(at("grant.questrade.revoke"))
        assert "LIVE" in await page.inner_text("main")
        await page.click("#send")  # the browser asks for the box
        assert page.url.endswith("revoke?grant=questrade")
        await page.check("#confirmed")
        await sent(page)
        assert "none" == home.app.operations.status()["mounts"][0]["state"]


@SCRIPTS
async def test_a_login_over_the_broker_s_page_and_back(state_dir: Path, browser: Browser, scripts: bool) -> None:
    """There by a button, back by the broker, and on to the console by a link, which knows the browser yet."""
    async with consenting(state_dir) as home, looking(browser, home, scripts=scripts) as page:
        await page.click(at("need-log-in-there.questrade"))
        await page.click("button[name=decision][value=allow]")
        await page.wait_for_url(re.compile("/callback/done/"))
        await page.click("#home")
        await expect(page.locator(at("grant.questrade"))).to_be_visible()
        assert "fresh" == next(each["state"] for each in home.app.operations.status()["mounts"])


async def test_a_page_with_scripts_lives(state_dir: Path, browser: Browser) -> None:
    """What changes is seen without a reload; what has the focus keeps it, and times go on by themselves."""
    async with house(state_dir, CONSOLE) as home, looking(browser, home) as page:
        await expect(page.locator("#pace")).to_have_text("live")
        await page.focus(at("grant.questrade.revoke"))
        first = await page.inner_text("#grants .count >> nth=0")
        await home.call("GET", "/questrade/v1/accounts")
        await expect(page.locator("#grants .tally strong").first).to_have_text("1")
        assert "grant.questrade.revoke" == await page.evaluate("document.activeElement.id")
        await expect(page.locator("#grants .count").first).not_to_have_text(first)
        assert re.fullmatch(r"\d+:\d\d", first)

        await home.app.operations.act("halt", {"reason": "elsewhere", "by": "ann"})
        await expect(page.locator("#needs")).to_contain_text("elsewhere")


async def test_a_key_can_be_copied(state_dir: Path, browser: Browser) -> None:
    """And is gone when somebody goes back to its page."""
    async with house(state_dir, CONSOLE) as home, looking(browser, home) as page:
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await page.click("#client-add")
        await sent(page, name="bot")
        key = await page.inner_text("#key")
        await page.click("button.copy")
        await expect(page.locator("button.copy")).to_have_text("Copied")
        assert key == await page.evaluate("navigator.clipboard.readText()")
        await page.click("#back")
        await page.go_back()
        await expect(page.locator("h1")).to_have_text("This key has been shown")
        assert key not in await page.content()


async def test_windows_of_a_browser_that_has_logged_out(state_dir: Path, browser: Browser) -> None:
    """See nothing any more, also those that were open."""
    async with house(state_dir, CONSOLE) as home, looking(browser, home) as page:
        other = await page.context.new_page()
        await other.goto(page.url)
        await expect(other.locator("#pace")).to_have_text("live")
        await page.bring_to_front()
        await page.click("#top-log-out")
        await other.reload()
        assert "opens with a link" in await other.inner_text("main")
