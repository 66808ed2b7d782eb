"""The whole simulated Questrade, as a client meets it."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from proxy.simulator import Simulator, serve
from proxy.simulator.questrade.options import Options
from tests.simulator.support import Bot, HandClock, trusting


async def test_it_is_a_simulator(stranger: Bot) -> None:
    """The protocol that the control listener drives, under its own name."""
    simulator: Simulator = stranger.questrade

    assert "questrade" == simulator.name


async def test_a_client_without_the_ca_does_not_connect(stranger: Bot) -> None:
    """The listeners speak TLS, under a certificate that nobody else trusts."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(stranger.token_url)
        with pytest.raises(aiohttp.ClientError):
            await session.get(stranger.token_url.replace("https:", "http:"))


async def test_tokens_go_their_way_over_three_rotations(stranger: Bot) -> None:
    """The figures of the documented example: three posts, three rotations, generation four."""
    for _ in range(3):
        await stranger.redeem()
    for _ in range(7):
        await stranger.get("/v1/accounts")
    state = await stranger.state()

    assert (3, 3, 0, 4) == tuple(
        state[name] for name in ("token_posts", "rotations", "reused_refresh_tokens", "generation")
    )
    assert {"GET /v1/accounts": 7} == state["calls"]
    assert {"current": 7, "stale": 0, "foreign": 0, "none": 0} == state["authorizations"]


async def test_a_rotation_kills_the_access_token_before(bot: Bot) -> None:
    """At once."""
    before = bot.access
    await bot.redeem()
    after, bot.access = bot.access, before

    assert (401, 1017) == (await bot.get("/v1/time")).error
    bot.access = after
    assert 200 == (await bot.get("/v1/time")).status


async def test_expire_kills_the_access_token_and_spares_the_refresh_token(bot: Bot) -> None:
    """401 with 1017 until the next rotation."""
    await bot.control("/expire")
    assert (401, 1017) == (await bot.get("/v1/time")).error
    await bot.redeem()

    assert 200 == (await bot.get("/v1/time")).status


async def test_a_moved_api_server_refuses_at_the_old_host_and_answers_at_the_new(bot: Bot) -> None:
    """The next token answer names the new one; the old one knows neither old nor new tokens."""
    old = bot.api
    await bot.control("/move-api-server")
    assert (401, 1017) == (await bot.get("/v1/time")).error
    await bot.redeem()

    assert old != bot.api
    assert bot.api + "/" == (await bot.state())["api_server"]
    assert 200 == (await bot.get("/v1/time")).status
    bot.api = old
    assert (401, 1017) == (await bot.get("/v1/time")).error


async def test_a_second_move_leads_back(bot: Bot) -> None:
    """There are two hosts."""
    hosts = [bot.api]
    for _ in range(2):
        await bot.control("/move-api-server")
        await bot.redeem()
        hosts.append(bot.api)

    assert hosts[0] == hosts[2] != hosts[1]
    assert {f"{host}/" for host in hosts} == set(bot.questrade.links().api_servers)


async def test_a_stolen_grant_is_dead_until_a_new_login(bot: Bot) -> None:
    """Access and refresh token both fail, the attempt counts as a reuse, and a fresh token starts over."""
    await bot.control("/steal")
    assert (401, 1017) == (await bot.get("/v1/time")).error
    assert b"Bad Request" == (await bot.spend()).body
    state = await bot.state()
    assert (2, 1, 1, 3) == tuple(
        state[name] for name in ("token_posts", "rotations", "reused_refresh_tokens", "generation")
    )

    bot.refresh = bot.questrade.new_refresh_token()
    await bot.redeem()
    assert 200 == (await bot.get("/v1/time")).status


async def test_the_app_hub_is_part_of_the_login_host(stranger: Bot) -> None:
    """A person finds the button there."""
    assert stranger.questrade.app_hub_url.startswith(stranger.login_host + "/")


async def test_awkward_tokens_work_for_a_client_that_encodes_them(tmp_path: Path) -> None:
    """Plus and slash in a token are an option; the bot percent-encodes."""
    options = Options(reserved_characters=True)
    running = await serve.start(directory=tmp_path, options=options)
    connector = aiohttp.TCPConnector(ssl=trusting(running.ca_file))
    async with aiohttp.ClientSession(connector=connector) as session:
        bot = Bot(running, options, HandClock(), session)
        assert "+" in bot.refresh
        await bot.redeem()
        await bot.redeem()
        assert 200 == (await bot.get("/v1/time")).status
    await running.stop()


async def test_sixty_four_clients_with_a_token_that_dies_each_second(bot: Bot) -> None:
    """Every call is answered, as good or as 1017, and refreshes in turn never meet a reused token."""
    bot.options.expires_in = 1
    await bot.redeem()
    seen = set()

    async def client() -> None:
        for _ in range(10):
            seen.add((await bot.get("/v1/accounts")).status)

    async with asyncio.TaskGroup() as group:
        for _ in range(64):
            group.create_task(client())
        for _ in range(5):
            bot.clock.time += 1
            await bot.redeem()

    state = await bot.state()
    assert seen <= {200, 401}
    assert 640 == state["calls"]["GET /v1/accounts"] == sum(state["authorizations"].values())
    assert (state["token_posts"], 0) == (state["rotations"], state["reused_refresh_tokens"])
