"""Where lines for people and log collectors end: a stream that may be slow, full, blocked or gone, behind a thread.

Whoever has something to say hands it over and goes on. What the sink does not take is counted, and told as soon as it
takes something again, at the place where it is missing. Lines leave whole: as many at a time as other processes with
the same pipe cannot tear.
"""

import contextlib
import io
import os
import select
import stat
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TextIO

MOST_LINES = 10_000  # that wait
MOST_CHARACTERS = 8 << 20  # that wait
ATOMIC = 4096  # bytes: PIPE_BUF on Linux; what is written at once to a pipe stays together
ROOM = 256  # of them for a line that tells of others
PIECE = 64 * 1024  # bytes at once to a file
ENDING = 1.0  # seconds that an end waits for the sink

Line = tuple[str, int, int]  # how many lines nobody hears of if this one is lost, and how many of them are so anew


class Sink:
    """Writes to `stream` in a thread of its own. `loss` words the line that says how many are missing."""

    def __init__(self, stream: TextIO, loss: Callable[[int], str]) -> None:
        self.stream = stream
        self.lost = 0  # lines, in all
        self._loss = loss
        self._number = _own(stream)  # None: a stream without a file, of a test
        to_file = self._number is not None and _is_file(self._number)
        self._at_once = (PIECE if to_file else ATOMIC) - ROOM
        self._waiting: SimpleQueue[Line | None] = SimpleQueue()
        self._characters = 0  # that wait
        self._dropped = 0  # lines that found no room, not told yet
        self._unwritten = 0  # lines that the sink has refused, not told yet; the thread's
        self._torn = False  # the last line has left in part
        # What is said may come from a destructor, in the midst of saying something else.
        self._lock = threading.RLock()
        # A daemon: a sink that blocks for ever must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)
        self._thread.start()

    def put(self, text: str) -> None:
        """Have it written, or counted as lost. Never waits, never raises. `text` brings its line break."""
        with self._lock:
            if self._waiting.qsize() >= MOST_LINES or self._characters > MOST_CHARACTERS:
                self._dropped += 1
                self.lost += 1
                return
            self._tell_dropped()
            self._characters += len(text)
            self._waiting.put((text, 1, 1))

    def close(self) -> bool:
        """Write what waits, for at most a second. False: the sink did not take it."""
        with self._lock:
            self._tell_dropped()
            self._waiting.put(None)
        self._thread.join(ENDING)
        return not self._thread.is_alive()

    def _tell_dropped(self) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._waiting.put((self._loss(dropped), dropped, 0))

    # -- in the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        ahead: list[Line] = []
        ended = False
        while not ended:
            lines, ended = self._next(ahead)
            self._write(lines)
        if self._unwritten:  # the last chance to tell
            self._write([])
        if self._number is not None:
            os.close(self._number)

    def _next(self, ahead: list[Line]) -> tuple[list[Line], bool]:
        """What is to be written at once, and whether it is the last. `ahead`: a line that did not fit any more."""
        found, ahead[:] = list(ahead), []
        size = sum(_bytes(text) for text, *_ in found)
        while not found or not self._waiting.empty():
            line = self._waiting.get()
            if line is None:
                return found, True
            self._taken(line)
            size += _bytes(line[0])
            if found and size > self._at_once:
                ahead.append(line)
                break
            found.append(line)
        return found, False

    def _taken(self, line: Line) -> None:
        with self._lock:
            self._characters -= len(line[0])
            if self._waiting.empty():
                self._characters = 0
                self._tell_dropped()  # nobody else may have anything to say for a long time

    def _write(self, lines: list[Line]) -> None:
        if self._unwritten:
            lines = [(self._loss(self._unwritten), self._unwritten, 0), *lines]
        texts = [text.encode("utf-8", "backslashreplace") for text, *_ in lines]
        gone = self._wrote(b"".join(texts))
        self._unwritten = end = 0
        for text, (_, weight, fresh) in zip(texts, lines, strict=True):
            end += len(text)
            if end > gone:
                self._torn = self._torn or gone > end - len(text)
                self._unwritten += weight
                with self._lock:
                    self.lost += fresh

    def _wrote(self, data: bytes) -> int:
        """How many bytes of it have left."""
        left = memoryview(b"\n" + data if self._torn else data)
        with contextlib.suppress(Exception):  # closed, broken or full: there is nobody left to tell
            while left:
                left = left[self._some(left) :]
        self._torn = len(left) > len(data)
        return max(0, len(data) - len(left))

    def _some(self, left: memoryview) -> int:
        if self._number is None:
            self.stream.write(bytes(left).decode())
            self.stream.flush()
            return len(left)
        try:
            return os.write(self._number, left)
        except BlockingIOError:  # whoever shares it with us has made it so
            waiting = select.poll()
            waiting.register(self._number, select.POLLOUT)
            waiting.poll()
            return 0


class Outlet(io.TextIOBase):
    """Stands in for `sys.stderr` where nothing may wait for whoever reads that: all goes to the sink."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self.sink = sink
        self._begun = ""  # of a line

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self.sink.stream.isatty()

    def fileno(self) -> int:
        return self.sink.stream.fileno()

    def write(self, text: str, /) -> int:
        """Whole lines leave; what has only begun waits for its end, or for a flush."""
        if not isinstance(text, str):
            raise TypeError("text is written here")  # click asks so whether it has to bring bytes
        lines, found, rest = f"{self._begun}{text}".rpartition("\n")
        self._begun = rest
        if found:
            self.sink.put(f"{lines}\n")
        return len(text)

    def flush(self) -> None:
        begun, self._begun = self._begun, ""
        if begun:
            self.sink.put(begun)


def _own(stream: TextIO) -> int | None:
    """A descriptor of our own for what `stream` writes to: Python's stream holds a lock while it waits.

    A file is only ever added to, so that whoever empties it while we write (`copytruncate`) gets no hole.
    """
    try:
        stream.flush()
        number = os.dup(stream.fileno())
    except (OSError, ValueError):  # io.UnsupportedOperation is both
        return None
    if _is_file(number):
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(number, fcntl.F_SETFL, fcntl.fcntl(number, fcntl.F_GETFL) | os.O_APPEND)
    return number


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "backslashreplace"))


def _is_file(number: int) -> bool:
    return stat.S_ISREG(os.fstat(number).st_mode)
