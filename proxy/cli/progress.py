"""How far long work has come, on stderr: a line that is written over on a terminal, elsewhere a line now and then."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from proxy.cli.invocation import Invocation

SOON = 0.5  # seconds until the first word: what is done by then needs none
_OVER, _ANEW = 0.1, 10.0  # seconds between two words, on a terminal and elsewhere
_CLEAR = "\r\x1b[K"


class Progress:
    """Says how many `what` of `total` are done, within a `with` block. None: nobody knows how many there are.

    Quiet with `--quiet`. It may be told from a thread; `clock` gives seconds.
    """

    def __init__(
        self,
        invocation: Invocation,
        what: str,
        total: int | None = None,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream or sys.stderr
        self._what, self._total = what, total
        self._clock = clock
        self._terminal = self._stream.isatty() and invocation.environ.get("TERM") != "dumb"
        self._quiet = invocation.quiet
        self._next = clock() + SOON
        self._done = 0
        self._written = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._written and self._terminal and not self._quiet:  # what comes next begins on a clean line
            self._write(_CLEAR)

    def step(self, count: int = 1) -> None:
        """So many more are done."""
        self.tell(self._done + count)

    def tell(self, done: int) -> None:
        """So many are done in all."""
        self._done = done
        now = self._clock()
        if self._quiet or now < self._next:
            return
        self._next = now + (_OVER if self._terminal else _ANEW)
        self._written = True
        line = self._line()
        self._write(f"{_CLEAR}{line}" if self._terminal else f"{line}\n")

    def _line(self) -> str:
        if not self._total:
            return f"{self._done:,} {self._what}"
        part = min(100, 100 * self._done // self._total)
        return f"{self._done:,} of {self._total:,} {self._what} ({part} %)"

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._quiet = True  # nobody reads it; the work goes on
