"""What a configuration makes of the rooms: mounts, the policy of the gateway, token endpoints. No state of its own."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial

from proxy import __version__
from proxy.admission import Mount, Policy
from proxy.clientkeys import ClientKeys
from proxy.clock import Clock, Now
from proxy.config import Config, Tcp
from proxy.gate.clients import Client, Keyring
from proxy.gateway import Gateway
from proxy.guarding import book_of
from proxy.halts import Halts
from proxy.metrics import Metrics
from proxy.relay.dialling import Dialler
from proxy.relay.frames import SocketLimits
from proxy.relay.http import Relay
from proxy.relay.pool.pooled import PooledUpstream
from proxy.relay.upstream import Place, SessionUpstream, Upstream
from proxy.settings import GrantSettings, Settings
from proxy.streams.alpaca.hubs import ALPACA_DATA, Hubs
from proxy.streams.dialects import ALPACA_TRADING, LATE, PLAIN, TRADIER
from proxy.streams.handover import Sessions, StreamUrls
from proxy.streams.questrade.door import PortDoor
from proxy.streams.questrade.ports import OpenDoorway, StreamPorts
from proxy.streams.questrade.streams import QuestradeStreams
from proxy.streams.relayed import Relayed
from proxy.tokens.grant import TokenPair
from proxy.tokens.keeper import Keeper
from proxy.tokens.lender import Lender
from proxy.tokens.oauth import TokenEndpoint
from proxy.tokens.skew import Skew
from proxy.traceexport import Export
from proxy.tracing import Spans, Tracing

NEEDS_RESTART = ("listen", "console", "store", "state", "key", "log", "unix_socket", "engine", "workers", "tracing")
STREAM_API = "stream"  # the API whose addresses answers with a stream's address are about
USER_AGENT = f"bearerd/{__version__}"


def mount_of(
    settings: Settings,
    name: str,
    *,
    keepers: Mapping[str, Lender],
    upstream: Upstream,
    keeper_of: Callable[[str], Awaitable[Lender]] | None = None,
    keeper_at_hand: Callable[[str], Lender | None] = lambda _grant: None,
    dialler: Dialler | None = None,
) -> Mount:
    """A mount of the configuration, ready to serve. `LookupError` if there is none, or no keeper for its grant."""
    config = settings.config
    mount = config.mounts[name]
    grant = settings.grants[config.grant_of(name)]
    broker, environment = grant.broker, grant.environment
    api = settings.api_of(name)
    place = Place(
        grant=grant.name,
        api_hosts=environment.api_hosts,
        origin=settings.origin_of(name),
        placement=grant.login.placement,
        ca_file=environment.ca_file,
        private_hosts=environment.private_hosts,
        egress=config.egress_proxy,
        trust=grant.trust,
    )
    return Mount(
        name=name,
        broker=broker,
        api=api.name,
        table=api.table,
        scopes=frozenset(mount.scopes),
        relay=Relay(
            broker=broker,
            place=place,
            keeper=keepers[grant.name],
            upstream=upstream,
            keeper_of=keeper_of,
            keeper_at_hand=keeper_at_hand,
            dialler=dialler,
        ),
        user_agent=config.user_agent or broker.user_agent or USER_AGENT,
        also=frozenset(header.encode() for header in broker.add_headers),
        apps={client_id: app.client_secret for client_id, app in grant.apps.items()},
    )


def trace(gateway: Gateway, settings: Settings, metrics: Metrics) -> Export | None:
    """Have the gateway's calls traced, if there is a collector, and say who sends the spans. To be run."""
    if settings.collector is None:
        return None
    spans = Spans(partial(metrics.spans, "dropped"))
    gateway.tracing = Tracing(settings.config.tracing.sample, spans)
    return Export(settings.collector, spans, metrics.spans)


def upstream_of(config: Config) -> Upstream:
    """Who speaks HTTP with brokers. To be made where a loop runs."""
    return PooledUpstream() if config.engine.upstream == "httptools" else SessionUpstream()


def destinations(policy: Policy, keepers: Mapping[str, Keeper], now: Now) -> Iterator[tuple[Place, TokenPair]]:
    """Where calls will go, as things stand: the place of each mount, and the pair of its grant."""
    for mount in policy.mounts.values():
        keeper = keepers.get(mount.relay.grant)
        if keeper is not None and (pair := keeper.grant.pair(now)) is not None:
            yield mount.relay.place, pair


def policy_of(settings: Settings, mounts: Mapping[str, Mount], keys: ClientKeys, halts: Halts) -> Policy:
    """All that decides over a request, as the configuration and the client keys say; keys count as they change."""
    config = settings.config
    clients = {
        name: Client(name, {mount: frozenset(scopes) for mount, scopes in allowed.items()})
        for name, allowed in config.rights.items()
    }
    return Policy(
        mounts=mounts,
        keyring=Keyring(
            keys.digests,
            clients,
            bindings=keys.bindings,
            expiries=keys.expiries,
            uses=keys.last_use.uses,
            open_to_all=config.open_to_all,
        ),
        body_limit=config.limits.body_bytes,
        in_flight_per_client=config.limits.in_flight_per_client,
        halts=halts,
        holders=config.tls.client_certificate == "named",
        guards=book_of(config),
        sockets=SocketLimits(
            message_bytes=config.limits.message_bytes,
            compression=config.limits.compression == "on",
            beat=config.limits.heartbeat,
        ),
    )


def speak(gateway: Gateway, clock: Clock, settings: Callable[[], Settings], url: Callable[[], str]) -> Hubs:
    """Let the gateway serve sockets, each dialect by who knows it, and answers that name where a stream goes on.

    `settings` are those in force; `url` is where the mounts are served beside each other. The hubs are to be run.
    """
    sessions = Sessions(clock)
    relayed = Relayed(sessions)
    for dialect in (PLAIN, ALPACA_TRADING, TRADIER):
        gateway.entrance.speakers[dialect] = relayed.serve
    hubs = Hubs()
    gateway.entrance.speakers[ALPACA_DATA] = hubs.serve
    gateway.entrance.late |= LATE | {ALPACA_DATA}
    gateway.handovers["stream_url"] = StreamUrls(sessions, clock, lambda mount: stream_mount(settings(), mount), url)
    return hubs


def open_ports(gateway: Gateway, open_doorway: OpenDoorway) -> QuestradeStreams:
    """Let the gateway hand out ports of ours for those of a broker's streams, and serve who connects there. To be run.

    `open_doorway(port, number)` opens one on the port's host; 0 is any free number.
    """
    found = QuestradeStreams(gateway.pacing, StreamPorts(open_doorway), lambda: gateway.policy.mounts)
    gateway.handovers["stream_port"] = found
    gateway.port_door = PortDoor(gateway.entrance, gateway.streams, found)
    return found


def stream_mount(settings: Settings, name: str) -> str | None:
    """The mount of the API `stream` that belongs to the same grant and environment as this one, if there is one."""
    config = settings.config
    own = config.mounts[name]
    for other, mount in config.mounts.items():
        same = mount.broker == own.broker and mount.environment == own.environment
        if same and settings.api_of(other).name == STREAM_API and config.grant_of(other) == config.grant_of(name):
            return other
    return None


def needs_restart(old: Config, new: Config) -> list[str]:
    """What a running server cannot take over."""
    found = [key for key in NEEDS_RESTART if getattr(old, key) != getattr(new, key)]
    if old.tls.on != new.tls.on:
        found.append("tls (on or off)")
    elif old.listen == new.listen and any(
        old.plain_too(each) != new.plain_too(each) for each in (Tcp("127.0.0.1", 0), Tcp("0.0.0.0", 0))
    ):
        found.append("plaintext" if old.plaintext != new.plaintext else "tls.client_ca_file")
    return found


def endpoint_of(settings: Settings, grant: GrantSettings, skew: Skew | None = None) -> TokenEndpoint:
    """Where the tokens of a grant come from, and as whom we ask. `skew` hears what time it is there."""
    return TokenEndpoint(
        endpoints=grant.endpoints,
        login=grant.login,
        user_agent=settings.config.user_agent or grant.broker.user_agent or USER_AGENT,
        client_id=grant.client_id,
        client_secret=grant.client_secret,
        ca_file=grant.environment.ca_file,
        private_hosts=grant.environment.private_hosts,
        egress=settings.config.egress_proxy,
        skew=skew,
    )
