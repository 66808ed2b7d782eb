"""What a dialect is served from."""

import asyncio

import aiohttp
import pytest

from proxy.errors import Refusal
from proxy.streams import codes
from proxy.streams.opening import Opening
from tests.streams.echo import desk, handshake


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (codes.NOT_ALLOWED, (403, "scope-denied")),
        (codes.UNKNOWN_CLIENT, (401, "unknown-client")),
        (codes.HALTED, (403, "halted")),
        (codes.STOPPING, (503, "draining")),
    ],
    ids=["not-allowed", "unknown-client", "halted", "stopping"],
)
async def test_who_was_ended_before_its_101_hears_why(code: int, problem: tuple[int, str]) -> None:
    """A stop passes, so that a client may try again."""

    async def serve(opening: Opening) -> aiohttp.web.StreamResponse:
        with opening.entered() as stream:
            stream.close(code, "meanwhile")
            return (await opening.accept()).response

    async with desk() as it:
        it.lab.gateway.entrance.speakers["plain"] = serve
        reply = await it.lab.call("GET", "/lab/v1/socket", *handshake(it.auth), key="")
        assert problem == reply.problem


async def test_a_stream_is_counted_before_its_101() -> None:
    """So that a limit is a refusal, and a reload in between is heard of; then it is `Refusal`, and no socket."""
    seen: list[str] = []

    async def serve(opening: Opening) -> aiohttp.web.StreamResponse:
        with opening.entered() as stream:
            assert [stream] == list(opening.streams.all())
            broker = await opening.open_broker()
            stream.close(4403, "gone meanwhile")
            try:
                with pytest.raises(Refusal, match="scope-denied"):
                    await opening.accept()
                seen.append(opening.grant)
            finally:
                broker.drop()
            raise Refusal("scope-denied", "gone")

    async with desk() as it:
        it.lab.gateway.entrance.speakers["plain"] = serve
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await it.connect()
        assert (403, ["lab"], ()) == (refused.value.status, seen, it.lab.gateway.streams.all())
        async with asyncio.timeout(2):
            await it.broker.gone.wait()


async def test_a_stream_for_nobody_is_an_error_of_ours() -> None:
    """Who is not known has no place in the register."""

    async def serve(opening: Opening) -> aiohttp.web.StreamResponse:
        opening.client = None
        with opening.entered():
            raise NotImplementedError

    async with desk() as it:
        it.lab.gateway.entrance.speakers["plain"] = serve
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await it.connect()
        assert 500 == refused.value.status


async def test_a_record_is_written_when_it_opens_and_one_when_it_ends() -> None:
    """On the disk within a second: who, what, and then how it ended and what it carried."""
    async with desk() as it:
        socket = await it.connect()
        await socket.send_str("hello")
        await socket.receive_str()
        assert "call" in await it.records()
        await socket.close(code=4000)
        while "ended" not in (records := await it.records()):  # noqa: ASYNC110  it is written by another task
            await asyncio.sleep(0.01)
        begun, ended = records["call"], records["ended"]
        assert (101, "broker", "bot", "/v1/socket") == tuple(
            begun[name] for name in ("status", "outcome", "client", "row")
        )
        expected = {
            "close": 4000,
            "up": 1,
            "up_bytes": 5,
            "down": 1,
            "down_bytes": 5,
            "id": begun["id"],
            "mount": "lab",
        }
        assert expected == {name: ended[name] for name in expected}
