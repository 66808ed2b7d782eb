"""Spans on their way to a collector, over real sockets; and the whole product with one."""

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import chain, cycle
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from proxy.audit.record import Record
from proxy.collector import Collector
from proxy.gate.tracecontext import Parent
from proxy.secret import Secret
from proxy.simulator import ca
from proxy.traceexport import Export
from proxy.tracing import MOST, Spans, Tracing
from tests.house import ACCOUNT, house
from tests.receiver import Receiver, receiving
from tests.scraped import samples

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture(name="receiver")
async def _receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@dataclass
class Way:
    """From calls to a collector, and what is counted of their spans."""

    tracing: Tracing
    export: Export
    counted: Counter[str]

    def call(self, count: int = 1) -> None:
        """So many calls that were answered."""
        for _ in range(count):
            record = Record("id", "GET", mount="m", client="c", row="/t", status=200, outcome="broker")
            self.tracing.follow(record, None, 1_700_000_000.0)
            assert record.trace is not None
            record.trace.sets_off()
            record.trace.answered(200, 0.0)
            record.trace.over(record, 0.5)


@asynccontextmanager
async def exporting(
    url: str, most: int = MOST, farewell: float = 5.0, patience: float = 10.0, **more: Any
) -> AsyncIterator[Way]:
    """A way there. The last spans go out at the end."""
    counted: Counter[str] = Counter()
    spans = Spans(lambda count: counted.update({"dropped": count}), most)
    export = Export(
        Collector(url, **more), spans, lambda outcome, count: counted.update({outcome: count}),
        patience=patience, farewell=farewell,
    )  # fmt: skip
    await export.begin()
    try:
        yield Way(Tracing(1.0, spans), export, counted)
    finally:
        await export.close()


async def test_a_collector_understands_what_comes(receiver: Receiver) -> None:
    """Names, kinds, parents, times and attributes, of a resource with our name and version; its headers come along."""
    secret = Secret("collector-canary")
    async with exporting(receiver.url, service="desk", headers={"x-key": secret}) as way:
        way.call()
    client, server = receiver.spans
    assert ("GET /t", "client", server.trace_id, server.span_id) == (
        client.name, client.kind, client.trace_id, client.parent,
    )  # fmt: skip
    assert ("GET /t", "server", "", False) == (server.name, server.kind, server.parent, server.error)
    assert (1_700_000_000 * 10**9, 500_000_000) == (server.began, server.ended - server.began)
    assert {
        "http.request.method": "GET", "http.route": "/t", "bearerd.mount": "m", "bearerd.client": "c",
        "http.response.status_code": 200,
    } == server.attributes  # fmt: skip
    assert {"service.name", "service.version", "service.instance.id"} == receiver.resource.keys()
    assert ("desk", "collector-canary") == (receiver.resource["service.name"], receiver.headers["x-key"])
    assert {"sent": 2} == way.counted


async def test_the_environment_says_nothing(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its proxies nor the library's own variables change where spans go, or what is with them."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment=canary")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-canary=1")
    async with exporting(receiver.url) as way:
        way.call()
    assert {"sent": 2} == way.counted
    assert "deployment" not in receiver.resource
    assert "x-canary" not in {name.lower() for name in receiver.headers}


@pytest.mark.parametrize("status", [400, 401, 302, 308])
async def test_a_collector_that_refuses_is_told_of_once(
    status: int, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """Its spans are given up and counted. A redirect is a refusal, and is not followed. Then it goes on."""
    async with exporting(receiver.url) as way:
        caplog.set_level(logging.INFO)
        for answers in (status, status, 200):
            receiver.answers = answers
            way.call()
            await way.export.flush()
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO]
    assert 2 == len(said)
    assert (f"it answered {status}" in said[0], "takes spans again" in said[1]) == (True, True)
    assert {"failed": 4, "sent": 2} == way.counted
    assert 3 == receiver.requests


async def test_a_collector_that_is_not_there_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """Said by the kind of the error; the address, which may hold a secret in its path, is not in the log."""
    async with exporting("http://127.0.0.1:1/canary", farewell=0.2) as way:
        way.call()
        began = perf_counter()
    assert perf_counter() - began < 1
    assert {"failed": 2} == way.counted
    assert "canary" not in caplog.text


async def test_a_collector_that_hangs_holds_nobody_up(receiver: Receiver) -> None:
    """What waits is bounded, the rest is dropped and counted; calls go on, and so does the end of the server."""
    receiver.answers = 30.0
    async with exporting(receiver.url, most=100, farewell=0.2) as way:
        way.call()
        sending = asyncio.ensure_future(way.export.flush())
        await receiver.changed.wait()
        began = perf_counter()
        way.call(500)
        assert perf_counter() - began < 0.5
        assert {"dropped": 800} == way.counted
        sending.cancel()
        began = perf_counter()
    assert perf_counter() - began < 1
    assert {"dropped": 1000, "failed": 2} == way.counted


@asynccontextmanager
async def answering(
    *pieces: bytes, pause: float = 0.0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, list[int]]]:
    """A collector that answers with the first piece, and then with the others again and again; and what it could send.

    The pieces come `pause` seconds apart.
    """
    sent: list[int] = []
    serving = set[asyncio.Task[None] | None]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent.append(0)
        serving.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            for piece in chain(pieces[:1], cycle(pieces[1:])):
                writer.write(piece)
                await writer.drain()
                sent[-1] += len(piece)
                await asyncio.sleep(pause)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/traces", sent
    finally:
        server.close()
        await asyncio.gather(*(task for task in serving if task is not None))
        await asyncio.sleep(0)


async def test_an_answer_without_end_is_not_read() -> None:
    """Its status counts. The server that sends it could fill our memory otherwise."""
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n", bytes(65536)) as (url, sent), exporting(url) as way:
        way.call()
        await way.export.flush()
        assert {"sent": 2} == way.counted
    assert sum(sent) < 16 << 20


@pytest.mark.parametrize("head", [b"HTTP/1.1 503 Un", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["head", "body"])
async def test_an_answer_that_drips_holds_nobody_up_for_ever(head: bytes) -> None:
    """Each byte comes in time, and the whole never would: the connection is cut, and the next spans get another one."""
    async with answering(head, b"x", pause=0.05) as (url, sent), exporting(url, patience=0.3) as way:
        for _ in range(2):
            began = perf_counter()
            way.call()
            await way.export.flush()
            assert perf_counter() - began < 3
    assert 4 == way.counted["failed" if b"503" in head else "sent"]
    assert len(sent) >= 2


async def test_tls_is_verified_and_cut_too(authority: ca.Authority, caplog: pytest.LogCaptureFixture) -> None:
    """Whom neither the system nor `ca_file` trusts gets nothing; whom it trusts, and drips, is waited for no longer."""
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n", b"x", pause=0.05, tls=authority.tls) as (url, sent):
        async with exporting(url, patience=0.3) as way:
            way.call()
            await way.export.flush()
        assert ({"failed": 2}, True, []) == (way.counted, "(SSLError)" in caplog.text, sent)
        async with exporting(url, patience=0.3, ca_file=str(authority.ca_file)) as way:
            began = perf_counter()
            way.call()
            await way.export.flush()
            assert perf_counter() - began < 3
        assert ({"sent": 2}, 1) == (way.counted, len(sent))


async def test_one_connection_serves_many_batches(receiver: Receiver) -> None:
    """It is kept, and not opened for each."""
    async with exporting(receiver.url) as way:
        for _ in range(3):
            way.call()
            await way.export.flush()
    assert (3, 1) == (receiver.requests, len(receiver.peers))


async def test_the_library_underneath_logs_nothing(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    """At the level debug it would tell the whole address; and a client's key in `tracestate` goes to no collector."""
    async with exporting(f"{receiver.url}?canary") as way:
        caplog.set_level(logging.DEBUG)
        key = "brd_" + "a1B2" * 11
        record = Record("id", "GET", mount="m", client="c", row="/t", status=200, outcome="broker")
        way.tracing.follow(record, Parent(TRACE, SPAN, 1, f"vendor={key}"), 1_700_000_000.0)
        assert record.trace is not None
        record.trace.over(record, 0.5)
        await way.export.flush()
    assert "canary" not in caplog.text
    assert [""] == [span.state for span in receiver.spans]


async def test_the_product_traces_its_calls(
    state_dir: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """Configured in one line: reads and orders arrive with two spans each, without a secret; a stop sends the rest."""
    line = ("mounts:", f"tracing: {{endpoint: '{receiver.url}'}}\nmounts:")
    async with house(state_dir, line) as home:
        for _ in range(3):
            await home.call("GET", f"{ACCOUNT}/balances?secret=canary", f"traceparent: 00-{TRACE}-{SPAN}-01")
        await home.order()
        secrets = [home.key, home.app.keepers["questrade"].grant.access_token]
        app = home.app
    assert 8 == len(receiver.spans)
    assert {"GET /v1/accounts/{account}/balances", "POST /v1/accounts/{account}/orders"} == {
        span.name for span in receiver.spans
    }
    assert {TRACE} == {span.trace_id for span in receiver.spans if span.name.startswith("GET")}
    for secret in (
        "canary",
        "26598145",
        *(str(each.reveal() if isinstance(each, Secret) else each) for each in secrets),
    ):
        assert secret.encode() not in receiver.raw
    assert {(("outcome", "sent"),): 8.0} == samples(app.rendered_metrics(), "bearerd_trace_spans_total")
