"""What is counted, declared in one place, on a registry of our own; what stands is in `dials.py`.

Labels are closed sets: mounts, clients and grants from the configuration, templates from the scope tables, kinds from
`errors.py`; never a raw path, an account or a token. What is in no set is counted as `other` and opens no new series.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy import counts
from proxy.counts import SECONDS, Cell, Family, Times
from proxy.dials import Dials
from proxy.errors import KINDS
from proxy.labels import NONE, OTHER, Names, one_of

CONTENT_TYPE = CONTENT_TYPE_LATEST
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OUTCOMES = frozenset({"renewed", "adopted", "dead", "try-later", "uncertain", "misconfigured", "not-sent", "error"})
PACED = frozenset({"waited", "refused", "left"})
GUARDS = frozenset(
    {
        "accounts", "hours", "max_notional", "max_quantity", "order", "orders_per_minute", "sides", "symbols", "types",
        "underlyings", "unreadable",
    }
)  # fmt: skip
SPANS = frozenset({"sent", "failed", "dropped"})
_KINDS = frozenset(kind.name for kind in KINDS.values())
# Those of RFC 6455, and our own (`streams/codes.py`); a client may send any other.
_CLOSE_CODES = frozenset((*range(1000, 1016), 4401, 4403, 4423, 4502, 4503))
_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
_BOUNDS = (*(str(bound) for bound in SECONDS), "+Inf")


class Metrics(Collector):
    """The server's counters. Times are in seconds.

    What is counted stands in `counts.py`, and becomes samples when it is read.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._names = Names()
        self.dials = Dials(self.registry, self._names)
        # Series already found: the labels of a request are checked once, not each time.
        self._request_series: dict[tuple[str | None, str | None, str, int, str | None], tuple[Cell, Cell]] = {}
        self._broker_series: dict[tuple[str, int], tuple[Cell, Cell]] = {}
        self._families: dict[str, Family] = {}
        self.in_flight = 0
        self._in_flight_elsewhere: dict[str, int] = {}  # by process
        self._told: dict[str, int] = {}  # of what others count
        self._declare_calls()
        self._declare_more()
        self.registry.register(self)

    def _declare_calls(self) -> None:
        labels = ("mount", "template", "method", "status_class", "client")
        self._requests = self._counter("requests", "Calls answered, whoever answered them", labels)
        self._seconds = self._histogram("request_seconds", "From the request's head to the end of the answer")
        self._upstream = self._histogram("upstream_seconds", "From the first byte sent to the broker's answer head")
        self._answers = self._counter("upstream_answers", "Answers of the broker", ("mount", "status_class"))
        text = "Calls that got no answer of the broker but one of bearerd, by why"
        self._denials = self._counter("denials", text, ("kind", "mount", "client"))
        text = "Calls that a guard refused, by guard"
        self._guarded = self._counter("guard_denials", text, ("mount", "client", "guard"))
        self._upstream_401 = self._counter("upstream_401", "Answers 401 of a broker", ("mount",))
        self._paced = self._counter("paced", "Calls that had to wait for the broker's rate limit", ("grant", "outcome"))
        self._waits = self._histogram("paced_wait_seconds", "How long such calls waited", "grant")

    def _declare_more(self) -> None:
        text = "TLS handshakes with clients that failed, by reason"
        self._handshakes = self._counter("tls_handshakes_failed", text, ("reason",))
        text = "Messages over sockets, from clients (up) and to them (down)"
        self._messages = self._counter("stream_messages", text, ("mount", "direction"))
        text = "Streams and sockets that ended, by close code"
        self._stream_ends = self._counter("streams_ended", text, ("mount", "kind", "code"))
        self._refreshes = self._counter("token_refresh", "Token requests, by how they ended", ("grant", "outcome"))
        self._audit = {
            "written": self._counter("audit_records", "Records of the audit trail", ()),
            "lost": self._counter("audit_records_lost", "Records that the disk did not take in time", ()),
        }
        text = "What hooks were told, by what became of it"
        self._alerts = self._counter("alerts", text, ("hook", "outcome"))
        self._lines_lost = self._counter("log_lines_lost", "Lines of the log that nobody took in time", ())
        self._workers_ended = self._counter("workers_ended", "Worker processes that ended and were started again", ())
        self._spans = self._counter("trace_spans", "Spans of traced calls, by what became of them", ("outcome",))

    def allow(
        self,
        *,
        mounts: Iterable[str],
        clients: Iterable[str],
        templates: Iterable[str],
        grants: Iterable[str],
    ) -> None:
        """Name the values that labels may have; called at start and after each reload. What is gone keeps counting."""
        self._names.allow(mounts, clients, templates, grants)
        self._request_series.clear()
        self._broker_series.clear()

    def answered(
        self,
        *,
        mount: str | None,
        template: str | None,
        method: str,
        status: int,
        client: str | None,
        seconds: float,
    ) -> None:
        """A call has its answer. None stands for what was never found out (no such mount, an unknown client)."""
        key = (mount, template, method, status // 100, client)
        if (series := self._request_series.get(key)) is None:
            series = self._find_series(*key)
            # Only a client's method and status class vary freely here, and both become one of a few labels.
            if method in METHODS:
                self._request_series[key] = series
        counted, times = series
        counted[0] += 1
        times[0] += seconds
        times[1 + bisect_left(SECONDS, seconds)] += 1

    def _find_series(
        self, mount: str | None, template: str | None, method: str, status_class: int, client: str | None
    ) -> tuple[Cell, Cell]:
        mount_label = one_of(mount, self._names.mounts)
        counter = self._requests.cell(
            mount_label,
            one_of(template, self._names.templates),
            one_of(method, METHODS),
            _class_of(status_class),
            one_of(client, self._names.clients),
        )
        return counter, self._seconds.cell(mount_label)

    def denied(self, kind: str, mount: str | None = None, client: str | None = None) -> None:
        """bearerd refused a call; `kind` is a name of `errors.KINDS`. None: it was never found out."""
        names = self._names
        cell = self._denials.cell(one_of(kind, _KINDS), one_of(mount, names.mounts), one_of(client, names.clients))
        cell[0] += 1

    def guard_denied(self, mount: str | None, client: str | None, guard: str | None) -> None:
        """A guard refused a call; `guard` is one of `GUARDS`."""
        names = self._names
        labels = one_of(mount, names.mounts), one_of(client, names.clients), one_of(guard, GUARDS)
        self._guarded.cell(*labels)[0] += 1

    def alerts(self, hook: str, outcome: str, count: int) -> None:
        """A hook of the configuration was told so often so far. `outcome` is one of `alerts.post.OUTCOMES`."""
        self._alerts.cell(hook, outcome)[0] = count

    def paced(self, grant: str, outcome: str, seconds: float) -> None:
        """A call waited for so long; `outcome` is one of `PACED`."""
        grant = one_of(grant, self._names.grants)
        self._paced.cell(grant, one_of(outcome, PACED))[0] += 1
        self._waits.observe(seconds, grant)

    def upstream(self, mount: str, status: int, seconds: float) -> None:
        """A broker's answer head, with this status, came after `seconds`."""
        key = (mount, status // 100)
        if (cells := self._broker_series.get(key)) is None:
            label = one_of(mount, self._names.mounts)
            cells = self._upstream.cell(label), self._answers.cell(label, _class_of(status // 100))
            if mount in self._names.mounts:
                self._broker_series[key] = cells
        times, answers = cells
        answers[0] += 1
        times[0] += seconds
        times[1 + bisect_left(SECONDS, seconds)] += 1

    def upstream_unauthorized(self, mount: str) -> None:
        """A broker answered 401."""
        self._upstream_401.cell(one_of(mount, self._names.mounts))[0] += 1

    def began(self) -> None:
        """A call came in."""
        self.in_flight += 1

    def ended(self) -> None:
        """A call that `began` is over, however it went."""
        self.in_flight -= 1

    def stream_messages(self, mount: str, up: int, down: int) -> None:
        """So many messages more have passed on a mount."""
        mount = one_of(mount, self._names.mounts)
        self._messages.cell(mount, "up")[0] += up
        self._messages.cell(mount, "down")[0] += down

    def stream_ended(self, mount: str, kind: str, code: int | None) -> None:
        """A stream is over; `code` is its close code, None if there was none."""
        told = NONE if code is None else str(code) if code in _CLOSE_CODES else OTHER
        self._stream_ends.cell(one_of(mount, self._names.mounts), kind, told)[0] += 1

    def handshake_failed(self, reason: str) -> None:
        """A client did not come through the TLS handshake; `reason` is one of `vestibule.REASONS`."""
        self._handshakes.cell(reason)[0] += 1

    def token_refresh(self, grant: str, outcome: str) -> None:
        """A token request ended; `outcome` is one of `OUTCOMES`."""
        self._refreshes.cell(one_of(grant, self._names.grants), one_of(outcome, OUTCOMES))[0] += 1

    def audit(self, written: int, lost: int) -> None:
        """Records of the audit trail since the start: on their way to the disk, and lost."""
        for name, count in (("written", written), ("lost", lost)):
            self._grown(self._audit[name], count)

    def log_lines_lost(self, lost: int) -> None:
        """Lines of this process's log that were lost since it was set up."""
        self._grown(self._lines_lost, lost)

    def _grown(self, family: Family, count: int) -> None:
        """Somebody else has counted so many so far."""
        family.cell()[0] += count - self._told.get(family.name, 0)
        self._told[family.name] = count

    def worker_ended(self) -> None:
        """A process that relays reads has gone; another one comes."""
        self._workers_ended.cell()[0] += 1

    def spans(self, outcome: str, count: int = 1) -> None:
        """What became of so many spans; `outcome` is one of `SPANS`."""
        self._spans.cell(one_of(outcome, SPANS))[0] += count

    def render(self) -> bytes:
        """All metrics in Prometheus' text format; its media type is `CONTENT_TYPE`."""
        return generate_latest(self.registry)

    # -- several processes --------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """What was counted here since the last snapshot, and the calls in flight now: plain data, ready for JSON."""
        return {"counts": counts.snapshot(self._families), "in_flight": self.in_flight}

    def absorb(self, source: str, snapshot: Mapping[str, Any]) -> None:
        """Count as one's own what the process `source` tells. `LookupError`, `ValueError`: it counts otherwise."""
        counts.absorb(self._families, snapshot["counts"])
        self._in_flight_elsewhere[source] = int(snapshot["in_flight"])

    def in_flight_of(self, source: str) -> int:
        """Calls that the process `source` was answering when it told last."""
        return self._in_flight_elsewhere.get(source, 0)

    def forget(self, source: str) -> None:
        """That process has ended: what it counted stays, nothing of it is in flight."""
        self._in_flight_elsewhere.pop(source, None)

    def cells(self, name: str) -> Iterator[tuple[tuple[str, ...], Cell]]:
        """Labels and numbers of every series of a family, which is called without `bearerd_` and `_total`."""
        return self._families[name].cells()

    # -- samples ------------------------------------------------------------------------------------------------------

    def collect(self) -> Iterator[Metric]:
        """For the library, when somebody reads the metrics."""
        for family in self._families.values():
            yield _histogram(family) if isinstance(family, Times) else _counter(family)
        in_flight = self.in_flight + sum(self._in_flight_elsewhere.values())
        yield GaugeMetricFamily("bearerd_in_flight", "Calls that are being answered now", value=in_flight)

    def _counter(self, name: str, text: str, labels: Iterable[str]) -> Family:
        family = self._families[name] = Family(name, text, labels)
        return family

    def _histogram(self, name: str, text: str, label: str = "mount") -> Times:
        family = self._families[name] = Times(name, text, (label,))
        return family


def _class_of(hundreds: int) -> str:
    """The class of a status of so many hundreds."""
    return _CLASSES[hundreds - 1] if 0 < hundreds <= len(_CLASSES) else OTHER


def _counter(family: Family) -> Metric:
    found = CounterMetricFamily(f"bearerd_{family.name}", family.text, labels=family.labels)
    for labels, cell in family.cells():
        found.add_metric(labels, cell[0])
    return found


def _histogram(family: Times) -> Metric:
    found = HistogramMetricFamily(f"bearerd_{family.name}", family.text, labels=family.labels)
    for labels, (total, *between) in family.cells():
        found.add_metric(labels, list(zip(_BOUNDS, accumulate(between), strict=True)), total)
    return found
