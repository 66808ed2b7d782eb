"""Sockets whose first frame says who it is: Alpaca's trading socket and Tradier's."""

import asyncio
import json
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from proxy.brokers.definition import Placement
from proxy.clock import SystemClock
from proxy.gate.clients import Client, Keyring, digest, new_key
from proxy.relay.frames import Frame, SocketLimits
from proxy.streams import codes, relayed
from proxy.streams.handover import Session, Sessions
from tests import lab
from tests.streams.echo import Desk, EchoBroker, Socket, desk, until

YES = '{"stream":"authorization","data":{"status":"authorized","action":"authenticate"}}'
NO = '{"stream":"authorization","data":{"status":"unauthorized","action":"authenticate"}}'
LISTEN = '{"action":"listen","data":{"streams":["trade_updates"]}}'
STRANGER = new_key(lambda count: bytes(range(1, count + 1))).reveal()
PAIR = Placement("headers", ("APCA-API-KEY-ID", "APCA-API-SECRET-KEY"))


async def alpaca(broker: EchoBroker, socket: web.WebSocketResponse) -> None:
    """Lets anybody in, in the kind of frame that it was asked in; then it echoes."""
    first = await socket.receive()
    broker.frames.append(first.data)
    said = json.loads(first.data)
    assert said["action"] in ("auth", "authenticate")
    await _say(socket, YES, binary=isinstance(first.data, bytes))
    async for message in socket:
        broker.frames.append(message.data)
        await _say(socket, message.data, binary=isinstance(message.data, bytes))


async def _say(socket: web.WebSocketResponse, frame: Frame, *, binary: bool) -> None:
    data = frame.encode() if isinstance(frame, str) else frame
    await (socket.send_bytes(data) if binary else socket.send_str(data.decode()))


async def _frames(socket: Socket, count: int = 9) -> list[Any]:
    """What comes, up to the close code."""
    found: list[Any] = []
    async with asyncio.timeout(5):
        while len(found) < count:
            message = await socket.receive()
            found.append(message.data)
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                break
    return found


@pytest.mark.parametrize("head", [False, True], ids=["frame", "head"])
@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
async def test_a_trading_socket_is_let_in_with_the_real_token(head: bool, binary: bool) -> None:
    """The client's key stays here, the broker's answer comes back, and then everything is relayed."""
    async with desk(alpaca) as it:
        socket = await it.connect("/stream", headers=it.auth if head else {})
        key = "dummy" if head else it.lab.key
        first = json.dumps({"action": "authenticate", "data": {"key_id": "local", "secret_key": key}})
        await (socket.send_bytes(first.encode()) if binary else socket.send_str(first))
        answer = await socket.receive()
        assert json.loads(YES) == json.loads(answer.data)
        await socket.send_str(LISTEN)
        assert LISTEN == await socket.receive_str()
        await socket.close()

        told, *rest = it.broker.frames
        assert {"action": "authenticate", "data": {"oauth_token": lab.access_token(1)}} == json.loads(told)
        assert ([LISTEN], "Authorization" in it.broker.requests[0].headers) == (rest, False)


async def test_a_client_known_by_its_head_need_not_say_more() -> None:
    """Its first frame may be the request itself: nothing that it did not ask for comes back."""
    async with desk(alpaca) as it:
        socket = await it.connect("/stream")
        await socket.send_str(LISTEN)
        assert LISTEN == await socket.receive_str()
        await socket.close()


async def test_a_pair_is_told_as_key_and_secret() -> None:
    """What is said depends on where the grant's credential goes."""
    async with desk(alpaca, placement=PAIR, credential="the-key-id:the-secret-key") as it:
        socket = await it.connect("/stream", headers={})
        await socket.send_json({"action": "auth", "key": "x", "secret": it.lab.key})
        assert YES == await socket.receive_str()
        await socket.close()
        (told,) = it.broker.frames
        assert {"action": "auth", "key": "the-key-id", "secret": "the-secret-key"} == json.loads(told)


async def test_a_token_that_is_refused_in_a_frame_is_renewed_once() -> None:
    """A second socket, with a newer one; the client hears of one yes."""
    async with desk(_with_dead(lab.access_token(1))) as it:
        socket = await it.connect("/stream", headers={})
        await socket.send_json({"action": "auth", "key": "x", "secret": it.lab.key})
        assert YES == await socket.receive_str()
        await socket.close()
        assert (1, 2, 0) == (it.lab.desk.refreshes, len(it.broker.requests), it.lab.lent)


def _with_dead(*tokens: str) -> Any:
    async def behave(broker: EchoBroker, socket: web.WebSocketResponse) -> None:
        first = json.loads((await socket.receive()).data)
        await socket.send_str(NO if first["data"]["oauth_token"] in tokens else YES)
        await socket.receive()

    return behave


async def test_a_no_that_stays_a_no_passes() -> None:
    """The broker's own word, after one renewal."""
    async with desk(_with_dead(*(lab.access_token(n) for n in range(9)))) as it:
        socket = await it.connect("/stream", headers={})
        await socket.send_json({"action": "auth", "key": "x", "secret": it.lab.key})
        assert NO == await socket.receive_str()
        await socket.close()
        assert 2 == len(it.broker.requests)


async def test_a_first_frame_that_names_nobody_is_turned_down() -> None:
    """In Alpaca's words, then by a close code; the broker hears of nothing."""
    cases: list[tuple[Frame, list[str], int]] = [
        (json.dumps({"action": "auth", "key": "x", "secret": STRANGER}), [NO], codes.UNKNOWN_CLIENT),
        (json.dumps({"action": "auth", "key": "x", "secret": "dummy"}), [NO], codes.UNKNOWN_CLIENT),
        (LISTEN, [NO], codes.UNKNOWN_CLIENT),
        ('{"action":"auth","action":"auth"}', [NO], codes.UNKNOWN_CLIENT),
        (b"\x83\xa6action\xa4auth", [NO], codes.UNKNOWN_CLIENT),
        ("x" * 8193, [], codes.TOO_LARGE),
    ]
    async with desk(alpaca) as it:
        for first, told, code in cases:
            socket = await it.connect("/stream", headers={})
            await (socket.send_str(first) if isinstance(first, str) else socket.send_bytes(first))
            assert [*told, code] == await _close(socket, told)
        assert [] == it.broker.requests


async def _close(socket: Socket, told: list[str]) -> list[Any]:
    found = await _frames(socket, len(told)) if told else []
    await socket.receive(timeout=3)
    return [*found, socket.close_code]


async def test_another_key_in_the_frame_than_in_the_head_is_turned_down() -> None:
    """They must agree, if the frame holds one of ours."""
    async with desk(alpaca) as it:
        socket = await it.connect("/stream")
        await socket.send_json({"action": "auth", "key": "x", "secret": STRANGER})
        assert [NO, codes.UNKNOWN_CLIENT] == await _close(socket, [NO])
        assert [lab.access_token(1)] == [json.loads(frame)["data"]["oauth_token"] for frame in it.broker.frames]


async def test_a_client_without_the_right_is_turned_down_after_its_frame() -> None:
    """The same permit as for any call."""
    async with desk(alpaca, clients={"bot": {"lab": frozenset({"trade"})}}) as it:
        socket = await it.connect("/stream", headers={})
        await socket.send_json({"action": "auth", "key": "x", "secret": it.lab.key})
        assert [NO, codes.NOT_ALLOWED] == await _close(socket, [NO])
        assert [] == it.broker.requests


async def test_a_broker_that_cannot_be_reached_is_said_by_a_code() -> None:
    """No word that an SDK would give up at."""
    async with desk(alpaca) as it:
        it.broker.refusals.append((503, b"later"))
        socket = await it.connect("/stream", headers={})
        await socket.send_json({"action": "auth", "key": "x", "secret": it.lab.key})
        assert [codes.UNREACHABLE] == await _close(socket, [])


async def test_where_nobody_needs_a_key_a_dummy_is_fine() -> None:
    """`clients: none`: anything in the first frame, or nothing."""
    async with desk(alpaca, open_to_all=True) as it:
        socket = await it.connect("/stream", headers={})
        await socket.send_json({"action": "auth", "key": "x", "secret": "dummy"})
        assert YES == await socket.receive_str()
        await socket.close()


async def test_who_says_nothing_is_sent_away() -> None:
    """After 10 s; here a little sooner. A ping is answered meanwhile, and keeps nobody inside."""
    async with desk(alpaca) as it:
        it.lab.change(sockets=SocketLimits(first=0.3))
        socket = await it.connect("/stream", headers={}, autoping=False, autoclose=False)
        await socket.ping(b"there?")
        assert b"there?" == bytes((await socket.receive()).data)
        message = await socket.receive(timeout=3)
        assert (aiohttp.WSMsgType.CLOSE, codes.LIMIT) == (message.type, message.data)
        await socket.close()


async def test_so_many_may_wait_before_they_say_who_they_are() -> None:
    """64; the next one hears 503 before its 101, and one that has said it makes room."""
    async with desk(alpaca) as it:
        streams = it.lab.gateway.streams
        with ExitStack() as others:
            for _ in range(62):
                others.enter_context(streams.stranger())
            await _two_and_no_third(it)


async def _two_and_no_third(it: Desk) -> None:
    waiting = [await it.connect("/stream", headers={}) for _ in range(2)]
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await it.connect("/stream", headers={})
    assert 503 == refused.value.status
    await waiting[0].send_json({"action": "auth", "key": "x", "secret": it.lab.key})
    assert YES == await waiting[0].receive_str()
    waiting.append(await it.connect("/stream", headers={}))
    await asyncio.gather(*(socket.close() for socket in waiting))


async def test_a_stranger_hears_nothing_of_what_is_wrong_with_his_target() -> None:
    """Without a key it is 401 for a plain row, an unknown path, an unknown mount."""
    async with desk(alpaca) as it:
        for path in ("/v1/socket", "/v1/nothing", "/v1/accounts"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await it.connect(path, headers={})
            assert 401 == refused.value.status
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await it.connect("/stream", headers={"Authorization": f"Bearer {STRANGER}"})
        assert (401, []) == (refused.value.status, it.broker.requests)


# -- Tradier ---------------------------------------------------------------------------------------------------------


def _sessions(it: Desk) -> Any:
    """The sessions that this gateway has handed out."""
    serve = it.lab.gateway.entrance.speakers["tradier"]
    return serve.__self__._sessions  # type: ignore[attr-defined]


def _hand_out(it: Desk, text: str, *, to: str = "bot", grant: str = "lab", ends: float = 9e9) -> None:
    client = Client(to, {"lab": frozenset({"read"})})
    _sessions(it).remember(text, Session(client, digest(it.lab.key), "lab", grant, ends))


FRAME = '{"symbols":["SPY"],"sessionid":"SID","filter":["trade"]}'


@pytest.mark.parametrize("head", [False, True], ids=["frame", "head"])
async def test_a_session_that_was_handed_out_opens_tradiers_socket(head: bool) -> None:
    """Without a key in the head it says who it is; the frame goes on as it came, and no bearer with it."""
    async with desk() as it:
        _hand_out(it, "SID")
        socket = await it.connect("/v1/markets/events", headers=it.auth if head else {})
        await socket.send_str(FRAME)
        assert FRAME == await socket.receive_str()
        (stream,) = it.lab.gateway.streams.all()
        assert ("bot", 1) == (stream.client.name, _sessions(it).find("SID").used)
        await socket.send_str(FRAME.replace("SPY", "QQQ"))
        assert FRAME.replace("SPY", "QQQ") == await socket.receive_str()
        await socket.close()
        await until(lambda: _sessions(it).find("SID").used == 0)
        assert not {"Authorization"} & set(it.broker.requests[0].headers)


async def test_a_session_that_does_not_count_opens_nothing() -> None:
    """Never handed out, too old, of another grant, or its key is gone: an error in Tradier's words, and 4401."""
    async with desk() as it:
        for case in ("unknown", "ended", "other-grant", "removed"):
            if case != "unknown":
                grant, ends = "other" if case == "other-grant" else "lab", 1.0 if case == "ended" else 9e9
                _hand_out(it, "SID", grant=grant, ends=ends)
            if case == "removed":
                it.lab.change(keyring=Keyring({}, {}))
            socket = await it.connect("/v1/markets/events", headers={})
            await socket.send_str(FRAME)
            told, code, *_ = await _frames(socket)
            assert (True, codes.UNKNOWN_CLIENT) == (json.loads(told)["error"].startswith("bearerd: "), code)
            await socket.close()
        assert [] == it.broker.requests


async def test_a_session_of_another_client_is_not_to_be_used() -> None:
    """Whoever came with a key of its own."""
    async with desk() as it:
        _hand_out(it, "SID", to="somebody")
        socket = await it.connect("/v1/markets/events")
        await socket.send_str(FRAME)
        told, code, *_ = await _frames(socket)
        assert ("bearerd: The session was handed out to another client.", codes.UNKNOWN_CLIENT) == (
            json.loads(told)["error"],
            code,
        )
        assert [] == it.broker.frames
        await socket.close()


@pytest.mark.parametrize("head", [False, True], ids=["frame", "head"])
async def test_a_session_of_another_person_is_not_to_be_used(head: bool) -> None:
    """One client may have keys for several members of a grant: a session belongs to one of them."""
    async with desk() as it:
        _hand_out(it, "SID", grant="lab/ann")
        socket = await it.connect("/v1/markets/events", headers=it.auth if head else {})
        await socket.send_str(FRAME)
        told, code, *_ = await _frames(socket)
        assert ("another person" in json.loads(told)["error"], codes.UNKNOWN_CLIENT) == (True, code)
        assert [] == it.broker.frames
        await socket.close()


async def test_only_sessions_that_are_known_are_remembered() -> None:
    """A socket is open for weeks, and may name another one in each frame."""
    it = relayed.Way(_anybody(), relayed.Link(None), Sessions(SystemClock()), ExitStack())  # type: ignore[arg-type]
    it.sessions.remember("SID", Session(Client("bot", {}), None, "lab", "lab", 9e9))
    for text in ("SID", "SID", "another", "and another"):
        frame = FRAME.replace("SID", text)
        assert frame == await it.take(None, frame)  # type: ignore[arg-type]
    assert {"SID"} == it.using


def _anybody() -> Any:
    return SimpleNamespace(row=SimpleNamespace(speaks="tradier"), client=Client("bot", {}), grant="lab", digest=None)


@pytest.mark.parametrize("kind", ["ping", "pong", "reason"])
async def test_a_client_key_passes_in_no_control_frame_either(kind: str) -> None:
    """They hold 125 bytes, and a key has 53."""
    heard: list[str] = []

    async def listen(_broker: EchoBroker, socket: web.WebSocketResponse) -> None:
        while (message := await socket.receive()).type in (aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG):
            heard.append(bytes(message.data).decode())
        heard.append(f"{message.data} {message.extra or ''}")

    async with desk(listen, broker_options={"autoping": False, "autoclose": False}) as it:
        socket = await it.connect(autoclose=False)
        match kind:
            case "ping":
                await socket.ping(it.lab.key.encode())
            case "pong":
                await socket.pong(it.lab.key.encode())
            case _:
                await socket.close(code=4000, message=it.lab.key.encode())
        if kind != "reason":
            assert codes.LIMIT == (await socket.receive(timeout=3)).data
        await until(lambda: bool(heard))
        assert it.lab.key not in str(heard)
        assert kind != "reason" or heard == ["4000 "]
        await socket.close()


async def test_a_client_key_in_a_frame_stays_here() -> None:
    """It would go on to the broker: the socket ends instead, in every dialect."""
    async with desk() as it:
        socket = await it.connect(autoclose=False)
        await socket.send_str(f"my key is {it.lab.key}")
        message = await socket.receive(timeout=3)
        assert (codes.LIMIT, []) == (message.data, it.broker.frames)
        await socket.close()


async def test_a_stranger_that_vanishes_was_a_stranger() -> None:
    """And no answer of the broker's: that has heard of nothing."""
    async with desk(alpaca) as it:
        socket = await it.connect("/stream", headers={})
        socket._response.connection.transport.abort()  # type: ignore[union-attr]
        while "call" not in (records := await it.records()):  # noqa: ASYNC110  it is written by another task
            await asyncio.sleep(0.01)
        told = [records["call"].get(name) for name in ("status", "outcome", "client")]
        assert [101, "unknown-client", None] == told
        await socket.close()


async def test_a_stranger_hears_of_a_stop() -> None:
    """Like everybody else."""
    async with desk(alpaca) as it:
        socket = await it.connect("/stream", headers={})
        await it.lab.gateway.streams.end_all()
        assert codes.STOPPING == (await socket.receive(timeout=1)).data
        await socket.close()


class _Faulty(Sessions):
    """Breaks when it is asked."""

    def find(self, text: str) -> Session | None:
        raise LookupError(text)


@pytest.mark.parametrize("head", [False, True], ids=["frame", "head"])
async def test_a_fault_of_ours_is_said_by_a_code(head: bool) -> None:
    """1011, for whoever is inside."""
    async with desk() as it:
        it.lab.gateway.entrance.speakers["tradier"] = relayed.Relayed(_Faulty(SystemClock())).serve
        socket = await it.connect("/v1/markets/events", headers=it.auth if head else {}, autoclose=False)
        await socket.send_str(FRAME)
        assert (aiohttp.WSMsgType.CLOSE, codes.FAULT) == (await socket.receive(timeout=3))[:2]
        await until(lambda: not it.lab.gateway.streams.all())
        assert [] == it.broker.frames
        await socket.close()


def test_the_brokers_word_is_waited_for() -> None:
    """Not for ever."""
    assert 10 == relayed.AUTHORIZED_WITHIN
