"""The whole simulated Alpaca, as a client meets it."""

import asyncio
import json
import re
from collections.abc import Iterable
from urllib.parse import parse_qs, urlsplit

import pytest

from proxy.brokers import builtin, catalogue
from proxy.config.document import parse_yaml
from proxy.simulator import NotSupported, Simulator
from proxy.simulator.alpaca.credentials import Host
from proxy.simulator.alpaca.routes import DENIED
from proxy.simulator.alpaca.trading import READ, TRADE
from tests.simulator.alpaca.support import BROKER, DATA, LIMIT, LIVE, PAPER, STREAM, Client, bearer, error, pair_headers

DEFINITION = builtin("alpaca")
ZERO = {"current": 0, "stale": 0, "foreign": 0, "none": 0}


async def test_it_is_a_simulator(client: Client) -> None:
    """The protocol that the control listener drives, under its own name."""
    simulator: Simulator = client.alpaca

    assert "alpaca" == simulator.name


async def test_the_state_has_the_keys_of_every_broker(client: Client) -> None:
    """Before anything happened all counters are 0, and there is more detail by host."""
    state = await client.state()

    assert {
        "token_posts": 0,
        "rotations": 0,
        "reused_refresh_tokens": 0,
        "generation": 0,
        "api_server": client.alpaca.url("paper") + "/",
        "calls": {},
        "authorizations": ZERO,
        "orders": 0,
        "several_credentials": 0,
        "denied": 0,
    } == {name: value for name, value in state.items() if name != "hosts"}
    assert ["paper", "live", "data", "broker", "stream"] == list(state["hosts"])


async def test_live_and_paper_are_two_hosts_with_their_own_keys_and_accounts(client: Client) -> None:
    """What is good for one is worth nothing for the other, and an order on paper is not a live one."""
    await client.place(LIMIT)

    assert "PA3SIMULATED" == (await client.read(PAPER, "/v2/account"))["account_number"]
    assert "010203ABCD" == (await client.read(LIVE, "/v2/account"))["account_number"]
    assert (1, 0) == (len(await client.read(PAPER, "/v2/orders")), len(await client.read(LIVE, "/v2/orders")))
    crossed = await client.get(LIVE, "/v2/account", client.credential(PAPER))
    assert (401, 40110000, "request is not authorized") == error(crossed)


async def test_calls_are_counted_by_host_and_together(client: Client) -> None:
    """Method and raw target without its query; what is refused counts too, token posts do not."""
    await client.mint()
    await client.get(PAPER, "/v2/clock?x=1")
    await client.get(LIVE, "/v2/clock")
    await client.get(DATA, "/v2/assets/BTC%2FUSD", {})
    state = await client.state()

    assert {"GET /v2/clock": 2, "GET /v2/assets/BTC%2FUSD": 1} == state["calls"]
    assert {"GET /v2/clock": 1} == state["hosts"]["live"]["calls"]
    assert (1, 1) == (state["token_posts"], state["generation"])
    assert ZERO | {"current": 2, "none": 1} == state["authorizations"]


async def test_expire_kills_minted_tokens_only(client: Client) -> None:
    """A client-credentials token is minted again; Connect tokens and keys have no end."""
    connected, minted = await client.connect(), await client.mint()
    await client.control("/expire")

    assert 200 == (await client.get(PAPER, "/v2/clock", bearer(connected))).status
    assert 401 == (await client.get(BROKER, "/v1/clock", bearer(minted))).status
    assert 200 == (await client.get(BROKER, "/v1/clock", bearer(await client.mint()))).status
    assert 200 == (await client.get(PAPER, "/v2/clock")).status
    assert 1 == (await client.state())["authorizations"]["stale"]


async def test_re_mints_are_rotations(client: Client) -> None:
    """The first token of an application is none, every later one is."""
    for _ in range(3):
        await client.mint()
    state = await client.state()

    assert (3, 2, 3) == (state["token_posts"], state["rotations"], state["generation"])


@pytest.mark.parametrize("command", ["/steal", "/move-api-server"])
async def test_what_makes_no_sense_here_says_so(client: Client, command: str) -> None:
    """There is no refresh token to steal, and no token answer names a host."""
    reply = await client.control(command)

    assert 400 == reply.status
    assert "Alpaca" in reply.document["error"]
    with pytest.raises(NotSupported):
        client.alpaca.steal()
    with pytest.raises(NotSupported):
        client.alpaca.move_api_server()


async def test_links_have_what_each_login_needs(client: Client) -> None:
    """Names as in the definition; a secret of two parts has a colon between them."""
    links, own = client.alpaca.links(), client.alpaca.credentials

    assert {
        "connect": {"client_id": own.application.id, "client_secret": own.application.secret},
        "client-credentials": {"client_id": own.machine.id, "client_secret": own.machine.secret},
        "keys": {"secret": f"{own.keys[PAPER].id}:{own.keys[PAPER].secret}"},
        "broker-basic": {"secret": f"{own.broker.id}:{own.broker.secret}"},
    } == links.logins
    assert None is links.refresh_token
    assert ("PA3SIMULATED", client.customer) == links.accounts[:2]
    assert "secret" not in repr(links)


async def test_the_environment_names_one_address_for_each_api(client: Client) -> None:
    """Trading is the paper host; the live environment differs in that and in what its login asks for."""
    url = client.alpaca.url
    paper, live = client.alpaca.links().environment, client.alpaca.live_environment()

    assert {
        "trading": url("paper"),
        "data": url("data"),
        "broker": url("broker"),
        "stream": url("stream"),
    } == paper["api_servers"]
    assert {
        "connect": {
            "authorize_url": url("page") + "/oauth/authorize",
            "token_url": url("live") + "/oauth/token",
            "authorize_fields": {"env": "live"},
        },
        "client-credentials": {"token_url": url("authx") + "/v1/oauth2/token"},
    } == live["logins"]
    assert url("live") == dict(live["api_servers"])["trading"]  # type: ignore[call-overload]


async def test_a_person_approves_with_the_state_that_was_sent(client: Client) -> None:
    """The browser ends at the registered callback."""
    address = client.alpaca.approve(client.authorize_url(state="abc"))

    assert address.startswith(client.options.callback + "?")
    assert ["abc"] == parse_qs(urlsplit(address).query)["state"]
    with pytest.raises(ValueError, match="client_id"):
        client.alpaca.approve(client.authorize_url(client_id="other"))


async def test_other_paths_of_the_login_hosts_are_not_there(client: Client) -> None:
    """The page's host and authx have one path each, and a token endpoint takes POST only."""
    for host, path in (("page", "/"), ("authx", "/v1/oauth2/authorize"), ("authx", "/v1/oauth2/token")):
        assert 404 == (await client.send("GET", client.alpaca.url(host) + path)).status


async def test_a_token_endpoint_is_on_no_other_host(client: Client) -> None:
    """On the data host the path is a call like any other, and unknown."""
    reply = await client.call(DATA, "POST", "/oauth/token", {})

    assert (404, 40410000, "endpoint not found") == error(reply)


async def test_many_clients_at_once_all_get_their_order(client: Client) -> None:
    """Every order of 64 programs is kept once."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(client.place({**LIMIT, "limit_price": "1", "client_order_id": f"c{number}"}))
            for number in range(64)
        ]

    assert {200} == {task.result().status for task in tasks}
    assert 64 == (await client.state())["orders"]


async def test_every_call_is_answered(client: Client) -> None:
    """Of all five hosts, with ids that are there and with ones that are not: never a 500, never an unknown path."""
    client.options.hold_events = False
    unknown, broken = [], []
    names = {"account_id": client.customer, "symbol": "AAPL", "loc": "us", "market_type": "stocks", "market": "XNYS"}
    for host in (PAPER, LIVE, DATA, BROKER, STREAM):
        for method, route in client.alpaca.routes(host).rows:
            captures = [part for part in route.template.split("/") if part.startswith("{")]
            path = route.template
            for part in captures:
                path = path.replace(part, names.get(part[1:-1], "AAPL"))
            reply = await client.call(host, method, path, None if method == "GET" else {})
            unknown += [path] if b"endpoint not found" in reply.body else []
            broken += [path] if reply.status >= 500 else []

    assert ([], []) == (unknown, broken)


async def test_live_keys_open_the_data_too(client: Client) -> None:
    """There is one data host for both accounts."""
    live = pair_headers(client.alpaca.credentials.keys[LIVE])

    assert 200 == (await client.get(DATA, "/v2/stocks/AAPL/bars/latest", live)).status


def _kinds(pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Method and template, whatever the captures are called."""
    return {(method, re.sub(r"\{[^}]*\}", "{}", template)) for method, template in pairs}


@pytest.mark.parametrize(("api", "host"), [("trading", PAPER), ("data", DATA), ("broker", BROKER), ("stream", STREAM)])
async def test_the_simulator_has_the_calls_of_the_definition(client: Client, api: str, host: Host) -> None:
    """All but WebSockets, with the same scopes as Alpaca's."""
    rows = [row for row in DEFINITION.api(api).table.rows if not row.websocket]
    routes = client.alpaca.routes(host).rows

    assert _kinds((row.method, row.path) for row in rows) == (
        _kinds((method, route.template) for method, route in routes)
    )
    assert _kinds((row.method, row.path) for row in rows if row.deny) == (
        _kinds((method, route.template) for method, route in routes if route.scope == DENIED)
    )
    for scope in {route.scope for _, route in routes} - {"", DENIED} - ({READ, TRADE} if host is BROKER else set()):
        assert _kinds((row.method, row.path) for row in rows if row.scope == scope and not row.deny) == (
            _kinds((method, route.template) for method, route in routes if route.scope == scope)
        )


async def test_both_environments_fit_the_definition(client: Client) -> None:
    """As a config would have them: every login is there, every API has its host."""
    environments = {"simulator": client.alpaca.links().environment, "simulator-live": client.alpaca.live_environment()}
    document = parse_yaml(json.dumps({"alpaca": {"environments": environments}}), "own")
    brokers, problems = await asyncio.to_thread(catalogue, document)

    assert [] == problems
    for name in environments:
        environment = brokers["alpaca"].environments[name]
        assert set(brokers["alpaca"].logins) == set(environment.logins) == set(client.alpaca.links().logins)
        assert set(brokers["alpaca"].apis) == set(environment.api_servers)
