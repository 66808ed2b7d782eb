"""Sockets of Alpaca's market data through the gateway: who gets in, and what it is told otherwise."""

import asyncio
from dataclasses import replace

import aiohttp
import pytest

from proxy.gate.clients import new_key
from proxy.tokens.oauth import RawAnswer
from tests.callers import eventually
from tests.streams.databroker import QUICK, good, house, says, silent, token

OTHER = new_key(lambda count: bytes(reversed(range(count)))).reveal()
CONNECTED = {"T": "success", "msg": "connected"}
AUTHENTICATED = {"T": "success", "msg": "authenticated"}


def said(code: int, text: str) -> dict[str, object]:
    return {"T": "error", "code": code, "msg": text}


async def test_a_client_is_greeted_at_once_and_authenticated_when_the_broker_is_there() -> None:
    """`connected` needs nobody; `authenticated` is the broker's to say. In the codec of the handshake."""
    async with house(silent, silent) as at:
        for binary, feed in ((True, "iex"), (False, "sip")):
            reader = await at.connect(binary=binary, feed=feed)
            assert CONNECTED == await reader.one()
            async for _ in eventually(5):
                if at.broker.sessions and at.broker.last.request.raw_path.endswith(feed):
                    break
            with pytest.raises(TimeoutError):
                await reader.one(0.05)
            await at.broker.last.send(CONNECTED)
            await at.broker.last.send(AUTHENTICATED)
            assert AUTHENTICATED == await reader.one()


async def test_the_auth_frame_of_an_sdk_may_hold_the_client_key() -> None:
    """In MessagePack or JSON whatever the codec of the socket; the broker gets the real token in the handshake."""
    async with house() as at:
        own = at.lab.key
        for binary, key, secret in (
            (True, "local", own),
            (False, "oauth", own),
            (True, "access_token", own),
            (False, own, "x"),
            (True, own, own),
        ):
            reader = await at.connect(key=None)
            assert CONNECTED == await reader.one()
            await reader.say({"action": "auth", "key": key, "secret": secret}, binary=binary)
            assert AUTHENTICATED == await reader.one()

        assert [token(1)] == [session.bearer for session in at.broker.sessions]
        assert "application/msgpack" == at.broker.last.request.headers["Content-Type"]
        assert own not in str(at.broker.last.request.headers)
        assert [] == at.broker.last.asked


async def test_a_stranger_gets_the_brokers_own_words() -> None:
    """402, close 4401, and the broker never hears of it. Two keys that differ are none."""
    async with house() as at:
        for key, secret in (("local", OTHER), ("oauth", "dummy"), ("", ""), (at.lab.key, OTHER), (OTHER, at.lab.key)):
            reader = await at.connect(key=None, binary=False)
            await reader.auth(secret, key)

            assert 4401 == await reader.closed()
            assert [CONNECTED, said(402, "auth failed")] == reader.heard
        assert [] == at.broker.sessions


async def test_who_says_nothing_is_sent_away() -> None:
    """404 after the time that the broker would wait, close 4401."""
    async with house(pace=replace(QUICK, introduction=0.1)) as at:
        reader = await at.connect(key=None)

        assert 4401 == await reader.closed()
        assert [CONNECTED, said(404, "auth timeout")] == reader.heard


async def test_who_leaves_before_it_says_who_it_is_costs_nothing() -> None:
    """The place for strangers is free again."""
    async with house() as at:
        reader = await at.connect(key=None)
        await reader.one()
        await reader.ws.close()
        async for _ in eventually(5):
            if not at.lab.gateway.streams._strangers:
                break
        assert not at.lab.gateway.streams._strangers


async def test_nothing_but_an_auth_comes_first() -> None:
    """A subscription gets 401, what makes no sense 400; then it may still introduce itself."""
    async with house() as at:
        reader = await at.connect(key=None, binary=False)
        assert CONNECTED == await reader.one()
        await reader.say({"action": "subscribe", "trades": ["AAPL"]})
        assert said(401, "not authenticated") == await reader.one()
        await reader.ws.send_str("hello")
        assert said(400, "invalid syntax") == await reader.one()
        await reader.auth(at.lab.key)
        assert AUTHENTICATED == await reader.one()


async def test_a_stranger_has_few_tries_and_little_room() -> None:
    """Eight frames, 8 KiB each."""
    async with house() as at:
        talker, long = await at.connect(key=None), await at.connect(key=None)
        for _ in range(8):
            await talker.say({"action": "subscribe"})
        await long.say({"action": "auth", "key": "x" * 8192, "secret": at.lab.key})

        assert (4401, 1009) == (await talker.closed(), await long.closed())
        assert [401] * 9 == [error["code"] for error in talker.errors]


async def test_a_key_in_the_head_is_enough() -> None:
    """Who came with one gets `authenticated` once, whether it sends an auth frame or not; a second one gets 403."""
    async with house() as at:
        for secret in ("dummy", at.lab.key):
            reader = await at.enter()
            await reader.auth(secret)
            await reader.auth(secret)

            assert said(403, "already authenticated") == await reader.one()
            assert 1 == reader.heard.count(AUTHENTICATED)


async def test_a_client_need_not_wait_for_each_answer() -> None:
    """Credential and subscription may come in one go: they are answered in order once the broker is there."""
    async with house() as at:
        for key in (None, ""):
            reader = await at.connect(key=key, binary=False)
            await reader.auth(at.lab.key)
            await reader.say({"action": "subscribe", "trades": ["AAPL"]})
            assert [CONNECTED, AUTHENTICATED] == [await reader.one(), await reader.one()]
            assert ["AAPL"] == (await reader.one())["trades"]


async def test_a_second_auth_frame_is_refused_as_the_broker_does() -> None:
    """Also where the first one came in a frame."""
    async with house() as at:
        reader = await at.connect(key=None)
        await reader.auth(at.lab.key)
        await reader.auth(at.lab.key)
        assert said(403, "already authenticated") == await reader.until("error")


async def test_a_frame_with_another_key_than_the_head_is_refused() -> None:
    """402 and close 4401."""
    async with house() as at:
        reader = await at.enter()
        await reader.auth(OTHER)
        assert 4401 == await reader.closed()
        assert [said(402, "auth failed")] == reader.errors


async def test_where_anybody_may_call_nobody_is_asked() -> None:
    """`clients: none`: no key, no auth frame; a dummy is fine."""
    async with house(open_to_all=True) as at:
        reader = await at.connect(key=None)
        assert [CONNECTED, AUTHENTICATED] == [await reader.one(), await reader.one()]
        await reader.auth("dummy")
        assert "subscription" == (await reader.subscribe(trades=["AAPL"]))["T"]


async def test_a_client_without_the_right_hears_so_in_words_that_sdks_know() -> None:
    """409 `insufficient subscription`, at which alpaca-py stops trying, and close 4403."""
    async with house(clients={"bot": {"lab": frozenset({"trade"})}}) as at:
        reader = await at.connect(key=None)
        await reader.auth(at.lab.key)
        assert 4403 == await reader.closed()
        assert [said(409, "insufficient subscription")] == reader.errors
        assert [] == at.broker.sessions


async def test_a_key_with_too_many_sockets_hears_of_a_limit() -> None:
    """406 `connection limit exceeded`, close 1008; the others stay."""
    async with house() as at:
        at.lab.gateway.streams.per_client = 1
        first = await at.enter(trades=["AAPL"])
        second = await at.connect(key=None)
        await second.auth(at.lab.key)

        assert 1008 == await second.closed()
        assert [said(406, "connection limit exceeded")] == second.errors
        await at.broker.last.send({"T": "t", "S": "AAPL"})
        assert "t" == (await first.one())["T"]


async def test_clients_of_one_feed_share_a_socket_and_feeds_do_not() -> None:
    """One upstream socket for each grant, host and path; a query makes no difference."""
    async with house() as at:
        await at.enter(feed="iex?mine=1")
        await at.enter(binary=False)
        await at.enter(feed="sip")

        assert ["/v2/iex", "/v2/sip"] == [session.request.raw_path for session in at.broker.sessions]


async def test_the_broker_learns_nothing_of_one_client() -> None:
    """Headers of the first client do not go along: the socket is not its own."""
    async with house() as at:
        await at.enter()
        names = {name.lower() for name in at.broker.last.request.headers}
        assert set() == names & {"x-request-id", "accept", "accept-encoding", "traceparent", "origin", "cookie"}
        assert "bearerd/test" == at.broker.last.request.headers["User-Agent"]


async def test_the_socket_outlives_its_last_client_for_a_moment() -> None:
    """Who connects again at once finds it; when nobody has come it is closed, and the next one gets a new one."""
    async with house() as at:
        first = await at.enter(trades=["AAPL"])
        await first.ws.close()
        second = await at.enter(trades=["MSFT"])
        assert 1 == len(at.broker.sessions)
        await second.ws.close()
        async for _ in eventually(5):
            if not at.broker.open:
                break
        assert [] == at.broker.open

        await at.enter(trades=["AAPL"])
        assert 2 == len(at.broker.sessions)
        assert {} == {key: hub for key, hub in at.hubs._hubs.items() if not hub._guests}


async def test_who_comes_while_the_socket_is_being_closed_gets_a_new_one() -> None:
    """Nobody is lost between the last client of one socket and the first of the next."""
    async with house(pace=replace(QUICK, linger=0.0)) as at:
        for _ in range(8):
            reader = await at.enter(trades=["AAPL"])
            await reader.ws.close()
        assert 2 <= len(at.broker.sessions) <= 8


async def test_a_dead_grant_is_said_as_failed_auth() -> None:
    """402 with what to do, close 4503; whoever comes a moment later hears the same without another handshake."""
    async with house(401) as at:
        at.lab.desk.answers.append(RawAnswer(400, "text/plain", b"Bad Request"))
        first = await at.connect()
        assert 4503 == await first.closed()
        [error] = first.errors
        assert 402 == error["code"]
        assert "bearerd" in error["msg"]

        second = await at.connect()
        assert 4503 == await second.closed()
        assert 1 == at.broker.refused


async def test_a_failure_is_not_for_ever() -> None:
    """A moment after the broker's refusal the next client is let in."""
    async with house(says(409), good) as at:
        first = await at.connect()
        assert 4502 == await first.closed()
        assert [409] == [error["code"] for error in first.errors]
        await asyncio.sleep(2 * QUICK.cool)
        await at.enter(trades=["AAPL"])


async def test_the_end_of_the_server_ends_all() -> None:
    """Clients hear 1001, and the broker's socket is closed."""
    async with house() as at:
        readers = [await at.enter(trades=["AAPL"]) for _ in range(3)]
        told = asyncio.gather(*(reader.closed() for reader in readers))
        await at.lab.gateway.streams.end_all()
        assert [1001] * 3 == await told
        async for _ in eventually(5):
            if not at.broker.open:
                break
        assert [] == at.broker.open


async def test_pings_are_answered() -> None:
    """A client's by us, with its own data."""
    async with house() as at:
        reader = await at.enter()
        reader.ws._autoping = False
        await reader.ws.ping(b"data")
        message = await reader.ws.receive(2)
        assert (aiohttp.WSMsgType.PONG, b"data") == (message.type, bytes(message.data))
