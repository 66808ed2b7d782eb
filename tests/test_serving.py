"""Calls inside: how many, whose, and what is told of them at their end."""

import asyncio

import pytest

from proxy.audit.calls import Calls
from proxy.audit.trail import Trail
from proxy.errors import Refusal
from proxy.metrics import Metrics
from proxy.serving import Serving, refused
from tests.lab import running


@pytest.fixture(name="serving")
def _serving(trail: Trail) -> Serving:
    return Serving(Metrics(), Calls(trail))


@pytest.fixture(name="trail")
async def _trail() -> object:
    async with running() as lab:
        yield lab.trail


def test_a_client_has_so_many_calls_at_a_time(serving: Serving) -> None:
    """Another client has its own number, and who leaves makes room."""
    serving.enter("bot", 2)
    serving.enter("bot", 2)
    with pytest.raises(Refusal) as refusal:
        serving.enter("bot", 2)
    serving.enter("notebook", 2)
    assert ("paced", 3) == (refusal.value.kind.name, serving.in_flight)
    serving.leave("bot")
    serving.enter("bot", 2)


async def test_draining_ends_with_the_last_call(serving: Serving) -> None:
    """Nobody enters any more; those inside are waited for, and not longer than the grace."""
    serving.enter("bot", 2)
    serving.draining = True
    with pytest.raises(Refusal) as refusal:
        serving.enter("bot", 2)
    assert "draining" == refusal.value.kind.name
    await serving.drained(0.01)
    assert 1 == serving.in_flight
    asyncio.get_running_loop().call_later(0.01, serving.leave, "bot")
    async with asyncio.timeout(5):
        await serving.drained(60)
    assert 0 == serving.in_flight


def test_a_refusal_counts_as_one(serving: Serving) -> None:
    """The mount's tally has the call, the denial and when it was; the metric of denials has its kind."""
    record = serving.begin("GET", "1")
    record.mount, record.client = "lab", "bot"

    rendered = refused(Refusal("halted", "Stop.", rule="halt"), record)
    serving.end(record, 7.0)

    assert (403, "halted", "halt") == (rendered.status, record.outcome, record.rule)
    tally = serving.tallies["lab"]
    assert (1, 1, 7.0) == (tally.calls, tally.denied, tally.last)
    assert b'bearerd_denials_total{client="other",kind="halted",mount="other"} 1.0' in serving.metrics.render()
