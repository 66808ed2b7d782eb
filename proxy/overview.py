"""How a running bearerd stands, as plain data: what `bearerd status --json`, the console and `/readyz` show."""

from collections.abc import Callable
from typing import Any, Protocol

from proxy import __version__, authorizations, clientele, halting
from proxy.alerts.alerts import Alerts
from proxy.audit.acts import Acts
from proxy.clientkeys import ClientKeys
from proxy.clock import Clock
from proxy.custody import Custody
from proxy.doors import Doors
from proxy.gateway import Gateway
from proxy.halts import Halts
from proxy.keepers import Keepers
from proxy.settings import Settings
from proxy.tokens.grant import State
from proxy.tokens.skew import Skew

SCHEMA = 1
_SERVED = frozenset({State.FRESH, State.DUE, State.REDEEMING})


class Overseen(Protocol):
    """What it looks at: a running `App`."""

    settings: Settings
    clock: Clock
    skew: Skew
    custody: Custody
    started: float
    stopping: bool
    last_problems: list[str]
    gateway: Gateway
    keepers: Keepers
    keys: ClientKeys
    doors: Doors
    halts: Halts
    acts: Acts
    alerts: Alerts

    @property
    def pid(self) -> int: ...
    @property
    def workers(self) -> list[dict[str, Any]]: ...
    @property
    def store_fault(self) -> str: ...
    @property
    def console_address(self) -> str | None: ...
    def config_changed(self) -> bool: ...


class Overview:
    """Looks at an `App`. `begins_here`: whether a browser at the console can log a grant in."""

    def __init__(self, app: Overseen, begins_here: Callable[[str], bool]) -> None:
        self._app = app
        self._begins_here = begins_here

    def status(self) -> dict[str, Any]:
        """Everything that `bearerd status` and the console show; plain data, no secret. Times are Unix seconds."""
        app = self._app
        config = app.settings.config
        word, _ = self.ready()
        return {
            "schema": SCHEMA,
            "version": __version__,
            "pid": app.pid,
            "workers": app.workers,
            "url": app.doors.url,
            "urls": [listener.url for listener in app.doors.listeners],
            "secure_url": secure_url(app.doors),
            "console": app.console_address,
            "started": app.started,
            "now": app.clock.now().wall,
            "store": config.store,
            "config": config.name,
            "config_changed": app.config_changed(),
            "open_to_all": config.open_to_all,
            "draining": app.stopping,
            "ready": word,
            "warnings": self._warnings(),
            "audit": self._audit(),
            "alerts": app.alerts.standings(),
            "halts": [halting.shown(halt) for halt in app.halts.all],
            "mounts": [self._mount(name) for name in config.mounts],
            "clients": clientele.summaries(app),
            "streams": app.gateway.streams.told(),
        }

    def _mount(self, name: str) -> dict[str, Any]:
        app = self._app
        mount = app.settings.config.mounts[name]
        standing = app.keepers[app.settings.config.grant_of(name)].standing()
        tally = app.gateway.serving.tallies[name]
        root = next((listener.url for listener, served in app.doors.all() if served == name), None)
        shown = authorizations.shown(standing, app.settings.grant(standing.grant))
        fixed = app.settings.origin_of(name)
        return {
            "name": name,
            "api": app.settings.api_of(name).name,
            "title": app.settings.brokers[mount.broker].title,
            "scopes": list(mount.scopes),
            "url": f"{app.doors.url}/{name}",
            "root_url": root,
            "calls": tally.calls,
            "denied": tally.denied,
            "last_call": tally.last,
            "login_here": self._begins_here(standing.grant),
            **shown,
            "members": app.keepers.told(standing.grant),
            "rates": app.gateway.pacing.told(standing.grant),
            # Mounts of one grant may be APIs that live at different hosts.
            "api_host": shown["api_host"] if fixed is None else str(fixed),
        }

    def _audit(self) -> dict[str, Any]:
        """How the audit trail stands: `fault` is empty if it is written, `waiting` are bytes on the way to the disk."""
        trail = self._app.custody.trail.standing
        return {"fault": trail.fault, "since": trail.since, "waiting": trail.waiting, "lost": trail.lost}

    def _warnings(self) -> list[str]:
        app = self._app
        config = app.settings.config
        found = []
        if config.open_to_all:
            found.append("clients: none: any program on this machine may call")
        if config.plaintext:
            found.append("plaintext: accepted: client keys and answers cross the network unencrypted")
        if app.config_changed():
            found.append(f"{config.name} has changed and is not loaded. To load: bearerd reload")
        if app.store_fault:
            found.append(f"the store fails, and tokens in hand are served on: {app.store_fault}")
        if fault := app.acts.fault:
            found.append(f"the audit trail can't be written, and orders are refused: {fault}")
        certificates = app.doors.certificates.warnings() if app.doors.certificates is not None else []
        return [
            *found,
            *certificates,
            *app.keys.warnings(),
            *halting.warnings(app.halts),
            *app.skew.warnings,
            *app.last_problems,
            *app.alerts.warnings(),
        ]

    @property
    def workers(self) -> tuple[int, int]:
        """How many processes relay beside the one that keeps the tokens, and how many should."""
        count = self._app.settings.config.workers
        return sum(worker["ready"] for worker in self._app.workers), count if count > 1 else 0

    def serves(self) -> bool:
        """Whether `/readyz` says 200: somebody accepts calls, and one grant at least, or a member, has a token.

        While one serves, the others' trouble is no reason to send nobody here.
        """
        app, (there, wanted) = self._app, self.workers
        if app.stopping or (wanted and not there):
            return False
        keepers = app.keepers
        return any(
            keeper.standing().usable or _SERVED & keepers.members(keeper.name).keys() for keeper in keepers.values()
        )

    def ready(self) -> tuple[str, list[str]]:
        """One word, and a line for each thing that was looked at.

        The word is `ok`, `degraded`, `needs-login`, `starting` (no worker serves yet) or `draining`.

        Of members there are counts only. One whose login has ended is a matter of that person and leaves the word as it
        is; members that are stopped or quarantined need the operator, and make it `degraded`. A grant that has members
        who are logged in need not be so itself.
        """
        app = self._app
        lines = ["[-]store " + app.store_fault if app.store_fault else "[+]store ok", *halting.ready_lines(app.halts)]
        there, wanted = self.workers
        if wanted:
            lines.append(f"[{'+' if there == wanted else '-'}]workers {there} of {wanted}")
        needs_login, unwell = False, there < wanted
        if app.acts.fault:
            lines.append(f"[-]audit trail can't be written: {app.acts.fault}")
            unwell = True
        for keeper in app.keepers.values():
            standing = keeper.standing()
            counts = app.keepers.members(standing.grant)
            if counts:
                faulty = counts.get(State.STOPPED, 0) + counts.get(State.QUARANTINED, 0)
                unwell |= faulty > 0
                told = ", ".join(f"{counts[state]} {state.value}" for state in State if state in counts)
                lines.append(f"[{'-' if faulty else '+'}]members of {standing.grant}: {told}")
                if standing.state is State.NONE and counts.keys() != {State.NONE}:
                    continue
            needs_login |= standing.state in (State.NONE, State.NEEDS_LOGIN, State.QUARANTINED)
            state_is_well = standing.state in (State.FRESH, State.DUE, State.REDEEMING)
            well = standing.usable and state_is_well and not standing.doubted
            unwell |= not well
            why = "; ".join(filter(None, ("" if well else standing.reason, standing.warning)))
            lines.append(f"[{'+' if well else '-'}]grant {standing.grant} {standing.state.value}{why and f': {why}'}")
        if app.stopping:
            return "draining", lines
        if wanted and not there:
            return "starting", lines
        if needs_login:
            return "needs-login", lines
        return ("degraded" if unwell or app.store_fault or app.halts.fault else "ok"), lines


def secure_url(doors: Doors) -> str | None:
    """Where clients call with TLS; None if nowhere."""
    served = (listener.secure_url for listener, mount in doors.all() if mount is None)
    return next(filter(None, served), None)
