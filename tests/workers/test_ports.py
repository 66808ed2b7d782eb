"""Listening sockets that outlive the process that opened them."""

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from proxy.config import Tcp, Unix
from proxy.listener import OPEN
from proxy.workers.ports import Ports

ANY = Tcp("127.0.0.1", 0)


class Keeper:
    """The supervisor's part."""

    def __init__(self) -> None:
        self.kept: dict[str, int] = {}

    def say(self, kind: str, name: str, files: Any = ()) -> None:
        if kind == "listening":
            self.kept[name] = os.dup(files[0])
        else:
            os.close(self.kept.pop(name))


async def test_each_worker_has_a_socket_at_the_same_port_and_the_next_custody_has_the_same() -> None:
    """Nobody who waits there is refused meanwhile. What is not asked for again is closed."""
    keeper = Keeper()
    ports = Ports(keeper.say)
    given = await ports.of_door("a", ANY, OPEN, 2)
    other = await ports.of_door("b", ANY, OPEN, 2)
    own = await ports.own(ANY)
    bound = given.end.getsockname()
    places = [socket.socket(fileno=os.dup(ports.one_of("a", worker))) for worker in (1, 2, 3)]
    assert [place.getsockname() for place in places] == [bound] * 3
    assert (given.accepts, own.accepts, list(ports.names)) == (False, True, ["a", "b"])

    after = Ports(keeper.say)
    after.inherit({name: os.dup(file) for name, file in keeper.kept.items()})
    for end in (given.end, other.end, own.end):
        end.close()
    again = await after.of_door("a", ANY, OPEN, 2)
    assert again.end.getsockname() == bound
    after.tidy()
    assert sorted(keeper.kept) == ["a 0", "a 1"]
    with socket.create_connection(bound):
        pass
    again.closed()
    assert not keeper.kept
    for place in places:
        place.close()
    for name in ("a", "b"):
        for end in ports._sockets[name]:
            end.close()


async def test_an_address_that_another_server_has_is_refused() -> None:
    """Though sockets of one server share it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = Tcp("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(OSError, match="cannot listen on"):
            await Ports(Keeper().say).of_door("a", place, OPEN, 2)


async def test_a_unix_socket_is_one_for_all_and_goes_with_its_door(tmp_path: Path) -> None:
    """The system shares nothing out there."""
    keeper = Keeper()
    ports = Ports(keeper.say)
    given = await ports.of_door("u", Unix(tmp_path / "b.sock"), OPEN, 2)
    assert ports.one_of("u", 1) == ports.one_of("u", 2)
    await asyncio.to_thread(given.closed)
    assert not keeper.kept
    assert not await asyncio.to_thread((tmp_path / "b.sock").exists)
