"""Several people on one mount, their calls mixed on the same connections: in the express lane each gets their own."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.house import port_of
from tests.lanes.test_houses import CountingApp
from tests.test_bound_keys import ACCOUNT, OWN, Application, application
from tests.wire import Wire

PEOPLE = ("ann", "bob", "cas")


async def mixed(home: Application, calls: int, turn: int) -> list[str]:
    """So many calls on one connection, each with another one's key. Returns those that were answered otherwise."""
    keys = {**home.keys, "": await home.key()}
    names = [*keys][turn:] + [*keys][:turn]
    port, wrong = port_of(home.app.doors.listeners[0]), []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    wire = Wire(reader, writer)
    for number in range(calls):
        name = names[number % len(names)]
        await wire.send(
            f"GET {ACCOUNT} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {keys[name]}\r\n\r\n".encode()
        )
        reply = await wire.reply()
        found = json.loads(reply.body).get("account_number") if reply.status == 200 else reply.status
        if found != (f"PA3{name.upper()}" if name else OWN):
            wrong.append(f"{name or 'nobody'}: {found}")
    writer.close()
    return wrong


@pytest.mark.parametrize("calls", [24, pytest.param(4000, marks=pytest.mark.soak)])
async def test_nobody_gets_what_is_another_ones(calls: int, state_dir: Path, figure: Callable[[object], None]) -> None:
    """Four people on four connections at once, a key bound to each, one after the other on every connection."""
    async with application(state_dir, CountingApp) as home:
        await home.log_in("alpaca")
        for person in PEOPLE:
            await home.join(person)
        wrong = await asyncio.gather(*(mixed(home, calls, turn) for turn in range(4)))
        assert isinstance(home.app, CountingApp)
        figure(f"{4 * calls} calls, {home.app.taken} taken, {sum(map(len, wrong))} wrong")
        assert [[]] * 4 == wrong
        assert home.app.taken > 2 * calls
