"""Keepers are tested in time that jumps: days pass in milliseconds, and every time-out is exact."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from proxy import eventloop
from tests.tokens.homes import empty, home  # noqa: F401  fixtures
from tests.tokens.support import VirtualLoop

JUMPING = (
    "test_errands", "test_holding", "test_keeper", "test_lease", "test_members", "test_power_loss", "test_redemption",
    "test_renewal", "test_resume", "test_rotation", "test_settlement", "test_stored", "test_turnstile",
)  # fmt: skip


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.stem.startswith(JUMPING):
        return {"virtual": VirtualLoop}
    return {"system": eventloop.factory(config.getoption("--loop"))}
