"""What an operator does with client keys, on a running server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.admin import CommandFailed, call
from proxy.clientele import PAGE, SHOWN
from tests.house import House, house

CALL = "/questrade/v1/accounts"


@pytest.fixture(name="home")
async def _home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as home:
        yield home


async def ask(home: House, command: str, **params: Any) -> dict[str, Any]:
    return await call(home.file.parent / "admin.sock", command, params, timeout=10)


async def refused(home: House, command: str, **params: Any) -> tuple[str, str | None]:
    with pytest.raises(CommandFailed) as failed:
        await ask(home, command, **params)
    return failed.value.message, failed.value.fix


def now(home: House) -> float:
    return home.app.clock.now().wall


async def until(home: House, moment: float) -> None:
    """Wait for a moment of the server's clock; a timer may come a millisecond early."""
    while (left := moment - now(home)) > 0:  # noqa: ASYNC110  a clock sets no event
        await asyncio.sleep(left)


async def test_a_key_ends_when_it_was_to_end(home: House) -> None:
    """Until then it is let in, from then on refused with a sentence of its own; nobody has to do anything."""
    made = await ask(home, "clients-add", name="bot", lasts=0.6 + 0.5)
    assert 0 < made["expires"] - now(home) <= 1.1
    assert 200 == (await home.call("GET", CALL, key=made["key"])).status
    await until(home, made["expires"])
    reply = await home.call("GET", CALL, key=made["key"])
    assert (401, "unknown-client") == reply.problem
    assert "The call's client key expired at " in reply.document["detail"]
    assert "make a new one: bearerd clients add bot" == reply.document["fix"]
    assert None is reply.one("Retry-After")
    assert 200 == (await home.call("GET", CALL)).status
    warnings = home.app.operations.status()["warnings"]
    assert any("key 2 of client bot expired" in line for line in warnings), warnings


async def test_a_rotation_lets_both_keys_in_until_the_overlap_is_over(home: House) -> None:
    """A program can be changed over without a pause."""
    made = await ask(home, "clients-rotate", name="bot", overlap=0.8)
    assert ({"number": 1}, 2, None) == (
        {"number": made["replaced"]["number"]}, made["number"], made["expires"],
    )  # fmt: skip
    for key in (home.key, made["key"]):
        assert 200 == (await home.call("GET", CALL, key=key)).status
    assert any("was replaced, ends in" in line for line in home.app.operations.status()["warnings"])
    await until(home, made["replaced"]["expires"])
    assert (401, "unknown-client") == (await home.call("GET", CALL)).problem
    assert 200 == (await home.call("GET", CALL, key=made["key"])).status


@pytest.mark.parametrize(
    ("command", "params", "told"),
    [
        ("clients-add", {"lasts": 0}, "--expires is a length of time from 1 s to a hundred years"),
        ("clients-add", {"lasts": 1e12}, "--expires is a length of time"),
        ("clients-add", {"expires": 5.0}, "--expires names a moment that is past"),
        ("clients-add", {"expires": 1e12}, "more than a hundred years away"),
        ("clients-rotate", {"overlap": -1}, "--overlap is a length of time from 0 s"),
        ("clients-rotate", {"number": 7}, "the client 'bot' has no key 7"),
    ],
)
async def test_what_makes_no_sense_is_refused(home: House, command: str, params: dict[str, Any], told: str) -> None:
    """And no key is made."""
    assert told in (await refused(home, command, name="bot", **params))[0]
    assert 1 == len(home.app.keys.all())


async def test_the_list_tells_of_every_key(home: House) -> None:
    """Number, age, end, last use and whose it is; never the key or its digest."""
    await ask(home, "clients-add", name="bot", lasts=3600)
    await ask(home, "clients-add", name="bot", grants=["questrade/ann"])
    await home.call("GET", CALL)

    (bot,) = (await ask(home, "clients-list"))["clients"]
    first, second, bound = bot["listed"]
    assert (3, 1, True, None) == (bot["keys"], bot["bound"], bot["in_config"], bot["next"])
    assert (1, None, None, [], False) == (
        first["number"], first["expires"], first["replaced"], first["grants"], first["expired"],
    )  # fmt: skip
    assert 0 <= now(home) - first["last_use"] < 10
    assert bot["last_use"] == first["last_use"]
    assert (2, 3600.0, None) == (second["number"], round(second["expires"] - second["created"], 1), second["last_use"])
    assert ["questrade/ann"] == bound["grants"]
    assert round(bot["next_end"]) == round(second["expires"])
    assert home.key not in str(bot)
    assert not any(key.digest in str(bot) for key in home.app.keys.all())
    assert [bound] == (await ask(home, "clients-list", name="bot", grant="questrade/ann"))["clients"][0]["listed"]
    assert "there is no client 'nobody'" in (await refused(home, "clients-list", name="nobody"))[0]


async def test_many_keys_come_in_pages(home: House) -> None:
    """No answer holds more than a page, and all of them each key once."""
    await asyncio.gather(*(home.app.keys.add("bot", [f"questrade/user-{number}"]) for number in range(PAGE + 30)))
    (bot,) = (await ask(home, "clients-list"))["clients"]
    assert (PAGE + 31, SHOWN) == (bot["keys"], len(bot["listed"]))
    (page,) = (await ask(home, "clients-list", name="bot"))["clients"]
    (rest,) = (await ask(home, "clients-list", name="bot", after=page["next"]))["clients"]
    numbers = [key["number"] for key in (*page["listed"], *rest["listed"])]
    assert (PAGE, 31, None) == (len(page["listed"]), len(rest["listed"]), rest["next"])
    assert sorted(set(numbers)) == numbers


async def test_one_key_is_removed(home: House) -> None:
    """The others stay."""
    other = await ask(home, "clients-add", name="bot")
    assert {"client": "bot", "removed": 1} == await ask(home, "clients-remove", name="bot", number=1)
    assert (401, "unknown-client") == (await home.call("GET", CALL)).problem
    assert 200 == (await home.call("GET", CALL, key=other["key"])).status
    assert 0 == (await ask(home, "clients-remove", name="bot", number=1))["removed"]


async def test_a_member_is_known_by_the_name_of_a_mount_too(tmp_path: Path) -> None:
    """As it was when the key was made: whoever removes it must not be told that there is none."""
    named = ("environment: simulator, scopes", "environment: simulator, grant: desk, scopes")
    async with house(tmp_path, named) as home:
        await ask(home, "clients-add", name="bot", grants=["questrade/ann"])
        (bot,) = (await ask(home, "clients-list", name="bot", grant="questrade/ann"))["clients"]
        assert [["desk/ann"]] == [key["grants"] for key in bot["listed"]]
        assert 1 == (await ask(home, "clients-remove", name="bot", grant="questrade/ann"))["removed"]
        assert 0 == (await ask(home, "clients-remove", name="bot", grant="gone/ann"))["removed"]


async def test_metrics_tell_when_the_first_key_ends(home: House) -> None:
    """So that somebody is called before a program stops."""
    assert b"bearerd_client_key_expires_timestamp_seconds{" not in home.app.rendered_metrics()
    made = await ask(home, "clients-add", name="bot", lasts=3600)
    (line,) = [
        line
        for line in home.app.rendered_metrics().decode().splitlines()
        if line.startswith('bearerd_client_key_expires_timestamp_seconds{client="bot"}')
    ]
    assert round(float(line.split()[1])) == round(made["expires"])
    await ask(home, "clients-remove", name="bot", number=made["number"])
    assert b"bearerd_client_key_expires_timestamp_seconds{" not in home.app.rendered_metrics()
