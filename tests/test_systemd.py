"""The unit for systemd: sound, tight, and bearerd runs under it."""

import asyncio
import contextlib
import errno
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ctypes.util import find_library
from pathlib import Path

import pytest

from tests.product import COMMAND, ROOT
from tests.sandbox import settings
from tests.workers.house import ACCOUNTS, ORDER, ORDERS, staffed

UNIT = ROOT / "deploy" / "systemd" / "bearerd.service"
COMMAND_LINE = "/opt/bearerd/bin/bearerd"
EXPOSURE = 12  # tenths: what `systemd-analyze security` gives at most, of 100

ANALYZE = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
CONFINED = pytest.mark.skipif(find_library("seccomp") is None, reason="there is no libseccomp")


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=20, check=False)


@ANALYZE
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """And its socket: no key that it does not know, no program that is not there."""
    unit = tmp_path / "bearerd.service"
    unit.write_text(UNIT.read_text().replace(COMMAND_LINE, str(Path(sys.executable).parent / "bearerd")))
    door = shutil.copy(UNIT.with_suffix(".socket"), tmp_path)
    done = analyze("verify", str(unit), str(door))

    assert (0, "") == (done.returncode, done.stderr)
    unit.write_text(unit.read_text().replace("ProtectClock", "ProtectClocks"))
    assert "ProtectClocks" in analyze("verify", str(unit)).stderr


@ANALYZE
def test_the_unit_leaves_little_open() -> None:
    """The exposure that systemd finds is what is said here, and no more."""
    done = analyze("security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE}", str(UNIT))

    assert 0 == done.returncode, done.stdout[-200:]
    assert f"Overall exposure level for bearerd.service: {EXPOSURE / 10}" in done.stdout


def test_the_unit_says_what_the_documentation_says() -> None:
    """The same paths, and nothing secret on a command line or in the environment."""
    text, guide = UNIT.read_text(), (ROOT / "docs" / "service.md").read_text()
    unit = settings(text)

    for said in (COMMAND_LINE, "/etc/bearerd/config.yaml", "/var/lib/bearerd/store.db", "credential:master.key"):
        assert said in text
        assert said in guide
    assert ["BEARERD_CONFIG=/etc/bearerd/config.yaml"] == unit["Environment"]
    assert [f"{COMMAND_LINE} serve"] == unit["ExecStart"]
    assert str(EXPOSURE / 10) in guide


@ANALYZE
@CONFINED
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.soak)])
async def test_bearerd_runs_under_the_unit_s_filters(state_dir: Path, workers: int) -> None:
    """System calls, address families, memory, capabilities, limits: a login, calls, an order, a reload, a stop."""
    confined = (sys.executable, "-P", str(ROOT / "tests" / "sandbox.py"), str(UNIT), *COMMAND)
    async with staffed(state_dir, workers, command=confined) as staff:
        assert [200, 200] == [(await staff.ask()).status, (await staff.ask(ORDERS, "POST", ORDER)).status]
        await asyncio.to_thread(change, state_dir / "config.yaml")
        assert ["limits.body_bytes: 1048576 → 4711"] == (await staff.command("reload"))["changes"]
        assert 200 == (await staff.ask(ACCOUNTS)).status
        status = await asyncio.to_thread(Path(f"/proc/{staff.server.pid}/status").read_text)
        assert ["2", "1"] == [re.findall(rf"{name}:\s+(\d+)", status)[0] for name in ("Seccomp", "NoNewPrivs")]
        assert set(re.findall(r"Cap(?:Prm|Eff|Bnd):\s+(\w+)", status)) == {"0" * 16}
        assert 0 == await asyncio.to_thread(staff.server.stop)
        assert "not permitted" not in staff.server.output, staff.server.output


def change(file: Path) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | {"limits": {"body_bytes": 4711}}))


TRIES = """
import ctypes, mmap, os, socket
def tried(act):
    try:
        act()
    except OSError as error:
        return error.errno
print(tried(lambda: socket.socket(socket.AF_NETLINK)), tried(lambda: mmap.mmap(-1, 4096, prot=7)),
      tried(lambda: os.chroot("/")), tried(lambda: socket.socket()))
"""


@ANALYZE
@CONFINED
def test_the_filters_hold() -> None:
    """What they are there for is refused: or the test before this one would say nothing."""
    sandbox = str(ROOT / "tests" / "sandbox.py")
    done = subprocess.run(
        [sys.executable, "-P", sandbox, str(UNIT), sys.executable, "-c", TRIES],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip

    assert [str(errno.EPERM)] * 3 + ["None"] == done.stdout.split(), done.stderr


class Manager:
    """Listens as systemd does."""

    def __init__(self, address: Path, end: socket.socket) -> None:
        self.environ = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "200000"}
        self._end = end
        self.standing = ""  # as it was told last

    async def hears(self, wanted: str, *, seconds: float = 10) -> list[dict[str, str]]:
        """All that is said until this key is."""
        found: list[dict[str, str]] = []
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(seconds):
            while not found or wanted not in found[-1]:
                text = (await loop.sock_recv(self._end, 4096)).decode()
                found.append(dict(line.split("=", 1) for line in text.split("\n")))
                self.standing = found[-1].get("STATUS", self.standing)
        return found

    async def forget(self) -> None:
        """What has been said so far."""
        with contextlib.suppress(TimeoutError):
            await self.hears("nothing", seconds=0.05)


@asynccontextmanager
async def manager(directory: Path) -> AsyncIterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.settimeout(0)
        end.bind(str(directory / "notify"))
        yield Manager(directory / "notify", end)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.soak)])
async def test_the_service_manager_hears_how_it_stands(state_dir: Path, workers: int) -> None:
    """Ready, alive, reloading and ready again, whatever came of it; nothing while custody hangs; stopping."""
    async with manager(state_dir) as systemd, staffed(state_dir, workers, environ=systemd.environ) as staff:
        assert "needs-login" in (await systemd.hears("READY"))[-1]["STATUS"]
        assert {"WATCHDOG": "1"} == (await systemd.hears("WATCHDOG"))[-1]
        custody = staff.custody() if workers > 1 else staff.server.pid
        environ = await asyncio.to_thread(Path(f"/proc/{custody}/environ").read_bytes) if workers > 1 else b""
        assert b"NOTIFY_SOCKET" not in environ
        while systemd.standing != "ok":  # once the login has been noticed
            await systemd.hears("STATUS")

        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        staff.server.send_signal(signal.SIGHUP)
        assert before <= int((await systemd.hears("RELOADING"))[-1]["MONOTONIC_USEC"])
        assert "ok" == (await systemd.hears("READY"))[-1]["STATUS"]
        await asyncio.to_thread((state_dir / "config.yaml").write_text, "nonsense: [")
        staff.server.send_signal(signal.SIGHUP)
        await systemd.hears("RELOADING")
        assert "ok" == (await systemd.hears("READY"))[-1]["STATUS"]

        os.kill(custody, signal.SIGSTOP)
        await asyncio.sleep(0.25)
        await systemd.forget()
        with pytest.raises(TimeoutError):
            await systemd.hears("WATCHDOG", seconds=0.3)
        os.kill(custody, signal.SIGCONT)
        await systemd.hears("WATCHDOG")

        staff.server.send_signal(signal.SIGTERM)
        stop = (await systemd.hears("STOPPING"))[-1]
        assert 40_000_000 == int(stop["EXTEND_TIMEOUT_USEC"])  # its grace, and what comes after that
        assert 0 == await asyncio.to_thread(staff.server.end, 15)
