"""`bearerd serve` with several workers: the process that a person starts, and sends signals to, only supervises."""

import asyncio
import gc
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from proxy import __version__
from proxy.cli.invocation import Invocation
from proxy.notify import Manager

if TYPE_CHECKING:
    from proxy.config import Config

_FLAGS = {"listen": "--listen", "console": "--console", "log.level": "--log-level", "log.format": "--log-format"}


def supervise(
    invocation: Invocation,
    path: Path,
    overrides: Mapping[str, str],
    config: "Config",
    manager: Manager,
    *,
    watch: bool = False,
) -> int:
    """Start custody and workers, hold them up, and return the exit code once all is over.

    `manager` is told how custody stands; `watch`: custody looks whether the file has changed.
    """
    from proxy.workers.supervisor import Supervisor, worker_command

    supervisor = Supervisor(
        custody_command(invocation, path, overrides, watch=watch),
        worker_command(config.engine.loop),
        config.workers,
        invocation.warn,
        manager,
    )
    gc.enable()
    return asyncio.run(supervisor.run())


def custody_command(
    invocation: Invocation, path: Path, overrides: Mapping[str, str], *, watch: bool = False
) -> list[str]:
    """The same `serve`, told that it is supervised; the number of its link's file follows."""
    options = ["-c", str(path), "--color", invocation.color]
    options += ["-q"] if invocation.quiet else []
    options += ["-v"] if invocation.verbose else []
    options += ["--watch"] if watch else []
    for key, text in overrides.items():
        options += [_FLAGS[key], text]
    return [sys.executable, "-P", "-m", "proxy", "serve", *options, "--supervisor", __version__, "--crew"]
