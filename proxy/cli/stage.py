"""What the demo stands on: its configuration, its files, and how to talk to the bearerd that runs on them."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.cli.ports import HOST
from proxy.cli.serve import CONSOLE_TOKEN
from proxy.clock import SystemClock

if TYPE_CHECKING:
    from proxy.brokers import Api
    from proxy.simulator import Simulator
    from proxy.simulator.serve import Running

CLIENT, TRADER = "demo", "trader"
ENVIRONMENT = "simulator"
_BY_NAME_ONLY = frozenset({"broker:oauth"})  # what nobody should get who did not ask for just that


@dataclass(frozen=True, slots=True)
class Door:
    """A mount of the demo. `login` is the one that its grant has; mounts of one grant say the same."""

    broker: str
    login: str
    api: str | None = None
    grant: str | None = None
    root: bool = True


DOORS = {
    "questrade": Door("questrade", "refresh-token"),
    "tradier": Door("tradier", "code", "rest"),
    "tradier-stream": Door("tradier", "code", "stream", grant="tradier", root=False),
    "tradier-ws": Door("tradier", "code", "ws", grant="tradier", root=False),
    "alpaca": Door("alpaca", "connect", "trading"),
    "alpaca-data": Door("alpaca", "connect", "data", grant="alpaca"),
    "alpaca-broker": Door("alpaca", "client-credentials", "broker", root=False),
    "alpaca-stream": Door("alpaca", "connect", "stream", grant="alpaca", root=False),
}
ROOTS = tuple(name for name, door in DOORS.items() if door.root)


@dataclass(frozen=True, slots=True)
class Plan:
    """The demo's files and addresses. `ca_file` holds what trusts the simulators, and bearerd's own TLS addresses."""

    config: Path
    store: Path
    ca_file: Path
    listen: int
    secure: int
    console: int
    roots: Mapping[str, int]
    token: str
    environ: Mapping[str, str]
    tls: bool = False

    @classmethod
    def make(cls, directory: Path, ports: list[int], running: "Running", *, tls: bool = False) -> "Plan":
        """Write configuration, master key, local CA, the applications' secrets and the console token. Blocks.

        With `tls` clients call over TLS everywhere, else at one address beside the others.
        """
        from proxy import localca
        from proxy.config.plain import to_yaml
        from proxy.store.files import write_private
        from proxy.store.keys import Source

        token, token_file = secrets.token_urlsafe(24), directory / "console.token"
        write_private(token_file, token.encode())
        Source("file:master.key", directory).create()
        listen, console, *own, secure = ports
        roots = dict(zip(ROOTS, own, strict=True))
        for name in grants():
            for file, secret in _secrets(name, running).items():
                write_private(directory / file, secret.encode())
        config = directory / "config.yaml"
        described = configuration(listen, console, roots, running) | _tls(listen, None if tls else secure)
        write_private(config, to_yaml(described).encode())
        authority = localca.make(directory / "tls" / localca.FILE, (), SystemClock().now().wall)
        ca_file = directory / "ca.pem"
        write_private(ca_file, running.ca_file.read_bytes() + authority.pem)
        environ = {f"{CONSOLE_TOKEN}_FILE": str(token_file)}
        return cls(
            config,
            directory / "store.db",
            ca_file,
            listen,
            listen if tls else secure,
            console,
            roots,
            token,
            environ,
            tls,
        )

    @property
    def url(self) -> str:
        return self.at(self.listen)

    @property
    def url_tls(self) -> str:
        """The same with TLS."""
        return f"https://{HOST}:{self.secure}"

    def at(self, port: int) -> str:
        """Where clients call a port."""
        return f"{'https' if self.tls else 'http'}://{HOST}:{port}"

    async def answers(self) -> bool:
        """Whether bearerd is up."""
        from proxy.admin import ServerGone

        try:
            await self.ask("ready")
        except ServerGone:
            return False
        return True

    async def ready(self) -> bool:
        """Whether every grant has a token."""
        return str((await self.ask("ready"))["ready"]) == "ok"

    async def ask(self, command: str, **params: str) -> dict[str, Any]:
        """One command to bearerd."""
        from proxy.admin import call

        return await call(self.store.parent / "admin.sock", command, params, timeout=60)


def grants() -> list[str]:
    """The grants; each has the name of a mount that uses it."""
    return list(dict.fromkeys(door.grant or name for name, door in DOORS.items()))


def configuration(listen: int, console: int, roots: Mapping[str, int], running: "Running") -> dict[str, Any]:
    """The demo's configuration. Mounts allow everything, so that only the client's key decides."""
    mounts: dict[str, Any] = {}
    rights: dict[str, dict[str, list[str]]] = {CLIENT: {}, TRADER: {}}
    for name, door in DOORS.items():
        api, scopes = _api(door)
        kept = _with_orders(api) | _BY_NAME_ONLY
        mounts[name] = _mount(name, door, scopes, roots)
        rights[CLIENT][name] = [scope for scope in scopes if scope not in kept]
        rights[TRADER][name] = scopes
    environments = {
        name: {"environments": {ENVIRONMENT: dict(simulator.links().environment)}}
        for name, simulator in running.simulators.items()
    }
    return {
        "version": 1,
        "listen": f"{HOST}:{listen}",
        "console": f"{HOST}:{console}",
        "store": "sqlite:store.db",
        "key": "file:master.key",
        "mounts": mounts,
        "grants": {name: _grant(name, running) for name in grants()},
        "clients": rights,
        "brokers": environments,
        "shutdown": {"grace": 10},
    }


def _tls(listen: int, secure: int | None) -> dict[str, Any]:
    """TLS at a port of its own, or where clients call anyway."""
    both = {"listen": [f"{HOST}:{listen}", f"tls:{HOST}:{secure}"]} if secure is not None else {}
    return {"tls": {"local_ca": True}} | both


def simulator_of(running: "Running", grant: str) -> "Simulator":
    return running.simulators[DOORS[grant].broker]


def _api(door: Door) -> "tuple[Api, list[str]]":
    """The API that a mount is, and all scopes that it knows, in the order of the definition."""
    from proxy.brokers import builtin

    broker = builtin(door.broker)
    api = broker.api(door.api)
    return api, [scope for scope in broker.scopes if scope in api.scopes]


def _with_orders(api: "Api") -> set[str]:
    """The scopes that place, change or cancel orders, or close positions."""
    return {
        row.scope
        for row in api.table.rows
        if row.mutating and not row.deny and {"orders", "positions"} & set(row.path.split("/"))
    }


def _mount(name: str, door: Door, scopes: list[str], roots: Mapping[str, int]) -> dict[str, Any]:
    api = {"api": door.api} if door.api is not None else {}
    grant = {"grant": door.grant} if door.grant is not None else {}
    port = {"port": roots[name]} if door.root else {}
    return {"broker": door.broker, "environment": ENVIRONMENT, **api, **grant, "scopes": scopes, **port}


def _grant(name: str, running: "Running") -> dict[str, Any]:
    """What the login needs of the configuration; secrets are in files beside it."""
    links = simulator_of(running, name).links()
    needs = links.logins[DOORS[name].login]
    client_id = {"client_id": needs["client_id"]} if "client_id" in needs else {}
    secret = {"client_secret_file": f"{name}.secret"} if "client_secret" in needs else {}
    apps = {
        client: {key: value for key, value in app.items() if key != "client_secret"}
        | {"client_secret_file": f"{name}.{client}.secret"}
        for client, app in (links.apps.items() if _is_partner(name) else ())
    }
    return {"login": DOORS[name].login, **client_id, **secret, **({"apps": apps} if apps else {})}


def _secrets(name: str, running: "Running") -> dict[str, str]:
    """The files that a grant's description names, and what is in them."""
    links = simulator_of(running, name).links()
    secret = links.logins[DOORS[name].login].get("client_secret")
    own = {f"{name}.secret": secret} if secret is not None else {}
    apps = links.apps.items() if _is_partner(name) else ()
    return own | {f"{name}.{client}.secret": app["client_secret"] for client, app in apps}


def _is_partner(grant: str) -> bool:
    """Whether this is the grant by which a broker's partner handles the OAuth of its own users."""
    return DOORS[grant].api == "broker"
