"""Traced calls: which ones, what their spans say, and where spans wait until somebody takes them away.

A call has two spans: that of the server, from its head to the end of its answer (of a stream: until it is open), and
that of the exchange with the broker, from its first byte to the head of the answer. Whether it is traced says the
caller's `traceparent`; without one, the part `sample` of all calls is. Of strangers nothing is told.

What spans say is from closed sets, as labels of metrics are: names of the configuration, templates, kinds of refusals.
Nothing here waits, sends, or knows the library that does (`traceexport.py`); a worker's spans travel to custody as
plain data.
"""

from collections import deque
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any, NamedTuple

from proxy.audit.record import Record
from proxy.gate.clients import grant_of
from proxy.gate.tracecontext import RANDOM, SAMPLED, Lines, Parent, lines, pairs, without
from proxy.identifiers import Identifiers
from proxy.metrics import METHODS

MOST = 4096  # calls that wait; more are dropped
SERVER, CLIENT = "server", "client"
# Outcomes of calls that were on their way to the broker; others may have waited for a token, and not left.
_TRIED = frozenset({"broker-unreachable", "broker-timeout", "bad-answer", "outcome-unknown", "aborted"})
_FAILED, _REFUSED = 500, 400  # statuses from which on a server's span, and a client's, tells of an error


Attributes = dict[str, str | int | bool]


class Span(NamedTuple):
    """One span, as plain data. Times are Unix time in seconds; `parent` is empty at the root of a trace.

    `remote`: the parent is another program's. `error`: it did not go as it should.
    """

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent: str
    remote: bool
    state: str
    began: float
    ended: float
    attributes: Attributes
    error: bool


class Trace:
    """One call that is traced. `parent` is what it said of itself, `began` when it came, in Unix time."""

    __slots__ = (
        "_began", "_broker", "_ended", "_flags", "_parent", "_seconds", "_sent", "_spans", "_started", "_trace_id",
        "_within",
    )  # fmt: skip

    def __init__(  # noqa: PLR0917  it is made for each call
        self, parent: Parent | None, trace_id: str, within: str, broker: str, spans: "Spans", began: float
    ) -> None:
        self._trace_id = trace_id
        self._within = within  # our own span
        self._broker = broker  # and that of the exchange with the broker
        self._parent = parent
        self._flags = SAMPLED | (parent.flags & RANDOM if parent is not None else RANDOM)
        self._spans = spans
        self._began = began
        self._started = perf_counter()
        self._sent: float | None = None
        self._ended: tuple[float, int] | None = None
        self._seconds: float | None = None

    def lines(self) -> Lines:
        """The header lines by which the broker's work becomes a child of ours."""
        return lines(self._onwards())

    def headers(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Headers for the broker, with ours in the place of the client's."""
        return [*without(headers), *pairs(self._onwards())]

    def _onwards(self) -> Parent:
        return Parent(self._trace_id, self._broker, self._flags, self._state)

    @property
    def _state(self) -> str:
        return self._parent.state if self._parent is not None else ""

    def sets_off(self) -> None:
        """The call goes to the broker from here on."""
        self._sent = perf_counter()

    def answered(self, status: int, seconds: float) -> None:
        """The broker's answer head is there, `seconds` after the first byte was sent."""
        now = perf_counter()
        self._sent, self._ended = max(self._started, now - seconds), (now, status)

    def over(self, record: Record, seconds: float) -> None:
        """The call has ended after so many seconds, as `record` says. Only the first word counts."""
        if self._seconds is None:
            self._seconds = seconds
            if record.client is None:  # a flood of strangers must not keep us busy with telling of it
                return
            if self._ended is None and self._sent is not None and record.outcome in _TRIED:
                self._ended = perf_counter(), 0
            self._spans.add((self, record))

    @property
    def count(self) -> int:
        """How many spans it has."""
        return 1 if self._ended is None else 2

    def spans(self, record: Record) -> list[Span]:
        """What is told of a call that is over."""
        name, known = _name(record), _known(record)
        server = self._server(name, dict(known), record)
        return [server] if self._ended is None else [self._client(name, known, record, self._ended), server]

    def _server(self, name: str, known: Attributes, record: Record) -> Span:
        parent, failed = self._parent, record.status >= _FAILED or not record.status
        if record.status:
            known["http.response.status_code"] = record.status
        if failed:
            known["error.type"] = record.outcome if record.refused or not record.status else str(record.status)
        elif record.refused:
            known["bearerd.refused"] = record.outcome
        above = parent.span_id if parent is not None else ""
        times = self._began, self._began + (self._seconds or 0.0)
        return Span(name, SERVER, self._trace_id, self._within, above, bool(above), self._state, *times, known, failed)

    def _client(self, name: str, known: Attributes, record: Record, end: tuple[float, int]) -> Span:
        ended, status = end
        if status:
            known |= {"http.response.status_code": status, "bearerd.replayed": record.replayed}
        failed = not status or status >= _REFUSED
        if failed:
            known["error.type"] = str(status) if status else record.outcome
        shift = self._began - self._started
        times = shift + (self._sent or self._started), shift + ended
        return Span(name, CLIENT, self._trace_id, self._broker, self._within, False, self._state, *times, known, failed)  # noqa: FBT003


Waiting = Span | tuple[Trace, Record]  # what is told of a call is put into words when somebody takes it


class Spans:
    """What waits to be taken away: `most` calls, or spans of others. `lost` hears how many spans had no room."""

    def __init__(self, lost: Callable[[int], None], most: int = MOST) -> None:
        self._waiting: deque[Waiting] = deque()
        self._lost = lost
        self._most = most

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, each: Waiting) -> None:
        """Keep it, if there is room."""
        if len(self._waiting) < self._most:
            self._waiting.append(each)
        else:
            self._lost(1 if isinstance(each, Span) else each[0].count)

    def take(self, most: int) -> list[Waiting]:
        """The oldest ones."""
        return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def heard(self, found: Iterable[list[Any]]) -> None:
        """Spans of another process, as they came out of JSON."""
        for each in found:
            self.add(Span(*each))


def spans_of(waiting: Iterable[Waiting]) -> list[Span]:
    """The spans of what has waited. May be asked in any thread."""
    found: list[Span] = []
    for each in waiting:
        found += [each] if isinstance(each, Span) else each[0].spans(each[1])
    return found


class Tracing:
    """Decides which calls are traced. `sample`: the part of those without a parent, 0 to 1."""

    def __init__(self, sample: float, spans: Spans) -> None:
        self.spans = spans
        self._bound = int(sample * (1 << 64))
        self._identifiers = Identifiers()

    def follow(self, record: Record, parent: Parent | None, wall: float) -> None:
        """Trace this call, which came at `wall` (Unix time), if it is to be traced."""
        draw = self._identifiers.next
        if parent is not None:
            if not parent.sampled:
                return
            trace_id = parent.trace_id
        else:
            low = draw()  # as everybody who samples by the trace's identifier decides
            if int(low, 16) >= self._bound:
                return
            trace_id = draw() + low
        record.trace = Trace(parent, trace_id, draw(), draw(), self.spans, wall)
        record.trace_id = trace_id


def _name(record: Record) -> str:
    method = record.method if record.method in METHODS else "HTTP"
    return f"{method} {record.row}" if record.row is not None else method


def _known(record: Record) -> Attributes:
    """What is said of every span: names of the configuration and of the scope tables. Of a member only its grant."""
    method = record.method if record.method in METHODS else "_OTHER"
    grant = grant_of(record.grant) if record.grant is not None else None
    named = {
        "http.route": record.row,
        "bearerd.mount": record.mount,
        "bearerd.client": record.client,
        "bearerd.grant": grant,
        "bearerd.scope": record.scope,
    }
    known: Attributes = {"http.request.method": method}
    known.update((name, value) for name, value in named.items() if value is not None)
    return known
