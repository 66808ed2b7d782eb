"""What one call costs, counted instead of timed: how many functions are called for it, and what of it stays in memory.

A count is the same on every machine and however busy that is; times are neither.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import proxy

_OURS = str(Path(proxy.__file__).parent)


@dataclass(slots=True)
class Calls:
    """Calls of functions since it was made: written in Python, and in C."""

    python: int = 0
    c: int = 0


@contextmanager
def counted() -> Iterator[Calls]:
    """Count all calls below a function of ours, or of aiohttp's, in this thread: not the event loop's, nor a test's.

    The simulated broker and client run in the same loop; nothing of theirs is counted, as they call nothing of ours.
    """
    calls = Calls()
    outermost: list[FrameType] = []

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        if outermost:
            if event == "call":
                calls.python += 1
            elif event == "c_call":
                calls.c += 1
            elif event == "return" and frame is outermost[0]:
                outermost.clear()
        elif event == "call" and _belongs(frame.f_code.co_filename):
            outermost.append(frame)
            calls.python += 1

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def _belongs(file: str) -> bool:
    return file.startswith(_OURS) or "/aiohttp/" in file


def kept_blocks() -> int:
    """Blocks of memory that are in use, once nothing is left to be collected."""
    gc.collect()
    return sys.getallocatedblocks()
