"""The whole simulated Alpaca: seven hosts, each on a port of its own."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from functools import partial

from aiohttp import web

from proxy.simulator import Links, NotSupported
from proxy.simulator.alpaca import authx, brokerage, connect, data, partner, trading
from proxy.simulator.alpaca.account import Account
from proxy.simulator.alpaca.api import Api
from proxy.simulator.alpaca.connect import Connect
from proxy.simulator.alpaca.credentials import Credentials, Host
from proxy.simulator.alpaca.customers import Customers
from proxy.simulator.alpaca.faults import REFUSALS, catalogue, exhausted
from proxy.simulator.alpaca.options import Options
from proxy.simulator.alpaca.partner import Partner
from proxy.simulator.alpaca.routes import Routes
from proxy.simulator.alpaca.sockets import Sockets
from proxy.simulator.ca import Authority
from proxy.simulator.front import Front
from proxy.simulator.listener import HOST, TEXT, Answer, Listener
from proxy.simulator.streams import Streams
from proxy.simulator.tokens import KINDS

# The logins of the definition.
CONNECT, CLIENT_CREDENTIALS, KEYS, BROKER_BASIC = "connect", "client-credentials", "keys", "broker-basic"
_AUTHX, _PAGE = "authx", "page"
_NOT_FOUND = Answer(404, b"Not Found", TEXT)


class Alpaca:
    """A `Simulator`. `options` may be changed while it runs. `accounts`: the one on paper, the live one."""

    name = "alpaca"

    def __init__(self, authority: Authority, options: Options | None = None) -> None:
        self.options = options or Options()
        self.faults = catalogue()
        self.credentials = Credentials()
        now = self.options.now()
        self.accounts = {Host.PAPER: Account("PA3SIMULATED", now), Host.LIVE: Account("010203ABCD", now)}
        self.updates = {host: account.book.updates for host, account in self.accounts.items()}
        self.people: dict[str, Account] = {}  # by number: of persons who came with a `login_hint`
        self.customers = Customers(now)
        self.partner = Partner(self.customers.accounts)
        limited = {"api-429": exhausted(self.options.now)}
        self._front = Front(self.faults, self.options, {**REFUSALS, **limited})
        self._connect = Connect(self.credentials, self.options)
        self.streams = Streams(self.faults, slow=lambda: self.options.slow)
        self._sockets = Sockets(self.streams, self.credentials, self.options)
        for updates in (*self.updates.values(), self.customers.updates):
            updates.listen(self._sockets.hear)
        self._apis = {host: self._api(host) for host in Host}
        handlers: dict[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]] = {
            **{host.value: partial(self._handle, host) for host in Host},
            _AUTHX: self._authx,
            _PAGE: self._connect.page,
        }
        self._listeners = {name: Listener(handler, tls=authority.tls) for name, handler in handlers.items()}
        self._ca_file = authority.ca_file
        self._running = AsyncExitStack()

    async def start(self, ports: Iterator[int]) -> None:
        """Open all listeners on the next of `ports`. OSError if one is taken; then none is left open."""
        async with AsyncExitStack() as started:
            for listener in self._listeners.values():
                started.push_async_callback(listener.stop)
                await listener.start(next(ports))
            self._running = started.pop_all()

    async def stop(self) -> None:
        await self._running.aclose()

    def url(self, name: str) -> str:
        """The address of a host, without a slash: paper, live, data, broker, stream, authx, page. After `start`."""
        return self._listeners[name].url

    def links(self) -> Links:
        """Addresses and first credentials of the paper environment. Only after `start`.

        The live account has hosts and keys of its own: see `live_environment` and `credentials`.
        """
        keys, own = self.credentials.keys[Host.PAPER], self.credentials
        environment = self._environment(Host.PAPER)
        return Links(
            token_url=self.url(Host.PAPER) + connect.TOKEN_PATH,
            refresh_token=None,
            accounts=(self.accounts[Host.PAPER].number, *self.customers.accounts),
            api_servers=tuple(self.url(host) for host in Host if host is not Host.LIVE),
            environment=environment,
            logins={
                CONNECT: {"client_id": own.application.id, "client_secret": own.application.secret},
                CLIENT_CREDENTIALS: {"client_id": own.machine.id, "client_secret": own.machine.secret},
                KEYS: {"secret": f"{keys.id}:{keys.secret}"},
                BROKER_BASIC: {"secret": f"{own.broker.id}:{own.broker.secret}"},
            },
            apps={
                partner.CLIENT_ID: {
                    "client_secret": self.partner.secret,
                    "redirect_uri": partner.REDIRECT_URI,
                    "scope": partner.SCOPE,
                }
            },
        )

    def live_environment(self) -> Mapping[str, object]:
        """The environment whose trading host is the live one. Only after `start`."""
        return self._environment(Host.LIVE)

    def approve(self, authorize_url: str) -> str:
        """See `Simulator.approve`."""
        return self._connect.approve(authorize_url)

    def state(self) -> dict[str, object]:
        """What `GET /state` answers; `hosts` has the same by host.

        `orders` counts orders ever accepted, of every account. `several_credentials` and `denied` count calls that
        brought more than one credential, and those that no documented scope covers.
        """
        connected, minted = self.credentials.connect, self.credentials.minted
        calls: Counter[str] = Counter()
        kinds: Counter[str] = Counter()
        for api in self._apis.values():
            calls += api.seen
            kinds += api.authorizations
        held = (self.accounts, self.people, self.customers.accounts)
        books = [account.book for accounts in held for account in accounts.values()]
        return {
            "token_posts": self._front.token_posts,
            "rotations": minted.rotations,
            "reused_refresh_tokens": 0,
            "generation": connected.generation + minted.generation,
            "api_server": self.url(Host.PAPER) + "/",
            "calls": dict(calls),
            "authorizations": {kind: kinds[kind] for kind in KINDS},
            "orders": sum(book.placed for book in books),
            "several_credentials": sum(api.several for api in self._apis.values()),
            "denied": sum(api.denied for api in self._apis.values()),
            "hosts": {host.value: api.state() for host, api in self._apis.items()},
        }

    def expire(self) -> None:
        """Every minted token is dead now. Connect tokens and keys have no end (the fault `api-401` refuses them)."""
        self.credentials.minted.expire()

    def move_api_server(self) -> None:
        raise NotSupported("Alpaca's APIs have one address each; no token answer names another")

    def steal(self) -> None:
        raise NotSupported("Alpaca has no refresh tokens that another program could spend")

    def routes(self, host: Host) -> Routes:
        """All calls of a host."""
        match host:
            case Host.DATA:
                return data.routes()
            case Host.STREAM:
                return data.streamed()
            case Host.BROKER:
                return brokerage.routes(self.customers, self.partner)
            case _:
                return trading.routes()

    def _api(self, host: Host) -> Api:
        own = self.accounts.get(host, self.accounts[Host.PAPER])

        def account_of(captures: Mapping[str, str], person: str | None) -> Account:
            if host is Host.BROKER:
                return self.customers.account_of(captures)
            return own if person is None else self._persons(own, person)

        return Api(
            host,
            self.routes(host),
            account_of=account_of,
            credentials=self.credentials,
            front=self._front,
            options=self.options,
            sockets=self._sockets,
        )

    def _persons(self, own: Account, person: str) -> Account:
        """The account of somebody else than the usual person, on the same host as `own`."""
        number = own.number[:3] + person.upper()
        if number not in self.people:
            self.people[number] = Account(number, self.options.now(), own.book.updates)
        return self.people[number]

    async def _handle(self, host: Host, request: web.BaseRequest) -> web.StreamResponse:
        """A call, or on a trading host an exchange of a Connect code."""
        if host in self.accounts and _is_post(request, connect.TOKEN_PATH):
            return await self._front.token(request, partial(self._connect.exchange, request.content_type))
        return await self._apis[host].handle(request)

    async def _authx(self, request: web.BaseRequest) -> web.StreamResponse:
        if not _is_post(request, authx.TOKEN_PATH):
            return _NOT_FOUND.response()
        presented = request.content_type, request.headers.get("Authorization")
        return await self._front.token(request, partial(authx.mint, self.credentials, self.options, *presented))

    def _environment(self, trading_host: Host) -> dict[str, object]:
        token_url = self.url(trading_host) + connect.TOKEN_PATH
        return {
            "api_servers": {
                "trading": self.url(trading_host),
                **{host.value: self.url(host) for host in (Host.DATA, Host.BROKER, Host.STREAM)},
            },
            "logins": {
                CONNECT: {
                    "authorize_url": self.url(_PAGE) + connect.AUTHORIZE_PATH,
                    "token_url": token_url,
                    "authorize_fields": {"env": trading_host.value},
                },
                CLIENT_CREDENTIALS: {"token_url": self.url(_AUTHX) + authx.TOKEN_PATH},
            },
            "api_hosts": [f"{HOST}:*"],
            "ca_file": str(self._ca_file),
            # A simulated token may live one second and be renewed as often as it takes.
            "min_life": 1,
            "renew_cooldown": 0,
            "max_rotations_per_day": 0,
            **self.options.rates(),
        }


def _is_post(request: web.BaseRequest, path: str) -> bool:
    return request.method == "POST" and request.raw_path.partition("?")[0] == path
