"""What the service manager is told: over a real socket, as systemd listens at it."""

import asyncio
import contextlib
import os
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy import notify
from proxy.notify import Notifier, keep_telling, summary


@pytest.fixture(name="listening", params=["file", "abstract"])
def _listening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket, and how the environment names it."""
    address = str(tmp_path / "notify") if request.param == "file" else f"@bearerd-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(address.replace("@", "\0", 1) if request.param == "abstract" else address)
        end.settimeout(5)
        yield end, address


def heard(end: socket.socket) -> dict[str, str]:
    return dict(line.split("=", 1) for line in end.recv(4096).decode().split("\n"))


def test_each_state_is_told_in_the_manager_s_words(listening: tuple[socket.socket, str]) -> None:
    """READY, RELOADING with the time of the clock that systemd compares, STOPPING with what it may take."""
    end, address = listening
    notifier = Notifier.of({"NOTIFY_SOCKET": address})
    notifier.tell(**notify.ready("ok\nand more"))
    assert heard(end) == {"READY": "1", "STATUS": "ok and more"}
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.tell(**notify.reloading())
    told = heard(end)
    assert ("1", "reading the configuration again") == (told["RELOADING"], told["STATUS"])
    assert before <= int(told["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.tell(**notify.stopping(62.5))
    assert {"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "62500000"}.items() <= heard(end).items()


def test_what_the_manager_said_leaves_the_environment() -> None:
    """No program that we start can speak for us. Signs of life are due at half of the time."""
    environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    notifier = Notifier.of(environ)
    assert (notifier.listens, notifier.every, environ) == (True, 1.5, {"HOME": "/"})


@pytest.mark.parametrize(
    ("said", "every"),
    [
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "3000000"}, 1.5),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({"WATCHDOG_USEC": "-1"}, 0.0),
        ({}, 0.0),
    ],
    ids=["another process", "any process", "nonsense", "negative", "nothing"],
)
def test_signs_of_life_are_only_given_where_they_are_waited_for(said: dict[str, str], every: float) -> None:
    """By this process, and for a number."""
    assert Notifier.of({"NOTIFY_SOCKET": "/run/x", **said}).every == every


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234", "/nowhere/notify", "@nobody-there", "/" * 300])
def test_a_manager_that_is_not_there_is_no_fault(address: str) -> None:
    """Nothing is raised, and nobody waits."""
    Notifier.of({"NOTIFY_SOCKET": address}).tell(**notify.ready("ok"))


def test_a_manager_that_reads_nothing_holds_nobody_up(listening: tuple[socket.socket, str]) -> None:
    """What does not fit is dropped."""
    notifier = Notifier(listening[1])
    began = time.monotonic()
    for _ in range(2000):
        notifier.tell(STATUS="x" * 200)
    assert time.monotonic() - began < 5


async def all_heard(end: socket.socket, seconds: float) -> list[str]:
    found: list[str] = []
    loop = asyncio.get_running_loop()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                found.append((await loop.sock_recv(end, 4096)).decode())
    return found


async def test_a_loop_that_is_held_gives_no_sign_of_life(listening: tuple[socket.socket, str]) -> None:
    """And one that runs does; how it stands is told when it has changed."""
    end, address = listening
    end.settimeout(0)
    standing = ["ok"]
    async with asyncio.TaskGroup() as group:
        telling = group.create_task(keep_telling(Notifier(address, 0.01), lambda: standing[0]))
        found: list[str] = []
        async with asyncio.timeout(10):
            while "STATUS=halted" not in found or found.count("WATCHDOG=1") < 5:
                found += await all_heard(end, 0.02)
                standing[0] = "halted" if "STATUS=ok" in found else "ok"
        assert ["STATUS=ok", "STATUS=halted"] == [text for text in found if text != "WATCHDOG=1"]
        time.sleep(0.1)  # noqa: ASYNC251  that is what holds it
        with pytest.raises(BlockingIOError):
            end.recv(4096)
        telling.cancel()


async def test_what_a_busy_manager_did_not_take_is_told_again(listening: tuple[socket.socket, str]) -> None:
    """A READY that was dropped would have us killed. In their order, the same only once."""
    end, address = listening
    end.settimeout(0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, contextlib.suppress(BlockingIOError):
        other.settimeout(0)
        while True:
            other.sendto(b"X=another service", address.replace("@", "\0", 1))
    notifier = Notifier(address)
    for told in (notify.reloading(), notify.ready("ok"), notify.ALIVE, notify.ALIVE):
        notifier.tell(**told)
    found = [text for text in await all_heard(end, 0.3) if text != "X=another service"]
    assert ["RELOADING=1", "READY=1", "WATCHDOG=1"] == [text.split("\n")[0] for text in found]


async def test_each_reload_has_its_end_told(listening: tuple[socket.socket, str]) -> None:
    """Though a busy manager has not heard yet of the one before, which ended in the same words; no text too."""
    end, address = listening
    end.settimeout(0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, contextlib.suppress(BlockingIOError):
        other.settimeout(0)
        while True:
            other.sendto(b"X=another service", address.replace("@", "\0", 1))
    notifier = Notifier(address)
    for _ in range(2):
        notifier.tell(**notify.reloading())
        notifier.tell(**notify.ready("\udcff"))
    found = [text for text in await all_heard(end, 0.3) if text != "X=another service"]
    assert ["RELOADING=1", "READY=1"] * 2 == [text.split("\n")[0] for text in found]
    assert found[-1].endswith("STATUS=\\udcff")


def test_how_it_stands_is_one_line() -> None:
    """The word, and what is not well; cut before it is long."""
    assert summary("ok", ["[+]store ok"]) == "ok"
    assert summary("needs-login", ["[+]store ok", "[-]grant a none", "[-]grant b stopped"]) == (
        "needs-login: grant a none; grant b stopped"
    )
    assert len(summary("degraded", [f"[-]{'x' * 1000}"])) == 300
