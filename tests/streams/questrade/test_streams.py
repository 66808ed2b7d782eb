"""Questrade's streams from the call for a port to the messages, over real sockets on both sides."""

import asyncio
import json
from functools import partial

from proxy.streams.questrade.hub import Timing
from tests.lab import access_token
from tests.streams.portlab import KEYS, NOTIFICATIONS, SUCCESS, PortLab, port_lab, quotes, unused_range
from tests.wire import Visit, answer

ORDER = '{"orders":[{"price":10.50,"id":1}],"accountNumber":26598145}'


async def say(raw: bytes, visit: Visit) -> None:
    """A step of the broker's: these very bytes."""
    await visit.write(raw)


async def test_a_client_gets_the_stream_of_its_port() -> None:
    """The answer is the broker's but for the number; the key is swapped for the token; messages come as they are."""
    async with port_lab() as lab:
        reply = await lab.ask(quotes(9292, 8049))
        port = reply.document["streamPort"]
        assert [{"symbolId": 8049}, {"symbolId": 9292}] == sorted(reply.document["quotes"], key=lambda q: q["symbolId"])
        assert str(len(reply.body)) == reply.one("Content-Length")
        assert port not in [*lab.broker.numbers(), 0]
        reader = await lab.dial(port)
        await reader.ws.send(lab.keys["bot"])

        assert '{"success": true}' == await reader.text()
        await lab.broker.quote(8049, 9292, price="10.50")
        text = '{"quotes":[{"symbolId":8049,"bidPrice":10.50},{"symbolId":9292,"bidPrice":10.50}]}'
        assert text == await reader.text()
        assert [access_token(1)] == lab.broker.tokens
        assert ["/"] == lab.broker.paths
        assert not {"authorization", "cookie"} & {name.lower() for name in lab.broker.heads[0]}
        await reader.ws.close()
        await lab.until(lambda: not lab.broker.live())
        await lab.until(lambda: lab.questrade.hubs == 0)
        assert 1 == len(lab.broker.calls)  # the client's own: its port was used
        assert 0 == lab.lab.lent


async def test_one_url_has_one_port_and_another_another() -> None:
    """As at the broker, whoever asks; a symbol that is named twice, or in another order, makes no other stream."""
    async with port_lab() as lab:
        numbers = [
            await lab.port(target, client)
            for target, client in (
                (NOTIFICATIONS, "bot"),
                (NOTIFICATIONS, "eve"),
                (quotes(1, 2), "bot"),
                (quotes(2, 1, 2), "eve"),
                (quotes(1), "bot"),
            )
        ]
        assert (3, numbers[0], numbers[2]) == (len(set(numbers)), numbers[1], numbers[3])


async def test_notifications_go_to_every_client_over_one_socket() -> None:
    """The first connection lives on when a second client comes, and when one leaves."""
    async with port_lab() as lab:
        one, two = await lab.open(NOTIFICATIONS), await lab.open(NOTIFICATIONS, "eve")
        await lab.broker.tell(ORDER)
        assert ORDER == await one.text() == await two.text()
        await two.ws.close()
        await lab.broker.tell(ORDER)
        assert ORDER == await one.text()
        assert 1 == len(lab.broker.sessions)


async def test_what_a_client_says_goes_nowhere() -> None:
    """Some send a subscription, again and again; pings are answered here."""
    async with port_lab() as lab:
        reader = await lab.open(NOTIFICATIONS)
        await reader.ws.send('{"mode":"streaming","ids":[8049]}')
        await reader.ws.send(b"binary")
        await (await reader.ws.ping())
        await lab.broker.tell(ORDER)
        assert ORDER == await reader.text()
        assert [] == lab.broker.sessions[0].said


ANSWERS = [
    (b'{"code":1000,"message":"not now"}', True),
    (b"<html>maintenance</html>", True),
    (b'{"streamPort":22}', False),
    (b'{"streamPort":8080,"streamPort":8081}', False),
    (b"streamPort: 8080", False),
]


async def test_an_answer_without_one_port_passes_or_is_withheld() -> None:
    """What speaks of no port is the broker's word; what a client could read another port from is not passed on."""
    async with port_lab() as lab:
        for body, passes in ANSWERS:
            lab.lab.broker.script = [partial(say, answer(200, body, "Content-Type: application/json"))]
            reply = await lab.ask(NOTIFICATIONS)
            assert (body, 200) == (reply.body, reply.status) if passes else (502, "bad-answer") == reply.problem


async def test_answers_that_are_not_whole_or_compressed_are_handled() -> None:
    """A chunked answer is read to its end; compression is not asked for, and a compressed answer is withheld."""
    chunked = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n{"streamPort":808\r\n2\r\n0}\r\n0\r\n\r\n'
    packed = answer(200, b"\x1f\x8b", "Content-Encoding: gzip")
    asked: list[list[str]] = []

    async def script(visit: Visit) -> None:
        asked.append(visit.all("Accept-Encoding"))
        await visit.write(chunked if len(asked) == 1 else packed)

    async with port_lab() as lab:
        lab.lab.broker.script = [script, script]
        assert 8080 != await lab.port(NOTIFICATIONS)
        call = lab.lab.call("GET", NOTIFICATIONS, "Accept-Encoding: gzip", key=lab.keys["bot"])
        assert (502, "bad-answer") == (await call).problem
    assert [["identity"], ["identity"]] == asked


REFUSED_BEFORE = [
    ("/lab/v1/notifications", (403, "scope-denied"), "mode=WebSocket"),
    ("/lab/v1/notifications?mode=RawSocket", (403, "scope-denied"), "mode=WebSocket"),
    ("/lab/v1/markets/quotes?ids=1&stream=true&mode=RawSocket", (403, "scope-denied"), "mode=WebSocket"),
    ("/lab/v1/markets/quotes?ids=a&stream=true&mode=WebSocket", (400, "bad-request"), "numbers with commas"),
    ("/lab/v1/markets/quotes?ids=1&ids=2&stream=true&mode=WebSocket", (400, "bad-request"), "numbers with commas"),
    ("/lab/v1/markets/quotes?stream=true&mode=WebSocket", (400, "bad-request"), "numbers with commas"),
]


async def test_no_port_is_handed_out_that_would_not_work() -> None:
    """A raw socket, symbols that can't be told apart, a Unix socket, ports that nobody has named: before it is sent."""
    async with port_lab() as lab:
        for target, problem, words in REFUSED_BEFORE:
            reply = await lab.ask(target)
            assert (problem, True) == (reply.problem, words in reply.document["detail"])
        address, lab.lab.door.address = lab.lab.door.address, None  # as on a Unix socket
        reply = await lab.ask(NOTIFICATIONS)
        assert ((400, "bad-request"), True) == (reply.problem, "127.0.0.1:8080" in reply.document["fix"])
        lab.lab.door.address = address
        lab.ports.define({"lab": None}, free=False)  # other machines can call
        reply = await lab.ask(NOTIFICATIONS)
        assert (503, "overloaded") == reply.problem
        assert "mounts.lab.stream_ports: 8090-8099" in reply.document["fix"]
    assert [] == lab.broker.calls


async def _range(lab: PortLab) -> None:
    """One of two ports is busy, the other comes to stand for another stream."""
    first = await lab.port(quotes(1))
    second = await lab.open(quotes(2))
    assert first == await lab.port(quotes(3), "eve")
    stale = await lab.dial(first)
    await stale.ws.send(lab.keys["bot"])
    assert (1012, True) == ((ended := await stale.ended())[0], "ask for yours again" in ended[1])

    fresh = await lab.dial(first)
    await fresh.ws.send(lab.keys["eve"])
    assert SUCCESS == await fresh.next()
    reply = await lab.ask(quotes(4))
    assert ((503, "overloaded"), True) == (reply.problem, "mounts.lab.stream_ports" in reply.document["fix"])
    await lab.broker.quote(2)
    assert [{"symbolId": 2, "bidPrice": 1.1}] == (await second.next())["quotes"]


async def test_a_pinned_range_is_kept_to() -> None:
    """Two ports: the unused one is given to another stream; who still means the old one is told to ask again."""
    pinned = unused_range(2)
    async with port_lab(pinned) as lab:
        await _range(lab)
        assert set(lab.doorways) <= set(pinned)


async def test_a_session_is_kept_alive_when_nobody_else_calls() -> None:
    """After 30 minutes without a call the broker ends it, sockets and all."""
    async with port_lab() as lab:
        reader = await lab.open(NOTIFICATIONS)
        pulse = lab.questrade.pulse("lab")
        before = pulse.last
        await lab.ask("/lab/v1/accounts")  # somebody calls
        assert before < pulse.last
        pulse.last -= Timing().keep_alive - 60
        assert await reader.silent(0.05)
        assert [] == lab.broker.asked("/v1/time")
        pulse.last -= 60  # 25 minutes
        await lab.until(lambda: len(lab.broker.asked("/v1/time")) == 1)
        assert await reader.silent(0.05)
        assert 1 == len(lab.broker.asked("/v1/time"))


async def test_a_call_that_keeps_a_session_alive_is_tried_again_soon() -> None:
    """If it fails there are five minutes left, not another twenty-five."""
    async with port_lab() as lab:
        await lab.open(NOTIFICATIONS)
        pulse = lab.questrade.pulse("lab")
        rows = {row.id: row for row in lab.lab.mount.table.rows}
        with await lab.lab.gateway.pacing.turn("bot", rows["time"], "lab") as turn:
            turn.answered(429, [(b"Retry-After", b"600")])
        pulse.last -= Timing().keep_alive
        due = pulse.last
        await lab.until(lambda: pulse.last != due)
        await asyncio.sleep(0.05)
        left = pulse.last + Timing().keep_alive - asyncio.get_running_loop().time()
        assert 50 < left <= 60
        assert [] == lab.broker.asked("/v1/time")


async def test_a_stream_is_on_record() -> None:
    """When it begins and when it ends, with the row that asked for it; and no key or token in either."""
    async with port_lab() as lab:
        reader = await lab.open(NOTIFICATIONS)
        await lab.broker.tell(ORDER)
        assert ORDER == await reader.text()
        await reader.ws.close(1000, "done")
        await lab.until(lambda: not lab.lab.gateway.streams.all())
    where, disk = lab.lab.trail.directory, lab.lab.disk
    lines = b"".join(disk.content(where / name) for name in disk.names(where)).splitlines()
    assert not any(secret.encode() in b"".join(lines) for secret in (access_token(1), *KEYS.values()))
    records = [json.loads(line) for line in lines if b"notifications" in line]
    assert ["call", "call", "ended"] == [record["kind"] for record in records]
    assert [200, 101] == [record["status"] for record in records[:2]]
    assert ("bot", "/v1/notifications") == (records[1]["client"], records[1]["row"])
    assert (1000, 2, 1) == tuple(records[2][name] for name in ("close", "down", "up"))
