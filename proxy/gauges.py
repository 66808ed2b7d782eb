"""Brings what stands (and is not counted) into the metrics, at the moment that they are asked for."""

from typing import Protocol

from proxy import __version__, logs
from proxy.clientkeys import ClientKeys
from proxy.custody import Custody
from proxy.dials import TokenAges
from proxy.doors import Doors
from proxy.gateway import Gateway
from proxy.halting import concerns
from proxy.halts import Halts
from proxy.keepers import Keepers
from proxy.metrics import Metrics
from proxy.operations import Operations
from proxy.settings import Settings
from proxy.tokens.grant import State
from proxy.tokens.skew import Skew
from proxy.watchdog import Watchdog


class Measured(Protocol):
    """What it needs of an `App`."""

    settings: Settings
    metrics: Metrics
    custody: Custody
    gateway: Gateway
    doors: Doors
    keys: ClientKeys
    keepers: Keepers
    halts: Halts
    watchdog: Watchdog
    operations: Operations
    skew: Skew
    started: float
    stopping: bool
    last_problems: list[str]

    @property
    def store_fault(self) -> str: ...
    def config_changed(self) -> bool: ...


def measure(app: Measured) -> None:
    """Set every gauge to what is so now."""
    _measure_process(app)
    _measure_doors(app)
    _measure_grants(app)


def _measure_process(app: Measured) -> None:
    dials, overview = app.metrics.dials, app.operations.overview
    dials.process(__version__, app.started, ready=overview.serves(), draining=app.stopping)
    dials.config(changed=app.config_changed(), reload_failed=bool(app.last_problems))
    there, wanted = overview.workers
    dials.workers(wanted, there)
    dials.loop(lag=app.watchdog.lag, overloaded=not app.gateway.pressure.calm)
    dials.clock_differs(bool(app.skew.warnings))
    dials.store_up(not app.store_fault)
    dials.journal_slots(lambda: app.custody.journal.slots_in_use)
    trail = app.custody.trail.standing
    dials.audit(waiting=trail.waiting, failing=bool(trail.fault))
    app.metrics.audit(trail.written, trail.lost)
    app.metrics.log_lines_lost(logs.lines_lost())


def _measure_doors(app: Measured) -> None:
    dials, certificates = app.metrics.dials, app.doors.certificates
    dials.certificate(certificates.ends if certificates is not None else None)
    dials.client_keys(app.keys.next_ends())
    dials.halted({name: concerns(app.halts, name) for name in app.settings.config.mounts})
    app.gateway.streams.measure()


def _measure_grants(app: Measured) -> None:
    dials = app.metrics.dials
    dials.budgets(app.gateway.pacing.standings())
    for keeper in app.keepers.values():
        standing = keeper.standing()
        members = {state.value: count for state, count in app.keepers.members(standing.grant).items()}
        dials.standing(standing.grant, standing.state.value, standing.since, members, usable=standing.usable)
        if standing.state is State.NONE:
            dials.no_token_pair(standing.grant)
            continue
        ages = TokenAges(standing.refreshed, standing.access_expires, standing.refreshed, standing.dies, standing.ends)
        dials.token_pair(standing.grant, standing.generation, ages)
