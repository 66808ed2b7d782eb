"""One answer of a broker through both upstreams, and all that a client and the broker see of it.

Answers are data: what is written in one piece, how it ends, what was called. They come from the lists of `hostile`,
from cutting good answers at every byte, and from a generator that always makes the same ones.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from tests import hostile
from tests.lab import Lab, running
from tests.wire import Reply, Step, Visit, reset

CALLS = {
    "GET": ("GET", "/lab/v1/accounts", None), "HEAD": ("HEAD", "/lab/v1/accounts", None),
    "order": ("POST", "/lab/v1/orders", b'{"symbolId": 1, "quantity": 1}'), "stream": ("GET", "/lab/v1/feed", None),
    "upload": ("POST", "/lab/v1/upload", b"u" * 70_000),
}  # fmt: skip
ENGINES = ("aiohttp", "pool")
OWN = {"x-request-id", "date"}  # headers that differ from one call to the next


@dataclass(frozen=True)
class Told:
    """What a broker does: writes `pieces`, then stays, closes, resets or says no more; `call` is one of `CALLS`.

    `early`: without reading the request's body. `before`: plain answers that the connection has given before.
    """

    name: str
    pieces: tuple[bytes, ...]
    end: str = "close"
    call: str = "GET"
    early: bool = False
    before: int = 0
    words: bool = True  # whether the very words of a refusal are compared


@dataclass(frozen=True)
class Seen:
    """What came of it: to the client, at the broker, and of the next call."""

    client: object
    broker: object
    after: object = field(default=None)


def step(told: Told) -> Step:
    async def play(visit: Visit) -> None:
        if not told.early:
            await visit.read()
        for piece in told.pieces:
            await visit.write(piece)
            await asyncio.sleep(0)
        if told.end == "close":
            visit.writer.close()
        elif told.end == "reset":
            await asyncio.sleep(0.005)  # what was written is to be read before
            reset(visit.writer)
        elif told.end == "silence":
            await visit.wait_gone()
        elif told.early:
            await visit.read()

    return play


@asynccontextmanager
async def both(**options: float) -> AsyncIterator[list[Lab]]:
    """A lab with each of the upstreams."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running(engine=engine, **options)) for engine in ENGINES]


async def difference(labs: list[Lab], told: Told, *, after: bool = True) -> str | None:
    """How what was seen through one differs from what was seen through the other. `after`: and of the next call."""
    one, other = [await seen(lab, told, after=after) for lab in labs]
    return None if one == other else f"{told.name}: {one} through aiohttp, {other} through ours"


async def seen(lab: Lab, told: Told, *, after: bool) -> Seen:
    """Make the call, and another one after it."""
    lab.broker.script = []
    for _ in range(told.before):
        await called(lab, "GET")
    visits = len(lab.broker.visits)
    lab.broker.script = [step(told)]
    client = await called(lab, told.call, words=told.words)
    lab.broker.script = []
    broker = [
        (visit.line, [pair for pair in visit.headers if pair[0].lower() not in (*OWN, "host")], visit.body)
        for visit in lab.broker.visits[visits:]
    ]
    if told.early:  # how much of it had come by then is chance
        broker = [(line, headers, b"") for line, headers, _ in broker]
    follows = await called(lab, "GET") if after else None
    return Seen(client, broker, (follows, lab.lent, lab.gateway.serving.in_flight))


async def called(lab: Lab, call: str, *, words: bool = True) -> object:
    """A client's view of an answer, without what differs from one lab to another."""
    method, target, body = CALLS[call]
    reply = await lab.call(method, target, body=body)
    headers = [(name.lower(), value.replace(lab.host, "HOST")) for name, value in reply.headers]
    if not words:
        return reply.status, reply.one("Proxy-Status"), reply.complete
    kept = [(name, value) for name, value in headers if name not in OWN]
    return reply.status, kept, shown(reply), reply.complete


def shown(reply: Reply) -> bytes:
    """The body. Of one that was cut off it is chance how much had come; a refusal of ours names the request."""
    if not reply.complete:
        return b"cut"
    if reply.body and reply.one("Proxy-Status") and "application/problem+json" in reply.all("Content-Type"):
        return str({**reply.document, "request_id": ""}).encode()
    return reply.body


# -- lists ------------------------------------------------------------------------------------------------------------


def from_lists(call: str | None = None) -> Iterator[Told]:
    """All of `hostile`. `call`: as answers to that, instead of to what they are made for."""
    families = (
        hostile.first_lines, hostile.header_lines, hostile.lengths, hostile.chunks, hostile.interim, hostile.bodiless,
        hostile.foreign_headers, hostile.packed,
    )  # fmt: skip
    for family in families:
        for case in family():
            # The one parser refuses this by itself, of the other's result it is said here why.
            words = case.name != "coding: an empty one"
            yield Told(f"{family.__name__}: {case.name}", (case.data,), call=call or case.method, words=words)
    for case in hostile.redirects("127.0.0.1:1", "127.0.0.1:2"):
        yield Told(f"redirects: {case.name}", (case.data,), call=call or case.method)


# -- cuts -------------------------------------------------------------------------------------------------------------

_WHOLE = {
    "a length": b'HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 12\r\n\r\n{"a": [1,2]}',
    "chunks": b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\n{"a":\r\n3\r\n 1}\r\n0\r\nX-T: 1\r\n\r\n',
    "the end": b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"until": 1}',
    "interim": b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n{}",
    "HEAD": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
    "204": b"HTTP/1.1 204 No\r\nX-A: 1\r\n\r\n",
}  # fmt: skip


def cuts(every: int = 1) -> Iterator[Told]:
    """Good answers that break off after each byte, or after each `every`th, by a close or by a reset."""
    for name, data in _WHOLE.items():
        for at in range(0, len(data) + 1, every):
            for end in ("close", "reset"):
                # Of a reset behind a body that only the end ends, it is chance which of both is seen.
                if not (end == "reset" and at == len(data) and name == "the end"):
                    call = "HEAD" if name == "HEAD" else "GET"
                    yield Told(f"{name}, {end} after {at}", (data[:at],) if at else (), end, call)


def splits(every: int = 1) -> Iterator[Told]:
    """Good answers that come in two pieces."""
    for name, data in _WHOLE.items():
        for at in range(1, len(data), every):
            end = "close" if name == "the end" else "stay"
            yield Told(f"{name}, split at {at}", (data[:at], data[at:]), end, "HEAD" if name == "HEAD" else "GET")


def drips() -> Iterator[Told]:
    """Good answers a byte at a time."""
    for name, data in _WHOLE.items():
        pieces = tuple(bytes((byte,)) for byte in data)
        end = "close" if name == "the end" else "stay"
        for call in ("HEAD",) if name == "HEAD" else ("GET", "order", "stream"):
            yield Told(f"{name}, a byte at a time, to {call}", pieces, end, call)


# -- at odd moments ---------------------------------------------------------------------------------------------------


def moments() -> Iterator[Told]:
    """Early answers, connections that were used before, and silence."""
    good, large = _WHOLE["a length"], b"HTTP/1.1 413 No\r\nContent-Length: 90000\r\n\r\n" + b"x" * 90_000
    for name, data in {**_WHOLE, "large": large}.items():
        if name not in ("HEAD", "204"):
            yield Told(f"early: {name}", (data,), "close" if name == "the end" else "stay", "upload", early=True)
    for call in ("GET", "HEAD", "order", "stream", "upload"):
        for end in ("close", "reset"):
            for before in (0, 1):
                yield Told(f"{call}: {end} and no answer, after {before}", (), end, call, before=before)
        bare = (_WHOLE["HEAD"],) if call == "HEAD" else None
        yield Told(f"{call}: an answer that stays", bare or (good,), "stay", call)
        yield Told(f"{call}: an answer on a used one", bare or (large,), "stay", call, before=2)


def silences() -> Iterator[Told]:
    """Answers that stop."""
    for name, data in _WHOLE.items():
        for at in (0, 10, len(data) - 1):
            call = "HEAD" if name == "HEAD" else "GET"
            yield Told(f"{name}, silence after {at}", (data[:at],) if at else (), "silence", call)


# -- generated --------------------------------------------------------------------------------------------------------

_STATUSES = (200, 200, 200, 201, 202, 204, 206, 301, 304, 400, 401, 403, 404, 409, 422, 418, 500, 502, 503, 504)
_REASONS = (b" OK", b"", b" ", b" Not Quite", b" \xe9")
_ENDS = (b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n")
_LINES = (
    b"Content-Type: application/json", b"Content-Type: text/html", b"X-RateLimit-Remaining: 9", b"X-Odd:1",
    b"X-Odd:  blanks \t ", b"x-lower: a", b"Set-Cookie: a=b", b"X-Empty:", b'ETag: "x"', b"Retry: 1",
    b"X-Request-Id: theirs", b"Keep-Alive: timeout=5", b"X-8: \xff", b"X_Under: 1", b"X-Fold: a\r\n b",
    b"Date: Sun, 22 Nov 2026 14:06:39 GMT", b"Connection: keep-alive", b"Connection: close", b"Vary: *",
)  # fmt: skip


def generated(count: int, seed: int = 7) -> Iterator[Told]:
    """Answers put together by chance, always the same ones; of some a byte is another."""
    chance = random.Random(seed)  # noqa: S311
    for number in range(count):
        yield _made(chance, number)


def _made(chance: random.Random, number: int) -> Told:
    call = chance.choices(tuple(CALLS), weights=(10, 2, 3, 2, 1))[0]
    eol = chance.choice(_ENDS)
    status = chance.choice(_STATUSES)
    lines = [b"HTTP/1.%d %d%b" % (chance.random() < 0.9, status, chance.choice(_REASONS))]
    lines += chance.sample(_LINES, chance.randrange(6))
    framing, body = _body(chance)
    at = chance.randint(1, len(lines))
    lines[at:at] = framing
    head = eol.join(lines) + eol * 2
    if chance.random() < 0.1:
        head = b"HTTP/1.1 100 Continue\r\n\r\n" + head
    if call == "HEAD" or status in (204, 304):
        body = b""
    data, end = head + body, "close"
    if chance.random() < 0.3:
        where = chance.randrange(len(head))
        data = data[:where] + bytes((chance.choice(b"\0\r\n\t :;,019aZ\x7f\xff"),)) + data[where + 1 :]
    elif framing:
        end = "stay"
    return Told(f"generated {number}: {data[:300]!r}", (data,), end, call)


def _body(chance: random.Random) -> tuple[list[bytes], bytes]:
    """Lines that frame a body, and the body as it is written."""
    body = bytes(chance.choices(b'{}[]",:abc012 \n', k=chance.choice((0, 2, 40, 300))))
    kind = chance.choice(("length", "length", "chunked", "end"))
    if kind == "length":
        return [b"Content-Length: %d" % len(body)], body
    if kind == "end":
        return [], body
    coded, at = b"", 0
    while at < len(body):
        size = chance.randint(1, 100)
        piece = body[at : at + size]
        coded += b"%x%b\r\n%b\r\n" % (len(piece), chance.choice((b"", b"", b";a=b", b" ")), piece)
        at += size
    trailer = chance.choice((b"", b"", b"X-Trailer: 1\r\n", b"X-T: 1\r\nX-U: 2\r\n"))
    return [b"Transfer-Encoding: chunked"], coded + b"0\r\n" + trailer + b"\r\n"
