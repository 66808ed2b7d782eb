"""How two processes of one server talk: messages in frames over a pair of sockets, with open files beside them.

    version  files  length of the text  length of the blob   then the text (JSON: [kind, data]) and the blob
    1 byte   1 byte 4 bytes             4 bytes

The pair is made by the supervisor and inherited, so nobody else can be at the other end. Sending never waits: what the
other end does not take is kept, up to a limit, and beyond that the link is over. A process that hangs can so never hold
up another one. What was sent before an end is read before the end is noticed, and in the same order.
"""

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy import logs

VERSION = 1
LARGEST = 16 << 20  # bytes of one message
WAITING = 32 << 20  # bytes that wait for the other end; more: it hangs
MOST_FILES = 64  # with one message
_PIECE = 64 * 1024
_TURN = 16  # pieces that are read until others have their turn
_HEAD = struct.Struct("!BBxxII")
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

log = logs.get("workers")


@dataclass(frozen=True, slots=True)
class Message:
    """What the other end has said. `files` are ours now: somebody has to close them."""

    kind: str
    data: Any = field(default=None, repr=False)
    blob: bytes = field(default=b"", repr=False)
    files: tuple[int, ...] = ()


class Link:
    """One end. `open()` first. `heard` is told of each message; `lost` once it is over, unless we hung up."""

    def __init__(
        self, end: socket.socket, heard: Callable[[Message], None], lost: Callable[[], None] = lambda: None,
        *, waiting: int = WAITING,
    ) -> None:  # fmt: skip
        end.settimeout(0)
        self._end = end
        self._heard = heard
        self._lost = lost
        self._most = waiting
        self._out: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        self._out_bytes = 0
        self._in = bytearray()
        self._files: deque[int] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = self._silent = False

    def open(self) -> None:
        """Listen to the other end, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._end.fileno(), self._read)

    @property
    def over(self) -> bool:
        """Whether nothing can be said any more."""
        return self._over or self._silent

    @property
    def waiting(self) -> bool:
        """Whether something that was said has not left us yet."""
        return bool(self._out)

    def close(self) -> None:
        """Hang up. `lost` is not told."""
        if self._over:
            return
        self._over = True
        if self._loop is not None:
            self._loop.remove_reader(self._end.fileno())
            self._loop.remove_writer(self._end.fileno())
        for _, files in self._out:
            _close(files)
        _close(self._files)
        self._out.clear()
        self._end.close()

    def finish(self, reason: str = "we hang up") -> None:
        """Hang up, but hear first all that was said: from now on the other end cannot say any more. `lost` is told."""
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RD)
        while not self._over:  # after the last word comes the end
            if not self._hear():
                self._fail(reason)

    def _fail(self, reason: str) -> None:
        if not self._over:
            self.close()
            log.debug("a link is over", reason=reason)
            self._lost()

    # -- saying -------------------------------------------------------------------------------------------------------

    def say(self, kind: str, data: Any = None, *, blob: bytes = b"", files: Sequence[int] = ()) -> bool:
        """Send a message, or keep it until the other end takes it. False: the link is over.

        The files stay the caller's: the other end gets its own.
        """
        if self._over or self._silent:
            return False
        text = json.dumps([kind, data], separators=(",", ":")).encode()
        frame = memoryview(_HEAD.pack(VERSION, len(files), len(text), len(blob)) + text + blob)
        whole = len(frame)
        if whole > LARGEST or len(files) > MOST_FILES:
            raise ValueError(f"a message {kind} is too large")
        if not self._out:
            try:
                frame = frame[self._write(frame, files) :]
            except OSError:
                self._mute()
                return False
            if not frame:
                return True
            files = files if len(frame) == whole else ()  # they went with the first byte
        self._keep(frame, tuple(map(os.dup, files)))
        return not self._silent

    def _keep(self, frame: memoryview, files: tuple[int, ...]) -> None:
        self._out.append((frame, files))
        self._out_bytes += len(frame)
        if self._out_bytes > self._most:
            self._mute()
            if self._loop is not None:  # not at once: somebody is in the middle of saying something
                self._loop.call_soon(self.finish, "the other end takes nothing")
        elif self._loop is not None and len(self._out) == 1:
            self._loop.add_writer(self._end.fileno(), self._flush)

    def _write(self, frame: memoryview, files: Sequence[int]) -> int:
        """How many bytes have gone; the files go with the first."""
        try:
            return socket.send_fds(self._end, [frame], list(files)) if files else self._end.send(frame)
        except (BlockingIOError, InterruptedError):
            return 0

    def _flush(self) -> None:
        try:
            while self._out:
                frame, files = self._out[0]
                gone = self._write(frame, files)
                if not gone:
                    return
                _close(files)
                self._out_bytes -= gone
                self._out[0] = (frame[gone:], ())
                if gone == len(frame):
                    self._out.popleft()
        except OSError:
            self._mute()
            return
        if self._loop is not None:
            self._loop.remove_writer(self._end.fileno())

    def _mute(self) -> None:
        """The other end has gone: what it said before that is still to be read, and then the end will be noticed."""
        self._silent = True
        for _, files in self._out:
            _close(files)
        self._out.clear()
        if self._loop is not None:
            self._loop.remove_writer(self._end.fileno())

    # -- hearing ------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        for _ in range(_TURN):
            if self._over or not self._hear():
                return

    def _hear(self) -> bool:
        """The next piece. False: there is none."""
        try:
            data, files, flags, _ = socket.recv_fds(self._end, _PIECE, MOST_FILES, _CLOSE_ON_EXEC)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._fail(error.strerror or "it failed")
            return False
        self._files.extend(files)
        for file in files:
            os.set_inheritable(file, False)  # noqa: FBT003  it takes no keyword
        if flags & socket.MSG_CTRUNC:
            self._fail("files were lost: too many are open")
        elif not data:
            self._fail("the other end has gone")
        else:
            self._in += data
            self._parse()
            return True
        return False

    def _parse(self) -> None:
        while len(self._in) >= _HEAD.size and not self._over:
            version, files, text, blob = _HEAD.unpack_from(self._in)
            if version != VERSION or text + blob > LARGEST or files > len(self._files):
                self._fail("the other end speaks another language")
                return
            end = _HEAD.size + text + blob
            if len(self._in) < end:
                return
            said = bytes(self._in[_HEAD.size : end])
            del self._in[:end]
            self._tell(said[:text], said[text:], tuple(self._files.popleft() for _ in range(files)))

    def _tell(self, text: bytes, blob: bytes, files: tuple[int, ...]) -> None:
        try:
            kind, data = json.loads(text)
        except ValueError:
            _close(files)
            self._fail("the other end speaks another language")
            return
        try:
            self._heard(Message(kind, data, blob, files))
        except Exception as error:  # noqa: BLE001  a fault of one message must not end a server
            log.error("a message between our processes failed", kind=str(kind), error=type(error).__name__)


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends of a new link."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


def _close(files: Sequence[int] | deque[int]) -> None:
    for file in files:
        with contextlib.suppress(OSError):
            os.close(file)
