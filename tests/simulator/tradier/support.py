"""An application that speaks to a simulated Tradier as a client of the real one would."""

from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp

from proxy.simulator.serve import Running
from proxy.simulator.tradier.broker import Tradier
from proxy.simulator.tradier.options import SCOPES, Options
from tests.simulator.support import FORM, Driver, HandClock, Reply

ACCOUNT = "/v1/accounts/VA000001"
BUY = {"class": "equity", "symbol": "AAPL", "side": "buy", "quantity": "10", "type": "limit", "duration": "day"}
LIMIT = {**BUY, "price": "100.50"}
MARKET = {**BUY, "type": "market"}


@dataclass
class App(Driver):
    """A client of one running simulated Tradier."""

    broker: ClassVar[str] = "tradier"
    running: Running
    options: Options
    clock: HandClock
    session: aiohttp.ClientSession
    access: str = ""
    refresh: str = ""
    rest: str = field(init=False)

    def __post_init__(self) -> None:
        self.rest = self.tradier.links().api_servers[0].removesuffix("/")

    @property
    def tradier(self) -> Tradier:
        simulator = self.running.simulators["tradier"]
        assert isinstance(simulator, Tradier)
        return simulator

    def authorize_url(self, **changes: str) -> str:
        asked = {"client_id": self.options.client_id, "scope": ",".join(SCOPES), "state": "s&t", **changes}
        return f"{self.rest}/v1/oauth/authorize?{urlencode(asked)}"

    def code(self, **changes: str) -> str:
        """What comes back after a person has allowed what is asked for."""
        location = self.tradier.approve(self.authorize_url(**changes))
        return parse_qs(urlsplit(location).query)["code"][0]

    async def post_token(self, path: str = "accesstoken", secret: str | None = None, **form: str) -> Reply:
        """One request to a token endpoint."""
        basic = aiohttp.encode_basic_auth(self.options.client_id, secret or self.options.client_secret)
        url = f"{self.rest}/v1/oauth/{path}"
        return await self.send("POST", url, data=urlencode(form), headers=FORM | {"Authorization": basic})

    async def login(self, *scopes: str) -> dict[str, Any]:
        """The whole code flow; the app uses the new token from now on."""
        code = self.code(scope=",".join(scopes or SCOPES))
        return self._use(await self.post_token(grant_type="authorization_code", code=code))

    async def spend(self) -> Reply:
        """One refresh, whatever becomes of it."""
        return await self.post_token("refreshtoken", grant_type="refresh_token", refresh_token=self.refresh)

    async def redeem(self) -> dict[str, Any]:
        """A refresh that works."""
        return self._use(await self.spend())

    def _use(self, reply: Reply) -> dict[str, Any]:
        assert 200 == reply.status, reply.body
        found: dict[str, Any] = reply.document
        self.access, self.refresh = found["access_token"], found.get("refresh_token", "")
        return found

    async def call(self, method: str, target: str, form: dict[str, str] | None = None, **headers: str) -> Reply:
        """One API call with the newest access token, for JSON unless told otherwise."""
        wanted = {"Authorization": f"Bearer {self.access}", "Accept": "application/json", **headers}
        data = None if form is None else urlencode(form)
        wanted |= {} if form is None else FORM
        return await self.send(method, self.rest + target, data=data, headers=wanted)

    async def get(self, target: str) -> Reply:
        return await self.call("GET", target)

    async def place(self, **changes: str) -> Reply:
        return await self.call("POST", f"{ACCOUNT}/orders", {**LIMIT, **changes})
