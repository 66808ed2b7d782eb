"""What stands, as metrics: tokens, budgets, halts, certificates, workers. Set by `gauges.py` when somebody reads them.

Times are in seconds, points in time are Unix time. What is not there (any more) has no series.
"""

import platform
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Gauge

from proxy.gate.budget import View
from proxy.labels import Names, one_of


class TokenAges(NamedTuple):
    """Points in time of a grant's token pair. None: there is no such token, it has no end, or nobody knows."""

    access_issued: float | None
    access_expires: float | None
    refresh_issued: float | None
    refresh_expires: float | None
    login_ends: float | None  # when a person must log in again


class Dials:
    """All gauges but the calls in flight. `names` are those that labels may have."""

    def __init__(self, registry: CollectorRegistry, names: Names) -> None:
        self._registry = registry
        self._names = names
        self._declare_process()
        self._declare_doors()
        self._declare_grants()

    def _declare_process(self) -> None:
        self._build = self._gauge("build_info", "1; the labels say what runs", "version", "python")
        self._started = self._gauge("started_timestamp_seconds", "When the server was started")
        self._flags = {
            name: self._gauge(name, text)
            for name, text in (
                ("ready", "1: /readyz answers 200"),
                ("draining", "1: it is shutting down"),
                ("store_up", "Whether the store answered last time: 1 or 0"),
                ("overloaded", "1: more calls come than can be served, and reads are refused"),
                ("audit_failing", "1: the audit trail can't be written, orders are refused"),
                ("config_changed", "1: the configuration's file is not the one that is in force"),
                ("config_reload_failed", "1: the last reload was refused, and the configuration before it is in force"),
                ("clock_differs", "1: this machine's clock and a broker's are more than a minute apart"),
            )
        }
        text = "How late the event loop was at worst, in the last quarter of a minute or somewhat more"
        self._lag = self._gauge("loop_lag_seconds", text)
        self._audit_waiting = self._gauge("audit_waiting_bytes", "Records that are not on the disk yet")
        self._slots = self._gauge("journal_slots_in_use", "Token answers not yet committed to the store")
        self._workers = {
            name: self._gauge(f"workers_{name}", text)
            for name, text in (
                ("wanted", "Processes that are to relay reads beside the one that keeps the tokens"),
                ("ready", "Those of them that serve"),
            )
        }

    def _declare_doors(self) -> None:
        text = "When the certificate of our own listeners expires"
        self._certificate = self._gauge("tls_certificate_expires_timestamp_seconds", text, "listener")
        text = "When the first of a client's keys expires that was not replaced"
        self._keys = self._gauge("client_key_expires_timestamp_seconds", text, "client")
        self._halted = self._gauge("halted", "Whether an operator has halted calls of a mount: 1 or 0", "mount")
        self._streams = self._gauge("streams_open", "Streams and sockets that are open now", "mount", "kind")

    def _declare_grants(self) -> None:
        self._budgets = {
            name: self._gauge(f"rate_{name}", text, "grant", "category")
            for name, text in (
                ("limit", "Calls that the broker allows in a window"),
                ("remaining", "Calls that the broker's rate limit still allows"),
                ("waiting", "Calls that wait for it"),
            )
        }
        self._generation = self._gauge("generation", "Number of the token pair in use", "grant")
        self._points = {
            name: self._gauge(f"{name}_timestamp_seconds", text, "grant")
            for name, text in (
                ("access_token_issued", "When the access token in use was issued"),
                ("access_token_expires", "When the access token in use expires"),
                ("refresh_token_issued", "When the refresh token was issued"),
                ("refresh_token_expires", "When the refresh token dies if it is not used"),
                ("login_ends", "When a person must log in again, whatever happens until then"),
            )
        }
        self._states = self._gauge("grant_state", "1 for the state that a grant is in", "grant", "state")
        self._usable = self._gauge("grant_usable", "Whether calls get a token of this grant: 1 or 0", "grant")
        self._since = self._gauge("grant_state_since_timestamp_seconds", "When it came into that state", "grant")
        self._members = self._gauge("members", "Members of a grant, by state", "grant", "state")

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, namespace="bearerd", registry=self._registry)

    # -- the process --------------------------------------------------------------------------------------------------

    def process(self, version: str, started: float, *, ready: bool, draining: bool) -> None:
        """What runs, since when, and whether it serves."""
        self._build.labels(version, platform.python_version()).set(1)
        self._started.set(started)
        self._flags["ready"].set(ready)
        self._flags["draining"].set(draining)

    def config(self, *, changed: bool, reload_failed: bool) -> None:
        """Whether what is in force is what the file says."""
        self._flags["config_changed"].set(changed)
        self._flags["config_reload_failed"].set(reload_failed)

    def workers(self, wanted: int, ready: int) -> None:
        """How many processes relay reads, and how many should."""
        self._workers["wanted"].set(wanted)
        self._workers["ready"].set(ready)

    def loop(self, *, lag: float, overloaded: bool) -> None:
        """How the event loop keeps up."""
        self._lag.set(lag)
        self._flags["overloaded"].set(overloaded)

    def clock_differs(self, differs: bool) -> None:  # noqa: FBT001  it is what it is
        """Whether a broker's clock is another than ours."""
        self._flags["clock_differs"].set(differs)

    def store_up(self, up: bool) -> None:  # noqa: FBT001
        """Whether the store answered when it was last asked."""
        self._flags["store_up"].set(up)

    def journal_slots(self, count: Callable[[], int]) -> None:
        """Ask `count` whenever the metrics are read."""
        self._slots.set_function(count)

    def audit(self, *, waiting: int, failing: bool) -> None:
        """Bytes of the audit trail that wait for the disk, and whether it takes them."""
        self._audit_waiting.set(waiting)
        self._flags["audit_failing"].set(failing)

    # -- doors --------------------------------------------------------------------------------------------------------

    def certificate(self, ends: float | None) -> None:
        """When our certificate expires, in Unix time; None if there is none."""
        if ends is not None:
            self._certificate.labels("data").set(ends)

    def client_keys(self, ends: Mapping[str, float]) -> None:
        """Client → when the first of its keys expires; of the others no key does."""
        clients = self._names.clients
        for client in clients - ends.keys():
            self._keys.remove_by_labels({"client": client})
        for client in clients & ends.keys():
            self._keys.labels(client).set(ends[client])

    def halted(self, mounts: Mapping[str, bool]) -> None:
        """Of each mount whether any of its calls are halted. What is left out is no longer in the configuration."""
        self._halted.clear()
        for name, halted in mounts.items():
            self._halted.labels(one_of(name, self._names.mounts)).set(halted)

    def streams_open(self, counts: Mapping[tuple[str, str], int]) -> None:
        """How many streams are open now, by mount and kind."""
        self._streams.clear()
        for (mount, kind), count in counts.items():
            self._streams.labels(one_of(mount, self._names.mounts), kind).set(count)

    # -- grants -------------------------------------------------------------------------------------------------------

    def budgets(self, found: Iterable[tuple[str, str, View, int]]) -> None:
        """Grant, rate category, how its budget stands and how many calls wait, of every budget."""
        for gauge in self._budgets.values():
            gauge.clear()
        for grant, category, view, waiting in found:
            if grant not in self._names.grants:  # categories are from the definitions
                continue
            for name, value in (("limit", view.limit), ("remaining", view.remaining), ("waiting", waiting)):
                if value is not None:
                    self._budgets[name].labels(grant, category).set(value)

    def token_pair(self, grant: str, generation: int, ages: TokenAges) -> None:
        """A grant has this pair now."""
        if grant not in self._names.grants:
            return
        self._generation.labels(grant).set(generation)
        for gauge, value in zip(self._points.values(), ages, strict=True):
            if value is not None:
                gauge.labels(grant).set(value)
            else:
                gauge.remove_by_labels({"grant": grant})

    def no_token_pair(self, grant: str) -> None:
        """A grant was revoked or removed: it has no age any more."""
        for gauge in (self._generation, *self._points.values()):
            gauge.remove_by_labels({"grant": grant})

    def standing(self, grant: str, state: str, since: float, members: Mapping[str, int], *, usable: bool) -> None:
        """A grant is in `state` since then (Unix time), and so many of its members are in each of their states."""
        if grant not in self._names.grants:
            return
        self._forget_standing(grant)
        self._states.labels(grant, state).set(1)
        self._usable.labels(grant).set(usable)
        self._since.labels(grant).set(since)
        for name, count in members.items():
            self._members.labels(grant, name).set(count)

    def gone(self, grant: str) -> None:
        """A grant is no longer in the configuration."""
        self.no_token_pair(grant)
        self._forget_standing(grant)

    def _forget_standing(self, grant: str) -> None:
        for gauge in (self._states, self._usable, self._since, self._members):
            gauge.remove_by_labels({"grant": grant})
