"""Every metric, declared in one place, on a registry of our own.

Labels are closed sets: mounts, clients and grants from the configuration, templates from the scope tables, kinds from
`errors.py`; never a raw path, an account or a token. What is in no set is counted as `other` and opens no new series.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy import counts
from proxy.counts import SECONDS, Cell, Family, Times
from proxy.errors import KINDS

CONTENT_TYPE = CONTENT_TYPE_LATEST
OTHER = "other"
NONE = "-"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OUTCOMES = frozenset({"renewed", "adopted", "dead", "try-later", "uncertain", "misconfigured", "not-sent", "error"})
PACED = frozenset({"waited", "refused", "left"})
_KINDS = frozenset(kind.name for kind in KINDS.values())
# Those of RFC 6455, and our own (`streams/codes.py`); a client may send any other.
_CLOSE_CODES = frozenset((*range(1000, 1016), 4401, 4403, 4423, 4502, 4503))
_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
_BOUNDS = (*(str(bound) for bound in SECONDS), "+Inf")


class Metrics(Collector):
    """The server's counters. Times are in seconds, points in time are Unix time.

    What is counted stands in `counts.py`, and becomes samples when it is read.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._mounts: frozenset[str] = frozenset()
        self._clients: frozenset[str] = frozenset()
        self._templates: frozenset[str] = frozenset()
        self._grants: frozenset[str] = frozenset()
        # Series already found: the labels of a request are checked once, not each time.
        self._request_series: dict[tuple[str | None, str | None, str, int, str | None], tuple[Cell, Cell]] = {}
        self._broker_series: dict[str, Cell] = {}
        self._families: dict[str, Family] = {}
        self.in_flight = 0
        self._in_flight_elsewhere: dict[str, int] = {}  # by process
        self._declare_traffic()
        self._declare_tokens()
        self.registry.register(self)

    def _declare_traffic(self) -> None:
        labels = ("mount", "template", "method", "status_class", "client")
        self._requests = self._counter("requests", "Calls answered, whoever answered them", labels)
        self._seconds = self._histogram("request_seconds", "From the request's head to the end of the answer")
        self._upstream = self._histogram("upstream_seconds", "From the first byte sent to the broker's answer head")
        self._denials = self._counter("denials", "Calls that bearerd itself refused", ("kind",))
        self._upstream_401 = self._counter("upstream_401", "Answers 401 of a broker", ("mount",))
        text = "TLS handshakes with clients that failed, by reason"
        self._handshakes = self._counter("tls_handshakes_failed", text, ("reason",))
        text = "When the certificate of our own listeners expires"
        self._certificate = self._gauge("tls_certificate_expires_timestamp_seconds", text, ("listener",))
        text = "When the first of a client's keys expires that was not replaced"
        self._keys = self._gauge("client_key_expires_timestamp_seconds", text, ("client",))
        self._streams = self._gauge("streams_open", "Streams and sockets that are open now", ("mount", "kind"))
        text = "Messages over sockets, from clients (up) and to them (down)"
        self._messages = self._counter("stream_messages", text, ("mount", "direction"))
        text = "Streams and sockets that ended, by close code"
        self._stream_ends = self._counter("streams_ended", text, ("mount", "kind", "code"))
        self._paced = self._counter("paced", "Calls that had to wait for the broker's rate limit", ("grant", "outcome"))
        self._waits = self._histogram("paced_wait_seconds", "How long such calls waited", "grant")
        self._budgets = {
            name: self._gauge(f"rate_{name}", text, ("grant", "category"))
            for name, text in (
                ("remaining", "Calls that the broker's rate limit still allows"),
                ("waiting", "Calls that wait for it"),
            )
        }

    def _declare_tokens(self) -> None:
        self._refreshes = self._counter("token_refresh", "Token requests, by how they ended", ("grant", "outcome"))
        self._generation = self._gauge("generation", "Number of the token pair in use", ("grant",))
        self._points = {
            name: self._gauge(f"{name}_timestamp_seconds", text, ("grant",))
            for name, text in (
                ("access_token_issued", "When the access token in use was issued"),
                ("access_token_expires", "When the access token in use expires"),
                ("refresh_token_issued", "When the refresh token was issued"),
                ("refresh_token_expires", "When the refresh token dies if it is not used"),
                ("login_ends", "When a person must log in again, whatever happens until then"),
            )
        }
        self._states = self._gauge("grant_state", "1 for the state that a grant is in", ("grant", "state"))
        self._members = self._gauge("members", "Members of a grant, by state", ("grant", "state"))
        self._since = self._gauge("grant_state_since_timestamp_seconds", "When it came into that state", ("grant",))
        self._slots = self._gauge("journal_slots_in_use", "Token answers not yet committed to the store")
        self._store = self._gauge("store_up", "Whether the store answered last time: 1 or 0")
        text = "How late the event loop was at worst, in the last quarter of a minute or somewhat more"
        self._lag = self._gauge("loop_lag_seconds", text)
        self._overloaded = self._gauge("overloaded", "1: more calls come than can be served, and reads are refused")
        self._audit = {
            "written": self._counter("audit_records", "Records of the audit trail", ()),
            "lost": self._counter("audit_records_lost", "Records that the disk did not take in time", ()),
        }
        self._audit_told: dict[str, int] = {}
        self._audit_waiting = self._gauge("audit_waiting_bytes", "Records that are not on the disk yet")
        self._audit_failing = self._gauge("audit_failing", "1: the audit trail can't be written, orders are refused")
        self._halted = self._gauge("halted", "Whether an operator has halted calls of a mount: 1 or 0", ("mount",))

    def allow(
        self,
        *,
        mounts: Iterable[str],
        clients: Iterable[str],
        templates: Iterable[str],
        grants: Iterable[str],
    ) -> None:
        """Name the values that labels may have; called at start and after each reload. What is gone keeps counting."""
        self._mounts |= frozenset(mounts)
        self._clients |= frozenset(clients)
        self._templates |= frozenset(templates)
        self._grants |= frozenset(grants)
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
        mount_label = _one_of(mount, self._mounts)
        counter = self._requests.cell(
            mount_label,
            _one_of(template, self._templates),
            _one_of(method, METHODS),
            _CLASSES[status_class - 1] if 0 < status_class <= len(_CLASSES) else OTHER,
            _one_of(client, self._clients),
        )
        return counter, self._seconds.cell(mount_label)

    def denied(self, kind: str) -> None:
        """bearerd refused a call; `kind` is a name of `errors.KINDS`."""
        self._denials.cell(_one_of(kind, _KINDS))[0] += 1

    def paced(self, grant: str, outcome: str, seconds: float) -> None:
        """A call waited for so long; `outcome` is one of `PACED`."""
        grant = _one_of(grant, self._grants)
        self._paced.cell(grant, _one_of(outcome, PACED))[0] += 1
        self._waits.observe(seconds, grant)

    def budgets(self, found: Iterable[tuple[str, str, int | None, int]]) -> None:
        """Grant, rate category, how many calls are left (None: nobody knows) and how many wait, of every budget."""
        for gauge in self._budgets.values():
            gauge.clear()
        for grant, category, remaining, waiting in found:
            if grant in self._grants:  # categories are from the definitions
                self._budgets["waiting"].labels(grant, category).set(waiting)
                if remaining is not None:
                    self._budgets["remaining"].labels(grant, category).set(remaining)

    def upstream(self, mount: str, seconds: float) -> None:
        """A broker's answer head came after `seconds`."""
        if (cell := self._broker_series.get(mount)) is None:
            cell = self._upstream.cell(_one_of(mount, self._mounts))
            if mount in self._mounts:
                self._broker_series[mount] = cell
        cell[0] += seconds
        cell[1 + bisect_left(SECONDS, seconds)] += 1

    def upstream_unauthorized(self, mount: str) -> None:
        """A broker answered 401."""
        self._upstream_401.cell(_one_of(mount, self._mounts))[0] += 1

    def began(self) -> None:
        """A call came in."""
        self.in_flight += 1

    def ended(self) -> None:
        """A call that `began` is over, however it went."""
        self.in_flight -= 1

    def streams_open(self, counts: Mapping[tuple[str, str], int]) -> None:
        """How many streams are open now, by mount and kind."""
        self._streams.clear()
        for (mount, kind), count in counts.items():
            self._streams.labels(_one_of(mount, self._mounts), kind).set(count)

    def stream_messages(self, mount: str, up: int, down: int) -> None:
        """So many messages more have passed on a mount."""
        mount = _one_of(mount, self._mounts)
        self._messages.cell(mount, "up")[0] += up
        self._messages.cell(mount, "down")[0] += down

    def stream_ended(self, mount: str, kind: str, code: int | None) -> None:
        """A stream is over; `code` is its close code, None if there was none."""
        told = NONE if code is None else str(code) if code in _CLOSE_CODES else OTHER
        self._stream_ends.cell(_one_of(mount, self._mounts), kind, told)[0] += 1

    def handshake_failed(self, reason: str) -> None:
        """A client did not come through the TLS handshake; `reason` is one of `vestibule.REASONS`."""
        self._handshakes.cell(reason)[0] += 1

    def certificate(self, ends: float | None) -> None:
        """When our certificate expires, in Unix time; None if there is none."""
        if ends is not None:
            self._certificate.labels("data").set(ends)

    def client_keys(self, ends: Mapping[str, float]) -> None:
        """Client → when the first of its keys expires; of the others no key does."""
        for client in self._clients - ends.keys():
            self._keys.remove_by_labels({"client": client})
        for client in self._clients & ends.keys():
            self._keys.labels(client).set(ends[client])

    def token_refresh(self, grant: str, outcome: str) -> None:
        """A token request ended; `outcome` is one of `OUTCOMES`."""
        self._refreshes.cell(_one_of(grant, self._grants), _one_of(outcome, OUTCOMES))[0] += 1

    def token_pair(
        self,
        grant: str,
        *,
        generation: int,
        access: tuple[float | None, float | None],
        refresh: tuple[float | None, float | None],
        ends: float | None,
    ) -> None:
        """A grant has this pair now; `access` and `refresh` are when each was issued and when it expires.

        None: there is no such token, it has no end, or nobody knows. `ends`: when a person must log in again.
        """
        if grant not in self._grants:
            return
        self._generation.labels(grant).set(generation)
        for name, value in zip(self._points, (*access, *refresh, ends), strict=True):
            if value is not None:
                self._points[name].labels(grant).set(value)
            else:
                self._points[name].remove_by_labels({"grant": grant})

    def standing(self, grant: str, state: str, since: float, members: Mapping[str, int]) -> None:
        """A grant is in `state` since then (Unix time), and so many of its members are in each of their states."""
        if grant not in self._grants:
            return
        self._forget_standing(grant)
        self._states.labels(grant, state).set(1)
        self._since.labels(grant).set(since)
        for name, count in members.items():
            self._members.labels(grant, name).set(count)

    def gone(self, grant: str) -> None:
        """A grant is no longer in the configuration."""
        self.no_token_pair(grant)
        self._forget_standing(grant)

    def _forget_standing(self, grant: str) -> None:
        for gauge in (self._states, self._members, self._since):
            gauge.remove_by_labels({"grant": grant})

    def loop(self, *, lag: float, overloaded: bool) -> None:
        """How the event loop keeps up."""
        self._lag.set(lag)
        self._overloaded.set(overloaded)

    def store_up(self, up: bool) -> None:  # noqa: FBT001  it is what it is
        """Whether the store answered when it was last asked."""
        self._store.set(up)

    def halted(self, mounts: Mapping[str, bool]) -> None:
        """Of each mount whether any of its calls are halted. What is left out is no longer in the configuration."""
        self._halted.clear()
        for name, halted in mounts.items():
            self._halted.labels(_one_of(name, self._mounts)).set(halted)

    def audit(self, written: int, lost: int, *, waiting: int, failing: bool) -> None:
        """How the audit trail stands: records since the start, bytes that wait for the disk."""
        for name, count in (("written", written), ("lost", lost)):
            self._audit[name].cell()[0] += count - self._audit_told.get(name, 0)
            self._audit_told[name] = count
        self._audit_waiting.set(waiting)
        self._audit_failing.set(failing)

    def no_token_pair(self, grant: str) -> None:
        """A grant was revoked or removed: it has no age any more."""
        for gauge in (self._generation, *self._points.values()):
            gauge.remove_by_labels({"grant": grant})

    def journal_slots(self, count: Callable[[], int]) -> None:
        """Ask `count` whenever the metrics are read."""
        self._slots.set_function(count)

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

    def forget(self, source: str) -> None:
        """That process has ended: what it counted stays, nothing of it is in flight."""
        self._in_flight_elsewhere.pop(source, None)

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

    def _gauge(self, name: str, text: str, labels: Iterable[str] = ()) -> Gauge:
        return Gauge(name, text, labels, namespace="bearerd", registry=self.registry)


def _one_of(value: str | None, allowed: frozenset[str]) -> str:
    if value is None:
        return NONE
    return value if value in allowed else OTHER


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
