"""I1 to I9: what holds whatever happens. One plain proof each; models and sweeps press harder elsewhere."""

import asyncio
import errno
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path

import pytest

import proxy
from proxy.tokens.grant import State, TokenPair
from proxy.tokens.journal import Journal
from proxy.tokens.journalfile import SLOT, START
from tests.tokens.peers import processes
from tests.tokens.support import BAD_REQUEST, DAY, HOUR, JOURNAL, LIFE, MINUTE, QUESTRADE, Home, Noting

SOON = LIFE * 0.66 + 3


@pytest.mark.parametrize("call", ["pwrite", "datasync"])
async def test_i1_no_spend_without_a_durable_intent_and_room_for_the_answer(home: Home, call: str) -> None:
    """A disk that cannot promise it gets no post; then a whole slot is there before one leaves."""
    home.disk.fail(call, errno.ENOSPC, times=100_000)
    await asyncio.sleep(LIFE + 5 * MINUTE)
    assert [] == home.endpoint.posts
    home.disk.heal()
    seen: list[tuple[int, int]] = []  # of what a power loss would leave: intents for the token, bytes that lack

    async def look() -> None:
        kept = await Journal.open(JOURNAL, home.sealer, files=next(iter(home.disk.after_power_loss())))
        intents = [item.intent for item in kept.found() if not item.intent.login]
        seen.append((len(intents), START + kept.slots * SLOT - len(home.disk.content(JOURNAL))))

    home.endpoint.script.append(look)
    await asyncio.sleep(MINUTE)

    assert [(1, 0)] == seen


async def test_i2_the_answer_is_durable_before_it_is_read() -> None:
    """Whoever reads it finds it on the disk, whole, whatever a power loss would drop."""
    notes: list[str] = []
    home = Home()

    class Reader(Noting):
        def matches(self, status: int, content_type: str | None, body: bytes) -> bool:
            left = {disk.content(JOURNAL) for disk in home.disk.after_power_loss()}
            notes.append("durable" if {home.disk.content(JOURNAL)} == left else "not durable")
            return super().matches(status, content_type, body)

    home.broker = replace(QUESTRADE, dead_token=(Reader(notes=notes),))
    await home.open()
    await home.log_in()
    notes.clear()
    await asyncio.sleep(SOON)

    assert ["durable", "read"] == notes
    await home.close()


def test_i3_a_request_carries_a_generation_and_never_a_refresh_token() -> None:
    """What is lent has no field for one, and the modules that serve calls never name one."""
    assert ["generation", "access_token", "origin", "expires", "life"] == [field.name for field in fields(TokenPair)]
    package = Path(proxy.__file__).parent
    serving = [package / "gateway.py", *sorted((package / "relay").glob("*.py"))]

    assert [] == [path.name for path in serving if "refresh_token" in path.read_text()]


async def test_i4_one_token_request_at_a_time_whoever_asks() -> None:
    """Tasks, processes and replicas together: the broker counts."""
    async with processes(4) as homes:
        endpoint = homes[0].endpoint
        endpoint.delay = 3.0
        await asyncio.gather(*(home.keep_calling(2 * HOUR) for home in homes))

        assert 1 == endpoint.most
        assert len(endpoint.posts) == len({token for _, token in endpoint.posts})


async def test_i5_a_pair_is_one_value_that_nobody_can_change(home: Home) -> None:
    """A call that is out keeps the pair that it began with, whatever is renewed meanwhile."""
    pair = await home.keeper.take()
    with pytest.raises(FrozenInstanceError):
        pair.generation = 7  # type: ignore[misc]
    await asyncio.sleep(SOON)
    home.keeper.give_back()

    assert (1, "A1") == (pair.generation, pair.access_token.reveal())
    assert "A2" == await home.call()


async def test_i6_nobody_who_waits_can_cancel_a_flight(home: Home) -> None:
    """All of a hundred callers leave; the answer is stored all the same."""
    await asyncio.sleep(5 * MINUTE)
    home.endpoint.delay = 4.0
    calls = [asyncio.ensure_future(home.keeper.renew(1)) for _ in range(100)]
    await asyncio.sleep(1)
    for call in calls:
        call.cancel()
    await asyncio.sleep(4)

    assert (1, "R2") == (len(home.endpoint.posts), await home.stored_token())


@pytest.mark.parametrize(
    "junk",
    [
        {"access_token": 7},
        {"access_token": None, "api_server": [], "expires_in": {}},
        {"expires_in": "NaN", "token_type": None, "scope": 3},
    ],
    ids=["access token", "all missing", "odd types"],
)
async def test_i7_no_bad_field_costs_the_refresh_token(home: Home, junk: dict[str, object]) -> None:
    """It is stored whatever else is wrong with the answer."""
    home.endpoint.script.append(junk)
    await asyncio.sleep(SOON)

    assert "R2" == await home.stored_token()


async def test_i8_store_and_journal_hold_the_old_or_the_new_and_the_newest_is_posted(home: Home) -> None:
    """Killed with the answer in the journal only: the next post is of the new token."""
    home.endpoint.script.append(home.store_fails)
    await asyncio.sleep(SOON)
    assert ("R1", [200]) == (
        (await _stored_behind(home)),
        [item.answer.status for item in home.journal.found() if item.answer is not None],
    )
    home.store.failure = None
    home.endpoint.posts.clear()
    await home.restart()
    await home.keep_calling(HOUR)

    assert "R2" == home.endpoint.posts[0][1]


async def _stored_behind(home: Home) -> str:
    """What the store holds, though it answers nobody."""
    failure, home.store.failure = home.store.failure, None
    token = await home.stored_token()
    home.store.failure = failure
    return token


async def test_i9_a_refused_token_is_marked_dead_and_never_posted_again_on_its_own(home: Home) -> None:
    """Not after a day, not after a restart; nothing is deleted. An operator may have it tried, once."""
    home.endpoint.always = BAD_REQUEST
    await asyncio.sleep(SOON)
    assert await home.book.verdict((await home.stored()).token_hash) is not None
    await home.restart()
    await home.keep_calling(DAY)
    assert (1, "R1", State.NEEDS_LOGIN) == (len(home.endpoint.posts), await home.stored_token(), home.state)

    await home.keeper.adopt()
    await home.keep_calling(DAY)

    assert (2, State.NEEDS_LOGIN) == (len(home.endpoint.posts), home.state)
