"""No login leaves a secret behind, whichever way it went: codes, states, application secrets, key pairs, tokens.

The whole product is driven through every kind of login, by the command line and by the console's callback, well and
badly; all that it writes is searched as in `test_leaks.py`.
"""

import asyncio
import json
import os
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from proxy.simulator import Simulator, serve
from proxy.simulator.tokens import Tokens
from proxy.store.keys import Source
from tests import canaries
from tests.callers import ask
from tests.product import COMMAND, Program, run, send

APP = "7a3c52a910e1dc2abbb14da2b6b8e711"
MOUNTS = {
    "questrade": ("questrade", "code", None, ["read_acc"]),
    "tradier": ("tradier", "code", "rest", ["read", "market"]),
    "tradier-mine": ("tradier", "personal", "rest", ["read"]),
    "alpaca": ("alpaca", "connect", "trading", ["account:read", "trading"]),
    "alpaca-keys": ("alpaca", "keys", "trading", ["account:read"]),
    "alpaca-broker": ("alpaca", "client-credentials", "broker", ["broker:accounts.read", "broker:oauth"]),
    "alpaca-basic": ("alpaca", "broker-basic", "broker", ["broker:accounts.read"]),
}
READS = {
    "questrade": "/v1/accounts",
    "tradier": "/v1/user/profile",
    "tradier-mine": "/v1/user/profile",
    "alpaca": "/v2/account",
    "alpaca-keys": "/v2/account",
    "alpaca-broker": "/v1/accounts",
    "alpaca-basic": "/v1/accounts",
}
# Something that must stand on a surface, or it was not captured at all.
MARKS = {
    "log of serve": b'"event": "call"',
    "answers": b"PA3SIMULATED",
    "callbacks": b"/callback/done/",
    "pages": b"<html",
    "status": b"alpaca-broker",
    "process list": b"-m proxy serve",
    "state files": b"SQLite format 3",
}


@dataclass
class Drive:
    """The product, what it has written, and the secrets that it was given or has made."""

    directory: Path
    simulators: Mapping[str, Simulator]
    server: Program
    surfaces: dict[str, bytes] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    redirects: list[str] = field(default_factory=list)

    @property
    def console(self) -> str:
        return str(re.findall(r"Console: (http://[0-9.:]+)/", self.server.output)[0])

    @property
    def url(self) -> str:
        return str(re.findall(r"serves (http://[0-9.:]+)", self.server.output)[0])

    def note(self, surface: str, content: bytes | str) -> None:
        content = content.encode() if isinstance(content, str) else content
        self.surfaces[surface] = self.surfaces.get(surface, b"") + content + b"\n"

    async def bearerd(self, *arguments: str, stdin: str = "", surface: str = "", code: int = 0) -> str:
        """One command's stdout; all that it printed is noted."""
        done = await asyncio.to_thread(run, self.directory, *arguments, "-c", "config.yaml", stdin=stdin)
        self.note(surface or "bearerd " + " ".join(arguments), done.output)
        assert code == done.code, done.output
        return done.out

    async def approved(self, mount: str) -> str:
        """Begin a login and let a person allow it: the address that the browser is sent to."""
        begun = json.loads(
            await self.bearerd("login", mount, "--non-interactive", surface=f"addresses to log in {mount}")
        )
        state = dict(parse_qsl(urlsplit(begun["authorize_url"]).query))["state"]
        # The one place for a state is the address that logs in.
        surface = f"addresses to log in {mount}"
        self.surfaces[surface] = self.surfaces[surface].replace(state.encode(), b"")
        redirect = self.simulators[MOUNTS[mount][0]].approve(begun["authorize_url"])
        self.secrets[f"state {len(self.secrets)}"] = state
        self.secrets[f"code {len(self.secrets)}"] = dict(parse_qsl(urlsplit(redirect).query))["code"]
        self.redirects.append(redirect)
        return redirect

    async def callback(self, target: str) -> bytes:
        """What the console answers to a browser that comes back, and the page that it goes on to."""
        reply = await ask(self.console, "GET", target)
        self.note("callbacks", reply.raw)
        if "location" not in reply.headers:
            return reply.body
        place = reply.headers["location"].removeprefix(self.console)
        page = await ask(self.console, "GET", place)
        self.note("pages", page.raw)
        return page.body


def configuration(directory: Path, running: serve.Running, drive_secrets: dict[str, str]) -> dict[str, Any]:
    """Every kind of login side by side."""
    grants: dict[str, Any] = {}
    for mount, (broker, login, _, _) in MOUNTS.items():
        given = dict(running.simulators[broker].links().logins[login])
        grants[mount] = {"login": login}
        if "client_id" in given:
            grants[mount]["client_id"] = given["client_id"]
        if "client_secret" in given:
            file = directory / f"{mount}.secret"
            file.write_text(given["client_secret"])
            file.chmod(0o600)
            drive_secrets[f"client secret of {mount}"] = given["client_secret"]
            grants[mount]["client_secret_file"] = file.name
    app = running.simulators["alpaca"].links().apps[APP]
    drive_secrets["secret of the partner's application"] = app["client_secret"]
    grants["alpaca-broker"]["apps"] = {APP: {"client_secret": app["client_secret"], "redirect_uri": "http://localhost"}}
    return {
        "listen": "127.0.0.1:0",
        "console": "127.0.0.1:0",
        "store": "sqlite:state/store.db",
        "key": "file:master.key",
        "mounts": {
            name: {"broker": broker, "environment": "simulator", "scopes": scopes} | ({"api": api} if api else {})
            for name, (broker, _, api, scopes) in MOUNTS.items()
        },
        "grants": grants,
        "clients": {"bot": {name: scopes for name, (_, _, _, scopes) in MOUNTS.items()}},
        "brokers": {
            name: {"environments": {"simulator": dict(simulator.links().environment)}}
            for name, simulator in running.simulators.items()
        },
    }


@asynccontextmanager
async def driven(directory: Path) -> AsyncIterator[Drive]:
    """Simulators of all brokers, and the product in front of them, logged in nowhere."""
    running = await serve.start(tuple(serve.BROKERS), directory=directory / "ca", options=serve.knobs(slow=0.1))
    try:
        known: dict[str, str] = {}
        text = json.dumps(configuration(directory, running, known), indent=1)
        (directory / "config.yaml").write_text(text)
        await asyncio.to_thread(Source("file:master.key", directory).create)
        arguments = ("serve", "-c", "config.yaml", "--log-level", "debug", "--log-format", "json")
        server = Program(directory, *arguments, command=COMMAND)
        drive = Drive(directory, running.simulators, server, secrets=known)
        try:
            await asyncio.to_thread(server.until, "To do: ")
            for simulator in running.simulators.values():
                # What is registered names a port, and the console takes a free one.
                simulator.options.callback = f"{drive.console}/callback"
            yield drive
        finally:
            if server.code is None:
                await asyncio.to_thread(server.stop)
    finally:
        await running.stop()


async def log_in_well(drive: Drive) -> None:
    """Each login once, by the way that it has; two of them by the callback."""
    for mount in ("tradier", "alpaca"):
        redirect = urlsplit(await drive.approved(mount))
        assert b"logged in" in (await drive.callback(f"/callback?{redirect.query}")).lower()
    await drive.bearerd("login", "questrade", "--complete", stdin=await drive.approved("questrade"))
    await drive.bearerd("login", "alpaca-broker")
    for mount in ("tradier-mine", "alpaca-keys", "alpaca-basic"):
        broker, login, _, _ = MOUNTS[mount]
        secret = drive.simulators[broker].links().logins[login]["secret"]
        drive.secrets[f"secret of {mount}"] = secret.partition(":")[2] or secret
        await drive.bearerd("login", mount, "--token-stdin", stdin=secret.replace(":", "\n") + "\n")


async def log_in_badly(drive: Drive) -> None:
    """Answers that are doubled, foreign, wrong or for another mount, each full of secrets."""
    old = urlsplit(drive.redirects[0])
    await drive.callback(f"/callback?{old.query}")
    await drive.bearerd("login", "tradier", "--complete", stdin=drive.redirects[0], code=1)
    for query in (f"code={secrets.token_hex(8)}", f"{old.query}&{old.query}", old.query.replace("code=", "error=")):
        await drive.callback(f"/callback?{query}")
    foreign = await drive.approved("alpaca")
    await drive.bearerd("login", "tradier", "--complete", stdin=foreign, code=1)
    await drive.callback(f"/callback?{urlsplit(foreign).query.replace('code=', 'code=x')}")
    for text in (secrets.token_urlsafe(20), "https://evil.example/?code=1", f"{foreign}#{foreign}"):
        drive.secrets[f"junk {len(drive.secrets)}"] = text if "code" not in text else secrets.token_urlsafe(20)
        await drive.bearerd("login", "alpaca", "--complete", stdin=text, code=1)
    wrong = drive.secrets["wrong secret"] = secrets.token_urlsafe(20)
    await drive.bearerd("login", "alpaca-keys", "--token-stdin", stdin=wrong + "\n", code=1)


async def look(drive: Drive) -> None:
    """A call through every mount, the partner's OAuth, and everything that shows how things stand."""
    added = json.loads((await drive.bearerd("clients", "add", "bot", "--json", surface="keys")).splitlines()[0])
    drive.surfaces.pop("keys")
    key = drive.secrets["client key"] = added["key"]
    for mount, path in READS.items():
        reply = await ask(drive.url, "GET", f"/{mount}{path}", key, Accept="application/json")
        assert 200 == reply.status, (mount, reply.raw)
        drive.note("answers", reply.raw)
    wish = {"client_id": APP, "redirect_uri": "http://wrong", "scope": "general", "account_id": "none"}
    reply = await ask(drive.url, "POST", "/alpaca-broker/v1/oauth/token", key, wish)
    assert 422 == reply.status, reply.raw
    drive.note("answers", reply.raw)
    await drive.bearerd("oauth", "client", "alpaca-broker", APP)
    for arguments in (("status",), ("status", "--json")):
        await drive.bearerd(*arguments, surface="status")
    await drive.bearerd("config", "show")
    await drive.bearerd("config", "show", "--json")
    for path in ("/metrics", "/readyz?verbose"):
        drive.note("health", send("GET", drive.console + path).body)
    await drive.bearerd("revoke", "alpaca-keys", "--yes")
    await drive.bearerd("revoke", "tradier", "--yes")


async def watch(drive: Drive) -> None:
    while True:
        drive.note("process list", await asyncio.to_thread(canaries.command_lines, os.getpid()))
        await asyncio.sleep(0.1)


def issued(simulators: Mapping[str, Simulator]) -> list[str]:
    """Every token that the simulators have issued, wherever they keep them."""
    found: list[str] = []
    seen: set[int] = set()
    todo: list[object] = list(simulators.values())
    while todo:
        each = todo.pop()
        if id(each) in seen or not type(each).__module__.startswith("proxy.simulator"):
            continue
        seen.add(id(each))
        if isinstance(each, Tokens):
            found += [*each._issued_access, *each._spent, *each._by_refresh]
        todo += getattr(each, "__dict__", {}).values()
    return found


@pytest.mark.timeout(150)
async def test_no_login_leaves_a_secret(state_dir: Path) -> None:
    """No surface holds a code, a state, a token, a client key or a secret of an application, in any encoding."""
    async with driven(state_dir) as drive:
        watching = asyncio.get_running_loop().create_task(watch(drive))
        try:
            await log_in_well(drive)
            await log_in_badly(drive)
            await look(drive)
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
        drive.note("state files", await asyncio.to_thread(canaries.files, state_dir / "state"))
        assert 0 == await asyncio.to_thread(drive.server.stop)
        drive.note("log of serve", drive.server.output)
        tokens = issued(drive.simulators)
    assert 3 <= len(tokens)
    # The console's own address stands in the log once; that token is `test_leaks.py`'s matter.
    known = drive.secrets | {f"token {number}": token for number, token in enumerate(tokens)}
    assert [] == [name for name, mark in MARKS.items() if mark not in drive.surfaces[name]]
    assert [] == list(canaries.search(drive.surfaces, known))
    planted = drive.secrets["client secret of tradier"]
    for name, content in drive.surfaces.items():
        found = canaries.search({name: canaries.middle(content, planted.encode())}, {"it": planted})
        assert ["plain"] == [hit.kind for hit in found], name
