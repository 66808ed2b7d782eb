"""The scope tables of Tradier and Alpaca, through the real server to simulated brokers that count what reaches them."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.gate.rows import Row
from tests.brokers.near import Table, query_of, table
from tests.product import demo, state
from tests.test_scope_table_end_to_end import send_all, taken

MOUNTS = {
    "tradier": table("tradier", "rest"),
    "alpaca": table("alpaca", "trading"),
    "alpaca-data": table("alpaca", "data"),
    "alpaca-broker": table("alpaca", "broker"),
}
NEAR = 12  # of each row's near misses; all of them are decided in tests/brokers/test_rows.py

each_mount = pytest.mark.parametrize("mount", MOUNTS)


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A running demo of all brokers."""
    directory: Path = tmp_path_factory.mktemp("demo")
    with demo(directory) as found:
        yield found


async def reached(at: dict[str, Any], broker: str) -> Counter[str]:
    """What reached the API hosts of a broker so far."""
    found = await asyncio.to_thread(state, at["control"], broker)
    return Counter(found["calls"])


def own(each: Table, row: Row) -> str:
    """The target of the row's own call, below the mount."""
    query = query_of(row)
    return each.path(row) + (f"?{query}" if query else "")


@each_mount
async def test_each_row_lets_its_own_call_through_once(at: dict[str, Any], mount: str) -> None:
    """Byte for byte, whatever the broker then says; a denied row's is refused here, and one for a WebSocket too."""
    each = MOUNTS[mount]
    # A stream has no end to wait for, and what is filled in needs an application: both have tests of their own.
    rows = [row for row in each.rows if not row.streaming and not row.fills]
    before = await reached(at, each.broker)
    calls = [(row.method, f"/{mount}{own(each, row)}") for row in rows]
    answers = await send_all(at["url"], at["trader_key"], calls)
    refused = {row.id for row, answer in zip(rows, answers, strict=True) if answer is None or answer.ours}
    assert {row.id for row in rows if row.deny or row.websocket} == refused
    sent = [f"{row.method} {row.sent(each.path(row).encode()).decode()}" for row in rows if row.id not in refused]
    assert Counter(sent) == await reached(at, each.broker) - before


@each_mount
async def test_near_misses_of_each_row_are_refused_without_reaching_the_broker(at: dict[str, Any], mount: str) -> None:
    """With the key that may do everything: all refused by us, 0 requests upstream."""
    each = MOUNTS[mount]
    before = await reached(at, each.broker)
    misses = [
        (method, f"/{mount}{raw}") for row in each.rows for method, raw in _some(list(each.near(row))) if raw.strip("/")
    ]
    assert 5 * len(each.rows) <= len(misses)
    answers = await send_all(at["url"], at["trader_key"], misses)
    assert [] == taken(misses, answers)
    assert before == await reached(at, each.broker)


def _some(misses: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Every so many, the first and the last among them."""
    step = max(1, len(misses) // NEAR)
    return [*misses[::step], *misses[-1:]]
