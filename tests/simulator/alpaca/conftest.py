"""One running simulated Alpaca for each test, and a client that knows it."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from proxy.simulator import serve
from proxy.simulator.alpaca.account import Account
from proxy.simulator.alpaca.options import Options
from tests.simulator.alpaca.support import Client
from tests.simulator.support import NOON, HandClock, trusting


@pytest.fixture
def account() -> Account:
    return Account("PA1", NOON)


@pytest.fixture
async def client(clock: HandClock, tmp_path: Path) -> AsyncIterator[Client]:
    options = Options(now=clock, slow=0.2)
    running = await serve.start(("alpaca",), directory=tmp_path, options={"alpaca": options})
    connector = aiohttp.TCPConnector(ssl=trusting(running.ca_file))
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
        yield Client(running, options, clock, session)
    await running.stop()
