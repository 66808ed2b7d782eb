"""A bot that speaks to a running simulator as a careful client would: over TLS, with the simulator's own CA."""

import json
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from proxy.simulator.questrade.broker import Questrade
from proxy.simulator.questrade.options import Options
from proxy.simulator.serve import Running

NOON = 1_772_557_200.0  # 2026-03-03T12:00:00-05:00
ACCOUNT = "/v1/accounts/26598145"
MARKET_ORDER = {"symbolId": 8049, "quantity": 10, "action": "Buy", "orderType": "Market", "timeInForce": "Day"}
LIMIT_ORDER = {**MARKET_ORDER, "orderType": "Limit", "limitPrice": 100.5, "timeInForce": "GoodTillCanceled"}


@dataclass
class HandClock:
    """Unix time that only a test moves."""

    time: float = NOON

    def __call__(self) -> float:
        return self.time


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, int]:
        """Status and Questrade's code."""
        return self.status, self.document["code"]


class Driver:
    """Who calls a simulated broker, and drives it by the control listener. `broker` is its name there."""

    broker: ClassVar[str]
    running: Running
    session: aiohttp.ClientSession

    async def send(self, method: str, url: str, **options: Any) -> Reply:
        async with self.session.request(method, URL(url, encoded=True), allow_redirects=False, **options) as answer:
            return Reply(answer.status, dict(answer.headers), await answer.read())

    async def control(self, path: str, **fields: object) -> Reply:
        """A POST to the control listener."""
        return await self.send("POST", self.running.control + path, json={"broker": self.broker, **fields})

    async def fault(self, name: str, times: int = 1) -> None:
        assert 200 == (await self.control("/faults", fault=name, times=times)).status

    async def state(self) -> dict[str, Any]:
        reply = await self.send("GET", self.running.control + "/state")
        state: dict[str, Any] = reply.document[self.broker]
        return state


@dataclass
class Bot(Driver):
    """A client of one running simulated Questrade."""

    broker: ClassVar[str] = "questrade"
    running: Running
    options: Options
    clock: HandClock
    session: aiohttp.ClientSession
    access: str = ""
    refresh: str = ""
    api: str = ""
    token_url: str = field(init=False)

    def __post_init__(self) -> None:
        links = self.questrade.links()
        self.token_url, self.refresh = links.token_url, links.refresh_token or ""

    @property
    def questrade(self) -> Questrade:
        simulator = self.running.simulators["questrade"]
        assert isinstance(simulator, Questrade)
        return simulator

    @property
    def login_host(self) -> str:
        return self.token_url.removesuffix("/oauth2/token")

    async def post_token(self, **parameters: str) -> Reply:
        """One request to the token endpoint, as POST and form."""
        return await self.send("POST", self.token_url, data=urlencode(parameters), headers=FORM)

    async def spend(self) -> Reply:
        """One refresh with the newest refresh token, whatever becomes of it."""
        return await self.post_token(grant_type="refresh_token", refresh_token=self.refresh)

    async def redeem(self) -> dict[str, Any]:
        """A refresh that works; the bot uses the new pair from now on."""
        reply = await self.spend()
        assert 200 == reply.status
        pair: dict[str, Any] = reply.document
        self.access, self.refresh = pair["access_token"], pair["refresh_token"]
        self.api = pair["api_server"].removesuffix("/").removesuffix("/v1")
        return pair

    async def call(self, method: str, target: str, body: object = None, **headers: str) -> Reply:
        """One API call with the newest access token."""
        wanted = {"Authorization": f"Bearer {self.access}", **headers}
        return await self.send(method, self.api + target, json=body, headers=wanted)

    async def get(self, target: str) -> Reply:
        return await self.call("GET", target)

    async def place(self, **changes: object) -> Reply:
        return await self.call("POST", f"{ACCOUNT}/orders", {**LIMIT_ORDER, **changes})


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def fields(names: str) -> set[str]:
    """The names in a text, for comparison with the keys of a record."""
    return set(names.split())


def trusting(ca_file: Path) -> ssl.SSLContext:
    """TLS that trusts the simulator's CA and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca_file)
    return context
