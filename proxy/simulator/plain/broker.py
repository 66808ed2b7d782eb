"""The whole plain broker: login and API on one port."""

from collections.abc import Iterator, Sequence
from typing import Any

from aiohttp import web

from proxy.simulator import Links, NotSupported
from proxy.simulator.authorize import Refused, same
from proxy.simulator.ca import Authority
from proxy.simulator.front import Front, catalogue
from proxy.simulator.listener import HOST, Listener
from proxy.simulator.options import Options
from proxy.simulator.plain.api import Api, Received
from proxy.simulator.plain.login import Login
from proxy.simulator.plain.setup import Endpoint, Setup
from proxy.simulator.streams import Streams
from proxy.simulator.tokens import Rules, Standing, Tokens


def options_for(setup: Setup, **changes: Any) -> Options:
    """The knobs of this broker, as its file has them."""
    endpoint = setup.endpoint
    own: dict[str, Any] = {}
    if endpoint is not None and endpoint.expires_in is not None:
        own["expires_in"] = int(endpoint.expires_in)
    if endpoint is not None and endpoint.redirect_uris:
        own["callback"] = endpoint.redirect_uris[0]
    return Options(**own | changes)


class Plain:
    """A `Simulator` of the broker that `setup` describes. `options` may be changed while it runs."""

    def __init__(self, setup: Setup, authority: Authority, options: Options | None = None) -> None:
        self.name = setup.name
        self.options = options or options_for(setup)
        self.faults = catalogue()
        self.streams: Streams | None = None
        self._setup = setup
        self._ca_file = authority.ca_file
        self._tokens = Tokens(_rules(setup.endpoint))
        self._front = Front(self.faults, self.options)
        self._login: Login | None = None
        self._first_token: str | None = None
        if setup.endpoint is not None:
            self._login = Login(setup.title, setup.endpoint, self._tokens, self._front, self.options)
        if setup.kind == "refresh-token":
            self._first_token = self.new_refresh_token()
        self._api = Api(setup, self._front, self._standing, self.options)
        self._listener = Listener(self._handle, tls=authority.tls)

    async def start(self, ports: Iterator[int]) -> None:
        """Open one listener on the next of `ports`. OSError if it is taken."""
        await self._listener.start(next(ports))

    async def stop(self) -> None:
        await self._listener.stop()

    def links(self) -> Links:
        """Addresses and first credentials. Only after `start`."""
        url = self._listener.url
        return Links(
            token_url=url + self._setup.endpoint.token if self._setup.endpoint else "",
            refresh_token=self._first_token,
            accounts=self._setup.accounts,
            api_servers=(url + "/",),
            environment=self._environment(url),
            logins={self._setup.login: self._needs()},
        )

    def state(self) -> dict[str, object]:
        """What `GET /state` answers. `orders` counts calls that the setup calls orders."""
        return self._front.state(
            self._tokens,
            api_server=self._listener.url + "/",
            calls=self._api.seen,
            authorizations=self._api.authorizations,
            orders=self._api.orders,
        )

    def new_refresh_token(self) -> str | None:
        """A refresh token that nobody has redeemed, of a new login; None without refresh tokens."""
        if self._login is None or self._setup.endpoint is None:
            return None
        issued = self._tokens.login(self._setup.endpoint.client_id, (), self.options.now(), self._login.life())
        return issued.refresh

    @property
    def received(self) -> Sequence[Received]:
        """The last calls as they arrived, the newest last. They hold credentials."""
        return tuple(self._api.received)

    def approve(self, authorize_url: str) -> str:
        """What a person in a browser does; the address that the browser is sent to. ValueError if it is refused."""
        if self._login is None:
            raise Refused("this broker has no login page")
        return self._login.approve(authorize_url)

    def expire(self) -> None:
        """`NotSupported` for a plain secret: it has no end."""
        if self._login is None:
            raise NotSupported(f"{self.name} has a plain secret: it does not expire")
        self._tokens.expire()

    def move_api_server(self) -> None:
        """`NotSupported`: the API of a plain broker has one address."""
        raise NotSupported(f"the API of {self.name} has one address")

    def steal(self) -> None:
        """`NotSupported` where no refresh token is spent by use, or none has been given out."""
        endpoint = self._setup.endpoint
        if endpoint is None or endpoint.refresh != "rotating":
            raise NotSupported(f"{self.name} has no refresh tokens that are spent by use")
        if self._login is None or not self._tokens.steal(self.options.now(), self._login.life()):
            raise NotSupported("nobody has logged in yet")

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._login is not None and self._login.serves(request.raw_path.partition("?")[0]):
            return await self._login.handle(request)
        return await self._api.handle(request, self._listener.url)

    def _standing(self, credential: str) -> Standing:
        if self._login is not None:
            return self._tokens.standing(credential, self.options.now())
        return Standing.CURRENT if same(credential, ":".join(self._setup.secret)) else Standing.FOREIGN

    def _environment(self, url: str) -> dict[str, object]:
        endpoint, apis = self._setup.endpoint, self._setup.apis
        found: dict[str, object] = {"api_servers": dict.fromkeys(apis, url)} if apis else {"api_server": url}
        if endpoint is not None:
            found["token_url"] = url + endpoint.token
            if endpoint.authorize:
                found["authorize_url"] = url + endpoint.authorize
        # A simulated token may live one second and be renewed as often as it takes.
        renewal = {"min_life": 1, "renew_cooldown": 0, "max_rotations_per_day": 0}
        return {**found, "api_hosts": [f"{HOST}:*"], "ca_file": str(self._ca_file), **renewal, **self.options.rates()}

    def _needs(self) -> dict[str, str]:
        endpoint = self._setup.endpoint
        if endpoint is None:
            return {"secret": ":".join(self._setup.secret)}
        found = {
            "client_id": endpoint.client_id,
            "client_secret": endpoint.client_secret,
            "redirect_uri": next(iter(endpoint.redirect_uris), ""),
            "refresh_token": self._first_token or "",
        }
        return {name: value for name, value in found.items() if value}


def _rules(endpoint: Endpoint | None) -> Rules:
    if endpoint is None:
        return Rules()
    return Rules(
        refresh_life=endpoint.refresh_token_life,
        rotates=endpoint.refresh == "rotating",
        kills_old=False,
        life_from_login=endpoint.life_counts_from == "login",
    )
