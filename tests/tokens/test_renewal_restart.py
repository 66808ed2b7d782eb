"""What a start makes of whatever a kill left in store and journal: {old} or {new}, never neither."""

import asyncio
from dataclasses import replace

import pytest

from proxy.errors import Refusal
from proxy.secret import Secret
from proxy.tokens.grant import State, token_hash
from proxy.tokens.journal import Intent
from proxy.tokens.oauth import RawAnswer, Refresh
from tests.tokens.support import BAD_REQUEST, DAY, HOUR, LIFE, LIVE, MINUTE, WALL, Act, Home

SOON = LIFE * 0.66 + 3


async def flying(home: Home, act: Act = "ok", delay: float = 5.0) -> None:
    """Wait until a post is out."""
    home.endpoint.script.append(act)
    home.endpoint.delay = delay
    await asyncio.sleep(SOON)
    home.endpoint.delay = 0.0
    assert 1 == len(home.endpoint.posts)


async def test_a_stored_grant_is_served_after_a_restart_without_a_post(home: Home) -> None:
    """The pair's age counts on: the next renewal is where it was."""
    due = home.keeper.standing().next_renewal
    await home.restart(off=MINUTE)

    assert "A1" == await home.call()
    assert [] == home.endpoint.posts
    assert due == pytest.approx(home.keeper.standing().next_renewal)


async def test_an_answer_in_the_journal_is_adopted_without_a_post(home: Home) -> None:
    """F3: killed between the journal and the store's commit."""
    home.endpoint.script.append(home.store_fails)
    await asyncio.sleep(SOON)

    await home.restart(off=MINUTE)

    assert ("A2", "R2") == (await home.call(), await home.stored_token())
    assert (1, State.FRESH, 0) == (len(home.endpoint.posts), home.state, home.journal.slots_in_use)
    expires = home.keeper.standing().access_expires
    assert expires is not None
    assert SOON + LIFE == pytest.approx(expires - WALL, abs=5)


async def test_an_answer_in_the_journal_is_served_while_the_store_takes_nothing(home: Home) -> None:
    """A store that can be read but not written holds a start up for five seconds, not for ever."""
    home.endpoint.script.append(home.store_fails)
    await asyncio.sleep(SOON)
    disk = home.disk.after_kill()
    await home.close(kill=True)
    home.disk, home.store.failure = disk, None
    await home.open(start=False)
    start, swap = asyncio.get_running_loop().time(), home.store.swap

    async def full(name: str, *, expected: int, sealed: bytes | None) -> int | None:
        await home.store_fails()
        home.store._check()
        return None

    home.store.swap = full  # type: ignore[method-assign]
    await home.keeper.start(home.journal.found())
    assert 5.0 == pytest.approx(asyncio.get_running_loop().time() - start, abs=0.1)
    assert ("A2", State.ANSWERED) == (await home.call(), home.state)

    home.store.swap, home.store.failure = swap, None  # type: ignore[method-assign]
    await asyncio.sleep(1.1)
    assert "R2" == await home.stored_token()


async def test_i8_an_answer_that_is_newer_than_a_restored_store_is_adopted(home: Home) -> None:
    """The store broke with a commit outstanding and came back from a backup: only the journal has a live token."""
    backup = dict(home.store._rows)
    await asyncio.sleep(SOON)
    assert "A2" == await home.call()
    home.endpoint.script.append(home.store_fails)
    await asyncio.sleep(SOON)
    home.store._rows = backup
    await home.restart()

    assert ("A3", "R3") == (await home.call(), await home.stored_token())
    assert (["R1", "R2"], 0) == ([token for _, token in home.endpoint.posts], home.journal.slots_in_use)


async def test_of_two_answers_that_are_newer_than_the_store_the_newest_stays(home: Home) -> None:
    """By generation, not by a wall clock that may have been set back between them. The store ends above both."""
    for generation, wall, spent in ((4, WALL, "R4"), (3, WALL + HOUR, "R3")):
        body = b'{"refresh_token": "R%d", "access_token": "A"}' % (generation + 1)
        intent = Intent("questrade", generation, "login-1", token_hash(Secret(spent)), 1, False, wall, "")
        home.journal.keep(await home.journal.begin(intent), 200, "", body, wall)
    await home.restart()

    assert ("R5", 5, 0) == (await home.stored_token(), (await home.stored()).generation, home.journal.slots_in_use)


async def test_a_newer_answer_that_names_no_refresh_token_leaves_the_stored_one(home: Home) -> None:
    """A broker that does not rotate: what the store came back with is still good."""
    intent = Intent("questrade", 7, "login-1", "ab" * 32, 1, False, WALL, "")
    home.journal.keep(await home.journal.begin(intent), 200, "", b'{"access_token": "A9", "expires_in": 1800}', WALL)
    await home.restart()

    assert ("A9", "R1", 0) == (await home.call(), await home.stored_token(), home.journal.slots_in_use)


async def test_an_answer_without_a_token_is_no_reason_to_leave_an_older_store(home: Home) -> None:
    """It says nothing of the token that the store holds."""
    intent = Intent("questrade", 7, "login-1", "ab" * 32, 1, False, WALL, "")
    home.journal.keep(await home.journal.begin(intent), 400, "", b"Bad Request", WALL)
    await home.restart()

    assert ("A1", State.FRESH, 0) == (await home.call(), home.state, home.journal.slots_in_use)


async def test_a_grant_that_is_dropped_and_taken_up_again_finds_its_answer(home: Home) -> None:
    """A reload without its mount and one with it, while the store takes nothing: the spent token is not posted."""
    home.endpoint.script.append(home.store_fails)
    await asyncio.sleep(SOON)
    await home.keeper.close()
    home.store.failure = None
    await home.take_up()

    assert ("A2", "R2") == (await home.call(), await home.stored_token())
    assert (1, 0) == (len(home.endpoint.posts), home.journal.slots_in_use)


async def test_an_intent_alone_is_uncertain_and_costs_one_post(home: Home) -> None:
    """F1: killed before the broker had processed it. The old token is tried once, and still good."""
    await flying(home)
    home.endpoint.posts.clear()
    await home.restart()
    assert (State.UNCERTAIN, "A1", []) == (home.state, await home.call(), home.endpoint.posts)

    await asyncio.sleep(LIFE - SOON)

    assert "A2" == await home.call()
    assert ["R1"] == [token for _, token in home.endpoint.posts]
    assert 0 == home.journal.slots_in_use


async def test_an_intent_alone_whose_token_was_spent_needs_a_login(home: Home) -> None:
    """F2: the one window that nobody can close; it is told as such, and nothing is guessed."""
    await flying(home)
    home.endpoint.spend("R1")
    home.endpoint.posts.clear()
    await home.restart(off=LIFE)
    assert "the answer to a token request was lost" in (await _settled(home))
    await home.keep_calling(DAY)

    assert (1, State.NEEDS_LOGIN) == (len(home.endpoint.posts), home.state)


async def test_a_pair_that_the_broker_has_refused_is_not_shown_as_usable_after_restarts(home: Home) -> None:
    """The answer was lost, the old access token is dead, and so is the refresh token: the verdict tells of both."""
    home.endpoint.script.append("lost-after")
    await asyncio.sleep(SOON)
    with pytest.raises(Refusal):
        await home.keeper.renew(1)
    assert (State.NEEDS_LOGIN, False) == (home.state, home.keeper.standing().usable)
    for _ in range(2):
        await home.restart()
        assert (State.NEEDS_LOGIN, False) == (home.state, home.keeper.standing().usable)
    assert "login-needed" == (await home.refused()).kind.name


async def _settled(home: Home) -> str:
    await asyncio.sleep(MINUTE)
    return (await home.refused()).detail


@pytest.mark.parametrize("answer", [BAD_REQUEST, RawAnswer(503, "", b""), RawAnswer(200, "", b"")])
async def test_an_answer_without_a_token_is_settled_as_it_would_have_been(home: Home, answer: RawAnswer) -> None:
    """Killed between keeping it and giving the slot back."""
    await _kept(home, answer)
    await home.restart()

    expected = {400: State.NEEDS_LOGIN, 503: State.FRESH, 200: State.UNCERTAIN}[answer.status]
    assert (expected, int(answer.status == 200)) == (home.state, home.journal.slots_in_use)


async def _kept(home: Home, answer: RawAnswer) -> None:
    """An answer as a kill would leave it, to a post of the stored token."""
    grant, wall = await home.stored(), home.clock.now().wall
    intent = Intent("questrade", grant.generation, grant.lineage, grant.token_hash, 1, False, wall, "")
    slot = await home.journal.begin(intent)
    home.journal.keep(slot, answer.status, answer.content_type, answer.body, wall)


async def test_a_doubt_never_revives_a_token_that_was_found_dead(home: Home) -> None:
    """Killed after the verdict and before the older slot was given back: not one more post."""
    home.endpoint.always = BAD_REQUEST
    await asyncio.sleep(SOON)
    grant = await home.stored()
    await home.journal.begin(Intent("questrade", grant.generation, grant.lineage, grant.token_hash, 1, False, WALL, ""))
    await home.restart()
    await home.keep_calling(DAY)

    assert (State.NEEDS_LOGIN, 1, 0) == (home.state, len(home.endpoint.posts), home.journal.slots_in_use)


@pytest.mark.parametrize("verdict_first", [True, False])
async def test_a_doubt_and_the_answer_that_settled_it_are_taken_by_age(home: Home, *, verdict_first: bool) -> None:
    """Two slots of one token: lost, then refused. Wherever they lie, the token is dead, and the reason whole."""
    grant, wall = await home.stored(), home.clock.now().wall
    intent = Intent("questrade", grant.generation, grant.lineage, grant.token_hash, 1, False, wall, "")
    for verdict in (verdict_first, not verdict_first):
        slot = await home.journal.begin(replace(intent, wall=wall + 60 * verdict))
        if verdict:
            home.journal.keep(slot, 400, "text/plain", b"Bad Request", wall + 60)
    await home.restart()

    assert (State.NEEDS_LOGIN, 0) == (home.state, home.journal.slots_in_use)
    assert home.reason.startswith("the answer to a token request was lost")


async def test_slots_of_an_older_generation_are_given_back(home: Home) -> None:
    """The store has moved on: they prove nothing any more."""
    await _kept(home, RawAnswer(200, "", b'{"refresh_token": "R9", "access_token": "A9"}'))
    await asyncio.sleep(SOON)
    assert 2 == (await home.stored()).generation
    await home.restart()

    assert ("A2", 0) == (await home.call(), home.journal.slots_in_use)


async def test_a_login_replaces_what_an_older_slot_says(home: Home) -> None:
    """F24: its lineage is gone, so its answer is not adopted."""
    await _kept(home, RawAnswer(200, "", b'{"refresh_token": "R9", "access_token": "A9"}'))
    await home.log_in("login-2")
    await home.restart()

    assert ("A2", "login-2", 0) == (await home.call(), (await home.stored()).lineage, home.journal.slots_in_use)


async def test_another_grants_slots_are_left_alone(home: Home) -> None:
    """Each keeper settles its own."""
    await home.journal.begin(Intent("alpaca", 1, "", "", 1, False, WALL, ""))
    await home.restart()

    assert 1 == home.journal.slots_in_use


async def test_a_cut_off_login_leaves_the_old_grant(home: Home) -> None:
    """Only the intent of a login is left: its token may be spent, the old one is not."""
    home.endpoint.delay = 5.0
    login = asyncio.ensure_future(home.keeper.login(Refresh(Secret("R1")), "login-2"))
    await asyncio.sleep(1)
    home.endpoint.delay = 0.0
    await home.restart()
    login.cancel()

    assert ("A1", State.FRESH, 0) == (await home.call(), home.state, home.journal.slots_in_use)


async def test_a_login_whose_answer_was_kept_is_completed_at_the_start(empty: Home) -> None:
    """F3 for a login: nobody has to paste a second token."""
    empty.endpoint.script.append(empty.store_fails)
    login = asyncio.ensure_future(empty.keeper.login(Refresh(Secret("R0")), "login-1"))
    await asyncio.sleep(1)
    await empty.restart()
    login.cancel()

    assert ("A1", "R1", "login-1") == (
        await empty.call(),
        await empty.stored_token(),
        (await empty.stored()).lineage,
    )
    assert 1 == len(empty.endpoint.posts)


async def test_a_refused_login_that_was_cut_off_changes_nothing(home: Home) -> None:
    """Its answer says that the pasted token is dead, not the grant's."""
    slot = await home.journal.begin(Intent("questrade", 1, "login-2", "ab", 1, True, WALL, ""))
    home.journal.keep(slot, 400, "text/plain", b"Bad Request", WALL)
    await home.restart()

    assert ("A1", State.FRESH, 0) == (await home.call(), home.state, home.journal.slots_in_use)


async def test_a_grant_of_another_environment_is_neither_posted_nor_buried(home: Home) -> None:
    """A slip in the configuration sends no live token to the practice host, and undoing it brings all of it back."""
    home.endpoint.script.append(home.store_fails)
    await asyncio.sleep(SOON)
    home.environment = replace(LIVE, name="practice")
    await home.restart(off=3 * HOUR)
    await home.keep_calling(HOUR)
    assert "the login was for questrade/live, and the configuration says questrade/practice" == home.reason
    assert ("login-needed", 1, 1) == (
        (await home.refused()).kind.name,
        len(home.endpoint.posts),
        home.journal.answered,
    )

    home.environment = LIVE
    await home.restart()

    assert "A3" == await home.call()
    assert ["R1", "R2"] == [token for _, token in home.endpoint.posts]


async def test_a_grant_that_slept_for_days_is_redeemed_before_it_serves(home: Home) -> None:
    """`warm` waits for the redeem, but not longer than it was told."""
    await home.keeper.warm(5)
    assert [] == home.endpoint.posts
    await home.close()
    await asyncio.sleep(2.5 * DAY)
    home.disk = home.disk.after_kill()
    await home.open()
    await home.keeper.warm(5)
    assert ("A2", 1) == (await home.call(), len(home.endpoint.posts))

    home.endpoint.delay = 20
    home.clock.step = 3 * DAY
    start = asyncio.get_running_loop().time()
    await home.keeper.warm(5)
    assert 5 == pytest.approx(asyncio.get_running_loop().time() - start, abs=0.1)
