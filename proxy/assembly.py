"""What a configuration makes of the rooms: mounts, the policy of the gateway, token endpoints. No state of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from proxy import __version__
from proxy.certificates import Certificates
from proxy.clientkeys import ClientKeys
from proxy.config import Config
from proxy.gate.clients import Client, Keyring
from proxy.gateway import Mount, Policy
from proxy.guarding import book_of
from proxy.halts import Halts
from proxy.listener import Entry
from proxy.relay.http import Relay
from proxy.relay.upstream import Place, Upstream
from proxy.settings import GrantSettings, Settings
from proxy.tokens.keeper import Keeper
from proxy.tokens.oauth import TokenEndpoint
from proxy.tokens.skew import Skew
from proxy.vestibule import Peers, group_number, peers_of

USER_AGENT = f"bearerd/{__version__}"


def mount_of(
    settings: Settings,
    name: str,
    *,
    keepers: Mapping[str, Keeper],
    upstream: Upstream,
    keeper_of: Callable[[str], Awaitable[Keeper]] | None = None,
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
    )
    return Mount(
        name=name,
        broker=broker,
        api=api.name,
        table=api.table,
        scopes=frozenset(mount.scopes),
        relay=Relay(broker=broker, place=place, keeper=keepers[grant.name], upstream=upstream, keeper_of=keeper_of),
        user_agent=config.user_agent or broker.user_agent or USER_AGENT,
        also=frozenset(header.encode() for header in broker.add_headers),
        apps={client_id: app.client_secret for client_id, app in grant.apps.items()},
    )


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
    )


async def entry_of(config: Config, certificates: Certificates | None, failed: Callable[[str], None]) -> Entry:
    """What the data listeners ask of connections. `ConfigInvalid` for a user or group that there is not."""
    unix = config.unix_socket
    groups = [unix.groups[0]] if unix.groups else []
    path = "users"
    try:
        peers = await asyncio.to_thread(peers_of, unix.users, ())
        path = "groups"
        peers = Peers(peers.users, (await asyncio.to_thread(peers_of, (), unix.groups)).groups)
        group = next(iter([await asyncio.to_thread(group_number, name) for name in groups]), None)
    except LookupError as error:
        fix = "name one that there is, or its number"
        raise config.invalid(config.problem(("unix_socket", path), str(error.args[0]), fix)) from None
    return Entry(certificates, failed, mode=int(unix.mode, 8), group=group, peers=peers)


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
