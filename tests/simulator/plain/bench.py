"""A bot that speaks to a running plain broker, and the texts of some."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
from yarl import URL

from proxy.simulator.plain.broker import Plain
from tests.simulator.support import FORM, Reply

CALLBACK = "https://127.0.0.1:8182"

CODE = """\
name: plain
title: The Plain Broker
login:
  name: person
  kind: code
  authorize: /authorize
  token: /token
  client_auth: basic
  client_id: app
  client_secret: app:secret
  redirect_uris: ["https://127.0.0.1:8182", "https://127.0.0.1/other"]
  code_life: 30
  expires_in: 1800
  refresh: rotating
  refresh_token_life: 604800
  life_counts_from: login
  answer: {scope: api}
  redirect: {session: "7"}
calls:
  - {method: GET, path: /v1/accounts, json: [{id: 1}]}
  - {method: GET, path: "/v1/accounts/{account}", text: one}
  - method: POST
    path: /v1/accounts/{account}/orders
    status: 201
    order: true
    headers: {Location: "{origin}/v1/{account}/{order}/{rest}"}
"""
MINTED = """\
name: plain
login: {kind: client-credentials, token: /token, client_auth: form, client_id: app, client_secret: canary}
calls: [{method: GET, path: /v1/accounts, json: []}]
"""
PASTED = """\
name: plain
login: {kind: refresh-token, token: /token, refresh: kept, expires_in: never}
calls: [{method: GET, path: /v1/accounts, json: []}]
"""
SECRET = """\
name: plain
apis: [trading, data]
login: {name: keys, kind: secret, secret: [key-id, canary]}
placement: {headers: [X-Key-Id, X-Key]}
refused: {status: 403, json: {message: no}}
calls: [{method: GET, path: /v1/accounts, json: []}]
"""


@dataclass
class Bench:
    """One broker and one client of it."""

    broker: Plain
    session: aiohttp.ClientSession
    client: tuple[str, str] | None = ("app", "app:secret")
    access: str = ""
    refresh: str = ""

    @property
    def url(self) -> str:
        return self.broker.links().api_servers[0].removesuffix("/")

    async def send(self, method: str, target: str, **options: Any) -> Reply:
        url = URL(self.url + target, encoded=True)
        async with self.session.request(method, url, allow_redirects=False, **options) as answer:
            return Reply(answer.status, dict(answer.headers), await answer.read())

    async def token(self, **form: str) -> Reply:
        """One request to the token endpoint, the application proven with Basic if `client` is there."""
        proof = {"Authorization": aiohttp.encode_basic_auth(*self.client)} if self.client else {}
        return await self.send("POST", "/token", data=urlencode(form), headers=FORM | proof)

    def authorize_url(self, **changes: str) -> str:
        """What an application sends the browser to. A change to the empty text leaves a parameter out."""
        usual = {"response_type": "code", "client_id": "app", "redirect_uri": CALLBACK, "state": "s"}
        return f"{self.url}/authorize?{urlencode({key: value for key, value in (usual | changes).items() if value})}"

    def approved(self, **changes: str) -> dict[str, str]:
        """The parameters of the redirect that follows when a person allows it."""
        query = urlsplit(self.broker.approve(self.authorize_url(**changes))).query
        return {name: values[0] for name, values in parse_qs(query).items()}

    async def exchange(self, code: str, **changes: str) -> Reply:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
        return await self.token(**form | changes)

    async def log_in(self) -> dict[str, Any]:
        """A login by code; the bot uses its tokens from now on."""
        return self._keep(await self.exchange(self.approved()["code"]))

    async def renew(self) -> Reply:
        return await self.token(grant_type="refresh_token", refresh_token=self.refresh)

    async def renewed(self) -> dict[str, Any]:
        return self._keep(await self.renew())

    async def call(self, method: str, target: str, **headers: str) -> Reply:
        """A call with the newest access token."""
        return await self.send(method, target, headers={"Authorization": f"Bearer {self.access}", **headers})

    def _keep(self, reply: Reply) -> dict[str, Any]:
        assert 200 == reply.status, reply.body
        tokens: dict[str, Any] = reply.document
        self.access, self.refresh = tokens["access_token"], tokens.get("refresh_token", "")
        return tokens
