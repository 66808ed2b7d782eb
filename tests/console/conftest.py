"""A console on a free port, and somebody who looks at it."""

from collections.abc import AsyncIterator

import pytest

from proxy.config import Tcp
from tests.console.visitor import Browser, Inside, View, console_at


@pytest.fixture(name="view")
def _view() -> View:
    return View()


@pytest.fixture(name="browser")
async def _browser(view: View) -> AsyncIterator[Browser]:
    console = console_at(Tcp("127.0.0.1", 0), view)
    await console.start()
    yield Browser(console)
    await console.stop()


@pytest.fixture(name="inside")
async def _inside(browser: Browser) -> Inside:
    return await browser.log_in()
