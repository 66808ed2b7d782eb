"""The whole simulated Tradier, as a client meets it."""

import socket
from pathlib import Path

import pytest

from proxy.simulator import NotSupported, Simulator, serve
from proxy.simulator.listener import HOST
from proxy.simulator.questrade.options import Options as QuestradeOptions
from proxy.simulator.tradier.options import Options
from tests.simulator.tradier.support import App


async def test_it_is_a_simulator(stranger: App) -> None:
    """The protocol that the control listener drives, under its own name."""
    simulator: Simulator = stranger.tradier

    assert "tradier" == simulator.name


async def test_the_state_has_the_keys_of_every_broker(stranger: App) -> None:
    """Nothing has happened: no token is there before a login."""
    assert {
        "token_posts": 0,
        "rotations": 0,
        "reused_refresh_tokens": 0,
        "generation": 0,
        "api_server": stranger.rest + "/",
        "calls": {},
        "authorizations": {"current": 0, "stale": 0, "foreign": 0, "none": 0},
        "orders": 0,
    } == await stranger.state()


async def test_the_links_say_what_each_login_needs(stranger: App) -> None:
    """The environment has the keys of a config; all on this machine."""
    links = stranger.tradier.links()

    assert {"code", "personal"} == links.logins.keys()
    assert {"client_id", "client_secret"} == links.logins["code"].keys()
    assert ("VA000001",) == links.accounts
    rest, stream, sockets = (url.removesuffix("/") for url in links.api_servers)
    assert {"rest": stranger.rest, "stream": stream, "ws": sockets} == links.environment["api_servers"]
    assert (stranger.rest, 3) == (rest, len({rest, stream, sockets}))
    assert {
        "token_url", "refresh_url", "authorize_url", "login_page", "api_servers", "api_hosts", "ca_file", "min_life",
        "renew_cooldown", "max_rotations_per_day", "rate_limits",
    } == links.environment.keys()  # fmt: skip


async def test_expire_kills_the_access_token_and_spares_the_refresh_token(app: App) -> None:
    """401 until the next refresh."""
    await app.control("/expire")
    assert 401 == (await app.get("/v1/markets/clock")).status
    await app.redeem()

    assert 200 == (await app.get("/v1/markets/clock")).status


async def test_a_stolen_refresh_token_is_spent(app: App) -> None:
    """Somebody else has redeemed it; ours counts as reused."""
    assert 200 == (await app.control("/steal")).status

    assert 400 == (await app.spend()).status
    state = await app.state()
    assert (0, 1, 2) == (state["rotations"], state["reused_refresh_tokens"], state["generation"])


async def test_commands_that_make_no_sense_are_refused(stranger: App) -> None:
    """The API never moves; there is nothing to steal before a login, and nothing that theft would spend."""
    moved, stolen = await stranger.control("/move-api-server"), await stranger.control("/steal")
    assert [400, 400] == [moved.status, stolen.status]
    assert "one address" in moved.document["error"]
    stranger.options.rotates = False
    await stranger.login()

    with pytest.raises(NotSupported, match="spent by use"):
        stranger.tradier.steal()


async def test_brokers_run_side_by_side_with_options_of_their_own(tmp_path: Path) -> None:
    """One control address drives both."""
    options = {"questrade": QuestradeOptions(expires_in=5), "tradier": Options(expires_in=7)}
    running = await serve.start(["questrade", "tradier"], directory=tmp_path, options=options)
    try:
        described = running.description()["brokers"]
        assert isinstance(described, dict)
        assert ["questrade", "tradier"] == list(described)
        assert "demo-tradier" == described["tradier"]["logins"]["code"]["client_id"]
        assert "demo-tradier-secret" not in repr(running.simulators["tradier"].links())
    finally:
        await running.stop()


async def test_a_taken_port_leaves_nothing_running(tmp_path: Path) -> None:
    """The second of two listeners cannot start."""
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            await serve.start(["tradier"], directory=tmp_path, port=port - 2)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port - 1), timeout=1)
