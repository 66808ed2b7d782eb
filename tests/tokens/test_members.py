"""Members: keepers on demand, and renewals in the background that burden no broker. In time that jumps."""

import asyncio
import math
from itertools import pairwise

import pytest

from proxy.clock import Now
from proxy.errors import Refusal
from proxy.store import Row, StoreError
from proxy.store.memory import MemoryStore
from proxy.tokens.backlog import AHEAD
from proxy.tokens.grant import State
from proxy.tokens.members import LINGER, MOST, Members
from proxy.tokens.roster import Read, Roster
from tests.tokens.crowd import LIMIT, ManyPersons, Server, serving
from tests.tokens.support import (
    DAY,
    HOUR,
    LIFE,
    MINUTE,
)


@pytest.fixture
def server() -> Server:
    return Server(MemoryStore(), ManyPersons())


async def test_a_hundred_who_ask_at_once_get_one_keeper(server: Server) -> None:
    """Two keepers of one grant would spend its token twice."""
    await server.put(1, age=HOUR)
    async with serving(server):
        tokens = await asyncio.gather(*(server.call(0) for _ in range(100)))

    assert ({"access-user0-1"}, ["questrade/user0"], 1) == (set(tokens), server.made, len(server.endpoint.posts))


async def test_a_caller_that_leaves_leaves_the_keeper_to_others(server: Server) -> None:
    """Even one whose call was making it."""
    await server.put(1, age=HOUR)
    async with serving(server), asyncio.TaskGroup() as group:
        first = group.create_task(server.call(0))
        await asyncio.sleep(0)
        first.cancel()
        assert "access-user0-1" == await server.call(0)
    assert 1 == len(server.endpoint.posts)


async def test_who_never_logged_in_is_told_so(server: Server) -> None:
    """The command that helps names the person."""
    async with serving(server):
        with pytest.raises(Refusal, match="never logged in") as refused:
            await server.call(17)
        assert ("login-needed", "bearerd login questrade/user17") == (refused.value.kind.name, refused.value.fix)
        with pytest.raises(LookupError):
            await server.members.of("tradier/user17")
        server.store.failure = StoreError("the disk is full")
        with pytest.raises(StoreError):
            await server.call(18)
        server.store.failure = None


async def test_an_idle_keeper_goes_and_comes_back_on_demand(server: Server) -> None:
    """What it knew stands on the roster; a pair that is lent keeps it here."""
    await server.put(2, age=HOUR)
    async with serving(server):
        await server.call(0)
        lent = await server.members.of(server.member(1))
        await lent.take()
        assert 2 == server.resident
        await asyncio.sleep(LINGER + MINUTE)
        assert [lent] == list(server.members.residents())
        assert {State.FRESH: 2} == server.members.counts("questrade")

        lent.give_back()
        assert "access-user0-1" == await server.call(0)
        assert 3 == len(server.made)
        await asyncio.sleep(LINGER + MINUTE)
        assert 0 == server.resident
    assert 2 == len(server.endpoint.posts)


async def test_who_is_used_is_renewed_in_time_and_who_is_not_is_kept_alive(server: Server) -> None:
    """Within half an hour of a call at two thirds of the token's life, after that every twelve hours or so."""
    await server.put(2, age=HOUR)
    async with serving(server):
        await server.call(0)
        await asyncio.sleep(24 * MINUTE)
        assert ["user0", "user0"] == [person for _, person in server.endpoint.posts]
        assert 0.59 * LIFE < server.endpoint.times[1] - server.endpoint.times[0] < 0.73 * LIFE
        server.endpoint.posts.clear()

        await asyncio.sleep(3 * DAY)
    for number in range(2):
        times = [time for time, person in server.endpoint.posts if person == f"user{number}"]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert 5 <= len(times) <= 8
        assert all(10.7 * HOUR < gap < 13.3 * HOUR for gap in gaps)


async def test_renewals_that_were_due_before_a_start_are_spread(server: Server) -> None:
    """No more than a few are out at a time, none are forgotten, and nobody stays whom no call wants."""
    count = 300
    await server.put(count, age=3 * DAY)
    async with serving(server):
        await asyncio.sleep(5.0)
        assert len(server.endpoint.posts) <= 5 * LIMIT + LIMIT
        await asyncio.sleep(3 * MINUTE)
        assert (count, LIMIT) == (len(server.endpoint.posts), server.endpoint.most)
        assert count == len({person for _, person in server.endpoint.posts})
        assert (0, {State.FRESH: count}) == (server.resident, server.members.counts("questrade"))


async def test_others_are_made_ready_while_some_ask(server: Server) -> None:
    """What does not burden the broker is done for more of them at a time; what it is asked is not more for that."""
    await server.put(100, age=3 * DAY)
    server.endpoint.delay = 20.0
    async with serving(server):
        await asyncio.sleep(59.0)
        assert (AHEAD * LIMIT, LIMIT) == (server.resident, server.endpoint.most)


async def test_a_client_goes_before_all_that_is_renewed_in_the_background(server: Server) -> None:
    """Behind a herd of hundreds it would wait for minutes."""
    await server.put(300, age=3 * DAY)
    server.endpoint.delay = 2.0
    async with serving(server):
        await asyncio.sleep(60.0)
        waiting = [number for number in range(300) if f"user{number}" not in {who for _, who in server.endpoint.posts}]
        began = asyncio.get_running_loop().time()
        await server.call(waiting[-1])
        assert asyncio.get_running_loop().time() - began < 2 * server.endpoint.delay + 0.5


async def test_while_the_endpoint_is_away_few_ask_and_all_are_served_after(server: Server) -> None:
    """Hundreds that are due are no storm, and few keepers wait; once it is back, all get their turn."""
    count = 200
    await server.put(count, age=3 * DAY)
    server.endpoint.down = True
    async with serving(server):
        await asyncio.sleep(HOUR)
        assert server.resident < 40
        first_minute = [time for time in server.endpoint.times if time < MINUTE]
        last_minutes = [time for time in server.endpoint.times if time > HOUR - 10 * MINUTE]
        assert (len(first_minute) <= 60, len(last_minutes) < 200) == (True, True)

        server.endpoint.down = False
        await asyncio.sleep(30 * MINUTE)
        assert {State.FRESH: count} == server.members.counts("questrade")
    assert set(server.endpoint.current.values()) == {f"user{number}-1" for number in range(count)}


async def test_an_endpoint_that_tells_nobody_anything_gets_few_tokens(server: Server) -> None:
    """Nobody knows what became of any of these: hardly more are posted than may be out at a time, then one by one."""
    await server.put(100, age=3 * DAY)
    server.endpoint.delay, server.endpoint.silent = 30.0, True
    async with serving(server):
        await asyncio.sleep(2.5 * MINUTE)
        assert LIMIT <= len({person for _, person in server.endpoint.posts}) <= 2 * LIMIT + 1


async def test_one_person_s_dead_token_holds_up_nobody(server: Server) -> None:
    """It is counted, and named; the others are renewed."""
    await server.put(20, age=3 * DAY)
    server.endpoint.banned = frozenset({"user3"})
    async with serving(server):
        await asyncio.sleep(5 * MINUTE)
        assert {State.FRESH: 19, State.NEEDS_LOGIN: 1} == server.members.counts("questrade")
        assert [("questrade/user3", State.NEEDS_LOGIN)] == list(server.members.troubled("questrade"))
        assert 20 == len(server.endpoint.posts)


async def test_two_servers_share_the_work(server: Server) -> None:
    """Each takes another order and sees what the other has done: nobody's token is asked for twice."""
    store, endpoint, count = MemoryStore(shared=True), ManyPersons(), 200
    first, second = Server(store, endpoint, "one"), Server(store.peer(), endpoint, "two")
    await first.put(count, age=3 * DAY)
    async with serving(first, second, follow=True):
        await asyncio.sleep(5 * MINUTE)
        assert (count, count) == (len(endpoint.posts), len({person for _, person in endpoint.posts}))
        for each in (first, second):
            assert {State.FRESH: count} == each.members.counts("questrade")
            assert len(each.made) > count / 4
        assert endpoint.most <= 2 * LIMIT


async def test_a_member_of_a_peer_is_known_and_renewed(server: Server) -> None:
    """Somebody logs in elsewhere: no restart, and no keeper before one is needed."""
    async with serving(server, follow=True):
        await server.put(1, age=9 * HOUR)
        await asyncio.sleep(1.0)
        assert ({State.FRESH: 1}, []) == (server.members.counts("questrade"), server.made)
        await asyncio.sleep(5 * HOUR)
        assert 1 == len(server.endpoint.posts)


async def test_a_grant_that_is_dropped_takes_its_members_along(server: Server) -> None:
    """Nothing of theirs is renewed any more."""
    await server.put(5, age=HOUR)
    async with serving(server):
        await server.call(0)
        await server.members.drop(["questrade"])
        assert (0, {}, 0) == (server.resident, server.members.counts("questrade"), len(server.roster))
        await asyncio.sleep(DAY)
        assert 1 == len(server.endpoint.posts)


async def test_there_are_never_much_more_keepers_than_a_bound(server: Server) -> None:
    """Those that were used longest ago go first, as soon as they are not about to be used."""
    await server.put(MOST + 50, age=0.0)
    async with serving(server):
        for number in range(MOST + 50):
            await server.members.of(server.member(number))
        await asyncio.sleep(MINUTE)
        left = {keeper.name for keeper in server.members.residents()}
        assert (MOST, True) == (len(left), server.member(MOST + 49) in left)


async def test_a_server_that_stops_makes_no_keeper(server: Server) -> None:
    """A call that comes in then gets a clear answer."""
    await server.put(1, age=0.0)
    async with serving(server):
        await server.members.close()
        with pytest.raises(Refusal, match="shutting down"):
            await server.call(0)


async def test_a_store_that_fails_stops_no_renewals(server: Server) -> None:
    """They are tried again once it is back."""
    await server.put(3, age=3 * DAY)
    async with serving(server):
        server.store.failure = StoreError("the disk is full")
        await asyncio.sleep(10 * MINUTE)
        assert [] == server.endpoint.posts
        server.store.failure = None
        await asyncio.sleep(10 * MINUTE)
        assert 3 == len(server.endpoint.posts)


def test_a_bare_member_has_no_plan() -> None:
    """What was never read is never looked at."""
    roster = Roster()
    member = roster.put(Read("questrade/x", 0, 0, State.NONE, False, 0.0))
    assert math.inf == roster.keep_alive(member, Now(0.0, 0.0))


async def test_members_of_a_grant_that_was_dropped_do_not_hold_up_the_others(server: Server) -> None:
    """A page that was being read while the configuration lost the grant has brought one of them back."""
    server.members = Members(
        server.roster, server.clock, make=server.make, found=server.found, limit={"questrade": LIMIT}.__getitem__
    )
    await server.put(3, age=DAY)
    async with serving(server):
        server.members.learn([Read("gone/user9", 1, 0, State.FRESH, True, server.clock.now().wall - DAY)])
        await asyncio.sleep(2 * MINUTE)
        assert ({"user0", "user1", "user2"}, 0) == ({person for _, person in server.endpoint.posts}, server.resident)


async def test_nobody_moves_in_while_the_server_stops(server: Server) -> None:
    """A keeper that nobody closes would start a redeem after the last one was waited for."""
    await server.put(1, age=HOUR)
    async with serving(server), asyncio.TaskGroup() as group:
        reading, gate = server.store.read, asyncio.Event()

        async def slow(name: str) -> Row | None:
            await gate.wait()
            return await reading(name)

        server.store.read = slow  # type: ignore[method-assign]
        late = group.create_task(refusal_of(server, 0))
        await asyncio.sleep(1)
        await server.members.close()
        gate.set()
        assert ("draining", 0) == (await late, server.resident)


async def test_who_waits_for_a_keeper_gets_the_error_of_who_tries(server: Server) -> None:
    """A store that takes seconds to fail is not asked by one call after the other, nor by one person for another."""
    await server.put(1000, age=HOUR)
    async with serving(server), asyncio.TaskGroup() as group:

        async def failing(_name: str) -> Row | None:
            await asyncio.sleep(5)
            raise StoreError("did not answer within 5 s")

        reading, server.store.read = server.store.read, failing  # type: ignore[assignment,method-assign]
        begun = asyncio.get_running_loop().time()
        calls = [group.create_task(refusal_of(server, number // 2)) for number in range(2000)]
        assert {"StoreError"} == set(await asyncio.gather(*calls))
        assert asyncio.get_running_loop().time() - begun < 5.1
        server.store.read = reading  # type: ignore[method-assign]
        assert "access-user0-1" == await server.call(0)


async def refusal_of(server: Server, number: int) -> str:
    """Why a call of that person is not served."""
    try:
        return await server.call(number)
    except Refusal as refused:
        return refused.kind.name
    except StoreError as error:
        return type(error).__name__
