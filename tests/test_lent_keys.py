"""A client key that is lent: it counts as long as its borrower holds the connection, and is in memory only."""

import asyncio
import secrets
from pathlib import Path
from typing import Any

import pytest

from proxy.admin import CommandFailed, call, held
from proxy.gate.clients import digest, new_key
from tests.house import House, house

MARKETS = "/questrade/v1/markets"


def socket_of(home: House) -> Path:
    return home.file.parent / "admin.sock"


async def status_with(home: House, key: str) -> int:
    return (await home.call("GET", MARKETS, key=key)).status


async def becomes(home: House, key: str, status: int) -> None:
    """Wait until calls with the key are answered like this."""
    async with asyncio.timeout(5):
        while True:
            if await status_with(home, key) == status:
                return
            await asyncio.sleep(0.01)


def wish(key: str, client: str | None = "bot") -> dict[str, Any]:
    return {"client": client, "digest": digest(key)}


async def test_a_lent_key_counts_within_the_block_only(state_dir: Path) -> None:
    """The server learns only its digest, says where to call, and forgets it with the connection."""
    key = new_key(secrets.token_bytes).reveal()
    async with house(state_dir) as home:
        assert 401 == await status_with(home, key)

        async with held(socket_of(home), "lend", wish(key), timeout=5) as (answer, _):
            assert 200 == await status_with(home, key)
            expected = {"client": "bot", "key_needed": True, "url": f"http://127.0.0.1:{home.port}"}
            assert expected | {"secure_url": None, "roots": {}, "mounts": ["questrade"]} == answer
            assert 1 == len(await home.app.custody.store.read_all("client/"))  # the house's own

        await becomes(home, key, 401)


async def test_a_lent_key_survives_a_reload_and_new_keys(state_dir: Path) -> None:
    """Whatever rebuilds the policy keeps it."""
    key = new_key(secrets.token_bytes).reveal()
    async with house(state_dir) as home, held(socket_of(home), "lend", wish(key, None), timeout=5):
        await call(socket_of(home), "reload", {}, timeout=10)
        await call(socket_of(home), "clients-add", {"name": "bot"}, timeout=10)

        assert 200 == await status_with(home, key)


async def test_removing_a_client_s_keys_takes_a_lent_one_back(state_dir: Path) -> None:
    """At once, although its borrower is still there."""
    key = new_key(secrets.token_bytes).reveal()
    async with house(state_dir) as home, held(socket_of(home), "lend", wish(key), timeout=5):
        removed = await call(socket_of(home), "clients-remove", {"name": "bot"}, timeout=10)

        assert 2 == removed["removed"]
        assert 401 == await status_with(home, key)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"client": "nobody"}, "no client 'nobody'"),
        ({"digest": "short"}, "64 hexadecimal digits"),
        ({"digest": "G" * 64}, "64 hexadecimal digits"),
    ],
)
async def test_what_cannot_be_lent_is_said(state_dir: Path, changes: dict[str, str], text: str) -> None:
    """An unknown client, and what is no digest."""
    async with house(state_dir) as home:
        with pytest.raises(CommandFailed, match=text) as refused:
            async with held(socket_of(home), "lend", wish("key") | changes, timeout=5):
                pytest.fail("nothing is lent")

        assert "not-possible" == refused.value.kind
