"""Starting simulators together."""

import json
import os
import socket
from pathlib import Path

import pytest

from proxy.simulator import serve
from proxy.simulator.listener import HOST
from tests.simulator.support import Bot


async def test_the_description_is_what_simulate_prints(stranger: Bot) -> None:
    """Everything that bearerd needs is there, as JSON, and the environment has the keys of a config."""
    description = stranger.running.description()
    ca_file = str(stranger.running.ca_file)

    assert description == json.loads(json.dumps(description))
    assert (1, os.getpid()) == (description["schema"], description["pid"])
    assert (stranger.running.control, ca_file) == (description["control"], description["ca_file"])
    assert {"questrade": ["26598145"]} == description["accounts"]
    assert (stranger.token_url, stranger.refresh) == (description["token_url"], description["refresh_token"])
    assert {
        "token_url": stranger.token_url,
        "authorize_url": stranger.login_host + "/oauth2/authorize",
        "revoke_url": stranger.login_host + "/oauth2/revoke",
        "api_hosts": ["127.0.0.1:*"],
        "ca_file": ca_file,
        "min_life": 1,
        "renew_cooldown": 0,
        "max_rotations_per_day": 0,
        "rate_limits": "none",
    } == description["environment"]


async def test_a_port_is_the_first_of_a_row(tmp_path: Path) -> None:
    """The control listener takes the port that was asked for, the broker the next three."""
    port = _free_row(4)
    running = await serve.start(directory=tmp_path, port=port)
    try:
        links = running.simulators["questrade"].links()
        assert f"http://{HOST}:{port}" == running.control
        assert f"https://{HOST}:{port + 1}/oauth2/token" == links.token_url
        assert (f"https://{HOST}:{port + 2}/", f"https://{HOST}:{port + 3}/") == links.api_servers
    finally:
        await running.stop()


async def test_a_taken_port_leaves_nothing_running(tmp_path: Path) -> None:
    """If the last listener cannot start, the ones before it are closed again."""
    port = _free_row(4)
    with socket.create_server((HOST, port + 3)), pytest.raises(OSError, match="address already in use"):
        await serve.start(directory=tmp_path, port=port)

    for used in range(port, port + 4):
        socket.create_server((HOST, used)).close()


async def test_stopping_closes_every_port_and_may_be_repeated(stranger: Bot) -> None:
    """Nothing listens afterwards."""
    ports = [int(stranger.running.control.rsplit(":", 1)[1]), int(stranger.login_host.rsplit(":", 1)[1])]
    await stranger.running.stop()
    await stranger.running.stop()

    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port), timeout=1)


@pytest.mark.parametrize("brokers", [(), ("questrad",), ("questrade", "nobody")])
async def test_unknown_brokers_are_refused_before_anything_starts(tmp_path: Path, brokers: tuple[str, ...]) -> None:
    """The error names the brokers that there are; no certificate is written."""
    with pytest.raises(ValueError, match="brokers to simulate: questrade"):
        await serve.start(brokers, directory=tmp_path / "ca")

    assert not (tmp_path / "ca").exists()


async def test_the_description_says_what_each_login_needs(stranger: Bot) -> None:
    """A refresh token to paste, or the registered application."""
    described = stranger.running.description()["brokers"]
    assert isinstance(described, dict)

    assert {
        "refresh-token": {"refresh_token": stranger.refresh},
        "code": {"client_id": "demo-questrade"},
    } == described["questrade"]["logins"]
    assert {} == described["questrade"]["apps"]


def test_knobs_are_turned_for_all_brokers_or_left_as_they_are() -> None:
    """Each broker has options of its own class; None changes nothing."""
    found = serve.knobs(callback="http://127.0.0.1:1/x", expires_in=None)

    assert list(serve.BROKERS) == list(found)
    assert {"http://127.0.0.1:1/x"} == {options.callback for options in found.values()}
    assert (1800, 86_399) == (found["questrade"].expires_in, found["tradier"].expires_in)
    assert ["questrade"] == list(serve.knobs(["questrade"], enforce_rate_limits=True))


async def test_a_broker_that_is_not_built_in_runs_beside_the_others(tmp_path: Path) -> None:
    """Under the name that it is given."""
    more = {"mine": serve.BROKERS["tradier"]}
    running = await serve.start(["questrade", "mine"], directory=tmp_path, more=more)
    try:
        assert ["questrade", "mine"] == list(running.simulators)
        assert {"questrade", "mine"} == running.description()["accounts"].keys()  # type: ignore[attr-defined]
    finally:
        await running.stop()


async def test_simulators_do_not_show_their_tokens(stranger: Bot) -> None:
    """The repr of what is running holds no token."""
    assert stranger.refresh not in repr(stranger.running)


def _free_row(count: int) -> int:
    """The first of `count` free ports in a row."""
    for port in range(20_000 + os.getpid() % 10_000, 60_000, count):
        try:
            for one in range(port, port + count):
                socket.create_server((HOST, one)).close()
        except OSError:
            continue
        return port
    raise AssertionError("no free ports")
