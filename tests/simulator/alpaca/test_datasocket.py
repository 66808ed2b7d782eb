"""Market data sockets: who may open one, and what may be subscribed to."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgpack  # type: ignore[import-untyped]
import pytest

from proxy.simulator.alpaca.datasocket import ERRORS, Places
from tests.simulator.alpaca.support import LIVE, PAPER, STREAM, Client, basic, bearer, pair_headers

PACKED = {"Content-Type": "application/msgpack"}
CONNECTED, AUTHENTICATED = ([{"T": "success", "msg": text}] for text in ("connected", "authenticated"))


def wrong(code: int) -> list[dict[str, object]]:
    return [{"T": "error", "code": code, "msg": ERRORS[code]}]


class Talk:
    """A client's end of one socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, packed: bool) -> None:
        self.socket = socket
        self._packed = packed

    async def say(self, **fields: object) -> None:
        if self._packed:
            await self.socket.send_bytes(msgpack.packb(fields))
        else:
            await self.socket.send_json(fields)

    async def hear(self) -> Any:
        """The next frame, or the code that the socket was closed with."""
        found = await self.socket.receive(5)
        if found.type is aiohttp.WSMsgType.CLOSE:
            return found.data
        assert (found.type is aiohttp.WSMsgType.BINARY) is self._packed
        return msgpack.unpackb(found.data) if self._packed else found.json()

    async def ask(self, **fields: object) -> Any:
        await self.say(**fields)
        return await self.hear()


@asynccontextmanager
async def talking(
    client: Client, path: str = "/v2/iex", headers: Mapping[str, str] | None = None, *, packed: bool = False
) -> AsyncIterator[Talk]:
    """A socket that has been greeted."""
    sent = {**(PACKED if packed else {}), **(headers or {})}
    async with client.session.ws_connect(client.alpaca.url(STREAM) + path, headers=sent) as socket:
        talk = Talk(socket, packed=packed)
        assert CONNECTED == await talk.hear()
        yield talk


@asynccontextmanager
async def admitted(client: Client, path: str = "/v2/iex", *, packed: bool = False) -> AsyncIterator[Talk]:
    async with talking(client, path, client.credential(STREAM), packed=packed) as talk:
        assert AUTHENTICATED == await talk.hear()
        yield talk


@pytest.mark.parametrize("packed", [False, True], ids=["json", "msgpack"])
async def test_the_first_frame_says_who_it_is(client: Client, packed: bool) -> None:
    """A key pair of either account, a Connect token or one of a machine; each is counted once."""
    own = client.alpaca.credentials
    tokens = {"oauth": await client.connect(), "access_token": await client.mint()}
    pairs = [(own.keys[host].id, own.keys[host].secret) for host in (PAPER, LIVE)] + [*tokens.items()]
    client.alpaca.streams.turn({"connections": 0})
    for key, secret in pairs:
        async with talking(client, packed=packed) as talk:
            assert AUTHENTICATED == await talk.ask(action="auth", key=key, secret=secret)
            assert wrong(403) == await talk.ask(action="auth", key=key, secret=secret)
    state = client.alpaca.state()
    assert ({"current": 4, "stale": 0, "foreign": 0, "none": 0}, 4) == (
        state["authorizations"],
        state["calls"]["GET /v2/iex"],  # type: ignore[index]
    )


async def test_the_handshake_says_who_it_is(client: Client) -> None:
    """A key pair, a bearer of either kind, or the broker partner's key."""
    client.alpaca.streams.turn({"connections": 0})
    own = client.alpaca.credentials
    forms = [
        pair_headers(own.keys[PAPER]),
        bearer(await client.connect()),
        bearer(await client.mint()),
        basic(own.broker),
    ]
    for headers in forms:
        async with talking(client, headers=headers) as talk:
            assert AUTHENTICATED == await talk.hear()
            assert wrong(403) == await talk.ask(action="auth", key="x", secret="y")


@pytest.mark.parametrize(
    ("fields", "code", "kind"),
    [
        ({"action": "auth", "key": "PK", "secret": "x"}, 402, "foreign"),
        ({"action": "auth", "key": "oauth", "secret": "x"}, 402, "foreign"),
        ({"action": "auth"}, 402, "none"),
        ({"action": "subscribe", "trades": ["AAPL"]}, 401, "none"),
        ({}, 401, "none"),
    ],
    ids=["pair", "token", "nothing", "too early", "no action"],
)
async def test_who_says_something_else_is_sent_away(
    client: Client, fields: dict[str, object], code: int, kind: str
) -> None:
    """In the broker's words, and closed."""
    async with talking(client) as talk:
        assert (wrong(code), 1000) == (await talk.ask(**fields), await talk.hear())
    assert 1 == client.alpaca.state()["authorizations"][kind]  # type: ignore[index]


async def test_a_frame_that_cannot_be_read(client: Client) -> None:
    """400; after the greeting the socket stays."""
    async with talking(client) as talk:
        await talk.socket.send_str("{")
        assert (wrong(400), 1000) == (await talk.hear(), await talk.hear())
    async with admitted(client) as talk:
        for frame in ("{", "[]", '{"action":"dance"}', '{"action":"subscribe","trades":"AAPL"}'):
            await talk.socket.send_str(frame)
            assert wrong(400) == await talk.hear()


async def test_who_says_nothing_is_sent_away(client: Client) -> None:
    """After ten seconds, or as the knob has it."""
    client.alpaca.streams.turn({"patience": 0.05})
    async with talking(client) as talk:
        assert (wrong(404), 1000) == (await talk.hear(), await talk.hear())


@pytest.mark.parametrize(("refuses", "status"), [("handshake", 401), ("frame", 101)])
async def test_a_bad_credential_of_the_handshake(client: Client, refuses: str, status: int) -> None:
    """How the real one refuses it is not known: both ways can be had."""
    client.alpaca.streams.turn({"refuses": refuses})
    url, headers = client.alpaca.url(STREAM) + "/v2/iex", bearer("no token")
    if status == 401:
        with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
            await client.session.ws_connect(url, headers=headers)
    else:
        async with talking(client, headers=headers) as talk:
            assert (wrong(402), 1000) == (await talk.hear(), await talk.hear())


async def test_a_token_without_the_scope_opens_nothing(client: Client) -> None:
    """By neither way."""
    token = await client.connect(scope="trading")
    with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
        await client.session.ws_connect(client.alpaca.url(STREAM) + "/v2/iex", headers=bearer(token))
    async with talking(client) as talk:
        assert wrong(402) == await talk.ask(action="auth", key="oauth", secret=token)


async def test_one_socket_of_an_account_to_a_feed(client: Client) -> None:
    """A second one is refused; another feed is another matter; a place is free again when its socket is over."""
    async with admitted(client):
        async with talking(client, headers=client.credential(STREAM)) as talk:
            assert (wrong(406), 1000) == (await talk.hear(), await talk.hear())
        async with admitted(client, "/v1beta1/news"):
            pass
    async with asyncio.timeout(5):
        while client.alpaca.streams.state()["open"]:  # noqa: ASYNC110  another program, as it were
            await asyncio.sleep(0.01)
    async with admitted(client):
        pass


def test_a_connection_that_broke_off_keeps_its_place_for_a_while() -> None:
    """As long as the knob says; without a limit there is always one."""
    places = Places()
    assert places.take("a", "/x", 1, 0.0)
    places.free("a", "/x", until=10.0)
    assert (False, True) == (places.take("a", "/x", 1, 9.0), places.take("a", "/x", 1, 10.0))
    assert (True, True) == (places.take("b", "/x", 1, 10.0), places.take("a", "/x", 0, 10.0))


@pytest.mark.parametrize("packed", [False, True], ids=["json", "msgpack"])
async def test_a_subscription_is_confirmed_and_served(client: Client, packed: bool) -> None:
    """All channels stand in the confirmation; messages come beat by beat, each symbol once."""
    async with admitted(client, packed=packed) as talk:
        client.alpaca.streams.turn({"rate": 0})
        confirmed = await talk.ask(action="subscribe", trades=["AAPL", "MSFT"], bars=["*"])
        assert [{"T": "subscription", "trades": ["AAPL", "MSFT"], "quotes": [], "bars": ["*"], "updatedBars": [],
                 "dailyBars": [], "statuses": [], "lulds": [], "corrections": ["AAPL", "MSFT"],
                 "cancelErrors": ["AAPL", "MSFT"]}] == confirmed  # fmt: skip
        confirmed = await talk.ask(action="unsubscribe", bars=["*"], trades=["MSFT"])
        assert (["AAPL"], [], ["AAPL"]) == tuple(confirmed[0][name] for name in ("trades", "bars", "corrections"))
        client.alpaca.streams.turn({"rate": 100})
        found = [message for _ in range(5) for message in await talk.hear()]
        assert [found[0]["i"] + number for number in range(len(found))] == [message["i"] for message in found]
        assert {"AAPL"} == {message["S"] for message in found}


async def test_messages_are_put_into_frames(client: Client) -> None:
    """At most so many as the knob says."""
    client.alpaca.streams.turn({"rate": 50, "frame": 2})
    async with admitted(client) as talk:
        await talk.ask(action="subscribe", quotes=["A", "B", "C"])
        assert [2, 1, 2, 1] == [len(await talk.hear()) for _ in range(4)]


@pytest.mark.parametrize(
    ("path", "fields", "code"),
    [
        ("/v2/iex", {"news": ["*"]}, 410),
        ("/v2/test", {"statuses": ["*"]}, 410),
        ("/v1beta1/news", {"trades": ["AAPL"]}, 410),
        ("/v1beta1/opra", {"quotes": ["*"]}, 413),
        ("/v1beta1/opra", {"bars": ["X"]}, 410),
        ("/v2/iex", {"trades": ["A", "B", "C"]}, 405),
        ("/v2/iex", {"trades": [1]}, 400),
    ],
)
async def test_what_a_feed_does_not_have_is_refused(
    client: Client, path: str, fields: dict[str, object], code: int
) -> None:
    """And leaves everything as it was."""
    client.alpaca.streams.turn({"symbols": 2, "rate": 0})
    async with admitted(client, path, packed=True) as talk:
        channel = next(iter(fields)) if code != 410 else {"/v1beta1/news": "news"}.get(path, "trades")
        assert "subscription" == (await talk.ask(action="subscribe", **{channel: ["X"]}))[0]["T"]
        assert wrong(code) == await talk.ask(action="subscribe", **fields)
        assert ["X"] == (await talk.ask(action="subscribe"))[0][channel]


async def test_options_come_in_messagepack_alone(client: Client) -> None:
    """Whoever speaks JSON is told so."""
    async with talking(client, "/v1beta1/opra") as talk:
        assert (wrong(412), 1000) == (await talk.hear(), await talk.hear())


async def test_faults_and_tokens(client: Client) -> None:
    """A refusal of what is good; a token that has died, said and closed."""
    await client.fault("stream-auth-refused")
    async with talking(client, headers=client.credential(STREAM)) as talk:
        assert (wrong(402), 1000) == (await talk.hear(), await talk.hear())
    client.alpaca.streams.turn({"stale": "close", "connections": 0})
    async with talking(client, headers=bearer(await client.mint())) as talk, admitted(client) as other:
        assert AUTHENTICATED == await talk.hear()
        await client.control("/expire")
        assert (wrong(402), 1001) == (await talk.hear(), await talk.hear())
        assert "subscription" == (await other.ask(action="subscribe"))[0]["T"]


@pytest.mark.parametrize("fault", ["stream-401", "api-401", "api-500", "api-drop", "api-slow", "api-truncated"])
async def test_a_handshake_takes_faults(client: Client, fault: str) -> None:
    """A refusal, a broken connection or a delay."""
    await client.fault(fault, 1 if fault == "api-slow" else 2)  # the client tries a connection that dies once more
    if fault == "api-slow":
        async with admitted(client):
            return
    with pytest.raises(aiohttp.ClientError):
        await client.session.ws_connect(client.alpaca.url(STREAM) + "/v2/iex", headers=client.credential(STREAM))
