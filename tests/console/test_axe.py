"""Every page of the console, looked over by axe-core in a real browser: nobody is shut out by how it is written."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from tests.console.test_chromium import CONSOLE, at, looking, sent
from tests.console.test_chromium import _browser as _browser  # noqa: PLC0414  the fixture `browser`
from tests.house import House, house

pytestmark = pytest.mark.asyncio(loop_scope="module")

AXE = Path(__file__).parent.parent / "clients/node_modules/axe-core/axe.min.js"
# All of WCAG 2.2 to AA, and what axe-core calls best practice.
RUN = """async () => (await axe.run(document, {resultTypes: ["violations"], runOnly: [
  "wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})).violations.flatMap(
  found => found.nodes.map(node => `${found.id} (${found.impact}): ${node.html.slice(0, 160)}`))"""
OVER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1400, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1400, "height": 900}},
    "phone": {"color_scheme": "light", "viewport": {"width": 360, "height": 740}},
    "zoomed, in high contrast": {"forced_colors": "active", "viewport": {"width": 640, "height": 480}},
}


class Eyes:
    """Looks each page over, in `many` looks, which take turns. `faults`: what was found; `seen`: in how many looks."""

    def __init__(self, page: Page, many: int) -> None:
        self._page = page
        self._many = many
        self._looks = itertools.cycle(LOOKS.items())
        self.faults: list[str] = []
        self.seen = 0

    async def look(self, name: str) -> None:
        source = await asyncio.to_thread(AXE.read_text)
        for look, how in itertools.islice(self._looks, self._many):
            await self._page.set_viewport_size(how["viewport"])
            media = {key: value for key, value in how.items() if key != "viewport"}
            await self._page.emulate_media(**({"color_scheme": "light", "forced_colors": "none"} | media))
            await self._page.evaluate(source)  # not by a script's address, which the page's policy forbids
            self.faults += [f"{name}, {look}: {fault}" for fault in await self._page.evaluate(RUN)]
            wide = await self._page.evaluate(OVER)
            if wide > 0:
                self.faults.append(f"{name}, {look}: {wide} pixels stand out at the right")
            self.seen += 1


async def walk(page: Page, home: House, eyes: Eyes) -> None:
    """To every page that there is."""
    await eyes.look("with a login needed")
    await page.click(at("need-log-in.questrade"))
    await eyes.look("the form of a login")
    await sent(page, token="wrong")
    await eyes.look("a login that failed")
    await sent(page, token=home.simulator.links().refresh_token or "")
    await eyes.look("with a notice")
    await page.click("#client-add")
    await eyes.look("the form of a new key")
    await sent(page, name="bot")
    home.key = await page.inner_text("#key")
    await eyes.look("a new key")
    await home.order()
    await home.call("GET", "/questrade/v1/accounts")
    await page.reload()
    await eyes.look("a key that was shown")
    await page.click("#back")
    await page.click("#top-halt")
    await eyes.look("the form of a halt")
    await sent(page, reason="fat finger")
    await asyncio.sleep(1.1)  # reads are on the disk within a second
    await page.reload()
    await eyes.look("with a halt, and recent calls")
    await page.click(at("need-resume.1"))
    await eyes.look("the form of a resume")
    await page.go_back()
    await page.click(at("client.bot"))
    await eyes.look("a client's keys")
    await page.click(at("rotate.2"))
    await eyes.look("the form of another key")
    await page.go_back()
    await page.click("#remove-all")
    await eyes.look("the form of a removal")
    await page.go_back()
    await page.go_back()
    await page.click(at("grant.questrade.revoke"))
    await eyes.look("the form of a revocation")
    await page.go_back()
    await page.goto(f"{page.url.partition('?')[0]}?span=24h&language=python")
    await eyes.look("with other charts and snippets")
    await page.click("#top-log-out")
    await eyes.look("logged out")


@pytest.mark.timeout(90)
@pytest.mark.parametrize("many", [1, pytest.param(len(LOOKS), marks=pytest.mark.soak)])
async def test_axe_finds_nothing(state_dir: Path, browser: Browser, figure: Any, many: int) -> None:
    """On any page, in light, dark, on a phone, and in high contrast; nothing stands out at the right."""
    async with house(state_dir, CONSOLE, login=False) as home, looking(browser, home) as page:
        eyes = Eyes(page, many)
        await walk(page, home, eyes)
    figure(f"{eyes.seen} looks, {len(eyes.faults)} violations")
    assert not eyes.faults, "\n".join(eyes.faults)


async def test_axe_would_find_something(browser: Browser) -> None:
    """A picture without words, a field without a name, pale text: the control."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.set_content(
        "<html lang=en><title>a</title><main><h1>a</h1><img src=x><input><p style='color:#ccc'>pale</p></main></html>"
    )
    await page.evaluate(await asyncio.to_thread(AXE.read_text))
    found = {fault.partition(" ")[0] for fault in await page.evaluate(RUN)}
    await context.close()
    assert {"image-alt", "label", "color-contrast"} <= found
