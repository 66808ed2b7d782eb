"""Most failure modes are shown in time that jumps; those of real processes and sockets in `test_processes.py`."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from proxy import eventloop
from tests.tokens.homes import empty, home  # noqa: F401  fixtures
from tests.tokens.support import VirtualLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.stem == "test_processes":
        return {"system": eventloop.factory(config.getoption("--loop"))}
    return {"virtual": VirtualLoop}
