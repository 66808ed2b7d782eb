"""Sends spans to a collector, over OTLP/HTTP, with OpenTelemetry's own exporter.

The library waits for the collector, so that it works in a thread of its own, a batch at a time. What the collector does
not take in time is given up and counted; that it does not is said once. Its settings of the environment (`OTEL_…`), its
globals and the environment's proxies are left alone: where spans go says the configuration.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
import uuid
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from proxy import __version__, logs
from proxy.collector import Collector
from proxy.tracing import CLIENT, Span, Spans, Waiting, spans_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

BATCH = 64  # calls at a time: while the interpreter puts them into bytes it serves none
PAUSE = 1.0  # seconds between two looks whether there are any
PATIENCE = 10.0  # seconds for a batch, tries included
FAREWELL = 2.0  # seconds for what is left when the server stops
_NS = 1_000_000_000
_LARGEST = 4096  # bytes of an answer's body
_BODY = frozenset(("content-type", "content-encoding"))
_FINE, _MOVED, _WRONG = 200, 300, 400  # the first statuses of their classes

log = logs.get("tracing")


class Export:
    """`begin()`, `run()` as long as the server runs, then `close()`. `count` hears what became of how many spans.

    `patience` and `farewell`: seconds for a batch, and for what is left at the end.
    """

    def __init__(
        self,
        collector: Collector,
        spans: Spans,
        count: Callable[[str, int], None],
        *,
        patience: float = PATIENCE,
        farewell: float = FAREWELL,
    ) -> None:
        self._collector = collector
        self._patience = patience
        self._spans = spans
        self._count = count
        self._wire: _Wire | None = None
        self._farewell = farewell
        self._failing = False
        self._closed = False
        self._batch: Sequence[Waiting] = ()
        self._out: asyncio.Future[tuple[str, int]] | None = None

    async def begin(self) -> None:
        """Have the library ready before a call waits for the interpreter while it is imported."""
        self._wire = await asyncio.to_thread(_Wire, self._collector, self._patience)

    async def run(self) -> None:
        """Send what waits, every now and then."""
        while True:
            await asyncio.sleep(PAUSE)
            await self.flush()

    async def flush(self) -> None:
        """Send all that waits, and hear what becomes of it."""
        while self._out is not None or len(self._spans):
            await self._send()

    async def close(self) -> None:
        """Send what is left, if that takes no longer than a moment."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._farewell):
                await self.flush()
        self._closed = True
        if self._out is not None:  # whatever becomes of it, nobody will hear
            self._count("failed", len(spans_of(self._batch)))
        if left := len(spans_of(self._spans.take(len(self._spans)))):
            self._count("dropped", left)
        if self._wire is not None:
            self._wire.close()

    async def _send(self) -> None:
        """A batch, or wait for the one that is out: whoever stops waiting, it is counted."""
        if self._out is None:
            self._batch = batch = self._spans.take(BATCH)
            wire = self._wire
            if wire is None:
                raise AssertionError("spans were to be sent before there was a way")
            try:
                self._out = _in_thread(lambda: _sent(wire, batch))
            except RuntimeError:  # a limit of the system's: there may be room for the next
                self._heard("no thread could be started", len(spans_of(batch)))
                return
            self._out.add_done_callback(lambda done: self._heard(*done.result()))
        await asyncio.shield(self._out)

    def _heard(self, fault: str, count: int) -> None:
        self._out = None
        if self._closed:
            return
        self._count("failed" if fault else "sent", count)
        if fault and not self._failing:
            log.warning("the collector takes no spans; calls go on, and spans are given up", reason=fault)
        elif self._failing and not fault:
            log.info("the collector takes spans again")
        self._failing = bool(fault)


def _sent(wire: "_Wire", batch: Sequence[Waiting]) -> tuple[str, int]:
    """In a thread: why a batch was not taken (empty if it was), and how many spans it has."""
    spans: Sequence[Span] = ()
    try:
        spans = spans_of(batch)
        return wire.send(spans), len(spans)
    except Exception as error:  # noqa: BLE001  whatever it is, calls go on
        return type(error).__name__, len(spans)


def _in_thread(work: Callable[[], tuple[str, int]]) -> "asyncio.Future[tuple[str, int]]":
    """What `work` gives, from a thread that nobody waits for when all is over."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[tuple[str, int]] = loop.create_future()

    def run() -> None:
        found = work()
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(done.set_result, found)

    threading.Thread(target=run, name="spans", daemon=True).start()
    return done


class _Wire:
    """The library's exporter, and what it needs of spans. Made and used in a thread."""

    def __init__(self, collector: Collector, patience: float) -> None:
        from opentelemetry.exporter.otlp.proto.http import Compression
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource

        # Its own words quote addresses and answers, at every try; ours are in `Export`.
        for name in ("opentelemetry", "urllib3"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self._session = _session(collector)
        self._exporter = OTLPSpanExporter(
            endpoint=collector.endpoint,
            timeout=patience,
            compression=Compression.Gzip,
            session=self._session,
        )
        # Not `create()`: that asks the environment, and every package that is installed.
        self._resource = Resource(
            {
                "service.name": collector.service,
                "service.version": __version__,
                "service.instance.id": str(uuid.uuid4()),
            }
        )

    def send(self, batch: Sequence[Span]) -> str:
        from opentelemetry.sdk.trace.export import SpanExportResult

        self._session.why = "it does not answer in time"
        found = self._exporter.export([_readable(span, self._resource) for span in batch])
        return "" if found is SpanExportResult.SUCCESS else self._session.why

    def close(self) -> None:
        """What waits for another try gives up."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


class _Line:
    """The socket to the collector, held so that it can be cut: a time-out of the library is one for each byte."""

    def __init__(self) -> None:
        self._held: socket.socket | None = None
        self._cut = self._closed = False
        self._lock = threading.Lock()

    def begin(self, seconds: float) -> threading.Timer:
        """An exchange, which is cut after so many seconds unless the timer is cancelled."""
        self._cut = self._closed
        watch = threading.Timer(seconds, self.cut)
        watch.daemon = True
        watch.start()
        return watch

    def hold(self, opened: socket.socket) -> socket.socket:
        """It is this one now."""
        with self._lock:
            if self._held is not None:
                self._held.close()
            self._held = None if self._closed else opened.dup()  # TLS takes the other one over
            if self._cut:
                opened.shutdown(socket.SHUT_RDWR)
        return opened

    def cut(self) -> None:
        """Whoever reads from it reads no more."""
        with self._lock:
            self._cut = True
            if self._held is not None:
                with contextlib.suppress(OSError):
                    self._held.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cut it for good."""
        self.cut()
        with self._lock:
            self._closed = True
            if self._held is not None:
                self._held.close()
                self._held = None

    def cuts(self, kind: type[Any]) -> type[Any]:
        """Connections of a kind of the library's, held from their first byte on."""

        class Cuttable(kind):  # type: ignore[misc]
            def _new_conn(inner) -> socket.socket:  # noqa: N805  a test notices if the library calls it otherwise
                return self.hold(super()._new_conn())

        return Cuttable


def _session(collector: Collector) -> Any:
    """A session that goes straight to the collector, follows nothing, and remembers why something failed.

    What the library has taken from the environment (headers, certificates) is written over. An answer is its head: of
    its body a little is read, and for neither is waited beyond the time-out.
    """
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.exceptions import HTTPError

    ours = {name: value.reveal() for name, value in collector.headers.items()}
    line = _Line()
    kinds = {"http": line.cuts(HTTPConnection), "https": line.cuts(HTTPSConnection)}

    class Adapter(HTTPAdapter):
        def get_connection_with_tls_context(self, *arguments: Any, **named: Any) -> Any:
            pool = super().get_connection_with_tls_context(*arguments, **named)
            pool.ConnectionCls = kinds[str(pool.scheme)]
            return pool

    class Session(requests.Session):
        why = ""

        def request(self, *arguments: Any, **named: Any) -> requests.Response:
            said = {name: value for name, value in named["headers"].items() if name.lower() in _BODY}
            named |= {"headers": said | ours, "verify": collector.ca_file or _trusted(), "stream": True}
            self.cert = None
            watch = line.begin(named["timeout"])
            try:
                answer = super().request(*arguments, **named)
                with contextlib.suppress(HTTPError, OSError):
                    answer.raw.read(_LARGEST)
                if not answer.raw.closed:
                    answer.close()
            except requests.RequestException as error:
                self.why = f"it cannot be reached ({type(error).__name__})"
                raise
            finally:
                watch.cancel()
            if not _FINE <= answer.status_code < _MOVED:
                self.why = f"it answered {answer.status_code}"
            if _MOVED <= answer.status_code < _WRONG:  # which the library takes for a success
                raise requests.RequestException(self.why)
            return answer

        def close(self) -> None:
            super().close()
            line.close()

    found = Session()
    found.trust_env = False
    for scheme in kinds:
        found.mount(f"{scheme}://", Adapter())
    return found


def _trusted() -> str | bool:
    """Whom the system trusts, as for every other connection; the library would ask a list of its own."""
    system = ssl.get_default_verify_paths()
    return system.cafile or system.capath or True


@cache
def _scope() -> Any:
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    return InstrumentationScope("bearerd", __version__)


def _readable(span: Span, resource: Any) -> "ReadableSpan":
    """A span as the library has it."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

    trace_id, flags = int(span.trace_id, 16), TraceFlags(TraceFlags.SAMPLED)
    # A client may have written anything into it, and a collector is not the place for a key.
    told = span.state if span.state == logs.redact(span.state) else ""
    state = TraceState.from_header([told]) if told else TraceState()
    context = SpanContext(trace_id, int(span.span_id, 16), is_remote=False, trace_flags=flags, trace_state=state)
    parent = None
    if span.parent:
        parent = SpanContext(trace_id, int(span.parent, 16), is_remote=span.remote, trace_flags=flags)
    return ReadableSpan(
        name=span.name,
        context=context,
        parent=parent,
        resource=resource,
        attributes=span.attributes,
        kind=SpanKind.CLIENT if span.kind == CLIENT else SpanKind.SERVER,
        status=Status(StatusCode.ERROR if span.error else StatusCode.UNSET),
        start_time=int(span.began * _NS),
        end_time=int(span.ended * _NS),
        instrumentation_scope=_scope(),
    )
