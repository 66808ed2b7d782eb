"""Sockets that a service manager has opened: taken by the doors they belong to, and left open at a stop."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.activation import Activated, _address
from proxy.config import Tcp, Unix
from proxy.listener import OPEN
from tests.busy import busy, called
from tests.callers import eventually
from tests.product import COMMAND, ROOT, Program

Figure = Callable[[object], None]


@pytest.fixture(name="door")
def _door() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as end:
        yield end


async def test_a_door_finds_its_socket_by_its_address(door: socket.socket, tmp_path: Path) -> None:
    """Once; a Unix socket too; what nobody asks for is told."""
    port = door.getsockname()[1]
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "socket"))
        activated = Activated({_address(end): end for end in (door, other)})

        assert None is await activated.socket_for("", Tcp("127.0.0.1", port + 1), OPEN)
        given = await activated.socket_for("", Tcp("127.0.0.1", port, tls=True), OPEN)
        assert given is not None
        assert (door, True, True) == (given.end, given.accepts, given.stays)
        assert None is await activated.socket_for("", Tcp("127.0.0.1", port), OPEN)
        assert [f"unix:{tmp_path}/socket"] == activated.addresses
        assert await activated.socket_for("", Unix(tmp_path / "socket"), OPEN)
        assert not activated


@pytest.mark.parametrize(
    "environ",
    [{}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "x", "LISTEN_PID": "own"}],
    ids=["nothing", "no process", "another process", "no number"],
)
def test_what_is_not_for_us_is_left_alone(environ: dict[str, str]) -> None:
    """And said to nobody else."""
    said = {name: str(os.getpid()) if text == "own" else text for name, text in environ.items()}

    assert not Activated.of(said)
    assert {} == said


def test_what_listens_where_no_door_can_be_is_refused() -> None:
    """A name that is no path."""
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(f"\0bearerd-test-{os.getpid()}")
        with pytest.raises(OSError, match="a port or a path"):
            _address(end)


NOT_LISTENING = """
import os, socket
from proxy.activation import Activated
os.dup2(socket.socket().detach(), 3)
Activated.of({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})
"""


def test_what_does_not_listen_is_refused() -> None:
    """With what to write instead."""
    done = subprocess.run(
        [sys.executable, "-c", NOT_LISTENING], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
    )

    assert 1 == done.returncode
    assert "use ListenStream=" in done.stderr


@pytest.mark.parametrize("times", [1, pytest.param(5, marks=pytest.mark.soak)])
async def test_a_restart_on_sockets_of_the_service_manager_fails_no_call(
    state_dir: Path, door: socket.socket, times: int, figure: Figure
) -> None:
    """Under load, again and again: who comes in between waits. Only sockets have to be opened anew (1001)."""
    port: int = door.getsockname()[1]
    async with busy(state_dir, drain_delay=0.3) as place:
        await asyncio.to_thread(place.server.stop)
        place.config["listen"] = f"127.0.0.1:{port}"
        place.url = f"http://127.0.0.1:{port}"
        await asyncio.to_thread(place.write, {})
        place.patient, pids = True, set()

        def start() -> Program:
            handed = (sys.executable, "-P", str(ROOT / "tests" / "activated.py"), str(door.fileno()), *COMMAND)
            place.server = Program(state_dir, "serve", "-c", "config.yaml", command=handed, keep=(door.fileno(),))
            return place.server

        await asyncio.to_thread(lambda: start().until("serves"))
        async with called(place) as seen:
            for _ in range(times):
                pids.add(place.server.pid)
                place.server.send_signal(signal.SIGTERM)
                assert 0 == await asyncio.to_thread(place.server.end, 20)
                start()
                before = seen.good["new"]
                async for _ in eventually(20):
                    if seen.good["new"] > before + 20:
                        break
            place.patient = False
        assert 0 == await asyncio.to_thread(place.server.stop)
        figure(f"{times} restarts of one server on a socket of systemd's: {seen}")
        assert times == len(pids)
        assert ([], 0, {1001: 1}) == (seen.others, seen.refused, dict(seen.codes))
        assert place.broker["/v1/orders"] == seen.good["orders"]
