"""A plain broker as a simulator among others."""

import socket

import pytest

from proxy.simulator import NotSupported
from proxy.simulator.listener import HOST
from proxy.simulator.plain.broker import options_for
from tests.simulator.plain.bench import CODE, MINTED, PASTED, SECRET
from tests.simulator.plain.conftest import Start

RENEWAL = {
    "min_life": 1, "renew_cooldown": 0, "max_rotations_per_day": 0, "api_hosts": ["127.0.0.1:*"], "rate_limits": "none",
}  # fmt: skip


async def test_links_say_what_a_login_by_code_needs(start: Start) -> None:
    """Login, token endpoint and API are on one port, the environment fits a definition with one API."""
    bench = await start(CODE)
    links = bench.broker.links()
    environment = dict(links.environment)

    assert environment.pop("ca_file")
    assert {
        "api_server": bench.url, "token_url": f"{bench.url}/token", "authorize_url": f"{bench.url}/authorize", **RENEWAL
    } == environment  # fmt: skip
    assert (f"{bench.url}/token", None) == (links.token_url, links.refresh_token)
    needs = {"client_id": "app", "client_secret": "app:secret", "redirect_uri": "https://127.0.0.1:8182"}
    assert {"person": needs} == links.logins


async def test_links_say_what_a_plain_secret_is(start: Start) -> None:
    """Both parts as one text; each API that the file names has the one address."""
    bench = await start(SECRET)
    links = bench.broker.links()
    environment = dict(links.environment)

    assert environment.pop("ca_file")
    assert {"api_servers": {"trading": bench.url, "data": bench.url}, **RENEWAL} == environment
    assert ("", None, {"keys": {"secret": "key-id:canary"}}) == (links.token_url, links.refresh_token, links.logins)
    assert bench.broker.new_refresh_token() is None


async def test_expiring_leaves_the_refresh_token(start: Start) -> None:
    """The access token is dead at once, and a refresh brings the next."""
    bench = await start(CODE)
    await bench.log_in()
    bench.broker.expire()
    assert 401 == (await bench.call("GET", "/v1/accounts")).status

    await bench.renewed()
    assert 200 == (await bench.call("GET", "/v1/accounts")).status


async def test_stealing_spends_the_refresh_token(start: Start) -> None:
    """It counts as issued, and as no rotation; before a login there is nothing to steal."""
    bench = await start(CODE)
    with pytest.raises(NotSupported, match="nobody has logged in"):
        bench.broker.steal()
    await bench.log_in()
    bench.broker.steal()

    assert 400 == (await bench.renew()).status
    assert (2, 0) == (bench.broker.state()["generation"], bench.broker.state()["rotations"])


@pytest.mark.parametrize(("text", "commands"), [
    (CODE, ["move_api_server"]),
    (MINTED, ["move_api_server", "steal"]),
    (PASTED, ["move_api_server", "steal"]),
    (SECRET, ["move_api_server", "steal", "expire"]),
], ids=["code", "minted", "pasted", "secret"])  # fmt: skip
async def test_what_makes_no_sense_is_not_supported(start: Start, text: str, commands: list[str]) -> None:
    """Each refusal says why, in one sentence."""
    bench = await start(text)
    for command in commands:
        with pytest.raises(NotSupported, match="plain"):
            getattr(bench.broker, command)()


async def test_a_plain_secret_has_no_page_to_approve(start: Start) -> None:
    """`approve` says so."""
    bench = await start(SECRET)
    with pytest.raises(ValueError, match="no login page"):
        bench.broker.approve(bench.authorize_url())


async def test_options_begin_with_what_the_file_says(start: Start) -> None:
    """Changes win, and hold for the next request; another callback may be registered while it runs."""
    bench = await start(CODE)
    options = bench.broker.options
    assert (1800, "https://127.0.0.1:8182") == (options.expires_in, options.callback)
    options.expires_in, options.callback = 5, "http://127.0.0.1:1/callback"

    assert bench.approved(redirect_uri="http://127.0.0.1:1/callback")["code"]
    assert 5 == (await bench.log_in())["expires_in"]
    assert 7 == options_for(bench.broker._setup, expires_in=7).expires_in


async def test_stopping_closes_the_port(start: Start) -> None:
    """Nothing listens afterwards."""
    bench = await start(SECRET)
    port = int(bench.url.rsplit(":", 1)[1])
    await bench.broker.stop()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port), timeout=1)
