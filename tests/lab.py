"""A gateway with everything behind it, short of the app: real sockets on both sides, the store in memory."""

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from proxy.admission import Door, Mount, Policy
from proxy.assembly import speak
from proxy.audit.calls import Calls
from proxy.audit.trail import Trail
from proxy.brokers import Broker, Environment, Origin, load
from proxy.brokers.definition import BEARER, Placement
from proxy.clock import Now, SystemClock
from proxy.config import Tcp
from proxy.config.document import parse_yaml
from proxy.connection import HEAD_TIMEOUT, TAKE_TIMEOUT, ExpressHandler, QuietHandler
from proxy.express import Express
from proxy.gate.browser import Hosts
from proxy.gate.clients import Client, Keyring, digest, new_key
from proxy.gateway import Gateway
from proxy.halts import Halts
from proxy.listener import Listener, open_listener
from proxy.metrics import Metrics
from proxy.relay.dialling import Dialler
from proxy.relay.http import Relay
from proxy.relay.pool.pooled import PooledUpstream
from proxy.relay.upstream import Place, SessionUpstream, Upstream
from proxy.secret import Secret
from proxy.settings import Settings
from proxy.simulator import ca
from proxy.store.disk import MemoryDisk
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault
from proxy.tokens.book import Book
from proxy.tokens.grant import Grant, TokenPair
from proxy.tokens.journal import Journal
from proxy.tokens.keeper import Keeper
from proxy.tokens.oauth import RawAnswer, Refresh, Wish
from proxy.vestibule import Crowd
from tests.wire import Reply, ScriptedBroker, connected

DEFINITION = """
title: Lab
scopes: {read: Looking, trade: Placing orders, oauth: Handling the OAuth of one's own users}
logins:
  refresh-token: {kind: refresh-token, title: A refresh token, asks: [refresh token], refresh_token_life: 259200}
api_server_in_answer: true
environments:
  here: {token_url: "https://127.0.0.1:1/oauth2/token", api_hosts: ["127.0.0.1:*"], min_life: 1, renew_cooldown: 0}
kills_old_token: true
dead_token: [{status: 400, text: Bad Request}]
token_refused: [{status: 401, json: {code: 1017}}]
header_missing: [{status: 401, json: {code: 1014}}]
refusal_proves_nonexecution: true
emulated_token_path: /oauth2/token
partner_oauth: {client: oauth_client, token: oauth_token, authorize: oauth_authorize, revoke: oauth_revoke}
add_headers: [idempotency-key]
params:
  {order: "[0-9]{1,9}", pair: "[A-Z]{2,5}%2F[A-Z]{3}|[A-Z]{1,5}", app: "[0-9a-f-]{1,36}", token: "[0-9a-f-]{1,36}"}
rows:
  - {id: accounts, method: GET, path: /v1/accounts, scope: read}
  - {id: accounts_head, method: HEAD, path: /v1/accounts, scope: read}
  - {id: feed, method: GET, path: /v1/feed, scope: read, streaming: true}
  - {id: find, method: POST, path: /v1/find, scope: read, body_without: [stream]}
  - {id: upload, method: POST, path: /v1/upload, scope: read}
  - {id: document, method: POST, path: /v1/document, scope: read, max_body: 100000}
  - {id: news, method: GET, path: "/v1/beta/{pair}/news:latest", scope: read, sent_prefix: [/v1/beta, /beta]}
  - {id: events, method: GET, path: /v1/events, scope: trade, websocket: true}
  - {id: wallet, method: GET, path: /v1/wallet, deny: true}
  - {id: order_new, method: POST, path: /v1/orders, scope: trade, mutating: true}
  - {id: order_change, method: PUT, path: "/v1/orders/{order}", scope: trade, mutating: true}
  - {id: order_cancel, method: DELETE, path: "/v1/orders/{order}", scope: trade, mutating: true}
  - {id: oauth_client, method: GET, path: "/v1/oauth/clients/{app}", scope: oauth}
  - {id: oauth_token, method: POST, path: /v1/oauth/token, scope: oauth, mutating: true, fills: [client_secret]}
  - {id: oauth_authorize, method: POST, path: /v1/oauth/authorize, scope: oauth, mutating: true, fills: [client_secret]}
  - {id: oauth_revoke, method: DELETE, path: "/v1/oauth/token/{token}", scope: oauth, mutating: true}
"""
ALL_SCOPES = ("read", "trade", "oauth")
APP = "7a3c52a910e1dc2abbb14da2b6b8e711"
APP_SECRET = "an-application-s-own/secret"
REFUSED = {"code": 1017, "message": "Access token is invalid"}


# One certificate authority for the whole run, made outside of any event loop.
_DIRECTORY = TemporaryDirectory(prefix="brd-ca-")
TRUST = ca.create(Path(_DIRECTORY.name), now=SystemClock().now().wall)
CA_FILE = str(TRUST.ca_file)


class CountingKeeper(Keeper):
    """Knows how many of its pairs are lent."""

    lent = 0

    async def take(self) -> TokenPair:
        pair = await super().take()
        self.lent += 1
        return pair

    def take_now(self, now: Now | None = None) -> TokenPair | None:
        pair = super().take_now(now)
        self.lent += pair is not None
        return pair

    def give_back(self) -> None:
        self.lent -= 1
        super().give_back()


class CountingLane(Express):
    """Knows how many requests it has taken."""

    taken = 0

    def take(self, line: ExpressHandler, data: bytes) -> bool:
        taken = super().take(line, data)
        self.taken += taken
        return taken


def access_token(generation: int) -> str:
    """The access token of a generation, as `Desk` issues them."""
    return f"access-token-of-generation-{generation}"


@dataclass
class Desk:
    """A token endpoint that always has a next pair; `answers` come first."""

    port: int
    refreshes: int = 0
    answers: list[RawAnswer] = field(default_factory=list)

    async def ask(self, wish: Wish, arrived: Callable[[RawAnswer], None]) -> RawAnswer:
        assert isinstance(wish, Refresh)
        self.refreshes += 1
        raw = self.answers.pop(0) if self.answers else self._pair(wish.token)
        arrived(raw)
        return raw

    def _pair(self, refresh_token: Secret) -> RawAnswer:
        generation = int(refresh_token.reveal().rpartition("-")[2]) + 1
        pair = {
            "access_token": access_token(generation),
            "api_server": f"https://127.0.0.1:{self.port}/",
            "expires_in": 1800,
            "refresh_token": f"refresh-{generation}",
            "token_type": "Bearer",
        }
        return RawAnswer(200, "application/json", json.dumps(pair).encode())


@dataclass
class Lab:
    """One gateway, one mount (`lab`), one client (`bot`) with its key, one scripted broker."""

    gateway: Gateway
    metrics: Metrics
    listener: Listener
    door: Door
    broker: ScriptedBroker
    desk: Desk
    keeper: CountingKeeper
    environment: Environment
    mount: Mount
    key: str
    upstream: Upstream
    trail: Trail
    disk: MemoryDisk
    lane: CountingLane
    crowd: Crowd

    @property
    def port(self) -> int:
        assert isinstance(self.listener.bound, Tcp)
        return self.listener.bound.port

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def lent(self) -> int:
        """Pairs that were lent and not given back."""
        return self.keeper.lent

    def connect(self) -> Any:
        return connected("127.0.0.1", self.port)

    def request(
        self, method: str, target: str, *headers: str, body: bytes | None = None, host: str = "", key: str | None = None
    ) -> bytes:
        """A request in bytes, with Host and, unless `key` is empty, the client key."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host or self.host}"]
        if key != "":
            lines.append(f"Authorization: Bearer {key or self.key}")
        lines += headers
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")

    async def call(self, method: str, target: str, *headers: str, **options: Any) -> Reply:
        """One request on a connection of its own."""
        async with self.connect() as wire:
            await wire.send(self.request(method, target, *headers, **options))
            reply: Reply = await wire.reply(method=method)
            return reply

    def change(self, **fields: Any) -> None:
        """Replace fields of the policy."""
        self.gateway.policy = replace(self.gateway.policy, **fields)

    def change_mount(self, **fields: Any) -> None:
        self.mount = replace(self.mount, **fields)
        self.change(mounts={"lab": self.mount})


def definition(extra: str = "") -> Broker:
    return load(parse_yaml(DEFINITION + extra, "lab.yaml"), "lab")


@dataclass(frozen=True)
class Setting:
    """What may differ between labs. `root` serves the mount at the root; `idle` and `total` are seconds.

    `credential` stands where the access token of generation 1 would, and goes where `placement` says. `fixed`: the
    definition names the API's address, and the token's own leads nowhere. `at`: the port of another broker than the
    scripted one. `engine`: `aiohttp` both ways, `pool` for our own connections to the broker, `express` for these and
    the express lane.
    """

    root: bool = False
    scopes: tuple[str, ...] = ALL_SCOPES
    total: float = 5.0
    idle: float = 5.0
    clients: dict[str, dict[str, frozenset[str]]] = field(
        default_factory=lambda: {"bot": {"lab": frozenset(ALL_SCOPES)}}
    )
    open_to_all: bool = False
    broker: Broker = field(default_factory=definition)
    cooldown: float = 0.0
    placement: Placement = BEARER
    credential: str = field(default_factory=lambda: access_token(1))
    fixed: bool = False
    at: int | None = None
    engine: str = "pool"
    head_timeout: float = HEAD_TIMEOUT
    take_timeout: float = TAKE_TIMEOUT
    connections: int = sys.maxsize


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Lab]:
    """A lab that is logged in: generation 1. The options are those of `Setting`."""
    setting = Setting(**options)
    scripted = ScriptedBroker(TRUST.tls)
    await scripted.start()
    broker = setting.broker
    environment = replace(broker.environments["here"], renew_cooldown=setting.cooldown, ca_file=CA_FILE)
    sealer = Sealer(b"k" * 32, "lab")
    vault = Vault(MemoryStore(), sealer)
    port = setting.at or scripted.port
    await _log_in(vault, setting, port)
    journal = await Journal.open(Path("/state/journal"), sealer, files=MemoryDisk())
    desk = Desk(port)
    keeper = CountingKeeper(
        "lab",
        broker=broker,
        environment=environment,
        login=broker.login(),
        vault=vault,
        journal=journal,
        endpoint=desk,
        clock=SystemClock(),
    )
    await keeper.start()
    upstream, dialler, metrics = _upstream(setting), Dialler(), Metrics()
    origin = Origin("127.0.0.1", port)
    place = Place(
        "lab",
        environment.api_hosts,
        CA_FILE,
        total=setting.total,
        idle=setting.idle,
        origin=origin if setting.fixed else None,
        placement=setting.placement,
    )
    mount = Mount(
        name="lab",
        broker=broker,
        api=broker.api().name,
        table=broker.api().table,
        scopes=frozenset(setting.scopes),
        relay=Relay(broker=broker, place=place, keeper=keeper, upstream=upstream, dialler=dialler),
        user_agent="bearerd/test",
        also=frozenset({b"idempotency-key"}),
        apps={APP: Secret(APP_SECRET)},
    )
    halts = Halts(vault, SystemClock())
    await halts.load()
    disk = MemoryDisk()
    trail = Trail(Path("/state/audit"), vault, "lab", files=disk)
    await trail.open()
    gateway, key = _gateway(setting, mount, metrics, halts, trail)
    speak(gateway, SystemClock(), no_settings, lambda: "")
    door = Door(None, "lab" if setting.root else None)
    lane, crowd = CountingLane(gateway, door, SystemClock()), Crowd(setting.connections)

    def greet(listener: Listener) -> None:
        door.hosts = Hosts(listener.names)

    listener = await open_listener(
        Tcp("127.0.0.1", 0),
        lambda _listener, request: gateway.handle(door, request),
        grace=0.1,
        greet=greet,
        head_timeout=setting.head_timeout,
        take_timeout=setting.take_timeout,
        crowd=crowd,
        make=lambda _: partial(ExpressHandler, lane=lane) if setting.engine == "express" else QuietHandler,
    )
    try:
        parts = (desk, keeper, environment, mount, key, upstream, trail, disk, lane, crowd)
        yield Lab(gateway, metrics, listener, door, scripted, *parts)
    finally:
        await gateway.streams.end_all()
        await listener.close()
        await keeper.close()
        await upstream.close()
        await dialler.close()
        await trail.close()
        await journal.close()
        await scripted.stop()


def no_settings() -> Settings:
    """A lab has one mount, and no other one to lead to."""
    raise AssertionError("a lab has no settings")


def _upstream(setting: Setting) -> Upstream:
    return SessionUpstream() if setting.engine == "aiohttp" else PooledUpstream()


async def _log_in(vault: Vault, setting: Setting, port: int) -> None:
    now = SystemClock().now().wall
    await Book("lab", vault).write(
        Grant(
            "lab",
            generation=1,
            lineage="l",
            refresh_token=Secret("refresh-1"),
            access_token=Secret(setting.credential),
            origin=Origin("127.0.0.1", 1 if setting.fixed else port),
            refreshed=now,
            expires=now + 1800,
            life=1800,
        )
    )


def _gateway(setting: Setting, mount: Mount, metrics: Metrics, halts: Halts, trail: Trail) -> tuple[Gateway, str]:
    """The gateway, and the key that all of its clients share."""
    members = {name: Client(name, rights) for name, rights in setting.clients.items()}
    key = new_key(lambda count: bytes(range(count))).reveal()
    keyring = Keyring({digest(key): name for name in members}, members, open_to_all=setting.open_to_all)
    metrics.allow(
        mounts=["lab"], clients=[*members, "local"], templates={row.path for row in mount.table.rows}, grants=["lab"]
    )
    policy = Policy({"lab": mount}, keyring, 1 << 20, 100, halts)
    return Gateway(policy, metrics, SystemClock(), Calls(trail)), key
