"""`strace`: which calls a process makes of the system, and what happens if one of them fails or is its last."""

import asyncio
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

# What a failing disk, or a full one, may answer to which call on a file; for sockets it is a network that breaks.
ON_FULL = {"write", "pwrite64", "pwritev", "openat", "fsync", "fdatasync", "ftruncate", "fallocate", "rename", "mkdir"}
ON_DISK_FAULT = ON_FULL | {"read", "pread64", "fstat", "newfstatat", "statx", "unlink", "close", "mmap"}
ON_NETWORK_FAULT = {"sendto", "recvfrom", "sendmsg", "recvmsg", "connect"}

_LINE = re.compile(r"(\w+)\((.*)")
_TARGET = re.compile(r'^(?:AT_FDCWD(?:<[^>]*>)?, )?(?:\d+<([^>]*(?:>\])?[^>]*)>|"([^"]*)")')
_NEVER = ("exit", "exit_group", "restart_syscall")


def forbidden(reason: str) -> NoReturn:
    """This machine, a container perhaps, does not allow what the test needs."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and CI runs everything")
    pytest.skip(reason)


@dataclass(frozen=True, slots=True)
class Call:
    """The `number`-th call of that name that a thread makes, and the file or socket that it is about."""

    thread: str
    name: str
    number: int
    target: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.thread}:{self.name}#{self.number}"


@dataclass(frozen=True, slots=True)
class Point:
    """What is to happen at a call. `on`: at each of that name from there on, as if the disk stayed full."""

    call: Call
    fault: str
    on: bool = False

    def __str__(self) -> str:
        return f"{self.call}{'+' if self.on else ''} {self.fault}"

    @property
    def options(self) -> tuple[str, ...]:
        what = "signal=KILL" if self.fault == "KILL" else f"error={self.fault}"
        when = f"{self.call.number}{'+' if self.on else ''}"
        return ("-e", f"trace={self.call.name}", "-e", f"inject={self.call.name}:{what}:when={when}")


@asynccontextmanager
async def traced(strace: str, thread: int, *options: str) -> AsyncIterator[None]:
    """Trace from here until the thread ends; on the way out, until `strace` has written everything down."""
    process = await asyncio.create_subprocess_exec(
        strace, *options, "-p", str(thread), stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        line = (await process.stderr.readline()).decode()
        if "attached" not in line:
            forbidden(f"strace may not attach here: {line.strip()}")
        yield
        await asyncio.wait_for(process.communicate(), 10)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def read(directory: Path, threads: Mapping[str, int]) -> list[Call]:
    """Every call in the files `trace.THREAD` of `strace -ff -yy -o trace`, thread by thread."""
    known, calls = {number: name for name, number in threads.items()}, []
    for file in sorted(directory.glob("trace.*")):
        thread, seen = known.get(int(file.suffix[1:]), "new"), Counter[str]()
        for line in file.read_text(errors="replace").splitlines():
            found = _LINE.match(line)
            if found is None or found[1] in _NEVER:
                continue
            seen[found[1]] += 1
            target = _TARGET.match(found[2])
            call = Call(thread, found[1], seen[found[1]], (target[1] or target[2] or "") if target else "")
            if (call.name, call.target[:4]) != ("read", "pipe"):  # the word to go
                calls.append(call)
    return calls


def kills(calls: Iterable[Call]) -> list[Point]:
    return list(dict.fromkeys(Point(call, "KILL") for call in calls))


def faults(calls: Iterable[Call], folder: str) -> list[Point]:
    """Every error that a disk or a network may answer with, at each call on a file in such a folder or on a network."""
    points = []
    for call in calls:
        network = call.target.startswith("TCP")
        disk = f"/{folder}/" in call.target
        if disk and call.name in ON_FULL:
            points += [Point(call, "ENOSPC"), Point(call, "ENOSPC", on=True)]
        if disk and call.name in ON_DISK_FAULT:
            points += [Point(call, "EIO"), Point(call, "EIO", on=True)]
        if network and call.name in ON_NETWORK_FAULT:
            points.append(Point(call, "EIO"))
    return list(dict.fromkeys(points))
