"""Fixtures of both folders in which keepers are tested in time that jumps; their `conftest.py` takes them in."""

from collections.abc import AsyncIterator

import pytest

from tests.tokens.support import Home


@pytest.fixture
async def home() -> AsyncIterator[Home]:
    """A Questrade grant that was logged in and is fresh, its keeper running."""
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
