"""The rotation over a store that several processes share: one request at a time, whichever of them dies or hangs.

The names F7, F15, F16, I4 are those of the failures and invariants of custody.
"""

import asyncio
from dataclasses import replace

import pytest

from proxy.secret import Secret
from proxy.store import Held, Lease, Spending, StoreError
from proxy.tokens.grant import State
from proxy.tokens.oauth import RawAnswer, Refresh
from tests.tokens.peers import Process, processes
from tests.tokens.support import BAD_REQUEST, DAY, HOUR, LIFE, MINUTE

ADVISORY = LIFE * 0.66
NOT_US = RawAnswer(401, "", b'{"error": "invalid_client"}')
ROW = "grant/questrade"


async def spending(home: Process) -> Spending | None:
    row = await home.contents.read(ROW)
    assert row is not None
    return row.spending


async def lease(home: Process) -> Held | Lease:
    """What a stranger gets."""
    return await home.contents.peer().lease(ROW, "stranger", 0.0)


async def refused(home: Process, generation: int = 1, calls: int = 1) -> list[str]:
    """So many calls whose token the broker has refused: what each is served with then."""
    pairs = await asyncio.gather(*(home.keeper.renew(generation) for _ in range(calls)))
    for pair in pairs:
        if pair is not None:
            home.keeper.give_back()
    return [pair.access_token.reveal() if pair is not None else "401" for pair in pairs]


@pytest.mark.parametrize("count", [2, 4])
async def test_i4_many_callers_in_several_processes_cause_one_post(count: int) -> None:
    """All of them have nothing but a dead token, and all are served with the one new pair."""
    async with processes(count) as homes:
        await asyncio.sleep(11 * HOUR)
        homes[0].endpoint.posts.clear()
        homes[0].endpoint.delay = 3.0
        tokens = await asyncio.gather(*(home.calls(50) for home in homes))

        assert 1 == len({token for one in tokens for token in one})
        assert (1, 1) == (len(homes[0].endpoint.posts), homes[0].endpoint.most)


async def test_i4_refused_calls_in_two_processes_cause_one_post() -> None:
    """Both name the stale generation; whoever comes second waits for the first."""
    async with processes() as (a, b):
        await asyncio.sleep(5 * MINUTE)
        a.endpoint.delay = 3.0
        tokens = await asyncio.gather(refused(a, calls=100), refused(b, calls=100))

        assert [["A2"] * 100] * 2 == list(tokens)
        assert (1, 1) == (len(a.endpoint.posts), a.endpoint.most)


async def test_each_is_renewed_once_whoever_is_first() -> None:
    """Hours of two processes in use: as many posts as one would make, and never two at a time."""
    async with processes() as (a, b):
        for home in (a, b):
            home.jitter = 0.1 if home is a else 0.9
        a.endpoint.delay = 2.0
        await asyncio.gather(a.keep_calling(3 * HOUR), b.keep_calling(3 * HOUR))

        rotations = (await a.stored()).generation - 1
        assert 8 <= rotations <= 10
        assert (rotations, 1) == (len(a.endpoint.posts), a.endpoint.most)
        assert None is await spending(a)


async def test_the_row_is_read_before_a_refused_token_is_renewed() -> None:
    """A peer has renewed it, and nobody has told us yet: no post, not even within the cool-down."""
    async with processes() as (a, b):
        await asyncio.sleep(5 * MINUTE)
        await refused(a)
        assert (["A2"], 1) == (await refused(b), len(a.endpoint.posts))

        await asyncio.sleep(3 * MINUTE)
        await refused(b, 2)
        assert (["A3"] * 50, 2) == (await refused(a, 2, calls=50), len(a.endpoint.posts))


async def test_a_401_in_the_cool_down_brings_what_a_peer_has_got_meanwhile() -> None:
    """A person has logged in through the other one seconds after a renewal; this one has not heard of it."""
    async with processes() as (a, b):
        await asyncio.sleep(5 * MINUTE)
        await refused(a)
        await b.keeper.login(Refresh(Secret("R2")), "login-2")

        assert (["A3"] * 20, 2) == (await refused(a, 2, calls=20), len(a.endpoint.posts))


async def test_a_401_in_the_cool_down_passes_if_no_peer_has_a_newer_pair() -> None:
    """Two processes double no storm."""
    async with processes() as (a, b):
        await asyncio.sleep(5 * MINUTE)
        await refused(a)
        await b.keeper.look_again()

        answers = await asyncio.gather(refused(a, 2, calls=20), refused(b, 2, calls=20))
        assert [["401"] * 20] * 2 == list(answers)
        assert 1 == len(a.endpoint.posts)


async def test_a_peers_rotation_is_taken_over_without_a_post() -> None:
    """`look_again` is what the watcher calls; the pair's age is its own."""
    async with processes() as (a, b):
        await asyncio.sleep(5 * MINUTE)
        await refused(a)
        await b.keeper.look_again()

        assert ("A2", "A2", 1) == (await a.call(), await b.call(), len(a.endpoint.posts))
        assert a.keeper.standing().access_expires == b.keeper.standing().access_expires


async def test_a_peers_login_and_its_revocation_are_seen() -> None:
    """A grant that nobody had logged in is served everywhere after one look, and by nobody once it is given up."""
    async with processes(log_in=False) as (a, b):
        assert State.NONE is b.state
        await a.log_in()
        await b.keeper.look_again()
        assert ("A1", State.FRESH) == (await b.call(), b.state)

        await b.keeper.forget()
        await a.keeper.look_again()
        assert (State.NONE, "revoked") == (a.state, a.reason)


async def test_a_call_that_would_be_refused_has_the_row_read_first() -> None:
    """What a peer has got meanwhile serves it at once, and not after the next look of the watcher."""
    async with processes(log_in=False) as (a, b):
        assert "login-needed" == (await b.refused()).kind.name
        await asyncio.sleep(0.2)
        await a.log_in()
        assert ["A1"] * 50 == await b.calls(50)
        a.endpoint.always = BAD_REQUEST
        await asyncio.sleep(LIFE)
        assert "login-needed" == (await b.refused()).kind.name
        a.endpoint.always = "ok"
        await a.log_in("login-2")
        await asyncio.sleep(0.2)
        assert [await a.call()] * 5 == await b.calls(5)


async def test_refused_calls_burden_a_shared_store_with_ten_reads_a_second_at_most() -> None:
    """However many they are; and one that fails is left alone for five."""
    async with processes(log_in=False) as (_, b):
        before = b.store.reads
        end = asyncio.get_running_loop().time() + 10
        while asyncio.get_running_loop().time() < end:
            await asyncio.gather(*(b.refused() for _ in range(20)))
            await asyncio.sleep(0.01)
        assert 90 <= b.store.reads - before <= 101

        b.store.failure, before = StoreError("the database is gone"), b.store.reads
        for _ in range(100):
            assert "login-needed" == (await b.refused()).kind.name
            await asyncio.sleep(0.1)
        assert b.store.reads - before <= 3


async def test_a_look_finds_nothing_new_and_changes_nothing() -> None:
    """Nor does it while a flight is out; a row that cannot be read is told."""
    async with processes() as (a, b):
        await b.keeper.look_again()
        assert (State.FRESH, 1) == (b.state, b.keeper.grant.generation)

        b.store.failure = StoreError("gone")
        with pytest.raises(StoreError, match="gone"):
            await b.keeper.look_again()
        assert "A1" == await b.call()

        b.store.failure = None
        a.endpoint.delay = 5.0
        await asyncio.sleep(ADVISORY + 1)
        await a.keeper.look_again()
        assert State.REDEEMING is a.state


async def test_a_login_waits_for_a_peers_token_request() -> None:
    """It takes the lease, too; the generation counts on from the peer's."""
    async with processes() as (a, b):
        await asyncio.sleep(5 * MINUTE)
        a.endpoint.delay = 4.0
        rotation = asyncio.ensure_future(refused(a))
        await asyncio.sleep(1)
        standing = await b.keeper.login(Refresh(Secret("R2")), "login-2")
        await rotation

        assert (3, "login-2", 1) == (standing.generation, (await b.stored()).lineage, a.endpoint.most)


async def test_a_login_that_cannot_have_the_lease_sends_nothing() -> None:
    """Somebody holds on to it; or the store cannot say who does."""
    async with processes() as (a, b):
        await a.contents.lease(ROW, "stranger", HOUR)
        with pytest.raises(Exception, match="another bearerd is renewing this grant"):
            await b.keeper.login(Refresh(Secret("R1")), "login-2")
        b.store.failure = StoreError("gone")
        with pytest.raises(Exception, match="nothing was sent, because the store fails: gone"):
            await b.keeper.login(Refresh(Secret("R1")), "login-2")

        assert ([], 0) == (a.endpoint.posts, b.journal.slots_in_use)


async def test_a_peer_that_got_nothing_costs_no_second_post_at_once() -> None:
    """Whoever waited for it backs off as well; both are served while the pair lives."""
    async with processes() as (a, b):
        await asyncio.sleep(5 * MINUTE)
        a.endpoint.delay, a.endpoint.always = 2.0, RawAnswer(503, "", b"")
        results = await asyncio.gather(refused(a), refused(b), return_exceptions=True)

        assert [True, True] == [isinstance(one, Exception) for one in results]
        assert (1, "another bearerd has just asked for a token, and got none") == (len(a.endpoint.posts), b.reason)
        assert None is await spending(a)

        a.endpoint.always = "ok"
        await asyncio.sleep(10)
        assert ("A2", "A2", 2) == (await a.call(), await b.call(), len(a.endpoint.posts))


# -- the lease --------------------------------------------------------------------------------------------------------


async def test_f15_a_slow_request_keeps_its_lease_and_nobody_else_posts() -> None:
    """It is renewed every 20 s, for as long as the flight is out, and given back at its end."""
    async with processes() as (a, b):
        a.endpoint.delay = 150.0
        await asyncio.sleep(ADVISORY)
        for _ in range(14):
            await asyncio.sleep(10)
            held = await lease(a)
            assert isinstance(held, Held)
            assert held.left >= 39
        await asyncio.sleep(11)

        assert isinstance(await lease(a), Lease)
        assert (1, 2, State.FRESH) == (len(a.endpoint.posts), (await b.stored()).generation, a.state)


async def test_f15_nothing_is_posted_with_less_than_35_seconds_left() -> None:
    """The note in the row took half a minute and no renewal gets through: begun anew, and posted with time in hand."""
    async with processes(1) as (a,):
        mark, asked = a.store.mark, a.store.lease
        leases: list[float] = []
        notes: list[float] = []

        async def slow(lease: Lease, *, expected: int, seconds: float) -> bool:
            notes.append(asyncio.get_running_loop().time())
            await asyncio.sleep(30 if len(notes) == 1 else 0)
            return await mark(lease, expected=expected, seconds=seconds)

        async def once(name: str, holder: str, ttl: float) -> Lease | Held:
            leases.append(asyncio.get_running_loop().time())
            if len(leases) == 2:
                raise StoreError("gone")
            return await asked(name, holder, ttl)

        a.store.mark, a.store.lease = slow, once  # type: ignore[method-assign]
        await asyncio.sleep(ADVISORY + 60)

        assert (1, 2) == (len(a.endpoint.posts), (await a.stored()).generation)
        assert [True, True] == [60 - (a.endpoint.times[0] - times[-1]) >= 35 for times in (leases, notes)]
        assert (0, None) == (a.journal.slots_in_use, await spending(a))


async def test_f15_a_late_holder_loses_adopts_the_winner_and_keeps_its_answer() -> None:
    """Its lease has run out during its request, and a person has logged in through the other one."""
    async with processes() as (a, b):
        a.endpoint.delay = 100.0
        await asyncio.sleep(ADVISORY + 1)
        assert State.REDEEMING is a.state
        a.store.failure = StoreError("cut off")
        await asyncio.sleep(70)
        a.endpoint.delay = 0.0
        await b.keeper.login(Refresh(Secret("R1")), "login-2")
        a.store.failure = None
        a.endpoint.issued = 1  # as if the broker took the same token twice
        await asyncio.sleep(60)

        assert ("login-2", 2, State.FRESH) == ((await a.stored()).lineage, a.keeper.grant.generation, a.state)
        assert (await b.call(), 1) == (await a.call(), a.journal.answered)


async def test_a_lease_that_is_held_is_waited_for_no_longer_than_a_minute() -> None:
    """By somebody who never renews the grant: it is tried again soon, and nothing was posted."""
    async with processes() as (a, b):
        await a.contents.lease(ROW, "stranger", HOUR)
        await asyncio.sleep(ADVISORY + 61)

        assert ([], State.DUE, "A1") == (a.endpoint.posts, b.state, await b.call())
        assert "another bearerd is renewing this grant, and has not come to an end" == b.reason


@pytest.mark.parametrize("call", ["lease", "mark"])
async def test_nothing_is_posted_while_the_store_fails_before_the_spend(call: str) -> None:
    """Neither without the lease nor without the note; within seconds of its return it is."""
    async with processes(1) as (a,):
        works = getattr(a.store, call)

        async def fails(*_: object, **__: object) -> None:
            raise StoreError("gone")

        setattr(a.store, call, fails)
        await asyncio.sleep(LIFE + HOUR)
        assert ([], 0) == (a.endpoint.posts, a.journal.slots_in_use)
        assert "nothing is redeemed while the store fails: gone" == a.reason

        setattr(a.store, call, works)
        await asyncio.sleep(5)
        assert ("A2", State.FRESH) == (await a.call(), a.state)


async def test_a_store_that_fails_at_the_release_costs_a_minute_at_most() -> None:
    """The pair is in; the lease runs out by itself, and is no hindrance to whoever has it."""
    async with processes() as (a, b):

        async def fails(lease: Lease) -> None:
            raise StoreError("gone")

        a.store.release = fails  # type: ignore[method-assign]
        await asyncio.sleep(5 * MINUTE)
        await refused(a)
        assert (State.FRESH, ["A2"]) == (a.state, await refused(b))
        await asyncio.sleep(3 * MINUTE)

        assert ["A3"] == await refused(b, 2)


async def test_f7_hours_without_the_store_cost_no_token_and_no_call_before_its_time() -> None:
    """What is in hand is served to its end, nothing is redeemed, and all is well seconds after its return."""
    async with processes() as (a, b):
        await asyncio.sleep(MINUTE)
        for home in (a, b):
            home.store.failure = StoreError("gone")
        while asyncio.get_running_loop().time() < LIFE - 10:
            await asyncio.sleep(10)
            assert ["A1", "A1"] == [await a.call(), await b.call()]
        await asyncio.sleep(5 * HOUR)
        assert ("token-unavailable", []) == ((await a.refused()).kind.name, a.endpoint.posts)

        for home in (a, b):
            home.store.failure = None
        await asyncio.sleep(5)
        assert ("A2", "A2", 1) == (await a.call(), await b.call(), len(a.endpoint.posts))


async def test_f7_calls_wait_for_a_store_that_is_away_for_seconds() -> None:
    """Nothing burdens the broker by looking again: a restart of the database costs nobody a call."""
    async with processes() as (a, b):
        for home in (a, b):
            home.store.failure = StoreError("gone")
        await asyncio.sleep(LIFE + 1)
        calls = [asyncio.ensure_future(home.calls(10)) for home in (a, b)]
        await asyncio.sleep(8)
        for home in (a, b):
            home.store.failure = None
        start = asyncio.get_running_loop().time()

        assert [["A2"] * 10] * 2 == [await call for call in calls]
        assert (1, True) == (len(a.endpoint.posts), asyncio.get_running_loop().time() - start <= 1.5)


async def test_f7_a_store_that_fails_at_the_commit_has_the_pair_within_a_second_of_its_return() -> None:
    """Hours later; the peer has spent nothing meanwhile, and serves the new pair then."""
    async with processes() as (a, b):

        async def cut() -> None:
            for home in (a, b):
                home.store.failure = StoreError("gone")

        a.endpoint.script.append(cut)
        await asyncio.sleep(ADVISORY + 1)
        assert (State.ANSWERED, "A2") == (a.state, await a.call())
        await asyncio.sleep(3 * HOUR)
        for home in (a, b):
            home.store.failure = None
        await asyncio.sleep(1)

        assert (2, 1) == ((await a.stored()).generation, len(a.endpoint.posts))
        await asyncio.sleep(8)
        assert (await a.call(), 2) == (await b.call(), len(a.endpoint.posts))


# -- a peer dies ------------------------------------------------------------------------------------------------------


async def test_f16_a_peer_that_died_before_its_post_leaves_a_doubt_that_the_broker_settles() -> None:
    """Its note outlives it. The old access token still works a minute later: nothing was spent, and it is renewed."""
    async with processes() as (a, b):
        a.endpoint.script.append("hang")
        a.endpoint.delay = 0.0
        await a.keeper.take()  # a call in flight: the redeem drains
        await asyncio.sleep(ADVISORY + 1)
        assert None is not await spending(a)
        await a.kill()
        a.endpoint.script.clear()
        await asyncio.sleep(62)
        assert (State.UNCERTAIN, "another bearerd ended inside a token request") == (b.state, b.reason)
        await asyncio.sleep(MINUTE)
        b.keeper.accepted(1)
        await asyncio.sleep(5)

        assert ("A2", ["R1"], None) == (await b.call(), [token for _, token in b.endpoint.posts], await spending(b))


async def _dies_after_the_post(a: Process, act: str) -> None:
    a.endpoint.script.append(act)
    a.endpoint.delay = 5.0
    await asyncio.sleep(ADVISORY + 1)
    await a.kill()
    if act == "lost-after":
        a.endpoint.spend("R1")
    a.endpoint.script.clear()
    a.endpoint.delay = 0.0
    a.endpoint.posts.clear()


async def test_f16_a_peer_that_died_inside_the_spend_makes_it_uncertain_then_the_token_is_tried_once() -> None:
    """Nobody posts it before the peer's time is over; then one try tells that it is dead, everywhere and for good."""
    async with processes(3) as (a, b, c):
        await _dies_after_the_post(a, "lost-after")
        await asyncio.sleep(50)
        assert [] == b.endpoint.posts
        await asyncio.sleep(DAY)

        assert [State.NEEDS_LOGIN] * 2 == [b.state, c.state]
        assert (["R1"], 1) == ([token for _, token in b.endpoint.posts], b.endpoint.most)


async def test_f16_a_peer_that_died_before_the_broker_had_processed_it_costs_one_post() -> None:
    """The last try brings the pair."""
    async with processes() as (a, b):
        await _dies_after_the_post(a, "ok")
        await asyncio.sleep(LIFE)

        assert ("A2", ["R1"]) == (await b.call(), [token for _, token in b.endpoint.posts])


async def _dies_with_the_answer(a: Process, b: Process) -> None:
    """After the journal write and before the commit."""
    await asyncio.sleep(5 * MINUTE)
    a.endpoint.script.append(a.store_fails)
    await refused(a)
    assert State.ANSWERED is a.state
    await a.kill()
    a.endpoint.posts.clear()
    assert 1 == (await b.stored()).generation


async def test_f16_the_journal_of_a_dead_peer_heals_even_needs_login() -> None:
    """Days later: the token was buried meanwhile, and its successor was in that journal all the time."""
    async with processes() as (a, b):
        await _dies_with_the_answer(a, b)
        await b.keep_calling(DAY)
        assert (State.NEEDS_LOGIN, ["R1"]) == (b.state, [token for _, token in b.endpoint.posts])

        b.endpoint.posts.clear()
        await a.revive()
        await b.keeper.look_again()
        await asyncio.sleep(MINUTE)

        assert ([State.FRESH] * 2, 0) == ([a.state, b.state], a.journal.slots_in_use)
        assert (await a.call(), ["R2"]) == (await b.call(), [token for _, token in b.endpoint.posts])


async def test_a_dead_peer_that_is_back_in_time_costs_nothing() -> None:
    """Its journal is adopted before anybody has tried the old token."""
    async with processes() as (a, b):
        await _dies_with_the_answer(a, b)
        await a.revive()
        assert (["A2"], "A2", []) == (await refused(b), await a.call(), a.endpoint.posts)
        assert None is await spending(a)


async def test_a_dead_peers_journal_does_not_undo_a_login() -> None:
    """A person has logged in meanwhile: that counts."""
    async with processes() as (a, b):
        await _dies_with_the_answer(a, b)
        await asyncio.sleep(HOUR)
        await b.keeper.login(Refresh(Secret("R2")), "login-2")
        await a.revive()

        assert ("login-2", await b.call(), 0) == (
            (await a.stored()).lineage,
            await a.call(),
            a.journal.slots_in_use,
        )


# -- marks and verdicts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "left"),
    [
        ("not-sent", False), (RawAnswer(503, "", b""), False), (NOT_US, False), (BAD_REQUEST, False),
        ("lost-before", True), ("ok", False),
    ],
    ids=["not sent", "later", "misconfigured", "dead", "lost", "renewed"],
)  # fmt: skip
async def test_the_note_stays_only_where_the_token_may_have_been_spent(act: str | RawAnswer, *, left: bool) -> None:
    """Every process that shares the row shall know, and none shall be kept waiting for nothing."""
    async with processes(1) as (a,):
        a.endpoint.script.append(act)
        await asyncio.sleep(ADVISORY + 1)

        assert (left, 1) == (await spending(a) is not None, len(a.endpoint.posts))


async def test_a_note_that_is_not_over_is_waited_for() -> None:
    """The lease is free and the note is not: its owner was cut off, and may still be at it."""
    async with processes() as (a, b):
        stranger = Lease(ROW, "stranger")
        await asyncio.sleep(5 * MINUTE)
        await a.contents.lease(ROW, "stranger", 60)
        await a.contents.mark(stranger, expected=1, seconds=8)
        await a.contents.release(stranger)
        call = asyncio.ensure_future(refused(b))
        await asyncio.sleep(5)
        assert ([], State.DUE) == (b.endpoint.posts, b.state)
        await b.book.write(replace(await a.stored(), generation=2, access_token=Secret("A-peer")))

        assert (["A-peer"], []) == (await call, b.endpoint.posts)


async def test_a_note_that_is_taken_back_leaves_no_doubt() -> None:
    """Whoever waited asks by itself, after a pause."""
    async with processes() as (a, b):
        stranger = Lease(ROW, "stranger")
        await asyncio.sleep(5 * MINUTE)
        await a.contents.lease(ROW, "stranger", 60)
        await a.contents.mark(stranger, expected=1, seconds=30)
        await a.contents.release(stranger)
        call = asyncio.ensure_future(refused(b))
        await asyncio.sleep(3)
        await a.contents.unmark(stranger)
        with pytest.raises(Exception, match="another bearerd has just asked for a token"):
            await call
        await asyncio.sleep(3)

        assert ("A2", 1) == (await b.call(), len(b.endpoint.posts))


async def test_i9_a_peers_verdict_is_heeded_without_a_post() -> None:
    """At a look, or under the lease: the token that the broker has refused is not posted again by anybody."""
    async with processes(3) as (a, b, c):
        a.endpoint.always = BAD_REQUEST
        await asyncio.sleep(5 * MINUTE)
        with pytest.raises(Exception, match="the broker refused the refresh token"):
            await refused(a)
        await b.keeper.look_again()
        assert (State.NEEDS_LOGIN, a.reason) == (b.state, b.reason)
        await asyncio.sleep(LIFE)

        assert (State.NEEDS_LOGIN, 1) == (c.state, len(a.endpoint.posts))
        assert "bearerd login questrade" == (await c.refused()).fix


async def test_i9_the_verdict_of_a_peer_that_died_with_the_lease_is_not_waited_for() -> None:
    """It had told the store what the broker said, and was killed before it gave its right back."""
    async with processes() as (a, b):
        await asyncio.sleep(5 * MINUTE)
        await a.contents.lease(ROW, "stranger", 60)
        await a.contents.mark(Lease(ROW, "stranger"), expected=1, seconds=60)
        call = asyncio.ensure_future(refused(b))
        await asyncio.sleep(1)
        assert State.DUE is b.state
        await a.book.bury(b.keeper.grant.token_hash, "the broker refused the refresh token (400)", 0.0)
        await asyncio.sleep(0.5)

        with pytest.raises(Exception, match="the broker refused the refresh token"):
            await call
        assert (State.NEEDS_LOGIN, []) == (b.state, b.endpoint.posts)


async def test_a_stop_gives_the_lease_back() -> None:
    """Nothing was sent, and the peer need not wait."""
    async with processes() as (a, _):
        await a.keeper.take()
        await asyncio.sleep(ADVISORY + 1)
        assert isinstance(await lease(a), Held)
        await a.keeper.close()

        assert (isinstance(await lease(a), Lease), None, []) == (True, await spending(a), a.endpoint.posts)
