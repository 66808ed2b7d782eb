"""What a proxy of the benchmark is."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from bench.load import Way
from bench.processes import Process, free_port
from bench.upstream import Upstream

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = ROOT / ".venv-bench"  # what scripts/setup has installed for the benchmark


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a proxy is started: its own folder, the broker, the core."""

    home: Path
    upstream: Upstream
    core: int

    def inside(self, name: str) -> "Stage":
        """A folder below this one."""
        home = self.home / name
        home.mkdir(mode=0o700)
        return Stage(home, self.upstream, self.core)

    def write(self, name: str, text: str) -> Path:
        """A file of the folder."""
        path = self.home / name
        path.write_text(text, "utf-8")
        return path

    def listening(
        self, name: str, command: Callable[[int], Sequence[str]], environ: Mapping[str, str] | None = None
    ) -> "Served":
        """A program that is told a free port and listens on it."""
        port = free_port()
        process = Process(command(port), self.core, self.home, name, environ)
        try:
            process.listening(port)
        except BaseException:
            process.stop()
            raise
        return Served(Way(f"http://127.0.0.1:{port}"), process)


@dataclass(frozen=True, slots=True)
class Served:
    """A proxy that runs."""

    way: Way
    process: Process


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy. `version` and `serve` raise Missing, if it is not there or does not start.

    `note` says what differs from the others, in a few words.
    """

    name: str
    version: Callable[[], str]
    serve: Callable[[Stage], AbstractContextManager[Served]]
    note: str = ""


def fingerprint(text: str) -> str:
    """A short name for a content."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
