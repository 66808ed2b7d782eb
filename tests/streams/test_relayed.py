"""One client, one socket at the broker: what goes between them, who may, and how it ends."""

import asyncio
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from proxy.clock import SystemClock
from proxy.gate.clients import Client, Keyring, digest
from proxy.gate.halt import Halt
from proxy.relay.frames import SocketLimits
from proxy.streams import codes
from tests import lab
from tests.streams.echo import Desk, EchoBroker, Socket, desk, handshake, until
from tests.wire import Visit


async def _close_of(socket: Socket) -> tuple[int | None, str]:
    """The close frame that comes, whatever comes before it."""
    async with asyncio.timeout(5):
        while True:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.CLOSE:
                return message.data, message.extra or ""
            if message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                return None, ""


async def _quiet(it: Desk, **options: Any) -> Socket:
    """A socket that closes nothing by itself."""
    return await it.connect(autoclose=False, autoping=False, **options)


async def test_messages_pass_both_ways_in_their_order() -> None:
    """Text as text, binary as binary, empty ones too; the broker gets the bearer and nothing of the client's."""
    async with desk() as it:
        socket = await it.connect(headers=it.auth | {"Cookie": "a=b", "X-Own": "no"})
        for sent in ("", "hello", "héllo", "x" * 70_000):
            await socket.send_str(sent)
            assert sent == await socket.receive_str()
        for raw in (b"", b"\x00\xff", bytes(70_000)):
            await socket.send_bytes(raw)
            assert raw == await socket.receive_bytes()
        await socket.close()
        await until(lambda: bool(it.broker.closes))

        assert [1000] == it.broker.closes
        (request,) = it.broker.requests
        assert f"Bearer {lab.access_token(1)}" == request.headers["Authorization"]
        assert not {"Cookie", "X-Own", "Origin"} & set(request.headers)
        assert 0 == it.lab.lent


async def test_the_clients_close_code_reaches_the_broker() -> None:
    """With its reason, and the client is answered with the same code."""
    heard: list[tuple[int, str]] = []

    async def listen(_broker: EchoBroker, socket: web.WebSocketResponse) -> None:
        message = await socket.receive()
        heard.append((message.data, message.extra or ""))

    async with desk(listen, broker_options={"autoclose": False}) as it:
        for code in (1000, 1001, 3000, 4000, 4999):
            socket = await it.connect()
            await socket.close(code=code, message=b"because")
            await until(lambda: bool(heard))
            assert ([(code, "because")], code) == (heard, socket.close_code)
            heard.clear()


async def test_the_brokers_close_code_reaches_the_client() -> None:
    """With its reason; none at all is 1012: what may have been missed cannot be said otherwise."""
    cases = [(1000, 1000), (1001, 1001), (1013, 1013), (4009, 4009), (None, 1012)]
    coming = [code for code, _ in cases]

    async def leave(_broker: EchoBroker, socket: web.WebSocketResponse) -> None:
        await socket.send_str("last words")
        code = coming.pop(0)
        if code is not None:
            await socket.close(code=code, message=b"because")
        else:
            assert socket._writer is not None
            await socket._writer.send_frame(b"", aiohttp.WSMsgType.CLOSE)

    async with desk(leave) as it:
        for code, told in cases:
            socket = await _quiet(it)
            assert "last words" == await socket.receive_str()
            assert (told, "because" if code else "") == await _close_of(socket)
            await socket.close()


@pytest.mark.parametrize("how", ["reset", "eof", "broken-frame"])
async def test_a_broker_that_is_lost_closes_the_client_with_1012(how: str) -> None:
    """It is told so; it may connect again."""

    async def vanish(_broker: EchoBroker, socket: web.WebSocketResponse) -> None:
        await socket.receive()
        line = socket._req.transport  # type: ignore[union-attr]
        assert line is not None
        if how == "broken-frame":
            line.write(b"\xff\xff\xff\xff")
            await asyncio.sleep(1)
        elif how == "reset":
            line.abort()
        else:
            line.close()

    async with desk(vanish) as it:
        socket = await _quiet(it)
        await socket.send_str("go")
        assert codes.AGAIN == (await _close_of(socket))[0]
        await socket.close()


async def test_a_client_that_vanishes_ends_the_brokers_socket_at_once() -> None:
    """Without a close frame, too: within half a second."""
    async with desk() as it:
        socket = await it.connect()
        await socket.send_str("here")
        await socket.receive_str()
        transport = socket._response.connection.transport  # type: ignore[union-attr]
        transport.abort()  # type: ignore[union-attr]
        async with asyncio.timeout(0.5):
            await it.broker.gone.wait()
        await socket.close()
        await until(lambda: not it.lab.gateway.streams.all())


async def test_pings_and_pongs_pass_with_what_they_hold() -> None:
    """From either side to the other one; nobody between them answers."""
    seen: list[tuple[aiohttp.WSMsgType, bytes]] = []

    async def listen(_broker: EchoBroker, socket: web.WebSocketResponse) -> None:
        await socket.ping(b"from the broker")
        async for message in socket:
            seen.append((message.type, bytes(message.data)))
            if message.type is aiohttp.WSMsgType.PING:
                await socket.pong(message.data)

    async with desk(listen, broker_options={"autoping": False}) as it:
        socket = await _quiet(it)
        ping = await socket.receive()
        assert (aiohttp.WSMsgType.PING, b"from the broker") == (ping.type, bytes(ping.data))
        await socket.pong(b"to the broker")
        await socket.ping(b"from the client")
        pong = await socket.receive()
        assert (aiohttp.WSMsgType.PONG, b"from the client") == (pong.type, bytes(pong.data))
        expected = [(aiohttp.WSMsgType.PONG, b"to the broker"), (aiohttp.WSMsgType.PING, b"from the client")]
        assert expected == seen
        await socket.close()


async def test_our_own_heartbeat_shows_on_neither_side() -> None:
    """Both ends are pinged by us; a pong to that goes no further, and a socket that answers stays open."""
    seen: list[aiohttp.WSMsgType] = []

    async def listen(_broker: EchoBroker, socket: web.WebSocketResponse) -> None:
        async for message in socket:
            seen.append(message.type)
            if message.type is aiohttp.WSMsgType.PING:
                await socket.pong(message.data)

    async with desk(listen, broker_options={"autoping": False}) as it:
        it.lab.change(sockets=SocketLimits(beat=0.05))
        socket = await _quiet(it)
        for _ in range(6):
            ping = await socket.receive(timeout=1)
            assert aiohttp.WSMsgType.PING is ping.type
            await socket.pong(ping.data)
        assert {aiohttp.WSMsgType.PING} == set(seen)
        await socket.close()


async def test_a_client_that_answers_no_ping_is_cut_off() -> None:
    """After two pings that were missed; the broker's socket goes with it."""
    async with desk() as it:
        it.lab.change(sockets=SocketLimits(beat=0.1))
        socket = await _quiet(it)
        async with asyncio.timeout(5):
            await it.broker.gone.wait()
        await socket.close()


async def test_a_broker_that_falls_silent_is_given_up() -> None:
    """After the row's `idle`, if it answers no ping: a clean close for the client."""

    async def silence(_broker: EchoBroker, socket: web.WebSocketResponse) -> None:
        async for _ in socket:
            pass

    async with desk(silence, broker_options={"autoping": False}) as it:
        it.lab.change(sockets=SocketLimits(beat=0.4))
        socket = await _quiet(it, path="/v1/quick")

        async def answering() -> tuple[int | None, str]:
            while (message := await socket.receive()).type is aiohttp.WSMsgType.PING:
                await socket.pong(message.data)
            return message.data, message.extra or ""

        code, reason = await asyncio.wait_for(answering(), 3)
        assert (codes.AGAIN, True) == (code, "silent" in reason)
        await socket.close()


async def test_a_subprotocol_is_the_brokers_to_choose() -> None:
    """What it chose is what the client gets; what it did not choose nobody speaks."""
    async with desk(broker_options={"protocols": ("v2.json",)}) as it:
        socket = await it.connect(protocols=("v3.json", "v2.json"))
        assert "v2.json" == socket.protocol
        await socket.close()
        other = await it.connect(protocols=("v9",))
        assert None is other.protocol
        await other.close()
        assert "v3.json,v2.json" == it.broker.requests[0].headers["Sec-WebSocket-Protocol"]


async def test_compression_is_each_sides_own() -> None:
    """Off: it is neither granted nor offered. On: both, and the messages are the same."""
    async with desk(broker_options={"compress": True}) as it:
        plain = await it.connect(compress=15)
        assert 0 == plain.compress
        await plain.close()
        it.lab.change(sockets=SocketLimits(compression=True))
        packed = await it.connect(compress=15)
        await packed.send_str("z" * 50_000)
        assert (15, "z" * 50_000) == (packed.compress, await packed.receive_str())
        await packed.close()
        extensions = [request.headers.get("Sec-WebSocket-Extensions", "") for request in it.broker.requests]
        assert ["", True] == [extensions[0], "permessage-deflate" in extensions[1]]


@pytest.mark.parametrize(("size", "passes"), [(2048, True), (2049, False)])
async def test_a_clients_message_is_as_large_as_the_limit(size: int, passes: bool) -> None:
    """The limit passes; one byte more is closed with 1009, in one frame and in fragments."""
    async with desk() as it:
        it.lab.change(sockets=SocketLimits(message_bytes=2048))
        socket = await _quiet(it)
        await socket.send_str("x" * size)
        message = await socket.receive(timeout=2)
        if passes:
            assert "x" * size == message.data
        else:
            assert (aiohttp.WSMsgType.CLOSE, codes.TOO_LARGE) == (message.type, message.data)
            assert [] == it.broker.frames
        await socket.close()


async def test_a_brokers_message_over_the_limit_ends_both() -> None:
    """It is not held; the client is told to connect again."""

    async def burst(_broker: EchoBroker, socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(bytes(2049))
        await socket.receive()

    async with desk(burst) as it:
        it.lab.change(sockets=SocketLimits(message_bytes=2048))
        socket = await _quiet(it)
        assert codes.AGAIN == (await _close_of(socket))[0]
        await socket.close()


async def test_a_flood_of_pings_is_ended() -> None:
    """A hundred at once are many; the broker would count them as ours."""
    async with desk() as it:
        socket = await _quiet(it)
        for _ in range(150):
            await socket.ping(b"")
        assert (codes.LIMIT, "too many pings") == await _close_of(socket)
        await socket.close()


async def test_a_client_that_takes_nothing_slows_the_broker_and_is_cut_off() -> None:
    """Nothing piles up here meanwhile."""
    sent = 0

    async def pour(_broker: EchoBroker, socket: web.WebSocketResponse) -> None:
        nonlocal sent
        while True:
            await socket.send_bytes(bytes(64 * 1024))
            sent += 1

    async with desk(pour) as it:
        it.lab.change(sockets=SocketLimits(patience=0.2))
        socket = await _quiet(it)
        line = socket._response.connection.transport  # type: ignore[union-attr]
        line.pause_reading()  # type: ignore[union-attr]
        async with asyncio.timeout(8):
            await it.broker.gone.wait()
        assert sent < 640  # 40 MB: what the buffers of the systems take
        await socket.close()


async def test_our_credential_in_a_frame_goes_no_further() -> None:
    """Of any kind: the frame is withheld, both sockets end with 1011."""
    token = f"see {lab.access_token(1)}"
    ways = ["text", "binary", "ping", "close"]

    async def betray(_broker: EchoBroker, socket: web.WebSocketResponse) -> None:
        match ways.pop():
            case "text":
                await socket.send_str(token)
            case "binary":
                await socket.send_bytes(token.encode())
            case "ping":
                await socket.ping(token.encode())
            case _:
                await socket.close(code=4000, message=token.encode())
        await socket.receive()

    async with desk(betray) as it:
        while ways:
            socket = await _quiet(it)
            message = await socket.receive(timeout=2)
            assert (aiohttp.WSMsgType.CLOSE, codes.FAULT) == (message.type, message.data)
            assert lab.access_token(1) not in (message.extra or "")
            await socket.close()


# -- who may ---------------------------------------------------------------------------------------------------------

WRONG: list[tuple[dict[str, str | None], tuple[int, str]]] = [
    ({"Upgrade": None}, (426, "upgrade-required")),
    ({"Upgrade": None, "Connection": None}, (426, "upgrade-required")),
    ({"Upgrade": "h2c"}, (426, "upgrade-required")),
    ({"Connection": None}, (400, "bad-request")),
    ({"Connection": "keep-alive"}, (400, "bad-request")),
    ({"Sec-WebSocket-Version": "8"}, (426, "upgrade-required")),
    ({"Sec-WebSocket-Version": None}, (426, "upgrade-required")),
    ({"Sec-WebSocket-Key": None}, (400, "bad-request")),
    ({"Sec-WebSocket-Key": "c2hvcnQ="}, (400, "bad-request")),
    ({"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZR=="}, (400, "bad-request")),
    ({"Sec-WebSocket-Protocol": "a b"}, (400, "bad-request")),
    ({"Sec-WebSocket-Protocol": ",".join(map(str, range(17)))}, (400, "bad-request")),
    ({"Sec-WebSocket-Protocol": "brd_key"}, (400, "bad-request")),
    ({"Content-Length": "3"}, (400, "bad-request")),
    ({"Transfer-Encoding": "chunked"}, (400, "bad-request")),
    ({"Origin": "https://evil.example"}, (403, "cross-site")),
    ({"Origin": "null"}, (403, "cross-site")),
    ({"Sec-Fetch-Site": "cross-site"}, (403, "cross-site")),
    ({"Host": "evil.example"}, (421, "wrong-host")),
    ({"Authorization": None}, (401, "unknown-client")),
    ({"Authorization": "Bearer brd_nobody"}, (401, "unknown-client")),
]


async def test_what_is_wrong_with_a_handshake_is_said_before_the_101() -> None:
    """The broker hears of none of them."""
    async with desk() as it:
        for changes, problem in WRONG:
            host = changes.get("Host") or ""
            lines = handshake(it.auth, {**changes, "Host": None})
            reply = await it.lab.call("GET", "/lab/v1/socket", *lines, key="", host=host)
            assert problem == reply.problem, changes
            if problem[0] == 426:
                assert ("websocket", "13") == (reply.one("Upgrade"), reply.one("Sec-WebSocket-Version"))
        assert [] == it.broker.requests


async def test_a_socket_is_only_where_a_row_has_one() -> None:
    """An Upgrade elsewhere is refused, and so is a path that nobody knows."""
    async with desk() as it:
        for target, problem in (
            ("/lab/v1/nothing", (403, "scope-denied")),
            ("/elsewhere/v1/socket", (404, "unknown-mount")),
            ("/lab/v1//socket", (400, "ambiguous-target")),
            ("/lab/v1/accounts", (400, "bad-request")),
        ):
            assert problem == (await it.lab.call("GET", target, *handshake(it.auth), key="")).problem
        assert [] == it.broker.requests


async def test_a_scope_that_is_not_the_clients_is_refused() -> None:
    """403, as for any other call."""
    async with desk(clients={"bot": {"lab": frozenset({"trade"})}}) as it:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await it.connect()
        assert (403, []) == (refused.value.status, it.broker.requests)


async def test_a_program_may_name_the_address_it_calls_as_its_origin() -> None:
    """As websocket-client does; nothing about it may look like a browser."""
    cases: list[tuple[dict[str, str | None], int]] = [
        ({}, 101),
        ({"Sec-Fetch-Mode": "websocket"}, 403),
        ({"Cookie": "a=b"}, 403),
        ({"Accept-Language": "en-US,en;q=0.9"}, 403),
        ({"Upgrade": None}, 403),
        ({"Origin": "http://localhost:1"}, 403),
    ]
    async with desk() as it:
        own = {"Origin": f"http://{it.lab.host}"}
        for more, status in cases:
            async with it.lab.connect() as wire:
                await wire.send(it.lab.request("GET", "/lab/v1/socket", *handshake(it.auth, own, more), key=""))
                assert status == (await wire.head())[0], more


async def test_where_nobody_needs_a_key_no_origin_is_taken() -> None:
    """Then the browser's rules are all that keeps pages out."""
    async with desk(open_to_all=True) as it:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await it.connect(headers={"Origin": f"http://{it.lab.host}"})
        assert 403 == refused.value.status
        socket = await it.connect(headers={})
        await socket.send_str("open to all")
        assert "open to all" == await socket.receive_str()
        await socket.close()


async def test_a_key_has_so_many_sockets() -> None:
    """One more is 429, and one that ends makes room."""
    async with desk() as it:
        it.lab.gateway.streams.per_client = 2
        sockets = [await it.connect() for _ in range(2)]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await it.connect()
        assert (429, 2) == (refused.value.status, len(it.broker.requests))
        await sockets.pop().close()
        await until(lambda: len(it.lab.gateway.streams.all()) == 1)
        sockets.append(await it.connect())
        for socket in sockets:
            await socket.close()


async def test_the_broker_may_refuse_the_handshake() -> None:
    """Its status and its words pass, less what never reaches a client."""
    async with desk() as it:
        it.broker.refusals.append((418, b"no sockets today"))
        reply = await it.lab.call("GET", "/lab/v1/socket", *handshake(it.auth), key="")
        assert (418, b"no sockets today", "yes") == (reply.status, reply.body, reply.one("X-Broker"))
        assert (None, 0) == (reply.one("Set-Cookie"), it.lab.lent)


async def test_a_redirect_is_followed_by_nobody() -> None:
    """The library would, with every header but one."""
    async with desk() as it:
        it.broker.refusals.append((307, b""))
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await it.connect()
        assert (307, 1) == (refused.value.status, len(it.broker.requests))


async def test_a_refused_token_is_renewed_once() -> None:
    """401 that speaks of the token, a renewal, and the socket opens; the client never knows."""
    async with desk() as it:
        it.broker.refusals.append((401, b'{"code": 1017, "message": "Access token is invalid"}'))
        socket = await it.connect()
        await socket.send_str("hello")
        assert "hello" == await socket.receive_str()
        await socket.close()
        tokens = [request.headers["Authorization"] for request in it.broker.requests]
        assert [f"Bearer {lab.access_token(generation)}" for generation in (1, 2)] == tokens
        assert (1, 0) == (it.lab.desk.refreshes, it.lab.lent)


async def test_a_refusal_that_holds_our_credential_is_withheld() -> None:
    """502, without a word of it."""
    async with desk() as it:
        it.broker.refusals.append((403, f"what is {lab.access_token(1)}?".encode()))
        reply = await it.lab.call("GET", "/lab/v1/socket", *handshake(it.auth), key="")
        assert (502, "bad-answer") == reply.problem
        assert lab.access_token(1).encode() not in reply.body


# -- what ends it ----------------------------------------------------------------------------------------------------


async def _open_one(it: Desk) -> Socket:
    socket = await _quiet(it)
    await socket.send_str("here")
    await socket.receive_str()
    return socket


async def test_a_key_that_is_removed_ends_its_sockets() -> None:
    """4401, and the broker's socket goes with it."""
    async with desk() as it:
        socket = await _open_one(it)
        it.lab.gateway.streams.look()
        it.lab.change(keyring=Keyring({}, {"bot": Client("bot", {"lab": frozenset({"read"})})}))
        it.lab.gateway.streams.look()
        assert codes.UNKNOWN_CLIENT == (await _close_of(socket))[0]
        await socket.close()
        await it.broker.gone.wait()


async def test_a_key_that_expires_ends_its_sockets() -> None:
    """At its end, not at its next use."""
    async with desk() as it:
        socket = await _open_one(it)
        client, fingerprint = Client("bot", {"lab": frozenset({"read"})}), digest(it.lab.key)
        now = SystemClock().now().wall
        it.lab.change(keyring=Keyring({fingerprint: "bot"}, {"bot": client}, expiries={fingerprint: now}))
        it.lab.gateway.streams.look()
        code, reason = await _close_of(socket)
        assert (codes.UNKNOWN_CLIENT, True) == (code, "expired" in reason)
        await socket.close()


async def test_what_is_no_longer_allowed_is_ended() -> None:
    """4403: the mount, its scope, the client's right, or the row itself."""
    async with desk() as it:
        client = Client("bot", {"lab": frozenset({"trade"})})
        policy, mount = it.lab.gateway.policy, it.lab.mount
        less: dict[str, Any]
        for less in (
            {"mounts": {}},
            {"mounts": {"lab": replace(mount, scopes=frozenset({"trade"}))}},
            {"mounts": {"lab": replace(mount, table=lab.definition().api().table)}},
            {"keyring": Keyring({digest(it.lab.key): "bot"}, {"bot": client})},
        ):
            it.lab.gateway.policy = policy
            socket = await _open_one(it)
            it.lab.change(**less)
            it.lab.gateway.streams.look()
            assert codes.NOT_ALLOWED == (await _close_of(socket))[0]
            await socket.close()


async def test_a_halt_ends_what_it_is_about() -> None:
    """4423; to read, one may connect again, and that socket stays. Other halts do not touch it."""
    halts = [
        ("other", None, None, False), (None, "trade", None, False), (None, None, "somebody", False),
        (None, None, None, True), ("lab", None, None, True), (None, "read", "bot", True),
    ]  # fmt: skip
    async with desk() as it:
        socket = await _open_one(it)
        for mount, scope, client, ends in halts:
            await it.lab.gateway.policy.halts.halt(Halt(mount, scope, client, cancels_too=False, by="me", since=1.0))
            it.lab.gateway.streams.look()
            if ends:
                assert codes.HALTED == (await _close_of(socket))[0]
                await socket.close()
                socket = await _open_one(it)
                it.lab.gateway.streams.look()
            await socket.send_str("still here")
            assert "still here" == await socket.receive_str()
        await socket.close()


async def test_the_register_looks_by_itself() -> None:
    """Within a second, as long as it runs."""
    async with desk() as it, asyncio.TaskGroup() as group:
        socket = await _open_one(it)
        looking = group.create_task(it.lab.gateway.streams.run())
        it.lab.change(mounts={})
        async with asyncio.timeout(1):
            assert codes.NOT_ALLOWED == (await _close_of(socket))[0]
        looking.cancel()
        await socket.close()


async def test_a_stop_ends_all_and_lets_nobody_in() -> None:
    """1001 for those inside, 503 for those who come."""
    async with desk() as it:
        socket = await _open_one(it)
        ending = asyncio.ensure_future(it.lab.gateway.streams.end_all())
        assert (codes.STOPPING, "bearerd stops") == await _close_of(socket)
        await socket.close()
        await ending
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await it.connect()
        assert (503, ()) == (refused.value.status, it.lab.gateway.streams.all())


async def test_an_http_stream_is_in_the_register_too() -> None:
    """A halt cuts it off: an answer without its end is the only way to say so."""

    async def stream(visit: Visit) -> None:
        await visit.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await visit.wait_gone()

    async with lab.running() as it, it.connect() as wire:
        it.broker.otherwise = stream
        await wire.send(it.request("GET", "/lab/v1/feed"))
        assert (200, b"hello") == ((await wire.head())[0], await wire.chunk())
        assert ["http"] == [stream.kind for stream in it.gateway.streams.all()]
        await it.gateway.policy.halts.halt(Halt(None, None, None, cancels_too=False, by="me", since=1.0))
        it.gateway.streams.look()
        assert await wire.ended()
        await until(lambda: not it.gateway.streams.all())
        await it.broker.visits[0].gone.wait()
