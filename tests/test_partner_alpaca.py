"""A broker partner at the simulated Alpaca: the documented OAuth calls as commands and through the proxy."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proxy.admin import CommandFailed, NotPossible
from proxy.app import App
from proxy.cli.invocation import Invocation
from proxy.cli.offline import carry_out
from proxy.config import Tcp
from proxy.custody import Custody
from proxy.settings import Settings, read
from proxy.simulator import serve
from proxy.simulator.alpaca.broker import Alpaca
from proxy.simulator.alpaca.partner import CLIENT_ID, REDIRECT_URI
from proxy.store.keys import Source
from tests.wire import Reply, connected

TOKEN = "/partner/v1/oauth/token"
LOGINS = ("client-credentials", "broker-basic")


@dataclass
class Office:
    """An app with the mount `partner`, the client `bot` that may use it for OAuth, and `reader` that may not."""

    app: App
    simulator: Alpaca
    keys: dict[str, str]

    @property
    def account(self) -> str:
        return str(next(iter(self.simulator.customers.accounts)))

    async def oauth(self, call: str, **params: str) -> dict[str, Any]:
        """What the command `bearerd oauth` asks of the server."""
        command = self.app.operations.commands()["oauth"]
        answer: dict[str, Any] = await command({"call": call, "mount": "partner", **params})
        return answer

    async def call(self, client: str, method: str, target: str, *headers: str, body: object = None) -> Reply:
        bound = self.app.doors.listeners[0].bound
        assert isinstance(bound, Tcp)
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {target} HTTP/1.1", f"Host: {bound}", *headers]
        lines += ["APCA-API-KEY-ID: bearerd", f"APCA-API-SECRET-KEY: {self.keys[client]}"]
        lines += [f"Content-Length: {len(content)}"] * (body is not None)
        async with connected("127.0.0.1", bound.port) as wire:
            await wire.send("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
            reply: Reply = await wire.reply(method=method)
            return reply


def configuration(simulator: Alpaca, login: str, secret: str) -> dict[str, Any]:
    """YAML is JSON and more."""
    links = simulator.links()
    own = links.logins[login] if login == "client-credentials" else {}
    app = {"client_secret": secret, "redirect_uri": REDIRECT_URI}
    return {
        "version": 1, "listen": "127.0.0.1:0", "console": "off", "store": "sqlite:store.db", "key": "file:master.key",
        "mounts": {
            "partner": {
                "broker": "alpaca", "api": "broker", "environment": "simulator",
                "scopes": ["broker:accounts.read", "broker:oauth"],
            },
            "prices": {
                "broker": "alpaca", "api": "stream", "environment": "simulator", "grant": "partner", "scopes": [],
            },
        },
        "grants": {"partner": {"login": login, **own, "apps": {CLIENT_ID: app}}},
        "clients": {
            "bot": {"partner": ["broker:oauth"]},
            "reader": {"partner": ["broker:accounts.read"]},
        },
        "brokers": {"alpaca": {"environments": {"simulator": links.environment}}},
    }  # fmt: skip


def prepare(directory: Path, document: object) -> tuple[Settings, Source]:
    file = directory / "config.yaml"
    file.write_text(json.dumps(document), "utf-8")
    file.chmod(0o600)
    settings = read(file, {"HOME": str(directory)})
    source = Source(settings.config.key, base=settings.config.base, state=settings.config.state_dir)
    source.create()
    return settings, source


@asynccontextmanager
async def office(directory: Path, login: str, *, secret: str | None = None) -> AsyncIterator[Office]:
    """A partner that is logged in by `login`; `secret` stands in the configuration instead of the right one."""
    async with AsyncExitStack() as stack:
        running = await serve.start(["alpaca"], directory=directory / "ca")
        stack.push_async_callback(running.stop)
        simulator = running.simulators["alpaca"]
        assert isinstance(simulator, Alpaca)
        document = configuration(simulator, login, secret or simulator.partner.secret)
        settings, source = await asyncio.to_thread(prepare, directory, document)
        custody = await Custody.open(settings.config, source)
        stack.push_async_callback(custody.close)
        app = App(settings, custody, lambda: settings)
        stack.push_async_callback(app.stop)
        await app.start()
        if login == "broker-basic":
            await app.operations.login("partner", simulator.links().logins[login]["secret"])
        keys = {name: (await app.operations.clients_add(name))["key"] for name in ("bot", "reader")}
        yield Office(app, simulator, keys)
        assert 0 == simulator.state()["several_credentials"]


@pytest.mark.parametrize("login", LOGINS)
async def test_a_token_is_issued_authorized_and_revoked_by_commands(tmp_path: Path, login: str) -> None:
    """The four documented calls, with either of the partner's own credentials."""
    async with office(tmp_path, login) as found:
        client = await found.oauth("client", client_id=CLIENT_ID, response_type="code", scope="general")
        assert (200, "ACTIVE", [REDIRECT_URI]) == (
            client["status"], client["answer"]["status"], client["answer"]["redirect_uri"],
        )  # fmt: skip
        asked = {"client_id": CLIENT_ID, "account": found.account}
        token = (await found.oauth("token", **asked))["answer"]["access_token"]
        assert {token} == found.simulator.partner.tokens
        assert "general" == (await found.oauth("authorize", **asked))["answer"]["scope"]

        assert {"status": 204, "answer": None} == await found.oauth("revoke", token_id=token)
        assert set() == found.simulator.partner.tokens
        with pytest.raises(CommandFailed, match="knows no such token"):
            await found.oauth("revoke", token_id=token)


async def test_a_wrong_command_says_what_was_wrong(tmp_path: Path) -> None:
    """Unknown application, wrong redirect URI, wrong scope; and below, a wrong secret."""
    async with office(tmp_path, "broker-basic") as found:
        asked = {"client_id": CLIENT_ID, "account": found.account}
        for call, params, words in (
            ("client", {"client_id": "0" * 32}, "no OAuth client with this client_id"),
            ("token", {**asked, "redirect_uri": "http://elsewhere"}, "not registered for this application"),
            ("authorize", {**asked, "scope": "everything"}, "the scope 'everything'"),
            ("token", {**asked, "account": "0" * 8}, "or the account"),
        ):
            with pytest.raises(CommandFailed, match=words):
                await found.oauth(call, **params)
        assert set() == found.simulator.partner.tokens


async def test_without_a_server_the_command_does_the_same(tmp_path: Path) -> None:
    """On the store itself, with a token that is minted for it."""
    running = await serve.start(["alpaca"], directory=tmp_path / "ca")
    try:
        simulator = running.simulators["alpaca"]
        assert isinstance(simulator, Alpaca)
        document = configuration(simulator, "client-credentials", simulator.partner.secret)
        settings, _ = await asyncio.to_thread(prepare, tmp_path, document)
        invocation = Invocation(tmp_path / "config.yaml", environ={"HOME": str(tmp_path)})
        account = str(next(iter(simulator.customers.accounts)))
        wish = {"call": "token", "mount": "partner", "client_id": CLIENT_ID, "account": account}
        done = await carry_out(invocation, settings, "oauth", wish, mount="partner", superseded=_nobody)

        assert done is not None
        assert {done["answer"]["access_token"]} == simulator.partner.tokens
    finally:
        await running.stop()


async def _nobody() -> bool:
    return False


async def test_a_mount_of_another_api_is_told_where_the_calls_are(tmp_path: Path) -> None:
    """The grant is the same, but its host takes no such call."""
    async with office(tmp_path, "broker-basic") as found:
        command = found.app.operations.commands()["oauth"]
        with pytest.raises(NotPossible, match="is the API stream of Alpaca, and this call belongs to broker") as caught:
            await command({"call": "client", "mount": "prices", "client_id": CLIENT_ID})
        assert "name a mount with `api: broker`" == caught.value.fix


async def test_a_partner_that_is_not_logged_in_is_told_so(tmp_path: Path) -> None:
    """Before anything is sent, with the command that helps."""
    async with office(tmp_path, "broker-basic") as found:
        await found.app.operations.revoke("partner")
        with pytest.raises(CommandFailed) as caught:
            await found.oauth("client", client_id=CLIENT_ID)
        assert "bearerd login partner" == caught.value.fix


async def test_a_wrong_secret_is_told_from_a_wrong_application(tmp_path: Path) -> None:
    """The same 401 of the broker; the remedy names the line."""
    async with office(tmp_path, "client-credentials", secret="not-the-right-one") as found:
        with pytest.raises(CommandFailed, match="its client_secret is wrong") as caught:
            await found.oauth("token", client_id=CLIENT_ID, account=found.account)
        assert f"grants.partner.apps.{CLIENT_ID}" in (caught.value.fix or "")


@pytest.mark.parametrize("login", LOGINS)
async def test_a_client_issues_a_token_without_knowing_the_secret(tmp_path: Path, login: str) -> None:
    """Through the proxy, with the scope granted by name; without it nothing reaches the broker."""
    async with office(tmp_path, login) as found:
        body = {"client_id": CLIENT_ID, "redirect_uri": REDIRECT_URI, "scope": "general", "account_id": found.account}
        before = found.simulator.state()["calls"]
        assert (403, "scope-denied") == (await found.call("reader", "POST", TOKEN, body=body)).problem
        assert (403, "guard-denied") == (await found.call("bot", "POST", TOKEN, body=body | {"client_id": "a"})).problem
        assert before == found.simulator.state()["calls"]

        reply = await found.call("bot", "POST", TOKEN, body=body | {"client_secret": "a guess"})
        assert (200, {reply.document["access_token"]}) == (reply.status, found.simulator.partner.tokens)
        assert found.simulator.partner.secret.encode() not in reply.body
        gone = await found.call("bot", "DELETE", f"{TOKEN}/{reply.document['access_token']}")
        assert (204, set()) == (gone.status, found.simulator.partner.tokens)
        assert 200 == (await found.call("bot", "GET", f"/partner/v1/oauth/clients/{CLIENT_ID}")).status
