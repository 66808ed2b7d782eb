"""One running simulator for each test, and a bot that knows it."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from proxy.simulator import serve
from proxy.simulator.questrade.options import Options
from tests.simulator.support import Bot, HandClock, trusting


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def stranger(clock: HandClock, tmp_path: Path) -> AsyncIterator[Bot]:
    """A bot that has only the first refresh token."""
    options = Options(now=clock, slow=0.2)
    running = await serve.start(directory=tmp_path, options=options)
    connector = aiohttp.TCPConnector(ssl=trusting(running.ca_file))
    timeout = aiohttp.ClientTimeout(total=10)
    agent = {"User-Agent": "bot/1"}
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=agent, trust_env=False) as session:
        yield Bot(running, options, clock, session)
    await running.stop()


@pytest.fixture
async def bot(stranger: Bot) -> Bot:
    """A bot that has redeemed its first refresh token: generation 2."""
    await stranger.redeem()
    return stranger
