"""The whole simulated Tradier: REST, HTTP streams, sockets and the login page, each host on a port of its own."""

import secrets
import string
from collections.abc import Iterator
from contextlib import AsyncExitStack

from aiohttp import web

from proxy.simulator import Links, NotSupported
from proxy.simulator.ca import Authority
from proxy.simulator.front import Front, Refusal
from proxy.simulator.listener import HOST, Listener
from proxy.simulator.streams import Streams
from proxy.simulator.tokens import Rules, Tokens
from proxy.simulator.tradier import account
from proxy.simulator.tradier.api import Api
from proxy.simulator.tradier.calls import Calls
from proxy.simulator.tradier.faults import REFUSALS, catalogue
from proxy.simulator.tradier.login import AUTHORIZE_PATH, PAGE_PATH, PATHS, REFRESH_PATH, TOKEN_PATH, Login
from proxy.simulator.tradier.options import Options
from proxy.simulator.tradier.orders import OrderBook
from proxy.simulator.tradier.rates import RateLimits
from proxy.simulator.tradier.streaming import Streaming, order_event

CODE, PERSONAL = "code", "personal"  # the logins of the definition
_LETTERS = string.ascii_letters + string.digits


def live_like_token() -> str:
    """29 letters and digits, as in the documentation's sample."""
    return "".join(secrets.choice(_LETTERS) for _ in range(29))


class Tradier:
    """A `Simulator`. `options` may be changed while it runs, but for `rotates`."""

    name = "tradier"

    def __init__(self, authority: Authority, options: Options | None = None) -> None:
        self.options = options or Options()
        self.faults = catalogue()
        self.streams = Streams(self.faults, slow=lambda: self.options.slow)
        self.book = OrderBook()
        # Refresh tokens do not expire (documented). That the old access token goes on is a choice: it is not known.
        self._tokens = Tokens(Rules(rotates=self.options.rotates, kills_old=False), live_like_token)
        self.calls = Calls(self.book, self.options)
        rates, self._personal_token = RateLimits(), live_like_token()
        exhausted: dict[str, Refusal] = {"api-429": lambda: rates.exhausted("standard", self.options.now()).refusal()}
        self._front = Front(self.faults, self.options, {**REFUSALS, **exhausted})
        self._login = Login(self._tokens, self._front, self.options)
        self._api = Api(self._tokens, self.calls, self._front, rates, self.options)
        self._api.personal_token = self._personal_token
        self.streaming = Streaming(
            self.streams, self.calls.sessions, self._front, self._api.standing, now=self.options.now
        )
        self.book.told = lambda order: self.streaming.tell(order_event(order))
        self._rest = Listener(self._handle, tls=authority.tls)
        self._stream = Listener(self.streaming.http, tls=authority.tls)
        self._ws = Listener(self.streaming.socket, tls=authority.tls)
        self._auth = Listener(self._login.page, tls=authority.tls)
        self._ca_file = authority.ca_file
        self._running = AsyncExitStack()

    async def start(self, ports: Iterator[int]) -> None:
        """Open four listeners on the next four of `ports`. OSError if one is taken; then none is left open."""
        async with AsyncExitStack() as started:
            for listener in (self._rest, self._auth, self._stream, self._ws):
                started.push_async_callback(listener.stop)
                await listener.start(next(ports))
            self._running = started.pop_all()
        self._login.page_host = self._auth.url
        self.calls.stream_url = self._stream.url

    async def stop(self) -> None:
        await self._running.aclose()

    def links(self) -> Links:
        """Addresses and first credentials. Only after `start`. There is no refresh token before a login."""
        rest = self._rest.url
        environment = {
            "token_url": rest + TOKEN_PATH,
            "refresh_url": rest + REFRESH_PATH,
            "authorize_url": rest + AUTHORIZE_PATH,
            "login_page": self._auth.url + PAGE_PATH,
            "api_servers": {"rest": rest, "stream": self._stream.url, "ws": self._ws.url},
            "api_hosts": [f"{HOST}:*"],
            "ca_file": str(self._ca_file),
            # A simulated token may live one second and be renewed as often as it takes.
            "min_life": 1,
            "renew_cooldown": 0,
            "max_rotations_per_day": 0,
            **self.options.rates(),
        }
        application = {"client_id": self.options.client_id, "client_secret": self.options.client_secret}
        return Links(
            token_url=rest + TOKEN_PATH,
            refresh_token=None,
            accounts=(account.NUMBER,),
            api_servers=(rest + "/", self._stream.url + "/", self._ws.url + "/"),
            environment=environment,
            logins={CODE: application, PERSONAL: {"secret": self._personal_token}},
        )

    def approve(self, authorize_url: str) -> str:
        """See `Simulator.approve`."""
        return self._login.approve(authorize_url)

    def state(self) -> dict[str, object]:
        """What `GET /state` answers. `orders` counts orders ever kept."""
        return self._front.state(
            self._tokens,
            api_server=self._rest.url + "/",
            calls=self._api.seen + self.streaming.seen,
            authorizations=self._api.authorizations + self.streaming.authorizations,
            orders=self.book.placed,
        )

    def expire(self) -> None:
        """Access tokens of logins are dead now; the personal token is not: nothing is known of its end."""
        self._tokens.expire()

    def move_api_server(self) -> None:
        raise NotSupported("Tradier's API has one address, which token answers do not name")

    def steal(self) -> None:
        if not self.options.rotates or not self._tokens.steal(self.options.now(), self.options.expires_in):
            raise NotSupported("there is no refresh token of Tradier's that is spent by use")

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if path in PATHS:
            return await self._login.handle(request, path, query)
        return await self._api.handle(request, path, query)
