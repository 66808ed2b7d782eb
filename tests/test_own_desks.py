"""The brokers of `docs/brokers.md`, called through bearerd: each credential in its place, each login to its end."""

import json
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from proxy.config import parse_yaml
from tests.ownhouse import ROOT, OwnHouse, own_house

BLOCKS = {
    next(iter(data["brokers"])): data
    for block in re.findall(
        r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "brokers.md").read_text(), re.MULTILINE | re.DOTALL
    )
    if "brokers" in (data := parse_yaml(block, "docs/brokers.md").data)
}
PLAIN = """\
name: {name}
login: {login}
placement: {placement}
calls: [{{method: GET, path: /v1/accounts, json: [1]}}]
"""
# What a call has besides its credential.
OURS = {"host", "user-agent", "via", "x-request-id", "accept"}
# A client that brings credentials of its own, in every place.
STRAY = (
    "X-Desk-Key-Id: mine",
    "x-desk-secret: mine",
    "Cookie: a=mine",
    "Proxy-Authorization: Basic mine",
    "Accept: */*",
)


@dataclass(frozen=True)
class Placed:
    """A broker of the page, a secret for it, and where exactly a call must carry that."""

    name: str
    secret: tuple[str, ...]
    headers: Mapping[str, str]
    query: str = ""

    @property
    def config(self) -> dict[str, Any]:
        mount = {"broker": self.name, "environment": "simulator", "scopes": ["read"]}
        return {**BLOCKS[self.name], "mounts": {self.name: mount}}

    @property
    def simulator(self) -> str:
        [(login, described)] = BLOCKS[self.name]["brokers"][self.name]["logins"].items()
        given = json.dumps({"name": login, "kind": "secret", "secret": self.secret})
        return PLAIN.format(name=self.name, login=given, placement=json.dumps(described.get("placement", "bearer")))


PLACES = [
    Placed("desk", ("canary-token",), {"Authorization": "Bearer canary-token"}),
    Placed("basic-desk", ("user", "pass:word"), {"Authorization": "Basic " + b64encode(b"user:pass:word").decode()}),
    Placed("pair-desk", ("id-1", "canary-secret"), {"X-Desk-Key-Id": "id-1", "X-Desk-Secret": "canary-secret"}),
    Placed("query-desk", ("canary+key/=",), {}, "api_key=canary%2Bkey%2F%3D"),
]


@pytest.mark.parametrize("placed", PLACES, ids=lambda placed: str(placed.name))
async def test_a_plain_secret_is_in_its_place_and_nowhere_else(tmp_path: Path, placed: Placed) -> None:
    """What reaches the broker is the call, our own headers, and the credential where the definition says."""
    async with own_house(tmp_path, placed.config, placed.simulator, {placed.name: ["read"]}) as house:
        await house.app.operations.login(placed.name, ":".join(placed.secret))
        bare = await house.call("GET", f"/{placed.name}/v1/accounts", *STRAY)
        asked = await house.call("GET", f"/{placed.name}/v1/accounts?a=%2F&b", *STRAY)
        first, second = house.broker.received

        assert [(200, [1]), (200, [1])] == [(reply.status, reply.document) for reply in (bare, asked)]
        for seen in (first, second):
            assert placed.headers == {name: value for name, value in seen.headers if name.lower() not in OURS}
            assert len(seen.headers) == len({name for name, _ in seen.headers})
            assert not any(word in repr(seen.headers) + seen.target for word in ("mine", house.key))
        assert [
            "/v1/accounts" + (f"?{placed.query}" if placed.query else ""),
            "/v1/accounts?a=%2F&b" + (f"&{placed.query}" if placed.query else ""),
        ] == [first.target, second.target]
        assert {"current": 2, "stale": 0, "foreign": 0, "none": 0} == house.seen("authorizations")


@pytest.mark.parametrize("placed", PLACES, ids=lambda placed: str(placed.name))
async def test_a_refused_secret_is_replaced_by_a_login(tmp_path: Path, placed: Placed) -> None:
    """A wrong one is used as it is, the broker's own refusal passes to the program, and the next login is good."""
    async with own_house(tmp_path, placed.config, placed.simulator, {placed.name: ["read"]}) as house:
        wrong = ":".join(["wrong-one"] * len(placed.secret))
        await house.app.operations.login(placed.name, wrong)
        assert 401 == (await house.call("GET", f"/{placed.name}/v1/accounts")).status
        await house.app.operations.login(placed.name, ":".join(placed.secret))

        assert 200 == (await house.call("GET", f"/{placed.name}/v1/accounts")).status


async def test_a_client_cannot_choose_the_credential_in_the_query(tmp_path: Path) -> None:
    """A call that brings the parameter itself, however it is spelled, never reaches the broker."""
    placed = PLACES[-1]
    async with own_house(tmp_path, placed.config, placed.simulator, {placed.name: ["read"]}) as house:
        await house.app.operations.login(placed.name, placed.secret[0])
        for query in ("api_key=mine", "API_KEY=mine", "api%5Fkey=mine", "a=1&api_key"):
            reply = await house.call("GET", f"/{placed.name}/v1/accounts?{query}")
            assert reply.status in (400, 403), (query, reply.status)

        assert {} == house.seen("calls")


# The desks of the page with OAuth: what their simulator's login has besides a kind, and how a person logs in.
OAUTH: dict[str, dict[str, Any]] = {
    "minting-desk": {"token": "/oauth/token", "client_auth": "basic", "client_id": "a:b", "client_secret": "s&1"},
    "pasted-desk": {"token": "/oauth/token", "refresh": "kept"},
    "browser-desk": {
        "token": "/oauth/token", "authorize": "/oauth/authorize", "client_id": "app", "pkce": True,
        "refresh": "rotating", "redirect_uris": ["https://127.0.0.1:8182"],
    },
}  # fmt: skip


@asynccontextmanager
async def _desk(directory: Path, name: str) -> AsyncIterator[OwnHouse]:
    """A desk with OAuth in front of its simulator; nobody has logged in. Access tokens live 900 s."""
    definition = BLOCKS[name]["brokers"][name]
    [(login, described)] = definition["logins"].items()
    given = {"name": login, "kind": described["kind"], "expires_in": 900, **OAUTH[name]}
    mount = {"broker": name, "environment": "simulator", "scopes": ["read"]}
    config = {**BLOCKS[name], "mounts": {name: mount}, "grants": {} if name == "pasted-desk" else {name: {}}}
    simulator = PLAIN.format(name=name, login=json.dumps(given), placement="bearer")
    async with own_house(directory, config, simulator, {name: ["read"]}) as house:
        yield house


async def _serves(house: OwnHouse, name: str) -> None:
    """Three calls, each after the access token before it has ended: all are served, each with the newest."""
    for _ in range(3):
        house.clock.passed += 1000
        assert 200 == (await house.call("GET", f"/{name}/v1/accounts")).status

    assert {"current": 3, "stale": 0, "foreign": 0, "none": 0} == house.seen("authorizations")
    assert 0 == house.seen("reused_refresh_tokens")


async def test_an_application_mints_its_tokens_by_itself(tmp_path: Path) -> None:
    """Nobody logs in; its id and secret are encoded as RFC 6749 has it, whatever they hold."""
    async with _desk(tmp_path, "minting-desk") as house:
        await _serves(house, "minting-desk")

        assert house.seen("generation") >= 3


async def test_a_pasted_refresh_token_is_enough(tmp_path: Path) -> None:
    """Also where the broker answers with the same one each time."""
    async with _desk(tmp_path, "pasted-desk") as house:
        await house.app.operations.login("pasted-desk", house.broker.links().refresh_token)

        await _serves(house, "pasted-desk")


async def test_a_public_application_logs_in_with_pkce(tmp_path: Path) -> None:
    """The page is asked for the mount's scopes and the definition's own fields, and the code needs its verifier."""
    async with _desk(tmp_path, "browser-desk") as house:
        begun = await house.app.operations.login_begin("browser-desk")
        asked = dict(parse_qsl(urlsplit(begun["authorize_url"]).query))
        await house.log_in("browser-desk")

        assert ("read", "S256") == (asked["scope"], asked["code_challenge_method"])
        await _serves(house, "browser-desk")
