"""A command at a terminal: `bearerd ARGUMENTS` with a person who types, and a browser that notes where it was sent."""

import asyncio
import contextlib
import os
import pty
import secrets
import signal
import socket
import subprocess
import termios
from pathlib import Path

from tests.product import COMMAND, START, surroundings

_NEVER_HANDED_OUT = range(20000, 32000)  # Linux and macOS begin above it

BROWSER = """#!/bin/sh
printf '%s\\n' "$*" >> "$HOME/browser.argv"
cp "${1#file://}" "$HOME/browser.page"
"""


class Terminal:
    """One command on a pseudo-terminal. `shown` is everything that stood there."""

    def __init__(self, home: Path, *arguments: str) -> None:
        browser = home / "browser"
        browser.write_text(BROWSER)
        browser.chmod(0o700)
        self._end, theirs = pty.openpty()
        environ = surroundings(home, {"BROWSER": str(browser)})
        self._process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=home, env=environ, close_fds=True
        )
        os.close(theirs)
        self.shown = ""

    async def until(self, text: str) -> str:
        """What stands on the screen once `text` does."""
        async with asyncio.timeout(START):
            while text not in self.shown:
                more = await asyncio.to_thread(self._read)
                assert more, f"it ended before {text!r}:\n{self.shown}"
                self.shown += more
        return self.shown

    def type(self, line: str) -> None:
        os.write(self._end, line.encode() + b"\n")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def echoes(self) -> bool:
        """Whether what is typed is shown."""
        return bool(termios.tcgetattr(self._end)[3] & termios.ECHO)

    async def code(self) -> int:
        """Its exit code, once it ends by itself."""
        while more := await asyncio.to_thread(self._read):
            self.shown += more
        return await asyncio.to_thread(self._process.wait, START)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        os.close(self._end)

    def _read(self) -> str:
        with contextlib.suppress(OSError):  # the terminal is gone with its last user
            return os.read(self._end, 4096).decode("utf-8", "replace")
        return ""


def free_port() -> int:
    """A port that nobody listens on, now, and that no system hands out: a test that runs meanwhile cannot get it."""
    while True:
        number = secrets.choice(_NEVER_HANDED_OUT)
        with socket.socket() as found, contextlib.suppress(OSError):
            found.bind(("127.0.0.1", number))
            return number
