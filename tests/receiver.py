"""A collector: takes spans over OTLP/HTTP on loopback, and understands them."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

KINDS = {2: "server", 3: "client"}


@dataclass(frozen=True)
class Received:
    """One span as a collector has it. Times are in nanoseconds."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent: str
    state: str
    began: int
    ended: int
    error: bool
    attributes: dict[str, Any]


@dataclass
class Receiver:
    """What has come: spans, the resource that they are of, the headers of the last request.

    `answers` is how it answers: a status, or seconds to wait before 200.
    """

    url: str = ""
    spans: list[Received] = field(default_factory=list)
    resource: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""
    requests: int = 0
    peers: set[Any] = field(default_factory=set)
    answers: int | float = 200
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.BaseRequest) -> web.Response:
        self.requests += 1
        self.peers.add(request.transport and request.transport.get_extra_info("peername"))
        self.changed.set()
        if isinstance(self.answers, float):
            await asyncio.sleep(self.answers)
        elif self.answers != 200:
            return web.Response(status=self.answers, headers={"Location": f"{self.url}/elsewhere"})
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        self.headers, self.raw = dict(request.headers), self.raw + body
        self._read(ExportTraceServiceRequest.FromString(body))
        self.changed.set()
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )

    def _read(self, found: Any) -> None:
        for of_resource in found.resource_spans:
            self.resource = _plain(of_resource.resource.attributes)
            for scope in of_resource.scope_spans:
                self.spans += [_received(span) for span in scope.spans]

    async def until(self, count: int) -> list[Received]:
        """The spans, once there are so many."""
        async with asyncio.timeout(10):
            while len(self.spans) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.spans


def _received(span: Any) -> Received:
    return Received(
        span.name,
        KINDS[span.kind],
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.trace_state,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == 2,
        _plain(span.attributes),
    )


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """One that listens at `url`."""
    receiver = Receiver()
    runner = web.ServerRunner(web.Server(receiver.take, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    receiver.url = f"http://127.0.0.1:{port}/v1/traces"
    try:
        yield receiver
    finally:
        await runner.cleanup()
