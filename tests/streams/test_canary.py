"""The real token in a frame to a client: never. Brokers here repeat it in every way, and in every place there is."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import msgpack  # type: ignore[import-untyped]  # there are no stubs
import pytest
from aiohttp import web

from proxy.relay.frames import SocketLimits
from proxy.simulator.alpaca.broker import Alpaca
from proxy.streams import codes
from tests import canaries
from tests.everybroker import in_front_of
from tests.house import port_of
from tests.lab import Lab, access_token
from tests.streams.databroker import house, trade
from tests.streams.echo import Desk, EchoBroker, desk, until
from tests.streams.frames_by_hand import BINARY, TEXT, Line, Outcome, frame, handshake
from tests.streams.portlab import NOTIFICATIONS, port_lab, quotes

SHORT = 120  # bytes that fit into a ping, and into a reason
OPENED, NEXT = access_token(1), access_token(2)
HARMLESS = b"access-token-of-generation-X"
YES = '{"stream":"authorization","data":{"status":"authorized","action":"authenticate"}}'
SECRETS = {f"generation {number}": access_token(number) for number in (1, 2)}

Place = Callable[[web.WebSocketResponse, bytes], Awaitable[object]]


async def fragmented(socket: web.WebSocketResponse, data: bytes) -> None:
    """A text in frames of seven bytes, with a ping between."""
    line = socket._req.transport  # type: ignore[union-attr]
    assert line is not None
    parts = [data[at : at + 7] for at in range(0, len(data), 7)]
    for number, part in enumerate(parts):
        line.write(bytes((0x80 * (number == len(parts) - 1) | (number == 0), len(part))) + part)
        line.write(b"\x89\x00")


PLACES: dict[str, Place] = {
    "text": lambda socket, data: socket.send_str(data.decode()),
    "binary": lambda socket, data: socket.send_bytes(b"\x00\xff" + data),
    "compressed": lambda socket, data: socket.send_str(data.decode(), compress=15),
    "fragmented": fragmented,
    "ping": lambda socket, data: socket.ping(data),
    "pong": lambda socket, data: socket.pong(data),
    "reason": lambda socket, data: socket.close(code=4000, message=data),
}  # fmt: skip
FITS = {"ping", "pong", "reason"}


async def leaks(heard: dict[str, bytes], lab: Lab, logged: str) -> list[canaries.Hit]:
    """Every token in what clients have heard, in records, metrics, status and log."""
    await lab.trail.durable()
    records = b"".join(content.visible for content in lab.disk._files.values())
    assert b'"call"' in records
    told = json.dumps(lab.gateway.streams.told()).encode()
    found = {**heard, "records": records, "metrics": lab.metrics.render(), "status": told, "log": logged.encode()}
    return list(canaries.search(found, SECRETS))


def cases() -> list[tuple[str, str, str]]:
    """Each place, each way to write it, and the token that the socket was opened with, or the one after it."""
    return [
        (place, kind, secret)
        for place in PLACES
        for kind in canaries.KINDS
        for secret in (OPENED, NEXT)
        if place not in FITS or len(canaries.written(secret, kind)) <= SHORT
    ]


async def test_no_frame_of_a_broker_carries_a_token_to_a_client(
    caplog: pytest.LogCaptureFixture, figure: Callable[[object], None]
) -> None:
    """Text, binary, compressed, in fragments, pings, pongs and reasons; the token of before a rotation, and the next.

    A text that resembles one comes through in each of these places, so they do lead to the client.
    """
    plan = [(place, canaries.written(secret, kind)) for place, kind, secret in cases()]
    plan += [(place, HARMLESS) for place in PLACES]

    async def betray(_broker: EchoBroker, socket: web.WebSocketResponse) -> None:
        place, data = plan[int(await socket.receive_str())]
        await PLACES[place](socket, data)
        await socket.close()

    async with desk(betray, broker_options={"compress": True}) as it:
        it.lab.change(sockets=SocketLimits(compression=True))
        it.lab.gateway.streams.per_client = len(plan)
        lines = [await Line.open(it.url(), f"Authorization: Bearer {it.lab.key}") for _ in plan]
        assert await it.lab.keeper.renew(1) is not None
        it.lab.keeper.give_back()

        async def hear(number: int) -> Outcome:
            lines[number].writer.write(frame(TEXT, b"%d" % number))
            async with asyncio.timeout(20):
                return await lines[number].outcome(polite=True)

        outcomes = await asyncio.gather(*map(hear, range(len(plan))))
        for line in lines:
            line.leave()
        heard = {place: b"".join(repr(outcomes[at]).encode() for at in of) for place, of in _by_place(plan).items()}
        assert [] == await leaks(heard, it.lab, caplog.text)
    tried = len(cases())
    assert [codes.FAULT] * tried == [outcome.code for outcome in outcomes[:tried]]
    arrived = [HARMLESS in repr(outcome).encode() for outcome in outcomes[tried:]]
    assert [True] * len(PLACES) == arrived
    figure(f"{tried} frames that held a token, and 0 went on")


def _by_place(plan: list[tuple[str, bytes]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number, (place, _) in enumerate(plan):
        found.setdefault(place, []).append(number)
    return found


async def test_no_refused_handshake_carries_a_token_to_a_client(caplog: pytest.LogCaptureFixture) -> None:
    """In a header or in the body of a 403; without one it comes through."""
    async with desk() as it:
        heard: dict[str, bytes] = {}
        for number, kind in enumerate(canaries.KINDS):
            for place in ("body", "header"):
                text = canaries.written(OPENED, kind)
                it.broker.refusals.append((403, text if place == "body" else b"no"))
                it.broker.headers = {"X-Said": text.decode()} if place == "header" else {}
                heard[f"{place} {number}"] = await _refused(it)
        it.broker.refusals.append((403, HARMLESS))
        it.broker.headers = {"X-Said": HARMLESS.decode()}
        assert 2 == (await _refused(it)).count(HARMLESS)
        assert {b"502"} == {answer.split(b" ")[1] for answer in heard.values()}
        assert [] == await leaks(heard, it.lab, caplog.text)


async def _refused(it: Desk) -> bytes:
    """All bytes of the answer to a handshake."""
    async with it.lab.connect() as wire:
        await wire.send(handshake(it.url(), f"Authorization: Bearer {it.lab.key}"))
        reply = await wire.reply()
        return f"HTTP/1.1 {reply.status} {reply.headers} {reply.body!r}".encode()


async def test_a_trading_socket_tells_nobody_the_token_that_it_was_opened_with() -> None:
    """Not in the answer to the first frame, and not later; as text and as binary."""

    async def repeat(broker: EchoBroker, socket: web.WebSocketResponse) -> None:
        first = json.loads((await socket.receive()).data)
        assert OPENED == first["data"]["oauth_token"]
        kind, early = broker.script  # type: ignore[attr-defined]
        text = canaries.written(OPENED, kind).decode()
        if not early:
            await socket.send_str(YES)
        await socket.send_bytes(YES.replace('"authenticate"', json.dumps(text).replace("\\\\", "\\")).encode())
        await socket.receive()

    async with desk(repeat) as it:
        for kind in canaries.KINDS:
            for early in (True, False):
                it.broker.script = (kind, early)  # type: ignore[attr-defined]
                line = await Line.open(it.url("/stream"))
                first = {"action": "authenticate", "data": {"key_id": "local", "secret_key": it.lab.key}}
                line.writer.write(frame(TEXT, json.dumps(first).encode()))
                async with asyncio.timeout(5):
                    outcome = await line.outcome(polite=True)
                assert outcome.code in (codes.FAULT, codes.UNREACHABLE)
                assert [] == list(canaries.search({"frames": repr(outcome).encode()}, SECRETS))
                line.leave()


async def test_a_hub_tells_nobody_its_token() -> None:
    """MessagePack from the broker, to clients that speak it and to such that speak JSON; also the next token."""
    async with house() as at:
        for kind, secret in [*zip(canaries.KINDS, itertools.repeat(OPENED)), ("plain", NEXT), ("hex", NEXT)]:
            readers = [await at.enter(trades=["AAPL"]), await at.enter(binary=False, trades=["AAPL"])]
            if secret == NEXT:
                assert await at.lab.keeper.renew(at.lab.keeper.grant.generation) is not None
                at.lab.keeper.give_back()
            bearer = at.broker.last.bearer if secret == OPENED else access_token(at.lab.keeper.grant.generation)
            await at.broker.last.send({**trade(), "x": canaries.written(bearer, kind).decode()})
            assert [codes.FAULT] * 2 == await asyncio.gather(*(reader.closed() for reader in readers))
            heard = json.dumps([reader.heard for reader in readers]).encode()
            assert [] == list(canaries.search({"frames": heard}, {"token": bearer}))
            await asyncio.sleep(0.12)  # whoever comes at once hears the same


@pytest.mark.parametrize("target", [NOTIFICATIONS, quotes(1)], ids=["notifications", "quotes"])
async def test_a_stream_port_tells_nobody_the_token_of_its_first_frame(target: str) -> None:
    """A broker that repeats what it was told is cut off."""
    async with port_lab() as lab:
        for kind in canaries.KINDS:
            reader = await lab.open(target)
            text = canaries.written(access_token(1), kind).decode()
            await lab.broker.tell(f'{{"quotes":[{{"symbolId":1,"x":"{text}"}}]}}', _kind(target))
            code, reason = await reader.ended()
            assert (codes.FAULT, []) == (code, list(canaries.search({"reason": reason.encode()}, SECRETS)))


def _kind(target: str) -> str:
    return "quotes" if "quotes" in target else "notifications"


@pytest.mark.parametrize("kind", ["JSON", "MessagePack"])
async def test_a_simulated_broker_that_repeats_what_it_was_told_is_cut_off(tmp_path: Path, kind: str) -> None:
    """The simulator's own fault, in front of the whole product; the token does not come back."""
    asks = {"action": "subscribe", "trades": ["AAPL"]}
    packed = kind == "MessagePack"
    head = ["Content-Type: application/msgpack"] if packed else []
    async with in_front_of(tmp_path, "alpaca", "client-credentials", api="stream", scopes=["data"]) as (app, simulator):
        await app.operations.login("here", None)
        line = await Line.open(f"http://127.0.0.1:{port_of(app.doors.listeners[0])}/here/v2/iex", *head)
        line.writer.write(frame(BINARY, msgpack.packb(asks)) if packed else frame(TEXT, json.dumps(asks).encode()))
        alpaca = cast("Alpaca", simulator)
        await until(lambda: alpaca.streams.state()["open"] == 1, 5.0)
        (token,) = {stream.presented for stream in alpaca.streams._open}
        alpaca.faults.add("stream-echo")
        async with asyncio.timeout(10):
            outcome = await line.outcome(polite=True)
        line.leave()
    assert (codes.FAULT, True) == (outcome.code, len(token) > 30)
    assert [] == list(canaries.search({"frames": repr(outcome).encode()}, {"token": token}))
