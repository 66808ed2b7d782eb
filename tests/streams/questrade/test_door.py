"""Who is let in at a stream port, and who is not."""

import asyncio

import pytest
from websockets.exceptions import InvalidStatus

from tests.streams.portlab import NOTIFICATIONS, REFUSED, SUCCESS, port_lab, quotes
from tests.wire import connected

UPGRADE = "Upgrade: websocket|Connection: Upgrade|Sec-WebSocket-Version: 13|Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
HEADS = [
    ("GET / HTTP/1.1|Host: HOST", 426),
    ("POST / HTTP/1.1|Host: HOST|UPGRADE|Content-Length: 0", 404),
    ("GET / HTTP/1.1|Host: evil.test|UPGRADE", 421),
    ("GET / HTTP/1.1|Host: 127.0.0.1:1|UPGRADE", 421),
    ("GET / HTTP/1.1|Host: HOST|UPGRADE|Origin: https://evil.test", 403),
    ("GET / HTTP/1.1|Host: HOST|UPGRADE|Sec-Fetch-Site: cross-site", 403),
    ("GET / HTTP/1.0|Host: HOST|UPGRADE", 505),
    ("GET / HTTP/1.1|Host: HOST|UPGRADE|Authorization: Bearer wrong", 401),
    ("GET / HTTP/1.1|Host: HOST|UPGRADE|X_Odd: 1", 400),
    ("GET /lab/v1/time HTTP/1.1|Host: HOST|Authorization: Bearer KEY", 426),
]


async def test_the_first_frame_is_the_bare_key() -> None:
    """As on a raw socket with a space behind it, too; the path says nothing."""
    async with port_lab() as lab:
        port = await lab.port(NOTIFICATIONS)
        for path in ("/", "/v1/markets/quotes?ids=1&stream=true&mode=WebSocket", "/../..;x=%zz"):
            for written in ("{0}", "{0} ", "Bearer {0}"):
                reader = await lab.dial(port, path)
                await reader.ws.send(written.format(lab.keys["bot"]))
                assert SUCCESS == await reader.next()


async def test_a_key_in_the_head_counts() -> None:
    """A dummy in the first frame then says nothing; another client's key does."""
    async with port_lab() as lab:
        port = await lab.port(NOTIFICATIONS)
        head = {"Authorization": f"Bearer {lab.keys['bot']}"}
        for first, expected in (("dummy", None), (lab.keys["bot"], None), (lab.keys["eve"], 4401)):
            reader = await lab.dial(port, additional_headers=head)
            assert SUCCESS == await reader.next()
            await reader.ws.send(first)
            if expected is not None:
                assert (REFUSED, expected) == (await reader.next(), (await reader.ended())[0])


async def test_who_has_no_key_hears_what_the_broker_would_say() -> None:
    """1017, and the socket closes with 4401; nothing was opened at the broker."""
    async with port_lab() as lab:
        port = await lab.port(NOTIFICATIONS)
        lab.remove("eve")
        for first in ("", "brd_nonsense", "p4VTj45GhS8lY7aFoKDNZxB8yQHMOr+f", "\x00", b"\xff", lab.keys["eve"]):
            reader = await lab.dial(port)
            await reader.ws.send(first)
            assert (REFUSED, 4401) == (await reader.next(), (await reader.ended())[0])
    assert [] == lab.broker.sessions


async def test_a_port_is_open_only_to_who_may_have_its_stream() -> None:
    """The scope of the row that handed it out, whoever got it: by first frame a close code, by head a 403."""
    async with port_lab() as lab:
        port = await lab.port(quotes(1))
        reader = await lab.dial(port)
        await reader.ws.send(lab.keys["reader"])
        assert 4403 == (await reader.ended())[0]
        with pytest.raises(InvalidStatus) as refused:
            await lab.dial(port, additional_headers={"X-Api-Key": lab.keys["reader"]})
        assert 403 == refused.value.response.status_code
    assert [] == lab.broker.sessions


async def test_the_gates_checks_hold_at_a_port() -> None:
    """Host with that port, Origin, version, form: as everywhere, and nothing else is served there."""
    async with port_lab() as lab:
        port = await lab.port(NOTIFICATIONS)
        for head, status in HEADS:
            text = head.replace("UPGRADE", UPGRADE).replace("HOST", f"127.0.0.1:{port}")
            text = text.replace("KEY", lab.keys["bot"]).replace("|", "\r\n")
            async with connected("127.0.0.1", port) as wire:
                await wire.send(text.encode() + b"\r\n\r\n")
                assert (head, status) == (head, (await wire.reply()).status)
    assert 1 == len(lab.broker.calls)


async def test_a_client_that_is_removed_is_out_within_a_second() -> None:
    """So is one whose scope is taken; the others stay."""
    async with port_lab() as lab:
        bot, eve = await lab.open(NOTIFICATIONS), await lab.open(NOTIFICATIONS, "eve")
        lab.remove("eve")
        assert 4401 == (await asyncio.wait_for(eve.ended(), 1))[0]
        await lab.broker.tell("{}")
        assert "{}" == await bot.text()

        lab.lab.change_mount(scopes=frozenset({"read_md"}))
        lab.lab.gateway.streams.look()
        assert 4403 == (await bot.ended())[0]


async def test_without_clients_a_dummy_is_enough() -> None:
    """`clients: none`: the first frame is whatever the program has for a token, or never comes."""
    async with port_lab(open_to_all=True) as lab:
        port = await lab.port(NOTIFICATIONS)
        for first in ("any-token", None):
            reader = await lab.dial(port)
            if first is not None:
                await reader.ws.send(first)
            assert SUCCESS == await reader.next()


async def test_a_key_of_another_person_opens_nothing() -> None:
    """A port stands for one person's stream: a key that is bound to somebody else has no business there."""
    async with port_lab() as lab:
        reader = await lab.dial(await lab.port(NOTIFICATIONS))
        await reader.ws.send(lab.keys["anna"])
        assert 4403 == (await reader.ended())[0]
    assert [] == lab.broker.sessions
