"""Programs that stream, each in a process of its own, and what they tell: lines of JSON, `[stream, channel, what]`.

A channel holds numbers, one by one, or the ids of orders; the channel `log` what an SDK has to say itself.
"""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LOG = "log"
Line = tuple[str, str, Any]


class Listening:
    """A program. Its lines are kept in the order in which it wrote them; a line that is no JSON is one of its log."""

    def __init__(self, process: "subprocess.Popen[str]", stderr: Path) -> None:
        self._process = process
        self._stderr = stderr
        self._lines: list[Line] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def lines(self) -> list[Line]:
        """So far."""
        return list(self._lines)

    @property
    def errors(self) -> str:
        return self._stderr.read_text(errors="replace")

    def of(self, stream: str, channel: str) -> list[Any]:
        """What has come of one channel."""
        return [what for name, kind, what in self.lines if (name, kind) == (stream, channel)]

    def said(self, stream: str) -> str:
        """The log of one stream."""
        return "\n".join(map(str, self.of(stream, LOG)))

    def go_on(self) -> None:
        """Say one empty line to it."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """With everything that it has started."""
        os.killpg(self._process.pid, 9)
        self._process.wait()
        self._thread.join(5)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                stream, channel, what = json.loads(line)
            except ValueError:
                stream, channel, what = "", LOG, line.strip()
            self._lines.append((stream, channel, what))


@contextmanager
def listening(command: Sequence[str], home: Path, environ: Mapping[str, str]) -> Iterator[Listening]:
    """Start it, with `home` as its home and working directory and nothing but `environ` around it."""
    home.mkdir(parents=True)
    stderr = home / "stderr"
    with stderr.open("w") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=home,
            env={"HOME": str(home), "TZ": "UTC", "PATH": "/usr/bin:/bin", **environ},
            start_new_session=True,
        )
    program = Listening(process, stderr)
    try:
        yield program
    finally:
        program.end()


def until(ready: Callable[[], bool], seconds: float) -> bool:
    """Whether it has come to be so in time."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
