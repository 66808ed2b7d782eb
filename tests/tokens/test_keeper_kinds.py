"""Grants that no refresh token stands behind: minted by client credentials, endless, and plain secrets."""

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.brokers import HostPattern, Origin
from proxy.brokers.definition import Login, Placement
from proxy.errors import Refusal
from proxy.secret import Secret
from proxy.store import StoreError
from proxy.tokens.errands import LoginFailed
from proxy.tokens.grant import State
from proxy.tokens.journal import Intent
from proxy.tokens.oauth import Exchange, Mint, Plain, RawAnswer, Refresh
from tests.tokens.support import (
    CLIENT,
    CONNECT,
    DAY,
    HOUR,
    KEYS,
    MINUTE,
    SCHWAB,
    TRADIER,
    WALL,
    Act,
    Home,
    broker_with,
    settle,
)

LIFE = 899.0
INVALID_CLIENT = RawAnswer(401, "application/json", b'{"error": "invalid_client"}')


def unopened(jitter: float = 0.5) -> Home:
    """A grant by client credentials that was never started."""
    home = Home(broker_with(CLIENT, "Alpaca"), jitter=jitter)
    home.endpoint.life, home.endpoint.answer = LIFE, {"refresh_token": None}
    return home


@pytest.fixture
async def minted() -> AsyncIterator[Home]:
    """A grant by client credentials that has just been started for the first time."""
    home = await Home.of(CLIENT, life=LIFE, title="Alpaca")
    yield home
    await home.close()


@pytest.fixture
async def endless() -> AsyncIterator[Home]:
    """A grant whose token has no end."""
    home = await Home.of(CONNECT, life=None, title="Alpaca", scope="account:write trading")
    await home.log_in()
    yield home
    await home.close()


@pytest.fixture
async def keys() -> AsyncIterator[Home]:
    """A grant for a key pair, which nobody has given yet."""
    home = await Home.of(replace(KEYS, placement=Placement("headers", ("A", "B"))), title="Alpaca")
    yield home
    await home.close()


# -- minted -----------------------------------------------------------------------------------------------------------


async def test_client_credentials_start_by_themselves() -> None:
    """Nobody logs in; the token is stored, and the journal has no part in it."""
    minted = unopened()
    await minted.open()
    assert (State.DUE, "the first token is being asked for") == (minted.state, minted.reason)
    await settle()

    assert (State.FRESH, "A1", ["client"]) == (
        minted.state,
        await minted.call(),
        [posted for _, posted in minted.endpoint.posts],
    )
    stored = await minted.stored()
    assert (1, Secret("A1"), None, "client-credentials") == (
        stored.generation,
        stored.access_token,
        stored.refresh_token,
        stored.login,
    )
    assert 0 == minted.journal.slots_in_use
    await minted.close()


async def test_a_hundred_callers_at_the_start_cause_one_mint() -> None:
    """And all are served."""
    minted = unopened()
    minted.endpoint.delay = 3.0
    await minted.open()

    assert (["A1"] * 100, 1) == (await minted.calls(100), len(minted.endpoint.posts))
    await minted.close()


async def test_a_minted_token_is_served_after_a_restart_without_a_post(minted: Home) -> None:
    """As long as it lives; its age counts on."""
    await minted.call()
    due = minted.keeper.standing().next_renewal
    await minted.restart(off=MINUTE)

    assert ("A1", 1) == (await minted.call(), len(minted.endpoint.posts))
    assert due == pytest.approx(minted.keeper.standing().next_renewal)


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
async def test_a_token_is_minted_anew_at_the_part_of_its_life_that_the_definition_says(jitter: float) -> None:
    """Eight tenths, give or take a tenth, before it ends; and never after the mandatory point."""
    home = unopened(jitter)
    await home.open()
    await asyncio.sleep(LIFE)

    expected = min(LIFE * 0.8 * (0.9 + 0.2 * jitter), LIFE - MINUTE)
    assert [0.0, expected] == [pytest.approx(time, abs=0.1) for time in home.endpoint.times]
    await home.close()


async def test_an_unused_grant_stops_minting_and_mints_on_demand(minted: Home) -> None:
    """A token that nobody needs is not asked for; the next call waits for one."""
    await minted.call()
    await asyncio.sleep(6 * HOUR)
    posts = len(minted.endpoint.posts)
    assert posts <= 4

    assert (f"A{posts + 1}", posts + 1) == (await minted.call(), len(minted.endpoint.posts))


@pytest.mark.parametrize(
    "answer",
    ["not-sent", "lost-before", "lost-after", RawAnswer(503, "", b""), RawAnswer(200, "", b"{}"), RuntimeError("x")],
    ids=["not sent", "lost before", "lost after", "outage", "empty", "fault of ours"],
)
async def test_a_mint_that_fails_is_just_tried_again(answer: Act) -> None:
    """Nothing was spent, so nothing is in doubt; six tries in the first minute, and then it goes on by itself."""
    home = unopened()
    home.endpoint.always = answer
    await home.open()
    await home.keep_calling(MINUTE, 0.5)
    assert (State.DUE, 0) == (home.state, home.journal.slots_in_use)
    assert 4 <= len(home.endpoint.posts) <= 6
    refusal = await home.refused()
    assert "token-unavailable" == refusal.kind.name
    assert refusal.retry_after is not None

    home.endpoint.always = "ok"
    await asyncio.sleep(MINUTE)
    assert State.FRESH is home.state
    await home.call()
    await home.close()


async def test_a_minted_token_is_served_while_mints_fail(minted: Home) -> None:
    """To the end of its life not one call fails."""
    await minted.call()
    minted.endpoint.always = "not-sent"
    while asyncio.get_running_loop().time() < LIFE - 5:
        assert "A1" == await minted.call()
        await asyncio.sleep(5)

    assert 5 < len(minted.endpoint.posts) < 12


async def test_a_refused_client_stops_the_grant_with_a_reason_that_helps() -> None:
    """One try an hour; a corrected configuration is used at once."""
    minted = unopened()
    minted.endpoint.always = INVALID_CLIENT
    await minted.open()
    await minted.keep_calling(3 * HOUR)
    assert State.STOPPED is minted.state
    assert 3 <= len(minted.endpoint.posts) <= 4
    text = (
        "grant alpaca: the broker refused bearerd itself (401: invalid_client); "
        "look at client_id and client_secret of grants.alpaca"
    )
    refusal = await minted.refused()
    assert ("token-unavailable", text, True) == (
        refusal.kind.name,
        refusal.detail,
        "bearerd reload" in (refusal.fix or ""),
    )

    minted.endpoint.always = "ok"
    minted.redefine()
    await settle()
    assert (State.FRESH, "A1") == (minted.state, await minted.call())
    await minted.close()


async def test_minting_does_without_the_journal(minted: Home) -> None:
    """A full disk of the journal costs nothing where nothing can be lost."""
    minted.disk.fail("pwrite", errno.ENOSPC, times=1000)
    minted.disk.fail("datasync", errno.ENOSPC, times=1000)
    await minted.keep_calling(HOUR)

    assert State.FRESH is minted.state
    assert 4 <= len(minted.endpoint.posts)


async def test_a_kill_during_a_mint_leaves_no_doubt() -> None:
    """The next process asks again."""
    minted = unopened()
    minted.endpoint.delay = 5.0
    await minted.open()
    caller = asyncio.ensure_future(minted.call())
    await asyncio.sleep(1)
    minted.endpoint.delay = 0.0
    await minted.restart()
    caller.cancel()
    await settle()

    assert (State.FRESH, 2) == (minted.state, len(minted.endpoint.posts))
    await minted.close()


async def test_a_401_on_a_minted_token_mints_once(minted: Home) -> None:
    """However many callers name it; then the cool-down lets the broker's 401 pass."""
    await minted.call()
    await asyncio.sleep(5 * MINUTE)
    pairs = await asyncio.gather(*(minted.keeper.renew(1) for _ in range(50)))

    assert ({2}, 2) == ({pair.generation for pair in pairs if pair}, len(minted.endpoint.posts))
    assert None is await minted.keeper.renew(2)
    assert 2 == len(minted.endpoint.posts)


async def test_a_grant_that_was_given_up_does_not_mint_until_somebody_says_so(minted: Home) -> None:
    """Not by a call, nor by a restart; a login is that word, and needs nothing brought."""
    await minted.call()
    await minted.keeper.forget()
    await minted.restart()
    await minted.keep_calling(DAY, HOUR)
    assert (State.NONE, "revoked", 1) == (minted.state, minted.reason, len(minted.endpoint.posts))

    standing = await minted.keeper.login(Mint(), "login-2")
    assert (State.FRESH, 3) == (standing.state, standing.generation)
    assert "A2" == await minted.call()


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (INVALID_CLIENT, "look at client_id and client_secret of grants.alpaca"),
        ("lost-after", "the connection was lost before an answer came. Nothing was spent: try again in a minute"),
    ],
    ids=["refused", "lost"],
)
async def test_a_login_by_client_credentials_that_fails_leaves_the_token_in_hand(
    minted: Home, act: Act, text: str
) -> None:
    """It says what to correct."""
    await minted.call()
    minted.endpoint.script.append(act)
    with pytest.raises(LoginFailed) as caught:
        await minted.keeper.login(Mint(), "login-2")

    assert text in str(caught.value)
    assert ("A1", State.FRESH) == (await minted.call(), minted.state)


# -- endless ----------------------------------------------------------------------------------------------------------


async def test_a_token_without_an_end_is_served_for_ever_and_over_restarts(endless: Home) -> None:
    """Nothing is posted, nothing is planned, nothing ends."""
    for _ in range(10):
        await endless.restart(off=DAY)
        assert "A1" == await endless.call()
    standing = endless.keeper.standing()

    assert ([], State.FRESH, True) == (endless.endpoint.posts, standing.state, standing.usable)
    assert (None,) * 4 == (standing.access_expires, standing.next_renewal, standing.dies, standing.ends)
    assert (("account:write", "trading"), "connect", "code") == (
        standing.granted,
        standing.login,
        standing.login_kind,
    )


async def test_a_401_does_not_end_a_token_without_an_end(endless: Home) -> None:
    """Alpaca says 401 for a missing scope as well: the answer passes, and the token is served on."""
    assert [None] * 100 == [await endless.keeper.renew(1) for _ in range(100)]
    await endless.keep_calling(30 * DAY, DAY)

    assert ("A1", State.FRESH, []) == (await endless.call(), endless.state, endless.endpoint.posts)
    assert "if that goes on: bearerd login alpaca" in endless.reason


async def test_a_token_without_an_end_can_be_given_up(endless: Home) -> None:
    """And is gone after a restart, too."""
    await endless.keeper.forget()
    await endless.restart()

    assert (State.NONE, None) == (endless.state, endless.keeper.access_token)


async def test_a_token_without_an_end_that_can_be_refreshed_is_refreshed_for_a_401_only() -> None:
    """And then not again within the cool-down."""
    home = await Home.of(CONNECT, life=None, refreshes=True)
    await home.log_in()
    for _ in range(20):
        await asyncio.sleep(HOUR / 4)
        await home.call()
    assert [] == home.endpoint.posts
    pair = await home.keeper.renew(1)

    assert pair is not None
    assert (2, None, 1) == (pair.generation, await home.keeper.renew(2), len(home.endpoint.posts))
    await home.close()


# -- codes ------------------------------------------------------------------------------------------------------------


async def test_a_code_is_exchanged_through_the_journal_and_its_answer_survives_a_kill() -> None:
    """F3 for a code: killed before the commit, nobody has to open a browser again."""
    home = await Home.of(TRADIER, life=86399)
    home.endpoint.script.append(home.store_fails)
    login = asyncio.ensure_future(home.keeper.login(Exchange(Secret("C0")), "login-1"))
    await asyncio.sleep(1)
    assert 1 == home.journal.answered
    await home.restart(off=HOUR)
    login.cancel()

    stored = await home.stored()
    assert ("A1", "login-1", "connect", WALL) == (await home.call(), stored.lineage, stored.login, stored.logged_in)
    assert 86399 - HOUR == pytest.approx((home.keeper.standing().ends or 0) - home.clock.now().wall, abs=2)
    assert (1, 0) == (len(home.endpoint.posts), home.journal.slots_in_use)
    await home.close()


async def test_no_code_is_spent_whose_answer_could_not_be_kept(endless: Home) -> None:
    """The journal's disk fails: nothing is sent, and the person is told."""
    endless.disk.fail("datasync", errno.EIO)
    with pytest.raises(LoginFailed, match="nothing was sent, because the answer could not be saved"):
        await endless.keeper.login(Exchange(Secret("C1")), "login-2")

    assert ([], "A1") == (endless.endpoint.posts, await endless.call())


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (
            RawAnswer(400, "", b'{"ErrorCode":"invalid_request","Error":"Invalid Authorization Code"}'),
            "answered 400: invalid_request: Invalid Authorization Code. Its code is given up: log in again",
        ),
        (
            RawAnswer(400, "", b'{"error":"invalid_grant","error_description":"C-SECRET is used"}'),
            "refused the authorization code (400: invalid_grant: *** is used). A code works once, for 10 min",
        ),
        (INVALID_CLIENT, "look at client_id and client_secret of grants.alpaca. Its code is given up: log in again"),
        ("lost-after", "the connection was lost before an answer came. Its code is given up: log in again"),
    ],
    ids=["apigee", "used", "client", "lost"],
)
async def test_a_code_that_brings_nothing_leaves_the_old_grant(endless: Home, act: Act, text: str) -> None:
    """The old token is served, no slot is left, and the words are the broker's without the code."""
    endless.endpoint.script.append(act)
    with pytest.raises(LoginFailed) as caught:
        await endless.keeper.login(Exchange(Secret("C-SECRET")), "login-2")

    assert text in str(caught.value)
    assert "C-SECRET" not in str(caught.value)
    assert ("A1", State.FRESH, 0) == (await endless.call(), endless.state, endless.journal.slots_in_use)


async def test_an_answer_for_another_login_waits_for_the_day_that_it_is_configured_again(endless: Home) -> None:
    """Killed after an exchange, and started with another login configured: its token is not taken for that one's."""
    await endless.keeper.forget()
    grant = await endless.stored()
    intent = Intent("alpaca", grant.generation, "l9", "ab" * 32, 1, True, WALL, "", "alpaca/live/other")
    endless.journal.keep(await endless.journal.begin(intent), 200, "", b'{"access_token": "A9"}', WALL)
    await endless.restart()
    assert (State.NONE, 1) == (endless.state, endless.journal.answered)

    endless.login = replace(CONNECT, name="other")
    endless.broker = broker_with(endless.login, "Alpaca")
    endless.environment = endless.broker.environments["live"]
    await endless.restart()
    assert ("A9", "other", 0) == (
        await endless.call(),
        (await endless.stored()).login,
        endless.journal.slots_in_use,
    )


async def test_a_login_that_a_kill_cut_off_replaces_that_of_another_login(endless: Home) -> None:
    """The configuration had changed, a person logged in anew, and the answer got no further than the journal."""
    endless.login = replace(CONNECT, name="other")
    endless.broker = broker_with(endless.login, "Alpaca")
    endless.environment = endless.broker.environments["live"]
    await endless.restart()
    assert "login-needed" == (await endless.refused()).kind.name
    endless.endpoint.script.append(endless.store_fails)
    login = asyncio.ensure_future(endless.keeper.login(endless.wish(), "login-2"))
    await settle()
    assert State.ANSWERED is endless.state

    await endless.restart()
    login.cancel()

    assert ("A2", 0) == (await endless.call(), endless.journal.slots_in_use)
    assert ("other", "login-2") == ((await endless.stored()).login, (await endless.stored()).lineage)


# -- plain secrets ----------------------------------------------------------------------------------------------------


async def test_a_plain_secret_is_stored_and_served_and_posted_nowhere(keys: Home) -> None:
    """In two parts, for a pair of headers; it has no end."""
    standing = await keys.keeper.login(Plain(Secret("KEYID:SECRET")), "login-1")
    assert (State.FRESH, True, 1, None) == (
        standing.state,
        standing.usable,
        standing.generation,
        standing.access_expires,
    )
    await keys.restart(off=30 * DAY)

    assert ("KEYID:SECRET", [], 0) == (await keys.call(), keys.endpoint.posts, keys.journal.slots_in_use)
    assert Secret("KEYID:SECRET") == (await keys.stored()).access_token


@pytest.mark.parametrize("secret", ["one-part", ":second", "first:", "", "a:b c", "a:b\r\nHost: evil"])
async def test_a_plain_secret_that_cannot_be_sent_is_refused(keys: Home, secret: str) -> None:
    """The sentence says what form it has, and does not repeat it."""
    with pytest.raises(LoginFailed) as caught:
        await keys.keeper.login(Plain(Secret(secret)), "login-1")

    text = "that is no credential of this login: it is first:second, both of printable ASCII without spaces"
    assert (text, State.NONE) == (str(caught.value), keys.state)


async def test_a_plain_secret_that_its_login_cannot_send_any_more_is_asked_for_again(keys: Home) -> None:
    """The definition wants three parts now: no call fails half-way, and the old form brings the two back."""
    await keys.keeper.login(Plain(Secret("KEYID:SECRET")), "login-1")
    before = keys.login
    keys.login = replace(before, placement=Placement("headers", ("A", "B", "C")))
    await keys.restart()
    assert (State.NONE, "what the login brought has not the form that 'keys' sends now") == (keys.state, keys.reason)
    with pytest.raises(Refusal):
        await keys.call()

    keys.login = before
    await keys.restart()
    assert "KEYID:SECRET" == await keys.call()


async def test_another_plain_secret_replaces_the_old_one(keys: Home) -> None:
    """The generation counts on, so that calls in flight keep theirs apart."""
    await keys.keeper.login(Plain(Secret("old:secret")), "login-1")
    await keys.keeper.renew(1)
    standing = await keys.keeper.login(Plain(Secret("new:secret")), "login-2")

    assert (2, False, "new:secret") == (standing.generation, standing.doubted, await keys.call())


async def test_a_plain_secret_that_cannot_be_stored_changes_nothing(keys: Home) -> None:
    """It would be gone after a restart."""
    await keys.keeper.login(Plain(Secret("old:secret")), "login-1")
    await keys.store_fails()
    with pytest.raises(LoginFailed, match="nothing has changed, because the store fails: the disk is full"):
        await keys.keeper.login(Plain(Secret("new:secret")), "login-2")

    assert ("old:secret", State.FRESH) == (await keys.call(), keys.state)


async def test_a_commit_that_was_reported_as_failed_and_got_through_blocks_no_later_one(keys: Home) -> None:
    """Neither a login nor giving up: the second try starts from what the store holds."""
    swap = keys.store.swap

    async def lying(name: str, *, expected: int, sealed: bytes | None) -> int | None:
        await swap(name, expected=expected, sealed=sealed)
        raise StoreError("the disk failed")

    for again in (lambda: keys.keeper.login(Plain(Secret("new:secret")), "login-2"), keys.keeper.forget):
        keys.store.swap = lying  # type: ignore[method-assign]
        with pytest.raises(LoginFailed, match="the disk failed"):
            await keys.keeper.login(Plain(Secret("first:secret")), "login-1")
        keys.store.swap = swap  # type: ignore[method-assign]

        with pytest.raises((LoginFailed, StoreError), match="try again"):
            await again()
        assert "first:secret" == await keys.call()
        await again()

    assert State.NONE is keys.state


@pytest.mark.parametrize("login", [CLIENT, CONNECT, KEYS], ids=["client", "code", "secret"])
async def test_a_login_takes_its_own_kind_only(login: Login) -> None:
    """What another one takes is neither posted nor stored."""
    home = await Home.of(login, life=None)
    await settle()
    home.endpoint.posts.clear()
    wishes: list[Refresh | Exchange | Mint | Plain] = [
        Refresh(Secret("R0")),
        Exchange(Secret("C0")),
        Mint(),
        Plain(Secret("P")),
    ]
    own = {"client": [2], "connect": [0, 1], "keys": [3]}[login.name.partition("-")[0]]
    for wish in (wish for index, wish in enumerate(wishes) if index not in own):
        with pytest.raises(LoginFailed, match=f"grant tradier logs in by '{login.name}', which takes something else"):
            await home.keeper.login(wish, "login-1")

    assert [] == home.endpoint.posts
    await home.close()


# -- where a token may go ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("login", [TRADIER, CONNECT, CLIENT, KEYS], ids=["ending", "endless", "minted", "plain"])
async def test_a_token_goes_where_the_definition_says_now(login: Login) -> None:
    """The API server has moved since the token was stored; answers have no say in it."""
    home = await Home.of(login, life=None, api_server="https://evil.example/")
    await home.log_in()
    assert "api.broker.example" == home.keeper.standing().origin
    moved = {"api_servers": {"main": Origin("127.0.0.1", 4444)}, "api_hosts": (HostPattern.parse("127.0.0.1:*"),)}
    home.environment = replace(home.environment, **moved)  # type: ignore[arg-type]
    await home.restart()
    pair = await home.keeper.take()
    home.keeper.give_back()
    assert Origin("127.0.0.1", 4444) == pair.origin

    home.redefine(api_servers={"main": Origin("127.0.0.1", 5555)})
    assert Origin("127.0.0.1", 5555) == (await home.keeper.take()).origin
    await home.close()


async def test_a_token_of_another_login_is_not_used_and_not_lost(endless: Home) -> None:
    """The configuration names another way of logging in: it says so, and the old way brings the token back."""
    endless.login = replace(TRADIER, name="other")
    endless.broker = broker_with(endless.login, "Alpaca")
    endless.environment = endless.broker.environments["live"]
    await endless.restart()
    assert (State.NONE, "the login was by 'connect', and the configuration says 'other'") == (
        endless.state,
        endless.reason,
    )
    assert "login-needed" == (await endless.refused()).kind.name

    endless.login = CONNECT
    endless.broker = broker_with(CONNECT, "Alpaca")
    endless.environment = endless.broker.environments["live"]
    await endless.restart()
    assert "A1" == await endless.call()


async def test_client_credentials_do_not_write_over_another_logins_token(endless: Home) -> None:
    """They would start by themselves; a slip in the configuration must not cost a person's login."""
    endless.login = CLIENT
    endless.broker = broker_with(CLIENT, "Alpaca")
    endless.environment = endless.broker.environments["live"]
    await endless.restart()
    await endless.keep_calling(DAY, HOUR)

    assert (State.NONE, [], Secret("A1")) == (
        endless.state,
        endless.endpoint.posts,
        (await endless.stored()).access_token,
    )


async def test_a_token_that_was_minted_without_a_login_is_served_at_its_own_place_only(minted: Home) -> None:
    """A paper token in hand, and the configuration says live: it is not sent there."""
    assert "A1" == await minted.call()
    live = replace(minted.broker.environments["live"], name="other")
    minted.broker = replace(minted.broker, environments={"other": live})
    minted.environment = live
    await minted.restart()

    refusal = await minted.refused()
    assert "the login was for alpaca/live, and the configuration says alpaca/other" in refusal.detail


async def test_granted_scopes_are_those_of_the_last_answer_that_named_any() -> None:
    """A refresh need not repeat them; a new login starts without."""
    home = await Home.of(CONNECT, refreshes=True)
    home.endpoint.script.append({"scope": "read,market"})
    await home.log_in()
    assert ("read", "market") == home.keeper.standing().granted
    await asyncio.sleep(1800)
    assert ("read", "market") == home.keeper.standing().granted

    await home.log_in("login-2")
    assert () == home.keeper.standing().granted
    await home.close()


# -- any of them, whatever happens ------------------------------------------------------------------------------------

STEPS = st.sampled_from(
    [
        "minute",
        "hour",
        "half a day",
        "401",
        "accepted",
        "restart",
        "log in",
        "fail",
        "heal",
        "step back",
        "store",
        "call",
    ]
)


async def take_step(home: Home, step: str) -> None:
    match step:
        case "minute" | "hour" | "half a day":
            await asyncio.sleep({"minute": MINUTE, "hour": HOUR, "half a day": DAY / 2}[step])
        case "401" | "accepted" | "call":
            with contextlib.suppress(Refusal):
                await one_call(home, step)
        case "restart":
            await home.restart(off=MINUTE)
        case "log in":
            with contextlib.suppress(LoginFailed):
                await home.keeper.login(home.wish(), "another")
        case "fail" | "heal":
            home.endpoint.always = "lost-after" if step == "fail" else "ok"
        case "step back":
            home.clock.step -= 10.0
        case "store":
            home.store.failure = StoreError("the disk is full")
            await asyncio.sleep(MINUTE)
            home.store.failure = None
        case _:
            raise AssertionError(step)


async def one_call(home: Home, end: str) -> None:
    """A call as the relay makes it."""
    pair = await home.keeper.take()
    home.keeper.give_back()
    if end == "401" and await home.keeper.renew(pair.generation) is not None:
        home.keeper.give_back()
    elif end == "accepted":
        home.keeper.accepted(pair.generation)


async def last_call(home: Home) -> str:
    """What becomes of a call: `live`, or the name of its refusal."""
    try:
        pair = await home.keeper.take()
    except Refusal as refusal:
        return refusal.kind.name if refusal.fix == f"bearerd login {home.name}" else refusal.detail
    return "live" if pair.alive(home.clock.now()) else "dead"


@pytest.mark.parametrize(
    "login", [TRADIER, CONNECT, CLIENT, KEYS, SCHWAB], ids=["ending", "endless", "minted", "plain", "rotating"]
)
@given(steps=st.lists(STEPS, max_size=12))
async def test_whatever_happens_a_grant_serves_live_tokens_or_says_what_to_do(login: Login, steps: list[str]) -> None:
    """No token is served past its end, nothing is posted that nothing can renew, no doubt where nothing was spent."""
    life = {"connect": 86399.0, "code": 1800.0}.get(login.name, 899.0)
    home = await Home.of(login, life=None if login.expires_in is None else life, refreshes=login is SCHWAB)
    await home.log_in()
    for step in steps:
        await take_step(home, step)
    home.endpoint.always = "ok"
    await asyncio.sleep(HOUR + MINUTE)
    home.endpoint.posts.clear()
    assert await last_call(home) in ({"live"} if login in {CONNECT, CLIENT, KEYS} else {"live", "login-needed"})
    standing = home.keeper.standing()
    assert standing.state in {State.FRESH, State.NEEDS_LOGIN}
    assert login in {CLIENT, SCHWAB} or [] == home.endpoint.posts
    assert login is SCHWAB or 0 == home.journal.slots_in_use
    await home.close()
