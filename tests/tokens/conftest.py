"""Keepers are tested in time that jumps: days pass in milliseconds, and every time-out is exact."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from tests.tokens.support import Home, VirtualLoop

JUMPING = ("test_holding", "test_keeper", "test_renewal", "test_rotation", "test_stored", "test_turnstile")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.stem.startswith(JUMPING):
        return {"virtual": VirtualLoop}
    return {"system": asyncio.new_event_loop}


@pytest.fixture
async def home() -> AsyncIterator[Home]:
    """A grant that was logged in and is fresh, its keeper running."""
    home = Home()
    await home.open()
    await home.log_in()
    yield home
    await home.close()


@pytest.fixture
async def empty() -> AsyncIterator[Home]:
    """A keeper whose grant never saw a login."""
    home = Home()
    await home.open()
    yield home
    await home.close()
