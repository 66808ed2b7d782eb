"""Processes of the benchmark: started on a core, waited for, measured, ended."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import psutil

from bench.machine import pinned

START = 30.0  # seconds that a program may take until it listens
STOP = 10.0


class Missing(Exception):
    """A program is not there, or does not do what it should. The text says why, without a path."""


def program(name: str, package: str) -> str:
    """Where a program is. Missing, with the Debian package to install, without it."""
    # Servers are not in the PATH of ordinary users.
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise Missing(f"{name} is not on this machine; on Debian: apt-get install {package}")
    return found


class Process:
    """A program on one core, in a folder of its own. Its output goes to a file there, so that no pipe can fill."""

    def __init__(
        self, command: Sequence[str], core: int, home: Path, name: str, environ: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._output = home / f"{name}.output"
        ours = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
        with self._output.open("wb") as output, pinned(core):
            try:
                self._process = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=home,
                    env=ours | {"HOME": str(home)} | dict(environ or {}),
                )
            except OSError as error:
                raise Missing(f"{name} does not start: {error.strerror}") from None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._output.read_text("utf-8", "replace")

    def family(self) -> list[psutil.Process]:
        """It and its children's children, as far as they live."""
        try:
            first = psutil.Process(self.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            raise Missing(f"{self.name} has ended: {self._last()}") from None

    def cpu(self) -> float:
        """Seconds of processor time, user and system, of the whole family."""
        spent = 0.0
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                spent += times.user + times.system
        return spent

    def resident(self) -> int:
        """Bytes in memory of the whole family; what two processes share counts twice."""
        found = 0
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                found += process.memory_info().rss
        return found

    def listening(self, port: int) -> Self:
        """Return when something accepts on this port of 127.0.0.1. Missing if the program ends before, or is late."""
        return self.until(lambda: _accepts(port), "listens")

    def until(self, ready: Callable[[], bool], what: str) -> Self:
        """Return when `ready` says so. Missing if the program ends before, or is late; `what` it should do."""
        end = time.monotonic() + START
        while not ready():
            if self._process.poll() is not None:
                raise Missing(f"{self.name} ended with {self._process.returncode}: {self._last()}")
            if time.monotonic() > end:
                raise Missing(f"not within {START:.0f} s: {self.name} {what}; {self._last()}")
            time.sleep(0.02)
        return self

    def _last(self) -> str:
        lines = [line.strip() for line in self.output.replace(str(self._output.parent), "…").splitlines()]
        return next((line[:200] for line in reversed(lines) if line), "it said nothing")

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to whoever of the family does not end by it."""
        try:
            family = self.family()
        except Missing:
            return
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        _, left = psutil.wait_procs(family, STOP)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()


@contextlib.contextmanager
def running(process: Process) -> Iterator[Process]:
    """Ended at the end, whatever happens."""
    try:
        yield process
    finally:
        process.stop()


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def free_port() -> int:
    """A port that nobody listens on at the moment; whoever is told it listens on it soon."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(name: str, *command: str, environ: Mapping[str, str] | None = None, stdin: str = "") -> str:
    """A command to its end: what it printed, on both. Missing if it isn't there or fails."""
    try:
        done = subprocess.run(
            command,
            input=stdin,
            env=None if environ is None else dict(environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        raise Missing(f"{name} is not on this machine, or does not start") from None
    if done.returncode:
        said = done.stdout.strip().splitlines() or [""]
        raise Missing(
            f"{name}: exit code {done.returncode}: {next((line for line in said if 'error' in line), said[-1])}"
        )
    return done.stdout
