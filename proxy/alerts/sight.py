"""How things stand, as troubles. Looks only: nothing waits, and no call passes here."""

from collections.abc import Iterator
from typing import Any, Protocol

from proxy import expiry
from proxy.alerts.notice import Trouble, foreign, moment
from proxy.alerts.troubles import Sight
from proxy.clientkeys import ClientKeys
from proxy.clock import Clock
from proxy.config import Config
from proxy.custody import Custody
from proxy.doors import Doors
from proxy.gate import halt as gate
from proxy.halts import Halts
from proxy.keepers import Keepers
from proxy.settings import Settings
from proxy.tokens.grant import State
from proxy.tokens.standing import Standing

FAILING = 30.0  # seconds of failing renewals until somebody is told, while the token in hand is still good
UNUSABLE = 5.0  # the same where calls are already refused
STORE = 5.0  # seconds of a failing store; and until it, or the trail, counts as well again
KEYS = 60.0  # seconds between looks at all client keys
_AWAY = (State.NONE, State.NEEDS_LOGIN, State.QUARANTINED)


class Seen(Protocol):
    """What is looked at: a running `App`."""

    settings: Settings
    clock: Clock
    custody: Custody
    keepers: Keepers
    keys: ClientKeys
    doors: Doors
    halts: Halts
    last_problems: list[str]

    @property
    def store_fault(self) -> str: ...


class Observer:
    """Looks at an `App`, again and again. `failing` and `unusable`: see the constants of these names."""

    def __init__(self, app: Seen, *, failing: float = FAILING, unusable: float = UNUSABLE) -> None:
        self._app = app
        self._failing, self._unusable = failing, unusable
        self._keys: list[Trouble] = []
        self._keys_at: float | None = None
        self._mounts: tuple[Config, dict[str, list[str]]] | None = None

    def look(self, opened: dict[str, Trouble]) -> Sight:
        """What is wrong right now. `opened` has what was wrong before."""
        wrong: dict[str, Trouble] = {}
        unsure: set[str] = set()
        for keeper in list(self._app.keepers.values()):
            self._grant(keeper.standing(), opened, wrong, unsure)
        for trouble in (*self._halts(), *self._server(), *self._client_keys()):
            wrong[trouble.key] = trouble
        return Sight(wrong, frozenset(unsure))

    # -- grants -------------------------------------------------------------------------------------------------------

    def _grant(
        self, standing: Standing, opened: dict[str, Trouble], wrong: dict[str, Trouble], unsure: set[str]
    ) -> None:
        for event, judge in (
            ("login-needed", self._login),
            ("refresh-failing", self._refresh),
            ("refresh-token-half-life", self._half_life),
            ("login-ending", self._ending),
        ):
            known = opened.get(f"{event}/{standing.grant}")
            found = judge(standing, known)
            if found is None:
                unsure.add(f"{event}/{standing.grant}")
            elif isinstance(found, Trouble):
                wrong[found.key] = found

    def _trouble(self, event: str, standing: Standing, says: str, **more: Any) -> Trouble:
        about = {
            "grant": standing.grant,
            "mounts": self._mounts_of(standing.grant),
            "broker": standing.broker,
            "environment": standing.environment,
            "state": standing.state.value,
        }
        headline = f"{standing.grant} ({standing.broker}, {standing.environment}) {says}"
        about |= more.pop("about", {})
        return Trouble(event, standing.grant, headline, **({"since": standing.since} | more), about=about)

    def _mounts_of(self, grant: str) -> list[str]:
        """Found once for all grants: a thousand of them may be in trouble at once, at each look."""
        config = self._app.settings.config
        if self._mounts is None or self._mounts[0] is not config:
            found: dict[str, list[str]] = {}
            for name in config.mounts:
                found.setdefault(config.grant_of(name), []).append(name)
            self._mounts = config, found
        return self._mounts[1].get(grant, [])

    def _login(self, standing: Standing, _known: Trouble | None) -> Trouble | bool | None:
        """False: all is well; None: nobody can say."""
        app, state = self._app, standing.state
        fix, reason = f"bearerd login {standing.grant}", foreign(standing.reason)
        if state is State.NONE:
            if app.keepers.members(standing.grant).keys() - {State.NONE}:
                return False  # it is for members only
            if app.keepers.reading(standing.grant):
                return None
        if state in _AWAY:
            about = {"reason": reason}
            return self._trouble(
                "login-needed", standing, "needs a login", reason=reason, fix=standing.fix, about=about
            )
        if standing.doubted:
            more = {"reason": reason, "fix": fix, "patience": self._failing, "about": {"reason": reason}}
            return self._trouble("login-needed", standing, "may need a login", **more)
        return False if state is State.FRESH else None

    def _refresh(self, standing: Standing, known: Trouble | None) -> Trouble | bool | None:
        state = standing.state
        if state is State.NONE:
            return False
        if state in _AWAY or standing.doubted:
            return None  # whatever comes next, it is told of
        if standing.reason and (state is not State.FRESH or not standing.usable):
            reason = foreign(standing.reason)
            patience = 0.0 if state is State.STOPPED else self._failing if standing.usable else self._unusable
            says = "gets no new token" if standing.usable else "gets no new token, and calls are refused"
            about = {"reason": reason, "usable": standing.usable, "access_expires": _moment(standing.access_expires)}
            return self._trouble(
                "refresh-failing", standing, says, reason=reason, fix=standing.fix, patience=patience, about=about,
                version="usable" if standing.usable else "unusable",
            )  # fmt: skip
        if state is not State.FRESH:
            return None
        # A server that has just started has not tried yet.
        return None if known is not None and known.restored and (standing.refreshed or 0.0) < known.since else False

    def _half_life(self, standing: Standing, _known: Trouble | None) -> Trouble | bool | None:
        if standing.state in _AWAY:
            return False if standing.state is State.NONE else None
        dies, refreshed = standing.dies, standing.refreshed
        if dies is None or refreshed is None or standing.ends is not None:
            return False
        if self._app.clock.now().wall - refreshed < (dies - refreshed) / 2:
            return False
        about = {"refreshed": _moment(refreshed), "dies": _moment(dies)}
        return self._trouble(
            "refresh-token-half-life", standing, "has a refresh token that is past half of its life",
            reason=f"it was last renewed at {moment(refreshed)} and dies at {moment(dies)}",
            fix=f"find out why it is not renewed, or: bearerd login {standing.grant}",
            since=refreshed + (dies - refreshed) / 2, about=about,
        )  # fmt: skip

    def _ending(self, standing: Standing, _known: Trouble | None) -> Trouble | bool | None:
        if standing.state in _AWAY:
            return False if standing.state is State.NONE else None
        if standing.ends is None or standing.warning is None:
            return False
        return self._trouble(
            "login-ending", standing, f"is logged in until {moment(standing.ends)}", version=str(standing.ends),
            fix=f"bearerd login {standing.grant}", since=self._app.clock.now().wall,
            about={"ends": _moment(standing.ends)},
        )  # fmt: skip

    # -- everything else ----------------------------------------------------------------------------------------------

    def _halts(self) -> Iterator[Trouble]:
        halts = self._app.halts
        for halt in halts.all:
            subject = ":".join(part or "*" for part in halt.target)
            cancels = ", cancels too" if halt.cancels_too else ""
            headline = f"An operator has halted {gate.about(halt.target)}{cancels}"
            by, reason = foreign(halt.by), foreign(halt.reason)
            about = {"mount": halt.mount, "scope": halt.scope, "client": halt.client, "cancels_too": halt.cancels_too}
            yield Trouble(
                "halted", subject, headline, halt.since, f"{by}, {reason or 'without a reason'}",
                gate.resume_command(halt.target), about | {"by": by, "reason": reason},
                f"{halt.since}:{halt.cancels_too}",
            )  # fmt: skip
        if halts.fault:
            headline = "Everything is halted, as the record of halts can't be read"
            fix = "bearerd resume --all --reason TEXT, once you know what should be halted"
            yield Trouble("halted", "unreadable", headline, self._now, foreign(halts.fault), fix)

    @property
    def _now(self) -> float:
        return self._app.clock.now().wall

    def _server(self) -> Iterator[Trouble]:
        app = self._app
        trail = app.custody.trail.standing
        if trail.fault:
            headline = "The audit trail can't be written, and orders are refused"
            yield Trouble(
                "audit-failing", "trail", headline, trail.since, foreign(trail.fault), "see: bearerd status", calm=STORE
            )  # fmt: skip
        if app.store_fault:
            yield Trouble(
                "store-down", "store", "The store fails, and tokens in hand are served on", self._now,
                foreign(app.store_fault), "see: bearerd store status", patience=STORE, calm=STORE,
            )  # fmt: skip
        if app.last_problems:
            headline = "The last reload was refused, and the configuration before it is in force"
            yield Trouble("reload-refused", "config", headline, self._now, "", "bearerd config check")
        if app.doors.certificates is not None and (ends := app.doors.certificates.ending()) is not None:
            about = {"ends": _moment(ends)}
            headline = f"The certificate of our own listeners ends at {moment(ends)}"
            yield Trouble(
                "certificate-expiring", "listeners", headline, self._now, "", "see: bearerd status", about, str(ends)
            )

    def _client_keys(self) -> list[Trouble]:
        """There may be very many."""
        now = self._app.clock.now()
        if self._keys_at is None or now.boot - self._keys_at >= KEYS:
            self._keys_at, self._keys = now.boot, list(self._ending_keys(now.wall))
        return self._keys

    def _ending_keys(self, wall: float) -> Iterator[Trouble]:
        """Of each client the key that ends first, of those that end soon or have ended lately."""
        first: dict[str, tuple[float, int]] = {}
        for key in self._app.keys.all():
            if key.expires is None or key.replaced is not None or key.expires + expiry.EARLY <= wall:
                continue
            if expiry.told_from(key.created, key.expires) <= wall:
                this = key.expires, key.number
                first[key.client] = min(first.get(key.client, this), this)
        for client, (ends, number) in first.items():
            headline = f"Key {number} of client {client} ends at {moment(ends)}"
            about = {"client": client, "number": number, "ends": moment(ends)}
            fix = f"bearerd clients rotate {client} --key {number}"
            yield Trouble("client-key-expiring", client, headline, wall, "", fix, about, str(number))


def _moment(wall: float | None) -> str | None:
    return None if wall is None else moment(wall)
