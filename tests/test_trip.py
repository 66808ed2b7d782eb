"""One call on the express lane: however it ends, what it had is given back. Its answers: `tests/lanes/`."""

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from proxy.relay.http import Relay
from proxy.secret import Secret
from proxy.tokens.keeper import Keeper
from tests.callers import eventually
from tests.lab import REFUSED, Lab, access_token, running
from tests.wire import Step, Visit, accept, answer

ACCOUNTS = "/lab/v1/accounts"


async def at_length(visit: Visit) -> None:
    await visit.write(answer(200, b"1" * 200_000))


async def our_token(visit: Visit) -> None:
    await visit.write(answer(200, access_token(1).encode()))


async def token_refused(visit: Visit) -> None:
    await visit.json(REFUSED, 401)


async def lost(visit: Visit) -> None:
    visit.writer.transport.abort()


async def half(visit: Visit) -> None:
    await visit.write(answer(200, b"{", length=9))
    visit.writer.transport.abort()


async def silent(visit: Visit) -> None:
    await visit.wait_gone()


async def warm(lab: Lab) -> None:
    """There is a connection to the broker, and the lane takes the next call."""
    assert 200 == (await lab.call("GET", ACCOUNTS)).status


async def nothing_left(lab: Lab) -> None:
    """No token is lent, no call is inside, and each place in the budget is free."""
    out = 0
    async for _ in eventually(5):
        out = sum(line.budget.out for line in lab.gateway.pacing._lines.values())
        if (lab.lent, lab.gateway.serving.in_flight, out) == (0, 0, 0):
            return
    pytest.fail(f"{lab.lent} tokens, {lab.gateway.serving.in_flight} calls and {out} places are still out")


@pytest.mark.parametrize(
    ("step", "status"),
    [(accept, 200), (at_length, 200), (our_token, 502), (token_refused, 200), (lost, 200), (half, 502)],
)
async def test_an_answer_gives_everything_back(step: Step, status: int) -> None:
    """Whole, long, withheld, refused and renewed, lost and sent again, broken off."""
    async with running(engine="express") as lab:
        await warm(lab)
        lab.broker.script = [step]

        reply = await lab.call("GET", ACCOUNTS)

        assert (status, 1) == (reply.status, lab.lane.taken)
        await nothing_left(lab)


async def test_an_answer_is_searched_for_the_token_it_was_asked_with() -> None:
    """Even if a later call of the same target, with a newer token or another person's, is out or over by then."""
    async with running(engine="express") as lab:
        await warm(lab)
        later = asyncio.Event()

        async def our_older_token(visit: Visit) -> None:
            await later.wait()
            await our_token(visit)

        lab.broker.script = [our_older_token]
        held = lab.keeper._held
        async with lab.connect() as wire:
            await wire.send(lab.request("GET", ACCOUNTS))
            async for _ in eventually(5):
                if len(lab.broker.visits) == 2:
                    break
            held.hold(replace(held.grant, generation=2, access_token=Secret(access_token(2))))
            assert 200 == (await lab.call("GET", ACCOUNTS)).status
            later.set()

            reply = await wire.reply()

        assert (502, False) == (reply.status, access_token(1).encode() in reply.body)
        await nothing_left(lab)


async def test_a_fault_before_it_sets_off_leaves_nothing_behind() -> None:
    """Here: the token's origin is none that the mount knows. The ordinary way says so, and the connection stays."""
    async with running(engine="express") as lab:
        await warm(lab)
        relay = lab.mount.relay
        elsewhere = replace(relay.place, api_hosts=())
        lab.change_mount(
            relay=Relay(broker=lab.mount.broker, place=elsewhere, keeper=lab.keeper, upstream=lab.upstream)
        )

        assert (500, "internal") == (await lab.call("GET", ACCOUNTS)).problem

        await nothing_left(lab)
        lab.change_mount(relay=relay)
        assert (200, 0) == ((await lab.call("GET", ACCOUNTS)).status, lab.lane.taken - 1)


class Dropping:
    """A keeper that fails when a pair is given back: a fault of ours at the very end of a call."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def __getattr__(self, name: str) -> Any:
        return getattr(self._keeper, name)

    def give_back(self) -> None:
        self._keeper.give_back()
        raise RuntimeError("dropped")


async def test_a_fault_after_the_answer_lets_nobody_wait() -> None:
    """The client has its answer, and the next one too."""
    async with running(engine="express") as lab, lab.connect() as wire:
        await warm(lab)
        keeper = cast("Keeper", Dropping(lab.keeper))
        lab.change_mount(
            relay=Relay(broker=lab.mount.broker, place=lab.mount.relay.place, keeper=keeper, upstream=lab.upstream)
        )
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)

        await wire.send(lab.request("GET", ACCOUNTS))
        assert 200 == (await asyncio.wait_for(wire.reply(), 5)).status
        assert 1 == lab.lane.taken


async def test_a_client_that_leaves_gives_everything_back() -> None:
    """And the broker's connection is closed: nobody waits for its answer."""
    async with running(engine="express") as lab:
        await warm(lab)
        lab.broker.script = [silent]
        async with lab.connect() as wire:
            await wire.send(lab.request("GET", ACCOUNTS))
            async for _ in eventually(5):
                if lab.lane.taken and len(lab.broker.visits) == 2:
                    break
            wire.reset()
            async for _ in eventually(5):
                if lab.broker.visits[-1].gone.is_set():
                    break
            assert lab.broker.visits[-1].gone.is_set()
            await nothing_left(lab)


async def test_what_is_not_at_hand_leaves_no_trace() -> None:
    """Without a connection to the broker nothing is lent, counted or recorded by the lane."""
    async with running(engine="express") as lab:
        await warm(lab)
        lab.gateway.serving.draining = True

        assert 503 == (await lab.call("GET", ACCOUNTS)).status

        assert 0 == lab.lane.taken
        await nothing_left(lab)
