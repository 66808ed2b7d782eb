"""Traced calls, through all three ways that a call can take, on real sockets."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from proxy.audit.record import Record
from proxy.audit.trailfile import name_of
from proxy.gate.tracecontext import Parent
from proxy.tracing import CLIENT, SERVER, Span, Spans, Tracing, spans_of
from tests.counting import counted
from tests.lab import Lab, access_token, running
from tests.streams.echo import desk, until
from tests.wire import Reply, Visit

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"traceparent: 00-{TRACE}-{SPAN}-01"
UNSAMPLED = f"traceparent: 00-{TRACE}-{SPAN}-00"
ACCOUNTS = "/lab/v1/accounts"


@dataclass
class Traced:
    """A lab whose calls are traced, and what became of the spans."""

    lab: Lab
    spans: Spans
    engine: str
    lost: list[int] = field(default_factory=list)

    def all(self) -> list[Span]:
        return spans_of(self.spans.take(100))

    def taken(self) -> tuple[Span, Span]:
        """The spans of the one call that there was: the server's, and the client's."""
        client, server = self.all()
        assert (SERVER, CLIENT) == (server.kind, client.kind)
        return server, client

    async def read(self, *headers: str) -> Reply:
        """A read, which takes its engine's way."""
        before = self.lab.lane.taken
        reply = await self.lab.call("GET", f"{ACCOUNTS}?secret=canary", *headers)
        assert (self.engine == "express") == (self.lab.lane.taken > before)
        return reply

    @property
    def told(self) -> tuple[list[str], list[str]]:
        """What the broker was told of the last call's parent."""
        visit = self.lab.broker.visits[-1]
        return visit.all("traceparent"), visit.all("tracestate")


@pytest.fixture(name="traced", params=["express", "pool", "aiohttp"])
async def _traced(request: pytest.FixtureRequest) -> AsyncIterator[Traced]:
    async with running(engine=request.param) as lab:
        await lab.call("GET", ACCOUNTS)  # so that everything is at hand for the express lane
        lost: list[int] = []
        found = Traced(lab, Spans(lost.append), request.param, lost)
        lab.gateway.tracing = Tracing(1.0, found.spans)
        yield found


async def test_a_call_has_two_spans(traced: Traced) -> None:
    """Ours is the child of the caller's, the exchange with the broker that of ours, and the broker is told of it."""
    reply = await traced.read(PARENT, "tracestate: a=1")
    assert 200 == reply.status
    server, client = traced.taken()
    assert ("GET /v1/accounts", TRACE, SPAN, True, "a=1", False) == (
        server.name, server.trace_id, server.parent, server.remote, server.state, server.error,
    )  # fmt: skip
    assert ("GET /v1/accounts", TRACE, server.span_id, False, False) == (
        client.name, client.trace_id, client.parent, client.remote, client.error,
    )  # fmt: skip
    assert ([f"00-{TRACE}-{client.span_id}-01"], ["a=1"]) == traced.told
    known: dict[str, object] = {
        "http.request.method": "GET", "http.route": "/v1/accounts", "bearerd.mount": "lab", "bearerd.client": "bot",
        "bearerd.grant": "lab", "bearerd.scope": "read", "http.response.status_code": 200,
    }  # fmt: skip
    assert known == server.attributes
    assert known | {"bearerd.replayed": False} == client.attributes
    assert server.began <= client.began <= client.ended <= server.ended + 0.001
    assert server.ended - server.began < 5


async def test_a_call_without_a_parent_begins_a_trace(traced: Traced) -> None:
    """With an identifier of its own; and so does one whose parent is malformed, of which the broker hears nothing."""
    for more in ([], ["traceparent: 00-nonsense-01", "tracestate: a=1"]):
        await traced.read(*more)
        server, client = traced.taken()
        assert ("", False, "") == (server.parent, server.remote, server.state)
        assert ([f"00-{server.trace_id}-{client.span_id}-03"], []) == traced.told
        assert 32 == len(server.trace_id)


async def test_what_the_caller_does_not_record_is_not_recorded(traced: Traced) -> None:
    """The parent goes on as it came, and nothing is kept."""
    await traced.read(UNSAMPLED, "tracestate: a=1")
    assert ([UNSAMPLED.partition(" ")[2]], ["a=1"]) == traced.told
    assert 0 == len(traced.spans)
    traced.lab.gateway.tracing = Tracing(0.0, traced.spans)
    await traced.read()
    await traced.read("traceparent: nonsense", "tracestate: b=2")
    assert ([], []) == traced.told
    assert 0 == len(traced.spans)


async def test_without_tracing_nothing_is_touched(traced: Traced) -> None:
    """The client's headers go on byte for byte, malformed or not; what can be read is in the audit trail."""
    traced.lab.gateway.tracing = None
    for given in (UNSAMPLED, "traceparent: nonsense"):
        await traced.read(given, "tracestate: A=1")
        assert ([given.partition(" ")[2]], ["A=1"]) == traced.told
    await traced.lab.trail.durable()
    records = [json.loads(line) for line in _trail(traced.lab) if '"call"' in line]
    assert [TRACE, None] == [record.get("trace_id") for record in records[-2:]]


async def test_the_trail_names_the_trace(traced: Traced) -> None:
    """A call's record, and the intent of an order, have the identifier under which the collector has the spans."""
    await traced.read()
    server, _ = traced.taken()
    await traced.lab.call("POST", "/lab/v1/orders", PARENT, body=b"{}")
    await traced.lab.trail.durable()
    records = [json.loads(line) for line in _trail(traced.lab)]
    assert server.trace_id in {record.get("trace_id") for record in records if record["kind"] == "call"}
    assert [TRACE] == [record.get("trace_id") for record in records if record["kind"] == "intent"]


async def test_refusals_and_failures_are_told_apart(traced: Traced) -> None:
    """What we refuse has one span without an error; what a broker leaves unanswered has two with one."""
    traced.lab.change_mount(scopes=frozenset({"trade"}))
    assert 403 == (await traced.lab.call("GET", ACCOUNTS, PARENT)).status
    (refused,) = traced.all()
    assert ("scope-denied", False, SERVER) == (refused.attributes["bearerd.refused"], refused.error, refused.kind)

    async def hang_up(visit: Visit) -> None:
        visit.writer.close()

    traced.lab.broker.script = [hang_up] * 3
    assert 500 == (await traced.lab.call("POST", "/lab/v1/orders", PARENT, body=b"{}")).status
    server, client = traced.taken()
    assert (True, "outcome-unknown") == (server.error, server.attributes["error.type"])
    assert (True, "outcome-unknown") == (client.error, client.attributes["error.type"])


async def test_a_broker_s_error_is_its_own(traced: Traced) -> None:
    """A 404 passes: for the broker's span that is an error, for ours it is an answer. A 503 is one for both."""

    async def answer(visit: Visit, status: int) -> None:
        await visit.json({}, status)

    for status, ours in ((404, False), (503, True)):
        traced.lab.broker.script = [lambda visit, status=status: answer(visit, status)]  # type: ignore[misc]
        await traced.lab.call("GET", ACCOUNTS)
        server, client = traced.taken()
        assert (ours, True, str(status)) == (server.error, client.error, client.attributes["error.type"])


async def test_nothing_that_a_client_chose_is_told(traced: Traced) -> None:
    """No path, query, key, token, account, method or identifier of its own: only known names. Of strangers nothing."""
    for call in (
        ("CANARY", "/lab/v1/accounts/canary?canary=1"),
        ("GET", "/canary/v1/canary"),
        ("DELETE", "/lab/v1/orders/424242?canary=1"),
    ):
        await traced.lab.call(*call, "X-Request-Id: canary", "Authorization2: canary")
    told = json.dumps(traced.all())
    assert 401 == (await traced.lab.call("GET", ACCOUNTS, PARENT, key="canary")).status
    assert [] == traced.all()
    for secret in ("canary", "CANARY", "424242", traced.lab.key, access_token(1)):
        assert secret not in told
    assert "/v1/orders/{order}" in told


async def test_a_socket_is_told_of_when_it_is_open() -> None:
    """Its spans end there, not in hours; the handshake at the broker is the child of ours."""
    async with desk() as it:
        spans = Spans(lambda _: None)
        it.lab.gateway.tracing = Tracing(1.0, spans)
        socket = await it.connect(headers=it.auth | {"traceparent": PARENT.partition(" ")[2]})
        await socket.send_str("hello")
        assert "hello" == await socket.receive_str()
        client, server = spans_of(spans.take(10))
        assert (CLIENT, SERVER, TRACE, SPAN) == (client.kind, server.kind, server.trace_id, server.parent)
        assert (101, 101) == tuple(span.attributes["http.response.status_code"] for span in (client, server))
        (request,) = it.broker.requests
        assert f"00-{TRACE}-{client.span_id}-01" == request.headers["traceparent"]
        await socket.close()
        await until(lambda: bool(it.broker.closes))
        assert 0 == len(spans)


def _trail(lab: Lab) -> list[str]:
    return bytes(lab.disk._files[lab.trail.directory / name_of(1)].durable).decode().splitlines()


def test_spans_that_nobody_takes_are_dropped() -> None:
    """So many wait, and no more; a span goes to another process as plain data and comes back the same."""
    lost: list[int] = []
    spans = Spans(lost.append, most=3)
    tracing = Tracing(1.0, spans)
    for _ in range(5):
        record = Record("id", "GET", client="c", status=200, outcome="broker")
        tracing.follow(record, None, 100.0)
        assert record.trace is not None
        record.trace.over(record, 1.0)
        record.trace.over(record, 2.0)
    assert ([1, 1], 3) == (lost, len(spans))
    (first, *_) = found = spans_of(spans.take(2))
    assert (100.0, 101.0, "GET") == (first.began, first.ended, first.name)
    spans.heard(json.loads(json.dumps(found)))
    assert [1, 1] == lost
    assert found == spans_of(spans.take(9))[1:]


@pytest.mark.parametrize("sample", [0.0, 0.25, 1.0])
def test_a_part_of_the_calls_is_traced(sample: float) -> None:
    """Of those without a parent; a parent decides for itself."""
    tracing = Tracing(sample, Spans(lambda _: None))
    count = 0
    for _ in range(2000):
        record = Record("id", "GET")
        tracing.follow(record, None, 0.0)
        count += record.trace is not None
    assert abs(count / 2000 - sample) < 0.05
    for flags, traced in ((1, True), (0, False)):
        record = Record("id", "GET")
        tracing.follow(record, Parent(TRACE, SPAN, flags), 0.0)
        assert traced == (record.trace is not None)


async def test_tracing_costs_a_read_little(figure: object) -> None:
    """A traced read on the express lane calls a quarter more functions at most, one that is not chosen hardly more."""
    assert callable(figure)
    async with running(engine="express") as lab, lab.connect() as wire:
        spans = Spans(lambda _: None, most=100_000)

        async def calls(tracing: Tracing | None) -> int:
            lab.gateway.tracing = tracing
            costs = []
            for _ in range(40):
                with counted() as found:
                    await wire.send(lab.request("GET", ACCOUNTS))
                    await wire.reply()
                costs.append(found.python)
            return sorted(costs)[20]

        plain, traced, unsampled = await calls(None), await calls(Tracing(1.0, spans)), await calls(Tracing(0.0, spans))
        assert lab.lane.taken > 100
    figure(f"one read: {plain} functions in Python, {traced} if it is traced, {unsampled} if it is not chosen")
    assert (traced <= plain * 5 / 4, unsampled <= plain + 6) == (True, True)
