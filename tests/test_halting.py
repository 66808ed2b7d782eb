"""Halting a running server: what an operator may say, what clients then get, and where it is shown."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from proxy import halting
from proxy.admin import NotPossible
from proxy.gate.halt import EVERYTHING
from proxy.halts import RECORD
from proxy.store import StoreError
from tests.house import ACCOUNT, ORDER, House, house
from tests.wire import connected

BY = "anna@desk"


async def halt(home: House, **wish: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await home.app.operations.commands()["halt"]({"by": BY} | wish)
    return answer


async def resume(home: House, **wish: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await home.app.operations.commands()["resume"]({"by": BY, "reason": "all clear"} | wish)
    return answer


async def test_a_halt_stops_orders_and_no_reads_or_cancels(state_dir: Path) -> None:
    """At once; the refusal names who, when and why. `resume` lifts it. Nothing of it reached the broker."""
    async with house(state_dir) as home:
        placed = await home.order()
        assert 200 == placed.status
        answer = await halt(home, reason="fat finger")
        assert (True, True, None) == (answer["new"], answer["stored"], answer["warning"])
        refused = await home.order()
        assert (403, "halted") == refused.problem
        assert "every mount, since" in refused.document["message"]
        assert f"by {BY}: fat finger" in refused.document["message"]
        assert "bearerd resume --reason TEXT" == refused.document["fix"]
        assert (1, 200) == (home.seen("orders"), (await home.call("GET", "/questrade/v1/accounts")).status)
        order_id = placed.document["orderId"]
        assert 200 == (await home.call("DELETE", f"{ACCOUNT}/orders/{order_id}")).status

        assert [answer["halt"]] == (await resume(home))["lifted"]
        assert 200 == (await home.order()).status


async def test_a_reason_gives_no_secret_away(state_dir: Path) -> None:
    """Somebody has pasted a client's key into it."""
    async with house(state_dir) as home:
        await halt(home, reason=f"stolen: {home.key}")
        reply = await home.order()
        assert "stolen: " in reply.document["message"]
        assert home.key.encode() not in reply.body


async def test_a_halt_of_cancels_too(state_dir: Path) -> None:
    """A second, stronger one takes the place of the first; a weaker one does not."""
    async with house(state_dir) as home:
        order_id = (await home.order()).document["orderId"]
        await halt(home)
        assert (await halt(home, cancels_too=True))["new"]
        assert not (await halt(home))["new"]
        reply = await home.call("DELETE", f"{ACCOUNT}/orders/{order_id}")
        assert (403, "halted") == reply.problem


async def test_a_connection_that_is_open_already_is_held_to_a_halt(state_dir: Path) -> None:
    """Calls on it are judged one by one, and so is one whose body is still on its way."""
    async with (
        house(state_dir) as home,
        connected("127.0.0.1", home.port) as idle,
        connected("127.0.0.1", home.port) as busy,
    ):
        body = json.dumps(ORDER).encode()
        head = (
            f"POST {ACCOUNT}/orders HTTP/1.1\r\nHost: 127.0.0.1:{home.port}\r\nAuthorization: Bearer {home.key}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        await idle.send(head + body)
        assert 200 == (await idle.reply()).status
        await busy.send(head + body[:10])
        while not home.app.gateway.serving.in_flight:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await halt(home)
        await busy.send(body[10:])
        assert (403, "halted") == (await busy.reply()).problem
        await idle.send(head + body)
        assert (403, "halted") == (await idle.reply()).problem
        assert 1 == home.seen("orders")


async def test_an_order_that_waits_for_its_token_is_held_to_a_halt(state_dir: Path) -> None:
    """It had passed the gate before; it is looked at once more when all waiting is over."""
    async with house(state_dir) as home:
        home.simulator.expire()
        home.simulator.faults.add("token-slow")
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(home.order())
            while home.app.keepers["questrade"].state.value != "redeeming":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await halt(home)
        assert (403, "halted") == waiting.result().problem
        assert 0 == home.seen("orders")


async def test_a_halt_survives_a_restart_and_a_reload(state_dir: Path) -> None:
    """It stands in the store; the configuration has no say in it."""
    async with house(state_dir) as home:
        await halt(home, mount="questrade", scope="trade", client="bot")
        await home.app.reload()
        assert (403, "halted") == (await home.order()).problem
    (state_dir / "config.yaml").unlink()  # another simulator
    async with house(state_dir) as home:
        reply = await home.order()
        assert (403, "halted") == reply.problem
        assert "bearerd resume questrade --scope trade --client bot --reason TEXT" == reply.document["fix"]


async def test_a_start_with_an_unreadable_record_is_a_halt(state_dir: Path) -> None:
    """Reads are served; `resume --all` is what helps, and the status says so."""
    async with house(state_dir) as home:
        await halt(home)
        row = await home.app.custody.store.read(RECORD)
        assert row is not None
        await home.app.custody.store.swap(RECORD, expected=row.generation, sealed=b"?" * 5000)
    (state_dir / "config.yaml").unlink()  # another simulator
    async with house(state_dir) as home:
        reply = await home.order()
        assert (403, "halted") == reply.problem
        assert "can't be read" in reply.document["message"]
        assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status
        status = home.app.operations.status()
        assert any("bearerd resume --all" in warning for warning in status["warnings"])
        assert ("degraded", "[-]halts cannot be read: everything is halted") == (
            status["ready"], home.app.operations.ready()[1][1],
        )  # fmt: skip
        with pytest.raises(NotPossible, match="everything counts as halted"):
            await resume(home)
        assert [] == (await resume(home, all=True))["lifted"]
        assert 200 == (await home.order()).status


async def test_halts_are_shown(state_dir: Path) -> None:
    """In the status, the readiness and the metrics; without who and why where anybody may read."""
    async with house(state_dir) as home:
        operations = home.app.operations
        assert not any("halt" in line for line in operations.ready()[1])
        assert b'bearerd_halted{mount="questrade"} 0.0' in operations.metrics()
        await halt(home, scope="trade", reason="fat finger")
        (shown,) = operations.status()["halts"]
        assert ("trade", None, BY) == (shown["scope"], shown["mount"], shown["by"])
        assert "bearerd resume --scope trade --reason TEXT" == shown["resume"]
        word, lines = operations.ready()
        assert ("ok", "[-]halted every mount, scope trade") == (word, lines[1])
        assert b'bearerd_halted{mount="questrade"} 1.0' in operations.metrics()


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ({"mount": "questrad"}, "no mount 'questrad', and nothing was halted; known: questrade"),
        ({"scope": "trading"}, "no scope 'trading' with calls that change something, and nothing was halted"),
        ({"scope": "read_md"}, "no scope 'read_md' with calls that change something"),
        ({"client": "boot"}, "no client 'boot', and nothing was halted; known: bot"),
        ({"reason": "a\nb"}, "a line break"),
        ({"reason": "x" * 201}, "longer than 200"),
    ],
    ids=["mount", "scope", "read scope", "client", "line break", "long"],
)
async def test_a_typing_error_is_no_halt(state_dir: Path, wish: dict[str, Any], why: str) -> None:
    """It says so, and what there is."""
    async with house(state_dir) as home:
        with pytest.raises(NotPossible, match=why):
            await halt(home, **wish)
        assert () == home.app.halts.all


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ({"reason": ""}, "the reason is missing"),
        ({"reason": " "}, "the reason is missing"),
        ({"reason": None}, "the reason is missing"),
        ({"reason": "a\x7fb"}, "a control character"),
        ({}, "there is no halt of every mount; halted: the mount questrade"),
        ({"mount": "questrade", "scope": "trade"}, "no halt of the mount questrade, scope trade; halted"),
    ],
    ids=["none", "blank", "null", "control", "other", "narrower"],
)
async def test_a_halt_is_only_lifted_by_its_own_name_and_with_a_reason(
    state_dir: Path, wish: dict[str, Any], why: str
) -> None:
    """Else it stays."""
    async with house(state_dir) as home:
        await halt(home, mount="questrade")
        with pytest.raises(NotPossible, match=why):
            await resume(home, **wish)
        assert (403, "halted") == (await home.order()).problem


async def test_without_a_halt_there_is_nothing_to_resume(state_dir: Path) -> None:
    """Neither by name nor all."""
    async with house(state_dir) as home:
        for wish in ({}, {"all": True}):
            with pytest.raises(NotPossible, match="to resume"):
                await resume(home, **wish)


async def test_a_halt_while_the_store_fails(state_dir: Path) -> None:
    """It counts on this server, the answer and the status say that, and it is stored when the store is back."""
    async with house(state_dir) as home:
        store = home.app.custody.store
        reading = store.read

        async def failing(_name: str) -> None:
            raise StoreError("the disk is gone")

        store.read = failing  # type: ignore[assignment,method-assign]
        answer = await halt(home)
        assert (False, True) == (answer["stored"], "the disk is gone" in answer["warning"])
        assert (403, "halted") == (await home.order()).problem
        assert any("not stored yet" in line for line in halting.warnings(home.app.halts))
        store.read = reading  # type: ignore[method-assign]
        async with asyncio.timeout(2):
            while not home.app.halts.saved:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert [EVERYTHING] == [each.target for each in home.app.halts.all]
        assert (await store.read(RECORD)) is not None
