"""Counting what is lent, holding back who comes, and waking who waits."""

import asyncio

import pytest

from proxy.tokens.turnstile import Turnstile


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_drain_without_lent_pairs_takes_no_time_and_closes() -> None:
    """It stays closed until it is opened again."""
    turnstile = Turnstile()
    await turnstile.drain(2)
    assert (0, False) == (now(), turnstile.open)

    turnstile.reopen()
    assert turnstile.open


async def test_a_drain_ends_when_the_last_pair_is_given_back() -> None:
    """Not at the first, and not when somebody else is told something."""
    turnstile = Turnstile()
    turnstile.lend()
    turnstile.lend()
    loop = asyncio.get_running_loop()
    for delay, act in ((0.5, turnstile.give_back), (0.7, turnstile.tell), (1.0, turnstile.give_back)):
        loop.call_later(delay, act)
    assert turnstile.busy

    await turnstile.drain(2)

    assert 1.0 == pytest.approx(now())
    assert not turnstile.busy


async def test_a_drain_ends_when_its_time_is_up() -> None:
    """What is lent then goes on beside the redeem."""
    turnstile = Turnstile()
    turnstile.lend()
    await turnstile.drain(2)

    assert 2.0 == pytest.approx(now())
    assert turnstile.busy


async def test_everybody_who_waits_hears_of_a_change() -> None:
    """A hundred of them, at once."""
    turnstile = Turnstile()
    asyncio.get_running_loop().call_later(1, turnstile.reopen)

    assert [True] * 100 == await asyncio.gather(*(turnstile.change(now() + 5) for _ in range(100)))


async def test_who_gives_up_takes_nobody_along() -> None:
    """Neither by its own time-out nor by being cancelled."""
    turnstile = Turnstile()
    patient = asyncio.ensure_future(turnstile.change(5))
    hasty = asyncio.ensure_future(turnstile.change(1))
    leaving = asyncio.ensure_future(turnstile.change(5))
    await asyncio.sleep(0.5)
    leaving.cancel()
    assert not await hasty

    turnstile.tell()

    assert await patient


async def test_a_deadline_that_has_passed_is_not_waited_for() -> None:
    """It is a plain no, even if nothing was told yet."""
    assert not await Turnstile().change(-1)


async def test_telling_nobody_is_no_promise_to_who_comes_later() -> None:
    """A change counts for those who wait when it happens."""
    turnstile = Turnstile()
    turnstile.tell()

    assert not await turnstile.change(now() + 1)


async def test_a_call_that_waits_is_known_and_a_redeem_that_drains_is_none() -> None:
    """Whoever is waited for goes first."""
    turnstile = Turnstile()
    turnstile.lend()
    draining = asyncio.ensure_future(turnstile.drain(5))
    await asyncio.sleep(1)
    assert not turnstile.wanted
    call = asyncio.ensure_future(turnstile.change(now() + 5))
    await asyncio.sleep(1)
    assert turnstile.wanted
    turnstile.give_back()
    await asyncio.gather(call, draining)

    assert not turnstile.wanted
