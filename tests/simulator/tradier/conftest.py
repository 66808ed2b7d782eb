"""A running simulated Tradier for each test, and an application that is registered there."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from proxy.simulator import serve
from proxy.simulator.tradier.options import Options
from tests.simulator.support import HandClock, trusting
from tests.simulator.tradier.support import App


@pytest.fixture
async def stranger(tmp_path: Path) -> AsyncIterator[App]:
    """An application that nobody has allowed anything yet."""
    clock = HandClock()
    options = Options(now=clock, slow=0.2)
    running = await serve.start(["tradier"], directory=tmp_path, options=options)
    connector = aiohttp.TCPConnector(ssl=trusting(running.ca_file))
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
        yield App(running, options, clock, session)
    await running.stop()


@pytest.fixture
async def app(stranger: App) -> App:
    """An application with a token of all scopes."""
    await stranger.login()
    return stranger
