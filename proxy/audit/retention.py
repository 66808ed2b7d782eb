"""Which files of a trail are old enough to go. Everything here blocks.

A file may go when the one after it was begun before the time that is asked for: every record in it is older then.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.audit.trailfile import first_of, name_of, opening
from proxy.store.files import Files

EVERY = 3600.0  # seconds between looks
JUMP = 30 * 86_400.0  # seconds; a clock that moves more at once is not believed before the next look
_HEAD = 4096


@dataclass(frozen=True, slots=True)
class Old:
    """Files that may go, oldest first: their names, their last record's number and link."""

    names: tuple[str, ...]
    until: int
    link: str


def old(files: Files, directory: Path, before: float) -> Old | None:
    """What may go of a trail if nothing from before this time (Unix) is kept; None if all is younger. `OSError`."""
    firsts = sorted(filter(None, map(first_of, files.names(directory))))
    found: Old | None = None
    for index, first in enumerate(firsts[1:], 1):
        head = _head(files, directory / name_of(first))
        if not head or head["time"] >= before:
            break
        found = Old(tuple(map(name_of, firsts[:index])), first - 1, head["after"])
    return found


def remove(files: Files, directory: Path, old: Old) -> None:
    """Remove them, oldest first. `OSError`."""
    for name in old.names:
        files.remove(directory / name)


def _head(files: Files, path: Path) -> dict[str, Any]:
    descriptor = files.open(path)
    try:
        return opening(files.pread(descriptor, _HEAD, 0))
    finally:
        files.close(descriptor)
