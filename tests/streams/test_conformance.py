"""The WebSocket protocol as Autobahn's cases and frames written by hand try it: through us it is as good as aiohttp's.

Each case runs against an echo server of aiohttp directly, and against the same one through bearerd. What aiohttp's
own server does right must be right through us, too; where it differs by design the reason stands here.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import aiohttp
import pytest
from aiohttp import web
from kosoku import FailureError, run_fuzzingclient
from kosoku._kosoku import CaseResult

from proxy.relay.frames import SocketLimits
from tests.streams.echo import desk
from tests.streams.frames_by_hand import BINARY, CLOSE, PING, PONG, TEXT, Line, Outcome, close, fragments, frame, masked

# Families of cases: 1 framing, 2 pings, 3 reserved bits, 4 opcodes, 5 fragments, 6 UTF-8, 7 closing, 9 limits,
# 10 fragments that the sender makes, 12 and 13 compression.
SHORT = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"] + [
    f"9.{family}.{case}"
    for family in (1, 2)
    for case in (1, 2, 3)  # to the largest message that is let through
]
# Of the latter each way to agree on it, with a thousand messages of up to 32 KiB: all sizes take a quarter of an hour.
LONG = ["9.*"] + [f"12.{what}.{size}" for what in range(1, 6) for size in (1, 4, 8)]
LONG += [f"13.{offer}.{size}" for offer in range(1, 8) for size in (1, 4, 7)]
AT_ONCE = 12  # cases side by side
ECHO_LATE = (
    "What stands before a fault has to go to the broker and back; the fault has closed the socket by then. "
    "Autobahn calls this NON-STRICT, and the protocol allows it."
)
STRICTNESS = dict.fromkeys(
    ("3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15"), ECHO_LATE
)
GOOD = ("OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED")

Figure = Callable[[object], None]


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    """What aiohttp's documentation shows, and our broker does as well."""
    socket = web.WebSocketResponse(compress=request.path == "/compressed", max_msg_size=1 << 26, timeout=0.5)
    await socket.prepare(request)
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


@asynccontextmanager
async def both(limits: SocketLimits | None = None, *, compressed: bool = False) -> AsyncIterator[tuple[str, str]]:
    """The addresses of an echo server of aiohttp, and of bearerd with the same one behind it. No key is asked for."""
    runner = web.ServerRunner(web.Server(echo), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with desk(open_to_all=True) as found:
            if limits is not None:
                found.lab.change(sockets=limits)
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/{'compressed' * compressed}", found.url()
    finally:
        await runner.cleanup()


async def played(url: str, cases: Sequence[str]) -> dict[str, CaseResult]:
    """What came of each case."""
    try:
        found = await run_fuzzingclient(url.replace("http", "ws", 1), cases, concurrency=AT_ONCE)
    except FailureError as failed:
        found = failed.results
    return {result.case_id: result for result in found}


def judged(aiohttp_s: dict[str, CaseResult], ours: dict[str, CaseResult]) -> list[str]:
    """What ours does worse, and the table does not explain."""
    assert list(aiohttp_s) == list(ours)
    worse = []
    for name, one in ours.items():
        grades = [GOOD.index(each.behavior.value) if _good(each) else len(GOOD) for each in (aiohttp_s[name], one)]
        allowed = 1 if name in STRICTNESS else grades[0]
        if grades[1] > max(grades[0], allowed):
            worse.append(f"{name}: {one.behavior} {one.behavior_close} {one.remote_close_code}, {one.result_close}")
    return worse


def _good(result: CaseResult) -> bool:
    return result.behavior.value in GOOD and result.behavior_close.value in (*GOOD, "INFORMATIONAL")


async def test_autobahn_finds_no_fault_that_aiohttp_does_not_have(figure: Figure) -> None:
    """Framing, pings, reserved bits and opcodes, fragments, UTF-8, closing, and sizes up to our limit."""
    async with both() as (direct, through):
        aiohttp_s, ours = await asyncio.gather(played(direct, SHORT), played(through, SHORT))
    failed = [[name for name, one in each.items() if not _good(one)] for each in (ours, aiohttp_s)]
    assert [] == judged(aiohttp_s, ours)
    assert 240 <= len(ours)
    figure(f"{len(ours)} cases, failed: {failed[0]}; with aiohttp's own server: {failed[1]}")


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the cases leave files open
async def test_autobahn_with_large_messages_and_compression(figure: Figure) -> None:
    """Messages of 16 MiB, and every way to compress, with limits that allow them."""
    limits = SocketLimits(message_bytes=1 << 25, compression=True)
    async with both(limits, compressed=True) as (direct, through):
        aiohttp_s, ours = await played(direct, LONG), await played(through, LONG)
    assert [] == judged(aiohttp_s, ours)
    assert 85 <= len(ours)
    figure(f"{len(ours)} cases, {sum(not _good(one) for one in ours.values())} failed")


# -- by hand ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Bytes that are sent in pieces of `cut` bytes; then, unless `ends`, a close frame."""

    data: bytes
    cut: int | None = None
    ends: bool = False


SIZES = (0, 1, 125, 126, 127, 128, 65_535, 65_536)
CODES = (*range(996, 1017), 1099, 1100, 2000, 2999, 3000, 3999, 4000, 4401, 4999, 5000, 9999, 32_768, 65_535, 0, 1, 999)
HELLO = frame(TEXT, b"hello")


def cases() -> dict[str, Case]:
    """By name."""
    found: dict[str, Case] = {}
    for kind, opcode in (("text", TEXT), ("binary", BINARY)):
        for size in SIZES:
            found[f"{kind} of {size}"] = Case(frame(opcode, b"*" * size))
            found[f"{kind} of {size}, chopped"] = Case(frame(opcode, b"*" * size), cut=997 if size > 1000 else 3)
    for code in CODES:
        found[f"close {code}"] = Case(close(code), ends=True)
        found[f"close {code} after a word"] = Case(close(code, b"a word"), ends=True)
    return found | _lengths() | _controls() | _fragments() | _closing()


def _lengths() -> dict[str, Case]:
    """Lengths in more bytes than they need, impossible ones, and frames without a mask."""
    return {
        "5 in two bytes": Case(frame(TEXT, b"hello", width=2)),
        "5 in eight bytes": Case(frame(TEXT, b"hello", width=8)),
        "200 in eight bytes": Case(frame(BINARY, b"*" * 200, width=8)),
        "a negative length": Case(frame(BINARY, b"*", width=8, size=1 << 63), ends=True),
        "the largest length": Case(frame(BINARY, b"*", width=8, size=(1 << 64) - 1), ends=True),
        "a mask of zeros": Case(frame(TEXT, b"hello", mask=bytes(4))),
        "no mask": Case(frame(TEXT, b"hello", mask=None)),
        "no mask on a ping": Case(frame(PING, b"hello", mask=None)),
        "no mask on a close": Case(frame(CLOSE, b"\x03\xe8", mask=None), ends=True),
        "two in one piece": Case(HELLO + frame(BINARY, b"\0\1\2")),
        "fifty, byte by byte": Case(b"".join(frame(TEXT, b"%d" % number) for number in range(50)), cut=1),
    }


def _controls() -> dict[str, Case]:
    """Pings, pongs, opcodes and bits that are reserved."""
    found = {f"ping of {size}": Case(frame(PING, b"*" * size)) for size in (0, 1, 124, 125)}
    found |= {f"ping of {size}": Case(frame(PING, b"*" * size), ends=True) for size in (126, 65_536)}
    found |= {f"opcode {code}": Case(frame(code, b"*"), ends=True) for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)}
    found |= {f"bits {bits}": Case(frame(TEXT, b"*", bits=bits), ends=True) for bits in range(1, 8)}
    return found | {
        "a pong that nobody asked for": Case(frame(PONG, b"*") + HELLO),
        "ten pings": Case(b"".join(frame(PING, b"%d" % number) for number in range(10))),
        "a ping in parts": Case(frame(PING, b"*", fin=False) + frame(0, b"*"), ends=True),
        "a ping of bytes that are no text": Case(frame(PING, b"\xff\xfe")),
    }


def _fragments() -> dict[str, Case]:
    ping = frame(PING, b"between")
    greek = "κόσμε".encode()
    return {
        "two parts": Case(fragments(TEXT, [b"hel", b"lo"])),
        "empty parts": Case(fragments(BINARY, [b""] * 20 + [b"*"])),
        "nothing but empty parts": Case(fragments(TEXT, [b""] * 20)),
        "pings between": Case(fragments(TEXT, [b"a", b"b", b"c"], ping)),
        "a pong between": Case(fragments(TEXT, [b"a", b"b"], frame(PONG))),
        "a close between": Case(fragments(TEXT, [b"a", b"b"], close()), ends=True),
        "a message between": Case(fragments(TEXT, [b"a", b"b"], HELLO), ends=True),
        "a part of nothing": Case(frame(0, b"*"), ends=True),
        "a part of nothing, not the last": Case(frame(0, b"*", fin=False), ends=True),
        "a part after the last": Case(fragments(TEXT, [b"a", b"b"]) + frame(0, b"c"), ends=True),
        "two hundred parts": Case(fragments(TEXT, [b"*"] * 200)),
        "letters cut in the middle": Case(fragments(TEXT, [greek[at : at + 1] for at in range(len(greek))])),
        "letters cut in the wire": Case(frame(TEXT, greek), cut=1),
        "half a letter": Case(frame(TEXT, greek[:-1]), ends=True),
        "half a letter, in parts": Case(fragments(TEXT, [greek[:3], greek[3:-1]]), ends=True),
        "half of a pair": Case(frame(TEXT, b"\xed\xa0\x80"), ends=True),
        "a long zero": Case(frame(TEXT, b"\xc0\x80"), ends=True),
        "beyond the last letter": Case(frame(TEXT, b"\xf4\x90\x80\x80"), ends=True),
        "the last letter": Case(frame(TEXT, b"\xf4\x8f\xbf\xbf")),
        "a byte order mark": Case(frame(TEXT, b"\xef\xbb\xbf*")),
        "a zero": Case(frame(TEXT, b"\0")),
    }


def _closing() -> dict[str, Case]:
    return {
        "an empty close": Case(close(None), ends=True),
        "a close of one byte": Case(frame(CLOSE, b"\x03"), ends=True),
        "a reason of 123 bytes": Case(close(1000, b"*" * 123), ends=True),
        "a reason of 124 bytes": Case(close(1000, b"*" * 124), ends=True),
        "a reason that is no text": Case(close(1000, b"\xff\xfe"), ends=True),
        "half a letter as a reason": Case(close(1000, b"\xe2\x82"), ends=True),
        "two closes": Case(close() + close(1001), ends=True),
        "a message after the close": Case(close() + HELLO, ends=True),
        "a ping after the close": Case(close() + frame(PING), ends=True),
        "a fault after the close": Case(close() + frame(3), ends=True),
        "half a frame": Case(HELLO[:4], ends=True),
        "half a head": Case(HELLO[:1], ends=True),
    }


async def acted(url: str, case: Case) -> Outcome:
    """One case on a connection of its own. Where nothing is to end it, we close when the answers are there."""
    line = await Line.open(url)
    try:
        step = case.cut or len(case.data)
        for at in range(0, len(case.data), step):
            line.writer.write(case.data[at : at + step])
            if case.cut:
                await asyncio.sleep(0)
        if not case.ends:
            # An answer to this comes after all others.
            line.writer.write(frame(TEXT, b"that was all"))
            return await _until_the_last(line)
        if len(case.data) <= 4:
            line.writer.write_eof()
        return await line.outcome()
    finally:
        line.leave()


async def _until_the_last(line: Line) -> Outcome:
    found = Outcome()
    try:
        while (arrived := await line.read()) != (TEXT, b"that was all"):
            found.frames.append(arrived)
            if arrived.opcode == CLOSE:
                return found
    except (asyncio.IncompleteReadError, ConnectionError):
        found.cut = True
        return found
    line.writer.write(close())
    rest = await line.outcome()
    found.frames, found.code, found.cut = found.frames + rest.frames, rest.code, rest.cut
    return found


def due(name: str, case: Case, aiohttp_s: Outcome) -> list[Outcome]:
    """How it may end through us."""
    if name == "a part after the last":
        return [aiohttp_s, replace(aiohttp_s, frames=[])]  # ECHO_LATE
    if not case.data.startswith(close()[:1]) or aiohttp_s.code != 1000:
        return [aiohttp_s]
    # aiohttp's server answers 1000 to each close that it takes; we say what the client has said, as most servers do.
    said = masked(case.data[6:8]) if case.data[1] & 0x80 else case.data[2:4]
    code = int.from_bytes(said, "big") if said else None
    return [replace(aiohttp_s, code=1002 if code == 1006 else code)]  # no frame may hold that one: ours is stricter


async def test_frames_by_hand_end_as_with_aiohttp(figure: Figure) -> None:
    """Lengths, masks, controls, fragments and close codes: the same messages and pongs come back, the same way to end.

    What a client closes with is what it hears.
    """
    found = cases()
    limit = asyncio.Semaphore(16)

    async def at(url: str, case: Case) -> Outcome:
        async with limit, asyncio.timeout(20):
            return await acted(url, case)

    async with both() as (direct, through):
        results = await asyncio.gather(*(at(url, case) for case in found.values() for url in (direct, through)))
    pairs = zip(found.items(), results[::2], results[1::2], strict=True)
    wrong = [
        f"{name}: {str(ours)[:200]}, not {str(theirs)[:200]}"
        for (name, case), theirs, ours in pairs
        if ours not in due(name, case, theirs)
    ]
    assert not wrong, "\n".join(wrong)
    assert [] == [name for name, outcome in zip(found, results[1::2], strict=True) if outcome.broken]
    assert 170 <= len(found)
    figure(f"{len(found)} cases")
