"""Whatever a client does with its connection: it makes no difference which lane its calls take."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from proxy.relay.http import SMALL
from tests.lanes.scene import ACCOUNTS, Play, Scene, both, later, sends, staged
from tests.wire import Wire, accept, answer

pytestmark = pytest.mark.soak
ORDER = b'{"symbolId": 1}'


def cut_anywhere(step: int) -> Play:
    """A plain head in two pieces, cut at each `step`th byte; behind a plain one, and alone."""

    async def play(scene: Scene) -> None:
        head = scene.get(ACCOUNTS + "?cut")
        for at in range(1, len(head), step):
            await scene.talk(f"cut at {at}", head[:at], 0.001, head[at:], primed=bool(at % 2))

    return play


async def pipelined(scene: Scene) -> None:
    """Several requests at once; one and a part of the next; something behind one that is under way."""
    get, head = scene.get, scene.lab.request("HEAD", ACCOUNTS)
    a, b, c = (get(f"{ACCOUNTS}?{name}") for name in "abc")
    order = scene.lab.request("POST", "/lab/v1/orders", body=ORDER)
    bad, last = b"\0" + a, get(ACCOUNTS + "?last", "Connection: close")
    slow = [later(0.05)]
    together: dict[str, tuple[list[bytes | float], list[str]]] = {
        "two": ([a + b], ["GET"] * 2), "three, and one": ([a + b + c, 0.05, a], ["GET"] * 4),
        "ten": ([a * 10], ["GET"] * 10), "fifty": ([a * 50], ["GET"] * 50),
        "one and a half": ([a + b[:20], 0.02, b[20:]], ["GET"] * 2),
        "one and a byte": ([a + b[:1], 0.02, b[1:]], ["GET"] * 2),
        "a HEAD between": ([a + head + b], ["GET", "HEAD", "GET"]),
        "an order between": ([a + order + b], ["GET", "POST", "GET"]), "rubbish behind": ([a + bad], ["GET", "GET"]),
        "a last one between": ([a + last + b], ["GET", "GET"]),
        "an empty line between": ([a + b"\r\n" + b], ["GET", "GET"]),
        "an empty line before": ([b"\r\n" + a, b], ["GET", "GET"]),
        "an end without its beginning": ([a, 0.05, a[9:]], ["GET", "GET"]),
        "one after the other": ([a, 0.03, b, 0.03, c], ["GET"] * 3),
        "one after the other at once": ([a, b, c], ["GET"] * 3),
        "byte by byte": ([piece for byte in a for piece in (bytes([byte]), 0.0)], ["GET"]),
        "orders and reads": ([order, 0.03, a, 0.03, order, 0.03, b, 0.03, order + a], ["POST", "GET"] * 3),
    }  # fmt: skip
    for name, (pieces, methods) in together.items():
        await scene.talk(name, *pieces, methods=methods)
        await scene.talk(f"{name}, alone", *pieces, methods=methods, primed=False)
    under_way: dict[str, tuple[list[bytes | float], list[str]]] = {
        "another": ([a, 0.01, b], ["GET"] * 2),
        "two more": ([a, 0.01, b + c], ["GET"] * 3),
        "a part": ([a, 0.01, b[:30], 0.1, b[30:]], ["GET"] * 2),
        "byte by byte": ([a, 0.01, *(piece for byte in b for piece in (bytes([byte]), 0.001))], ["GET"] * 2),
        "an order": ([a, 0.01, order], ["GET", "POST"]),
        "a HEAD": ([a, 0.01, head], ["GET", "HEAD"]),
        "rubbish": ([a, 0.01, bad], ["GET"] * 2),
        "zeros": ([a, 0.01, b"\0" * 300], ["GET"] * 2),
        "an endless head": ([a, 0.01, b"GET /lab HTTP/1.1\r\nX: " + b"x" * 40_000], ["GET"] * 2),
        "many": ([a, 0.01, b * 40], ["GET"] * 41),
    }  # fmt: skip
    refused, long = (
        sends(answer(401, b'{"code": 1017}', "Content-Type: application/json")),
        sends(answer(200, b"x" * (2 * SMALL))),
    )
    for name, (pieces, methods) in under_way.items():
        await scene.talk(f"{name}, under way", *pieces, methods=methods, script=slow)
        await scene.talk(f"{name}, before a long answer", *pieces, methods=methods, script=[later(0.03, long)])
        await scene.talk(f"{name}, before a 401", *pieces, methods=methods, script=[later(0.03, refused)])


async def last_ones(scene: Scene) -> None:
    """A client that wants its connection closed: however it is answered, and whatever it says until it is."""
    lab, last = scene.lab, "Connection: close"
    a, b = scene.get(ACCOUNTS + "?a", last), scene.get(ACCOUNTS + "?b")
    answers = {
        "an answer": accept, "a late one": later(0.05), "no body": sends(b"HTTP/1.1 204 No Content\r\n\r\n"),
        "a long one": sends(answer(200, b"x" * (3 * SMALL))),
        "half of one": sends(answer(200, b"x", length=9), close=True),
        "a 401": sends(answer(401, b'{"code": 1017}', "Content-Type: application/json")), "none": sends(close=True),
        "its own end": sends(answer(200, b"{}", "Connection: close"), close=True),
    }  # fmt: skip
    for what, step in answers.items():
        await scene.talk(what, a, script=[step])
        await scene.talk(f"{what}, alone", a, script=[step], primed=False)
        for more, behind in {"another": b, "rubbish": b"\0" * 3000}.items():
            await scene.talk(f"{what}, behind it {more}", a, 0.01, behind, script=[later(0.1, step)])
    head = lab.request("HEAD", ACCOUNTS, last)
    await scene.talk("HEAD", head, methods=["HEAD"])
    await scene.talk("behind another", b, 0.03, a, methods=["GET"] * 2)
    await scene.talk("behind another under way", b, 0.01, a, methods=["GET"] * 2, script=[later(0.05)])
    await scene.talk("refused", scene.get("/lab/v1/wallet", last))
    await scene.talk("nobody's", lab.request("GET", ACCOUNTS, last, key=""))
    await scene.talk("Close", scene.get(ACCOUNTS, "connection:CLOSE"))
    await scene.talk("twice", scene.get(ACCOUNTS, last, last))
    await scene.talk("and more", scene.get(ACCOUNTS, "Connection: close, keep-alive"))


async def leaving(scene: Scene) -> None:
    """A client that goes: with what it asked for under way, behind more of it, half, by a reset."""
    lab = scene.lab
    a = scene.get(ACCOUNTS + "?a")
    gone: dict[str, Callable[[Wire], object]] = {
        "closes": lambda wire: wire.close(), "resets": lambda wire: wire.reset(),
        "half": lambda wire: wire.writer.write_eof(),
    }  # fmt: skip
    answers = {
        "an answer": accept,
        "a long one": sends(answer(200, b"x" * (3 * SMALL))),
        "a 401": sends(answer(401, b"", length=0)),
        "half of one": sends(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", 0.2),
    }
    for how, go in gone.items():
        for what, step in answers.items():
            for wait in (0.0, 0.01):
                name = f"{how} after {wait} s before {what}"
                lab.broker.script = []
                async with lab.connect() as wire:
                    await scene.say(wire, scene.get())
                    await scene.reply(wire, name, "GET", "before")
                    lab.broker.script = [later(0.05, step)]
                    await scene.say(wire, a)
                    await asyncio.sleep(wait or 0.001)
                    go(wire)
                    if how == "half":
                        await scene.reply(wire, name, "GET", "after the end")
                    await scene.settled()
                lab.broker.script = []
                async with lab.connect() as wire:
                    await scene.say(wire, scene.get())
                    await scene.reply(wire, name, "GET", "another one's")


async def untaken(scene: Scene) -> None:
    """A client that asks and asks, and does not take what it gets; and one that does so late."""
    lab = scene.lab
    lab.broker.otherwise = sends(answer(200, b"x" * SMALL))
    for name, late in (("late", 0.1), ("never", 1.2)):
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", lab.port))
        reader, writer = await asyncio.open_connection(sock=plain, limit=2048)
        line: Any = writer.transport
        line.pause_reading()
        wire = Wire(reader, writer)
        with suppress(ConnectionError):
            for number in range(40):
                await scene.say(wire, scene.get(f"{ACCOUNTS}?{number}"))
                await asyncio.sleep(0.002)
        await asyncio.sleep(late)
        got = 0
        line.resume_reading()
        with suppress(ConnectionError, TimeoutError):
            while data := await asyncio.wait_for(reader.read(65_536), 0.5):
                got += len(data)
        scene.note(
            name, f"got all of it: {got > 40 * SMALL}, closed: {reader.at_eof() or reader.exception() is not None}"
        )
        writer.close()
    lab.broker.otherwise = accept
    await scene.settled()


async def slow_heads(scene: Scene) -> None:
    """A head that does not come to its end in time: as the first, behind a plain one, behind another under way."""
    a = scene.get(ACCOUNTS + "?a")
    await scene.talk("nothing", 0.5, methods=["GET"], primed=False, probe=False)
    await scene.talk("nothing, then", 0.5, a, methods=["GET"], primed=False)
    await scene.talk("half", a[:20], 0.5, a[20:], methods=["GET"])
    await scene.talk("half, alone", a[:20], 0.5, a[20:], methods=["GET"], primed=False)
    await scene.talk("idle", 0.5, a, 0.5, a, methods=["GET", "GET"])
    await scene.talk("half behind one", a + a[:20], 0.5, a[20:], methods=["GET", "GET"])
    await scene.talk(
        "half behind a slow one", a, 0.01, a[:20], 0.6, a[20:], methods=["GET", "GET"], script=[later(0.1)]
    )
    await scene.talk("a slow answer", a, methods=["GET"], script=[later(0.6)])


async def crowded(scene: Scene) -> None:
    """More connections than may be open, of which some are under way."""
    async with scene.lab.connect() as one, scene.lab.connect() as two:
        for number, wire in enumerate((one, two)):
            await scene.say(wire, scene.get())
            await scene.reply(wire, f"in {number}", "GET")
        await scene.talk("too many", scene.get(), primed=False)
        scene.lab.broker.script = [later(0.05)]
        await scene.say(one, scene.get())
        await scene.talk("too many, under way", scene.get(), primed=False)
        await scene.reply(one, "in 0", "GET")
    await asyncio.sleep(0.05)
    await scene.talk("room again", scene.get())


async def test_a_head_may_be_cut_at_every_byte(figure: Callable[[object], None]) -> None:
    """At each of them."""
    faults, seen = await both(cut_anywhere(1))
    figure(f"{len(seen.talks)} talks, {seen.taken} of {seen.calls} calls taken")
    assert [] == faults, "\n".join(faults)


PLAYS: dict[str, tuple[Play, dict[str, Any]]] = {
    "pipelined": (pipelined, {}), "last ones": (last_ones, {}), "leaving": (leaving, {}),
    "untaken": (untaken, {"take_timeout": 0.5}),
    "slow heads": (slow_heads, {"head_timeout": 0.3}), "crowded": (crowded, {"connections": 2}),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAYS)
async def test_no_connection_is_served_otherwise(name: str, figure: Callable[[object], None]) -> None:
    """With several requests on it, left, not read from, slow, or one too many."""
    play, options = PLAYS[name]
    faults, seen = await both(play, **options)
    figure(f"{len(seen.talks)} talks, {seen.taken} of {seen.calls} calls taken")
    assert [] == faults, "\n".join(faults)
    assert seen.taken


@pytest.mark.parametrize("engine", ["pool", "express"])
async def test_who_leaves_with_more_waiting_leaves_nothing_behind(engine: str) -> None:
    """Requests, halves of them or rubbish behind the one that is under way, and then nobody: by an end or a reset."""
    async with staged(engine) as scene:
        lab = scene.lab
        read, rubbish = scene.get(), b"\0" * 70_000
        for more in (read, read * 30, read[:-4], scene.lab.request("POST", "/lab/v1/orders", body=ORDER), rubbish):
            for step in (accept, sends(answer(200, b"x" * (3 * SMALL))), sends(answer(401, b"", length=0))):
                for end in (Wire.close, Wire.reset):
                    async with lab.connect() as wire:
                        await scene.say(wire, read)
                        await scene.reply(wire, "before", "GET")
                        lab.broker.script = [later(0.03, step)]
                        await scene.say(wire, read, 0.005, more, 0.005)
                        end(wire)
                    await asyncio.sleep(0.06)
                    await scene.settled()
                    lab.broker.script = []
        await asyncio.sleep(0.1)
        assert 0 == lab.crowd.inside
        await scene.talk("after all", scene.get())
        assert "200" in scene.seen.talks["after all"][0]
    assert [] == scene.seen.left
    assert not any("a request failed" in line or "Fatal" in line for line in scene.seen.log)
