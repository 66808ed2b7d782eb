"""Who may pass, and where to: what the configuration makes of a mount, and what the gate says of one call on it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from proxy.audit import record as audit
from proxy.brokers import Broker
from proxy.certificates import shown_names
from proxy.config import Tcp
from proxy.errors import Refusal
from proxy.gate import browser, target
from proxy.gate.clients import Client, Keyring, allowed, check_holder
from proxy.gate.guards import NO_GUARDS, Book
from proxy.gate.localport import StreamPort
from proxy.gate.rows import Row
from proxy.gate.scopes import Denied, Match, ScopeTable
from proxy.halts import Halts
from proxy.intake import PATIENCE
from proxy.pacing import Turn
from proxy.relay.frames import USUAL, SocketLimits
from proxy.relay.headers import Raw
from proxy.relay.http import Relay, UnderWay
from proxy.secret import Secret

Line = asyncio.Transport | None  # what a client is connected by; None once it has gone


@dataclass(frozen=True, slots=True)
class Mount:
    """A first path segment, ready to serve: the rows of one API, what of them is allowed here, and the way there.

    `also` are request headers that pass besides the usual ones, in lower case. `apps` are OAuth applications whose
    secrets are kept with the grant: client id → secret.
    """

    name: str
    broker: Broker
    api: str
    table: ScopeTable
    scopes: frozenset[str]
    relay: Relay
    user_agent: str
    also: frozenset[bytes] = frozenset()
    apps: Mapping[str, Secret] = field(default_factory=dict, repr=False)

    @property
    def grant(self) -> str:
        """Whose credential its calls use, unless they are a member's."""
        return self.relay.grant


@dataclass(frozen=True, slots=True)
class Policy:
    """All that decides, as one value: a reload swaps it whole, and a request keeps the one that it began with.

    `patience`: seconds between two pieces of a request's body. `holders`: the certificate of a connection must hold the
    name of the client whose key is sent.
    """

    mounts: Mapping[str, Mount]
    keyring: Keyring
    body_limit: int
    in_flight_per_client: int
    halts: Halts
    guards: Book = NO_GUARDS
    patience: float = PATIENCE
    holders: bool = False
    sockets: SocketLimits = USUAL


@dataclass(slots=True)
class Door:
    """The listener that a request came through. `mount` is set where one mount is served at the root.

    `hosts` and `address` are None on a unix socket: no browser gets there. `stream`: it is a port that stands for a
    broker's, and nothing else is served there.
    """

    hosts: browser.Hosts | None
    mount: str | None = None
    address: Tcp | None = None
    stream: StreamPort | None = None


@dataclass(slots=True)
class Visit:
    """A request, with all that it is decided by. `now`: Unix time when it came."""

    policy: Policy
    door: Door
    request: web.BaseRequest
    record: audit.Record
    now: float


@dataclass(slots=True)
class Called:
    """What a request is for."""

    mount: Mount
    wanted: target.Target = field(repr=False)
    match: Match = field(repr=False)


@dataclass(slots=True)
class Sent:
    """A call that was let in and is at the broker, with all that it was decided by. `turn` is its place in a budget.

    `now`: Unix time when it came.
    """

    policy: Policy
    door: Door
    called: Called
    client: Client
    record: audit.Record
    now: float
    turn: Turn
    under_way: UnderWay = field(repr=False)


def hold_to_certificate(policy: Policy, door: Door, line: Line, client: Client) -> None:
    """Raise unless the certificate that `line` has shown is the client's, where one is asked for.

    On a Unix socket there are no certificates; who may call there is known otherwise.
    """
    if policy.holders and door.hosts is not None:
        check_holder(client, shown_names(line))


def read_target(raw_path: str, door: Door) -> target.Target | Refusal:
    """What is asked for. A refusal is kept for later: who is asking comes before what for."""
    try:
        # aiohttp decodes the request line with surrogates for bytes beyond ASCII; this gives the very bytes back.
        return target.parse(raw_path.encode("utf-8", "surrogateescape"), mount=door.mount)
    except Refusal as refusal:
        return refusal


def unknown_mount(policy: Policy, client: Client) -> Refusal:
    """What is said of a path that starts with no mount."""
    reachable = [name for name in policy.mounts if client.rights is None or name in client.rights]
    known = ", ".join(f"/{name}" for name in sorted(reachable)) or "nothing"
    return Refusal("unknown-mount", f"The path must start with a mount. For this client there is: {known}.")


def matched(mount: Mount, method: str, wanted: target.Target) -> Match:
    """The one row that matches, with what its captures took."""
    match = mount.table.match(method, wanted)
    if not isinstance(match, Denied):
        return match
    if match.ambiguous:
        raise Refusal("ambiguous-target", f"The request target was refused: {match.reason}.")
    fix = f"see what {mount.broker.title} offers here: bearerd scopes list {mount.name}"
    raise Refusal("scope-denied", f"No row of {mount.broker.title}'s table covers this call: {match.reason}.", fix=fix)


def permit(mount: Mount, client: Client, row: Row) -> None:
    """Raise unless the row's scope is allowed both here and to this client."""
    if row.deny:
        detail = f"{mount.broker.title} documents no scope for {row.method} {row.path}, so nothing opens it here."
        raise Refusal("scope-denied", detail, fix=f"see what is offered here: bearerd scopes list {mount.name}")
    scope = row.scope
    lacking = allowed(client, mount.name, mount.scopes, scope)
    if lacking is None:
        return
    places = [] if scope in mount.scopes else [f"mounts.{mount.name}.scopes"]
    if client.rights is not None and scope not in client.rights.get(mount.name, ()):
        places.append(f"clients.{client.name}.{mount.name}")
    detail = f"{row.method} {row.path} needs the scope {scope}. {lacking}"
    raise Refusal("scope-denied", detail, fix=f"add {scope} to {' and to '.join(places)}")


def base_url(door: Door, line: Line, headers: Raw, mount: str) -> str:
    """The address under which this client reached the mount, without a slash at the end."""
    return reached(line, headers) + ("" if door.mount else f"/{mount}")


def reached(line: Line, headers: Raw) -> str:
    """The address that this client called: `http://127.0.0.1:8080`."""
    host = next((value.decode("ascii") for name, value in headers if name.lower() == b"host"), "localhost")
    return f"{scheme_of(line)}://{host}"


def scheme_of(line: Line) -> str:
    """How the client reached us."""
    return "https" if line is not None and line.get_extra_info("sslcontext") else "http"
