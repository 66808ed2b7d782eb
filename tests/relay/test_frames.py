"""Frames that are written here, read back by another library; and the library's own attributes that we lean on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.frames import Frame as Theirs
from websockets.frames import Opcode
from websockets.streams import StreamReader

from proxy.relay import frames
from proxy.relay.frames import BEAT, Message, Patience, beat, closing, encoded, whole
from proxy.sockets import cut_off
from tests.streams.echo import Socket, desk


def _read(data: bytes, *, mask: bool = False) -> Theirs:
    """One frame, and nothing after it."""
    reader = StreamReader()
    reader.feed_data(data)
    parsing = Theirs.parse(reader.read_exact, mask=mask)
    with pytest.raises(StopIteration) as done:
        next(parsing)
    assert b"" == bytes(reader.buffer)
    found: Theirs = done.value.value
    return found


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
def test_a_message_is_one_frame_of_its_length(size: int) -> None:
    """Of every length's form, text and binary, masked or not."""
    text, binary = _read(encoded("é" * (size // 2))), _read(encoded(bytes(size)))
    assert (Opcode.TEXT, "é" * (size // 2), True) == (text.opcode, bytes(text.data).decode(), text.fin)
    assert (Opcode.BINARY, bytes(size)) == (binary.opcode, bytes(binary.data))
    masked = _read(whole(frames.BINARY, b"x" * size, mask=b"\x01\x02\xfe\x00"), mask=True)
    assert b"x" * size == bytes(masked.data)


def test_control_frames_hold_what_they_should() -> None:
    """A close with code and reason, or without both; a ping of ours, which differs from all others."""
    assert (Opcode.CLOSE, b"\x0f\xa0why") == (
        _read(closing(4000, "why")).opcode,
        bytes(_read(closing(4000, "why")).data),
    )
    assert b"" == bytes(_read(closing(None, "unheard")).data)
    for masked in (False, True):
        ping = _read(beat(masked=masked), mask=masked)
        assert (Opcode.PING, BEAT, 8) == (ping.opcode, bytes(ping.data), len(BEAT))


def test_a_pings_payload_is_bytes() -> None:
    """Whatever it came as."""
    assert (b"x", b"y") == (Message("ping", b"x").payload, Message("ping", "y").payload)


async def test_the_librarys_own_attributes_are_still_there() -> None:
    """`_response` of a client's socket and `_reading_paused` of its protocol: used here and nowhere else."""
    async with desk() as it:
        socket: Socket = await it.connect()
        line = frames.broker_line(socket)
        assert line is not None
        assert line.get_extra_info("peername")[1] == it.lab.port
        protocol = socket._response.connection.protocol  # type: ignore[union-attr]
        assert (False, False) == (frames.stalled(socket), protocol._reading_paused)  # type: ignore[union-attr]
        protocol.pause_reading()  # type: ignore[union-attr]
        assert frames.stalled(socket)
        frames.release(socket)
        assert None is frames.broker_line(socket)


@asynccontextmanager
async def _pair() -> AsyncIterator[tuple[asyncio.StreamWriter, asyncio.StreamReader]]:
    """A connection whose other end reads only if told to."""
    ends: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Future()
    server = await asyncio.start_server(lambda *end: ends.set_result(end), "127.0.0.1", 0, limit=1024)
    _, near = await asyncio.open_connection(*server.sockets[0].getsockname())
    reader, far = await ends
    try:
        yield near, reader
    finally:
        for writer in (near, far):
            writer.transport.abort()
        server.close()
        await asyncio.sleep(0)


async def test_patience_ends_with_who_takes_nothing() -> None:
    """And not with who takes a little now and then; nobody's waiting is cancelled."""
    async with _pair() as (writer, reader):
        line, given_up = writer.transport, []

        def give_up() -> None:
            given_up.append(True)
            cut_off(line)

        line.write(bytes(16 << 20))
        with Patience(line, 0.2, give_up):  # type: ignore[arg-type]
            for _ in range(4):
                await reader.read(1 << 20)
                await asyncio.sleep(0.06)
            assert [] == given_up
            async with asyncio.timeout(3):
                while not given_up:  # noqa: ASYNC110  a timer decides
                    await asyncio.sleep(0.02)
        assert line.is_closing()
