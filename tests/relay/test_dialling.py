"""Opening a socket at a broker: where it may be dialled, and what goes into its handshake."""

from dataclasses import replace

import pytest

from proxy.brokers import HostPattern, Origin
from proxy.brokers.definition import Placement
from proxy.outbound import Lost, NotSent
from proxy.relay.dialling import Dialler, Handshake, HandshakeRefused
from proxy.relay.websocket import Echoed
from tests.streams.dialled import PLACE, TOKEN, dialled, pair_for
from tests.streams.echo import broker


async def test_the_target_is_sent_byte_for_byte_with_one_credential() -> None:
    """Nothing is quoted, dropped or added but what a handshake needs."""
    async with dialled() as (socket, found):
        await socket.send("hello")
        assert "hello" == (await socket.receive()).data
        await socket.send(b"\x00")
        assert ("binary", b"\x00") == (await socket.receive())[:2]
        (request,) = found.requests
        assert "/v1/a%2Fb?x=%3A&y" == request.raw_path
        assert [f"Bearer {TOKEN}"] == request.headers.getall("Authorization")
        names = {name.lower() for name in request.headers}
        expected = {"host", "user-agent", "authorization", "upgrade", "connection"}
        assert expected | {"sec-websocket-version", "sec-websocket-key"} == names


async def test_a_socket_without_a_credential_carries_none() -> None:
    """And one that was smuggled in is an error of ours: not a byte leaves."""
    async with dialled(credential=False) as (_, found):
        assert "Authorization" not in found.requests[0].headers
        for name, place in (
            ("authorization", PLACE),
            ("apca-api-key-id", replace(PLACE, placement=Placement("headers", ("APCA-API-KEY-ID", "B")))),
        ):
            smuggled = Handshake(b"/", [(name, "Bearer x")], credential=False)
            with pytest.raises(AssertionError, match="belongs elsewhere"):
                await Dialler().dial(smuggled, pair_for(found.port), place)
        assert 1 == len(found.requests)


async def test_no_socket_is_opened_outside_of_the_pin() -> None:
    """Not for a pair that names another origin, not for a handshake that does."""
    place = replace(PLACE, api_hosts=(HostPattern.parse("api##.broker.example"),))
    dialler, inside = Dialler(), Origin("api01.broker.example", 443)
    with pytest.raises(AssertionError, match="outside the pin"):
        await dialler.dial(Handshake(b"/", []), pair_for(1), place)
    evil = Origin("api01.broker.example.evil", 443)
    with pytest.raises(AssertionError, match="outside the pin"):
        await dialler.dial(Handshake(b"/", [], origin=evil), replace(pair_for(1), origin=inside), place)
    await dialler.close()


@pytest.mark.parametrize("port", [0, 80, 443, 1023, 65536, -1])
async def test_a_port_that_an_answer_named_is_in_its_range(port: int) -> None:
    """1024 to 65535, on the pinned host."""
    with pytest.raises(Lost, match="no stream has"):
        await Dialler().dial(Handshake(b"/", [], port=port), pair_for(1), PLACE)


async def test_another_port_is_on_the_pinned_host() -> None:
    """The pin is about the origin; the port is what the broker's answer says."""
    async with broker() as found:
        dialler, pair = Dialler(), pair_for(1)
        socket = await dialler.dial(Handshake(b"/", [], port=found.port, credential=False), pair, PLACE)
        assert Origin("127.0.0.1", found.port) == socket.origin
        await socket.close()
        await dialler.close()


async def test_what_cannot_be_reached_was_not_sent() -> None:
    """Nobody listens; or somebody does whose certificate nobody vouches for."""
    async with broker() as found:
        dialler = Dialler()
        for port, place in ((1, PLACE), (found.port, replace(PLACE, ca_file=None))):
            with pytest.raises(NotSent):
                await dialler.dial(Handshake(b"/", []), pair_for(port), place)
        assert [] == found.requests
        await dialler.close()


async def test_an_answer_that_is_no_socket_is_handed_back() -> None:
    """Status, headers and body; a 200 is neither a socket nor a refusal; our credential makes it none at all."""
    async with broker() as found:
        dialler = Dialler()
        found.refusals = [(503, b"later"), (200, b"hello"), (403, TOKEN.encode())]
        with pytest.raises(HandshakeRefused) as refused:
            await dialler.dial(Handshake(b"/", []), pair_for(found.port), PLACE)
        assert (503, b"later") == (refused.value.status, refused.value.body)
        with pytest.raises(Lost, match="no refusal and no socket"):
            await dialler.dial(Handshake(b"/", []), pair_for(found.port), PLACE)
        with pytest.raises(Echoed):
            await dialler.dial(Handshake(b"/", []), pair_for(found.port), PLACE)
        await dialler.close()
