"""Brings what stands (and is not counted) into the metrics, at the moment that they are asked for."""

from typing import Protocol

from proxy.clientkeys import ClientKeys
from proxy.custody import Custody
from proxy.doors import Doors
from proxy.gateway import Gateway
from proxy.halting import concerns
from proxy.halts import Halts
from proxy.keepers import Keepers
from proxy.metrics import Metrics
from proxy.settings import Settings
from proxy.tokens.grant import State
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

    @property
    def store_fault(self) -> str: ...


def measure(app: Measured) -> None:
    """Set every gauge to what is so now."""
    metrics = app.metrics
    metrics.journal_slots(lambda: app.custody.journal.slots_in_use)
    metrics.store_up(not app.store_fault)
    metrics.loop(lag=app.watchdog.lag, overloaded=not app.gateway.pressure.calm)
    certificates = app.doors.certificates
    metrics.certificate(certificates.ends if certificates is not None else None)
    metrics.client_keys(app.keys.next_ends())
    trail = app.custody.trail.standing
    metrics.audit(trail.written, trail.lost, waiting=trail.waiting, failing=bool(trail.fault))
    metrics.budgets(app.gateway.pacing.left())
    app.gateway.streams.measure()
    metrics.halted({name: concerns(app.halts, name) for name in app.settings.config.mounts})
    _measure_grants(app)


def _measure_grants(app: Measured) -> None:
    for standing in (keeper.standing() for keeper in app.keepers.values()):
        members = {state.value: count for state, count in app.keepers.members(standing.grant).items()}
        app.metrics.standing(standing.grant, standing.state.value, standing.since, members)
        if standing.state is State.NONE:
            app.metrics.no_token_pair(standing.grant)
            continue
        app.metrics.token_pair(
            standing.grant,
            generation=standing.generation,
            access=(standing.refreshed, standing.access_expires),
            refresh=(standing.refreshed, standing.dies),
            ends=standing.ends,
        )
