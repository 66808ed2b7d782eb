"""Whatever a broker answers: the client gets a clean answer or a clean failure, and the next call works.

No byte of a credential reaches a client, or a listener that the answer names.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from tests import canaries, hostile
from tests.hostile import BAD, CUT, FOREIGN, GONE, PASSES, SMUGGLED, Case
from tests.lab import Lab, access_token, running
from tests.wire import Reply, Step, Visit, answer

ORDER = b'{"symbolId": 1, "quantity": 1}'
TARGETS = {"GET": "/lab/v1/accounts", "HEAD": "/lab/v1/accounts", "POST": "/lab/v1/orders"}
# Ours to write, so that a broker's own never stands beside or instead of it.
OURS = {"server", "via", "x-content-type-options"}
UNCERTAIN = "500 outcome-unknown"
LATE = "504 broker-timeout"
UPWARDS = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)


@dataclass
class Sinkhole:
    """A listener that an answer may name, and that nobody may ever call."""

    port: int = 0
    connections: int = 0
    seen: bytes = b""
    _tasks: set[object] = field(default_factory=set)

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(OSError):
            self.seen += await reader.read(4096)
        writer.close()


@asynccontextmanager
async def sinkhole() -> AsyncIterator[Sinkhole]:
    found = Sinkhole()
    server = await asyncio.start_server(found.meet, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        await server.wait_closed()


def sends(data: bytes) -> Step:
    """Read the request, answer these bytes, close."""

    async def step(visit: Visit) -> None:
        await visit.read()
        await visit.write(data)
        visit.writer.close()

    return step


def outcome(reply: Reply) -> str:
    """What a client sees, in the words of `hostile`."""
    if not reply.complete:
        return CUT
    if said := reply.one("Proxy-Status"):
        return f"{reply.status} {said.rpartition('details=')[2].strip(chr(34))}"
    return str(reply.status)


def unclean(reply: Reply) -> list[str]:
    """What no answer to a client may have."""
    text = "\n".join(f"{name}: {value}" for name, value in reply.headers).encode() + b"\n\n" + reply.body
    faults = [f"the credential, {kind}" for kind in canaries.count(text, access_token(1))]
    names = [name.lower() for name, _ in reply.headers]
    dropped = {name.lower() for name in FOREIGN} - OURS - {"proxy-status", *PASS_ON}
    faults += [f"a header {name}" for name in names if name in dropped or name.startswith("access-control")]
    faults += [f"{name}: {value}" for name, value in reply.headers if name.lower() in OURS and "x" == value[-1]]
    faults += [f"two {name}" for name in OURS if names.count(name) > 1]
    faults += ["an odd byte in the head"] * any(
        not value.replace("\t", " ").isprintable() or not value.isascii() for _, value in reply.headers
    )
    return faults + ["smuggled"] * ("x-smuggled" in names)


PASS_ON = {
    "service-worker-allowed", "cross-origin-resource-policy", "timing-allow-origin", "origin-agent-cluster",
    "public-key-pins", "cross-origin-opener-policy",
}  # fmt: skip


async def faults_of(lab: Lab, case: Case) -> list[str]:
    """What is wrong with how one answer was handled: as the answer to a read, and if no read gets it, to an order."""
    found = []
    orders = ("POST",) if case.method == "GET" and not case.seen.isdigit() else ()
    for method in (*orders, case.method):
        lab.broker.script, visits = [sends(case.data)], len(lab.broker.visits)
        reply = await lab.call(method, TARGETS[method], body=ORDER if method == "POST" else None)
        got = outcome(reply)
        large = len(case.data) > 65_536 and case.seen == CUT
        expected = UNCERTAIN if method == "POST" and not large else case.seen
        if expected != got:
            found.append(f"{method}: {got}, not {expected}")
        if case.body is not None and got == expected and case.body != reply.body:
            found.append(f"{method}: another body: {reply.body[:40]!r}")
        found += [f"{method}: {fault}" for fault in unclean(reply)]
        if len(lab.broker.visits) != visits + 1:
            found.append(f"{method}: sent {len(lab.broker.visits) - visits} times")
        lab.broker.script = []
    if {"ok": True} != (await lab.call("GET", TARGETS["GET"])).document:
        found.append("the next call fails")
    if lab.lent or lab.gateway.serving.in_flight:
        found.append("something is still lent or in flight")
    return [f"{case.name}: {fault}" for fault in found]


FAMILIES: dict[str, Callable[[], Iterable[Case]]] = {
    "first lines": hostile.first_lines, "header lines": hostile.header_lines, "lengths": hostile.lengths,
    "chunks": hostile.chunks, "interim answers": hostile.interim, "answers without a body": hostile.bodiless,
    "headers for others": hostile.foreign_headers, "packed bodies": hostile.packed,
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_hostile_answer_does_no_harm(family: str, figure: Callable[[object], None]) -> None:
    """Read or order: passed clean or refused, sent once, and the next call works."""
    faults, cases = [], list(FAMILIES[family]())
    async with running() as lab:
        for case in cases:
            faults += await faults_of(lab, case)
    figure(f"{len(cases)} answers")
    assert not faults, "\n".join(faults)


def test_there_are_enough_of_them() -> None:
    """200 at least, under names of their own, and 20 redirects."""
    names = [(family, case.name) for family, cases in FAMILIES.items() for case in cases()]
    assert 200 <= len(names) == len(set(names))
    assert 20 <= len(hostile.locations("a:1", "b:1"))


async def test_a_redirect_leads_nobody_astray(figure: Callable[[object], None]) -> None:
    """None is followed, and a client gets an address below its mount or none at all."""
    async with running() as lab, sinkhole() as hole:
        cases = list(hostile.redirects(f"127.0.0.1:{hole.port}", f"127.0.0.1:{lab.broker.port}"))
        faults, below = [], re.compile(re.escape(f"http://{lab.host}/lab/") + r"[!-\[\]-~]*")
        for case in cases:
            faults += await faults_of(lab, case)
            lab.broker.script = [sends(case.data)]
            reply = await lab.call("GET", TARGETS["GET"])
            led = [to for to in reply.all("Location") if not below.fullmatch(to) or UPWARDS.search(to)]
            faults += [f"{case.name}: {to}" for to in led]
        assert not faults, "\n".join(faults)
        assert (0, b"") == (hole.connections, hole.seen)
    figure(f"{len(cases)} redirects, 0 bytes elsewhere")


# -- our credential, given back ---------------------------------------------------------------------------------------


def echoes(text: bytes) -> dict[str, tuple[bytes, str]]:
    """Answers that hold `text`, and what a read gets of them."""
    document, filler = b'{"debug": "%b"}' % text, b"x" * 1000
    length = b"Content-Length: %d\r\n\r\n"
    return {
        "a header": (hostile.OK + b"X-Debug: a%bz\r\n" % text.replace(b"\n", b"") + hostile.TWO, BAD),
        "a body": (hostile.OK + length % len(document) + document, BAD),
        "a fault": (b"HTTP/1.1 500 X\r\n" + length % len(document) + document, BAD),
        "a refusal": (b"HTTP/1.1 401 X\r\n" + length % len(document) + document, BAD),
        "chunks": (in_chunks(document), CUT),
        "small chunks": (in_chunks(filler + document, size=7), CUT),
        "a large body": (hostile.OK + length % 90_000 + document + b"x" * (90_000 - len(document)), CUT),
        "until the end": (hostile.OK + b"\r\n" + document, CUT),
    }


def in_chunks(body: bytes, *, size: int = 1 << 20) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    written = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return hostile.OK + b"Transfer-Encoding: chunked\r\n\r\n" + written + b"0\r\n\r\n"


@pytest.mark.parametrize("kind", canaries.KINDS)
async def test_a_credential_in_an_answer_is_withheld(kind: str) -> None:
    """In head, body, chunks and streams, in each of eight encodings; what has begun is cut before its end."""
    faults: list[str] = []
    text = canaries.written(access_token(1), kind)
    async with running() as lab:
        for name, (data, seen) in echoes(text).items():
            for method, expected in (("GET", seen), ("POST", UNCERTAIN)):
                lab.broker.script = [sends(data)]
                reply = await lab.call(method, TARGETS[method], body=ORDER if method == "POST" else None)
                faults += [f"{name}: {method}: {outcome(reply)}"] * (expected != outcome(reply))
                faults += [f"{name}: {method}: {fault}" for fault in unclean(reply)]
                assert {"ok": True} == (await lab.call("GET", TARGETS["GET"])).document
        assert 0 == lab.lent
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("kind", canaries.KINDS)
async def test_a_credential_in_a_stream_is_cut_wherever_it_is_cut(kind: str) -> None:
    """In two pieces, however far apart; the events before it have gone on at once, and its end never comes."""
    text = canaries.written(access_token(1), kind)

    def stream(first: bytes, second: bytes, passed: asyncio.Event) -> Step:
        async def step(visit: Visit) -> None:
            await visit.write(hostile.OK + b"Transfer-Encoding: chunked\r\n\r\n")
            await visit.write(chunk(b"data: before\n\n" * 10_000))  # more than is searched of other bodies
            await passed.wait()
            await visit.write(chunk(first))
            await asyncio.sleep(0)
            await visit.write(chunk(second) + chunk(b"data: after\n\n"))
            await visit.wait_gone()

        return step

    async with running() as lab:
        for at in (1, len(text) // 2, len(text) - 1):
            passed = asyncio.Event()
            lab.broker.script = [stream(b"data: " + text[:at], text[at:] + b"\n\n", passed)]
            async with lab.connect() as wire:
                await wire.send(lab.request("GET", "/lab/v1/feed"))
                assert 200 == (await wire.head())[0]
                got = b""
                while len(got) < 140_000:
                    got += await wire.chunk()
                passed.set()
                with suppress(asyncio.IncompleteReadError, ConnectionError):
                    while piece := await wire.chunk():
                        got += piece
                    pytest.fail("a well-formed end")
            assert {} == canaries.count(got, access_token(1))
            assert b"after" not in got
        assert (0, 0) == (lab.lent, lab.gateway.serving.in_flight)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


# -- at the wrong time ------------------------------------------------------------------------------------------------


async def test_an_answer_to_nothing_is_nobodys() -> None:
    """What a broker sends between two calls is not taken for the answer to the second, which goes another way."""
    late, done = asyncio.Event(), asyncio.Event()

    async def step(visit: Visit) -> None:
        await visit.json({"of": "the first"})
        await late.wait()
        await visit.write(SMUGGLED)
        done.set()

    async with running() as lab:
        for method in ("GET", "POST"):
            late.clear()
            done.clear()
            lab.broker.script = [step]
            assert {"of": "the first"} == (await lab.call("GET", TARGETS["GET"])).document
            late.set()
            await done.wait()
            await asyncio.sleep(0.02)
            reply = await lab.call(method, TARGETS[method], body=ORDER if method == "POST" else None)
            assert (200, {"ok": True}) == (reply.status, reply.document)
        assert 0 == lab.lent


async def test_an_early_answer_is_the_answer() -> None:
    """While the client still uploads: it gets the broker's answer, not an error; and the next call works."""

    async def early(visit: Visit) -> None:
        await visit.json({"too": "large"}, 413)
        await visit.wait_gone()

    async with running() as lab:
        for size in (90_000, 1_000_000):
            lab.broker.script = [early]
            async with lab.connect() as wire:
                await wire.send(lab.request("POST", "/lab/v1/upload", f"Content-Length: {size}") + b"x" * 70_000)
                reply = await wire.reply()
            assert (413, {"too": "large"}) == (reply.status, reply.document)
            assert {"ok": True} == (await lab.call("GET", TARGETS["GET"])).document
        assert (0, 0) == (lab.lent, lab.gateway.serving.in_flight)


def drips(data: bytes, pause: float, *, ends: bool = True) -> Step:
    """A byte at a time."""

    async def step(visit: Visit) -> None:
        await visit.read()
        for byte in data:
            await visit.write(bytes([byte]))
            await asyncio.sleep(pause)
        await (asyncio.sleep(0) if ends else visit.wait_gone())
        visit.writer.close()

    return step


LONG = hostile.OK + b"X-A: 1\r\n" * 99
NINE = b"Content-Length: 9\r\n\r\n{"


@pytest.mark.parametrize(
    ("target", "step", "seen"),
    [
        pytest.param("accounts", drips(hostile.OK + hostile.TWO, 0.0), PASSES, id="whole, in bytes"),
        pytest.param("accounts", drips(LONG, 0.02), LATE, id="a slow head"),
        pytest.param("feed", drips(LONG, 0.02), LATE, id="a stream's slow head"),
        pytest.param("feed", drips(b"HTTP/1.1 100 X\r\n\r\n" * 99, 0.0), BAD, id="a stream's flood before the head"),
        pytest.param("accounts", drips(hostile.OK, 0.0, ends=False), LATE, id="a head that stops"),
        pytest.param("accounts", drips(b"", 0.0, ends=False), LATE, id="nothing, for ever"),
        pytest.param("accounts", drips(b"", 0.0), GONE, id="nothing, and the end"),
        pytest.param("accounts", drips(hostile.OK + NINE, 0.0, ends=False), LATE, id="a body that stops"),
        pytest.param("accounts", drips(in_chunks(b"x" * 9)[:-5], 0.0, ends=False), CUT, id="chunks that stop"),
    ],
)  # fmt: skip
async def test_a_slow_answer_has_its_time(target: str, step: Step, seen: str) -> None:
    """The head of a stream too, whose body has no limit; then the connection is gone and the next call works."""
    async with running(total=0.5, idle=5) as lab:
        lab.broker.script = [step]
        assert seen == outcome(await lab.call("GET", f"/lab/v1/{target}"))
        assert 1 == len(lab.broker.visits)
        assert {"ok": True} == (await lab.call("GET", TARGETS["GET"])).document
        assert (0, 0) == (lab.lent, lab.gateway.serving.in_flight)


async def test_hostile_answers_all_at_once() -> None:
    """Reads that meet good and bad answers side by side get each their own."""
    cases = [case for family in ("lengths", "chunks") for case in FAMILIES[family]() if case.seen == BAD][:24]

    async def told(visit: Visit) -> None:
        number = int(visit.target.partition(b"n=")[2])
        if number % 2:
            await visit.write(cases[number // 2].data)
            visit.writer.close()
        else:
            await visit.write(answer(200, b"%d" % number))

    async with running() as lab:
        count = 2 * len(cases)
        lab.broker.script = [told] * count
        replies = await asyncio.gather(*(lab.call("GET", f"{TARGETS['GET']}?n={number}") for number in range(count)))
        assert [BAD if number % 2 else str(number) for number in range(count)] == [
            outcome(reply) if reply.status != 200 else reply.body.decode() for reply in replies
        ]
        assert (0, 0) == (lab.lent, lab.gateway.serving.in_flight)
