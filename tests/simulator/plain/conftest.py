"""One plain broker for each test, made of a text, and a bot that talks to it over TLS."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from proxy.simulator import ca
from proxy.simulator.options import clock as wall_clock
from proxy.simulator.plain.broker import Plain
from proxy.simulator.plain.reading import read_setup
from proxy.simulator.plain.setup import Setup
from tests.simulator.plain.bench import Bench
from tests.simulator.support import HandClock, trusting

Start = Callable[[str], Awaitable[Bench]]


@pytest.fixture
async def start(tmp_path: Path, clock: HandClock) -> AsyncIterator[Start]:
    """Start the broker of a text; everything is stopped at the end of the test."""
    async with AsyncExitStack() as stack:

        async def started(text: str) -> Bench:
            setup = await asyncio.to_thread(_setup, tmp_path / "broker.yaml", text)
            authority = await asyncio.to_thread(ca.create, tmp_path / "ca", now=wall_clock())
            broker = Plain(setup, authority)
            broker.options.now = clock
            broker.options.slow = 0.2
            stack.push_async_callback(broker.stop)
            await broker.start(iter([0]))
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=trusting(authority.ca_file)),
                timeout=aiohttp.ClientTimeout(total=10),
                trust_env=False,
            )
            await stack.enter_async_context(session)
            return Bench(broker, session)

        yield started


def _setup(file: Path, text: str) -> Setup:
    file.write_text(text, "utf-8")
    return read_setup(file)
