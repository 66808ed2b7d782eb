"""What the figures were measured on, and which core does what."""

import contextlib
import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

_AFFINITY = hasattr(os, "sched_setaffinity")


def cores() -> tuple[int, int]:
    """The core of the load generator and the upstream, and that of the proxy; the same one where there is only one."""
    if not _AFFINITY:
        return 0, 0
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[min(1, len(usable) - 1)]


@contextlib.contextmanager
def pinned(core: int) -> Iterator[None]:
    """Whatever is started in here runs on this core only, and so do we meanwhile."""
    if not _AFFINITY:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def facts() -> dict[str, Any]:
    """Cores, processor, memory, kernel and versions; nothing that names the machine or its people."""
    return {
        "cores": os.cpu_count(),
        "processor": _line("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "memory_gb": round(int((_line("/proc/meminfo", "MemTotal") or "0").split()[0]) / 2**20, 1),
        "system": f"{platform.system()} {platform.release()}",
        "pinned": _AFFINITY and len(set(cores())) > 1,
        "python": platform.python_version(),
        "packages": {name: version for name in ("aiohttp", "httptools", "uvloop") if (version := _version(name))},
    }


def _line(file: str, name: str) -> str:
    """The value of a `name: value` line of a file of the kernel's; empty without one."""
    with contextlib.suppress(OSError):
        for line in Path(file).read_text("utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return ""


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
