"""A program that speaks to a running simulated Alpaca, over TLS, with the credential that each host takes."""

import base64
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp

from proxy.simulator.alpaca.account import Account
from proxy.simulator.alpaca.broker import Alpaca
from proxy.simulator.alpaca.credentials import Host, KeyPair
from proxy.simulator.alpaca.options import Options
from proxy.simulator.alpaca.routes import Call
from proxy.simulator.serve import Running
from tests.simulator.support import FORM, NOON, Driver, HandClock, Reply

PAPER, LIVE, DATA, BROKER, STREAM = Host
MARKET = {"symbol": "AAPL", "qty": "2", "side": "buy", "type": "market", "time_in_force": "day"}
LIMIT = {**MARKET, "type": "limit", "limit_price": "100.5", "time_in_force": "gtc"}
MISSING = "00000000-0000-4000-8000-000000000000"


def call(query: str = "", *, body: bytes = b"", now: float = NOON, **captures: str) -> Call:
    """A call as a handler gets it."""
    return Call("GET", captures, query, body, now, Account("PA1", now))


def basic(pair: KeyPair) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{pair.id}:{pair.secret}'.encode()).decode()}"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def pair_headers(pair: KeyPair) -> dict[str, str]:
    return {"APCA-API-KEY-ID": pair.id, "APCA-API-SECRET-KEY": pair.secret}


def error(reply: Reply) -> tuple[int, int, str]:
    """Status, Alpaca's code and text."""
    return reply.status, reply.document["code"], reply.document["message"]


@dataclass
class Client(Driver):
    """A client of one running simulated Alpaca."""

    broker: ClassVar[str] = "alpaca"
    running: Running
    options: Options
    clock: HandClock
    session: aiohttp.ClientSession

    @property
    def alpaca(self) -> Alpaca:
        simulator = self.running.simulators["alpaca"]
        assert isinstance(simulator, Alpaca)
        return simulator

    @property
    def customer(self) -> str:
        """The id of the first customer's account."""
        return self.alpaca.customers.first.id

    def credential(self, host: Host) -> dict[str, str]:
        """Headers that this host takes."""
        own = self.alpaca.credentials
        return basic(own.broker) if host is BROKER else pair_headers(own.keys[LIVE if host is LIVE else PAPER])

    async def call(
        self, host: Host, method: str, target: str, body: object = None, *, headers: dict[str, str] | None = None
    ) -> Reply:
        """One call; `headers` in the place of the credential."""
        sent = self.credential(host) if headers is None else headers
        return await self.send(method, self.alpaca.url(host) + target, json=body, headers=sent)

    async def get(self, host: Host, target: str, headers: dict[str, str] | None = None) -> Reply:
        return await self.call(host, "GET", target, headers=headers)

    async def read(self, host: Host, target: str) -> Any:
        """What a good GET answers."""
        reply = await self.get(host, target)
        assert 200 == reply.status, reply.body
        return reply.document

    async def place(self, order: dict[str, Any]) -> Reply:
        return await self.call(PAPER, "POST", "/v2/orders", order)

    def authorize_url(self, **changes: str) -> str:
        """The address that an application sends a browser to; an empty value leaves a parameter out."""
        fields = {
            "response_type": "code",
            "client_id": self.alpaca.credentials.application.id,
            "redirect_uri": self.options.callback,
            "scope": "account:write trading data",
            "state": "s1",
            **changes,
        }
        query = urlencode({name: value for name, value in fields.items() if value})
        return f"{self.alpaca.url('page')}/oauth/authorize?{query}"

    def code(self, **changes: str) -> str:
        """What a person who allows sends back."""
        return parse_qs(urlsplit(self.alpaca.approve(self.authorize_url(**changes))).query)["code"][0]

    async def exchange(self, host: Host = PAPER, /, **changes: str) -> Reply:
        """One request to Connect's token endpoint; an empty value leaves a field out."""
        application = self.alpaca.credentials.application
        fields = {
            "grant_type": "authorization_code",
            "client_id": application.id,
            "client_secret": application.secret,
            "redirect_uri": self.options.callback,
            **changes,
        }
        form = urlencode({name: value for name, value in fields.items() if value})
        return await self.send("POST", f"{self.alpaca.url(host)}/oauth/token", data=form, headers=FORM)

    async def connect(self, **changes: str) -> str:
        """A Connect token."""
        token: str = (await self.exchange(code=self.code(**changes))).document["access_token"]
        return token

    async def ask_authx(self, headers: dict[str, str] | None = None, /, **changes: str) -> Reply:
        """One request to the endpoint for client credentials."""
        machine = self.alpaca.credentials.machine
        fields = {
            "grant_type": "client_credentials",
            "client_id": machine.id,
            "client_secret": machine.secret,
            **changes,
        }
        form = urlencode({name: value for name, value in fields.items() if value})
        url = f"{self.alpaca.url('authx')}/v1/oauth2/token"
        return await self.send("POST", url, data=form, headers={**FORM, **(headers or {})})

    async def mint(self) -> str:
        token: str = (await self.ask_authx()).document["access_token"]
        return token
