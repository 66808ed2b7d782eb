"""The whole simulated Questrade: one login host and two API hosts, each on a port of its own."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial

from proxy.simulator import Links
from proxy.simulator.ca import Authority
from proxy.simulator.flow import Flow
from proxy.simulator.listener import HOST, Listener
from proxy.simulator.questrade import account
from proxy.simulator.questrade.api import Api
from proxy.simulator.questrade.faults import catalogue
from proxy.simulator.questrade.grants import Grants, awkward_token, live_like_token
from proxy.simulator.questrade.login import APP_HUB_PATH, AUTHORIZE_PATH, REVOKE_PATH, TOKEN_PATH, Login
from proxy.simulator.questrade.options import Options
from proxy.simulator.questrade.orders import OrderBook
from proxy.simulator.streams import Streams
from proxy.simulator.tokens import KINDS

API_HOSTS = 2
MANUAL, CODE = "refresh-token", "code"  # the logins of the definition


class Questrade:
    """A `Simulator`. `options` may be changed while it runs."""

    name = "questrade"

    def __init__(self, authority: Authority, options: Options | None = None) -> None:
        self.options = options or Options()
        self.faults = catalogue()
        self._ca_file = authority.ca_file
        self._grants = Grants(awkward_token if self.options.reserved_characters else live_like_token)
        self._book = OrderBook()
        self._login = Login(self._grants, self.faults, self.options)
        self.streams = Streams(self.faults, slow=lambda: self.options.slow, flow=Flow(stale="close"))
        self._api = Api(self._grants, self._book, self.faults, self.options, streams=self.streams, tls=authority.tls)
        self._login_listener = Listener(self._login.handle, tls=authority.tls)
        self._api_listeners = [
            Listener(partial(self._api.handle, number), tls=authority.tls) for number in range(API_HOSTS)
        ]
        self._first_token = self.new_refresh_token()
        self._running = AsyncExitStack()

    async def start(self, ports: Iterator[int]) -> None:
        """Open three listeners on the next three of `ports`. OSError if one is taken; then none is left open."""
        async with AsyncExitStack() as started:
            started.push_async_callback(self._api.ports.stop)
            for listener in (self._login_listener, *self._api_listeners):
                started.push_async_callback(listener.stop)
                await listener.start(next(ports))
            self._running = started.pop_all()
        self._login.api_server = self._home.url

    async def stop(self) -> None:
        await self._running.aclose()

    def links(self) -> Links:
        """Addresses and first credentials. Only after `start`."""
        login = self._login_listener.url
        environment = {
            "token_url": login + TOKEN_PATH,
            "authorize_url": login + AUTHORIZE_PATH,
            "revoke_url": login + REVOKE_PATH,
            "api_hosts": [f"{HOST}:*"],
            "ca_file": str(self._ca_file),
            # A simulated token may live one second and be renewed as often as it takes.
            "min_life": 1,
            "renew_cooldown": 0,
            "max_rotations_per_day": 0,
            **self.options.rates(),
        }
        return Links(
            token_url=login + TOKEN_PATH,
            refresh_token=self._first_token,
            accounts=(account.NUMBER,),
            api_servers=tuple(listener.url + "/" for listener in self._api_listeners),
            environment=environment,
            logins={MANUAL: {"refresh_token": self._first_token}, CODE: {"client_id": self.options.client_id}},
        )

    def approve(self, authorize_url: str) -> str:
        """See `Simulator.approve`."""
        return self._login.approve(authorize_url)

    @property
    def app_hub_url(self) -> str:
        """The page on which a person makes a new refresh token. Only after `start`."""
        return self._login_listener.url + APP_HUB_PATH

    def new_refresh_token(self) -> str:
        """A refresh token that nobody has redeemed, as the App Hub makes them: a new grant."""
        return self._grants.manual_token(self.options.now())

    def state(self) -> dict[str, object]:
        """What `GET /state` answers. `orders` counts orders ever accepted."""
        counts = self._api.authorizations
        return {
            "token_posts": self._login.token_posts,
            "rotations": self._grants.rotations,
            "reused_refresh_tokens": self._grants.reused,
            "generation": self._grants.generation,
            "api_server": self._home.url + "/",
            "calls": dict(self._api.seen),
            "authorizations": {kind: counts[kind] for kind in KINDS},
            "orders": self._book.placed,
        }

    def expire(self) -> None:
        self._grants.expire()

    def move_api_server(self) -> None:
        """Calls to the old host are answered 401 from now on, and the next token answer names the new one."""
        self._api.home = (self._api.home + 1) % API_HOSTS
        self._login.api_server = self._home.url

    def steal(self) -> None:
        self._grants.steal(self.options.now(), self.options.expires_in)

    @property
    def _home(self) -> Listener:
        return self._api_listeners[self._api.home]
