"""Runs one command for one notice: no shell, little environment, a time limit, and nothing of it is left behind.

Each run has a thread of its own. uvloop's way of starting programs leaves descriptors open in them; Python's does not.
"""

import asyncio
import contextlib
import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Mapping
from time import monotonic
from typing import IO, Any

from proxy.alerts.notice import Answer
from proxy.hooks import Program

LARGEST = 4096  # bytes of its output that are kept; the rest is read and dropped
LINGER = 0.2  # seconds for the output of one that has ended
BURIAL = 2.0  # seconds for one that was killed to be gone; one that hangs in the system never is
LOOK = 0.02  # seconds between looks whether it has
PASSED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR")  # of our environment
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CHUNK = 65536


def environment(document: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """What a command gets: the few variables that programs need, and what the notice says."""
    kept = {name: environ[name] for name in PASSED if name in environ}
    said = {
        "BEARERD_EVENT": document["event"],
        "BEARERD_EVENT_ID": document["id"],
        "BEARERD_EVENT_KEY": document["key"],
        "BEARERD_EVENT_KIND": document["kind"],
        "BEARERD_EVENT_SEVERITY": document["severity"],
        "BEARERD_EVENT_TEXT": document["text"],
    }
    return {"PATH": _PATH} | kept | {name: str(value).replace("\0", "") for name, value in said.items()}


async def run(way: Program, body: bytes, environ: Mapping[str, str], timeout: float) -> Answer:  # noqa: ASYNC109
    """Run it, with `body` on its stdin, for at most `timeout` seconds. Never raises for what it does.

    If this is cancelled it is killed.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Answer] = loop.create_future()
    one = _Run(way, body, environ, timeout)

    def tell(answer: Answer) -> None:
        if not future.done():
            future.set_result(answer)

    def work() -> None:
        answer = one.work()
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, answer)

    threading.Thread(target=work, name="alert-command", daemon=True).start()
    try:
        async with asyncio.timeout(timeout + BURIAL):
            return await future
    except TimeoutError:
        return Answer(ok=False, said="killed, and it does not end", seconds=timeout + BURIAL)
    finally:
        one.kill()


class _Run:
    """One run. `work` in a thread; `kill` from anywhere."""

    def __init__(self, way: Program, body: bytes, environ: Mapping[str, str], timeout: float) -> None:
        self._way, self._environ, self._timeout = way, environ, timeout
        self._body = memoryview(body)
        self._output = bytearray()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._over = False  # nobody may be killed under that number any more

    def work(self) -> Answer:
        """Run it to its end. Blocks."""
        began = monotonic()
        try:
            process = self._start()
        except OSError as error:
            return Answer(ok=False, said=f"it cannot be started ({error.strerror or type(error).__name__})")
        try:
            in_time = self._talk(process, began + self._timeout)
        finally:
            self._bury(process)
        code = process.returncode
        said = _ending(code) if in_time else f"killed: it did not end within {self._timeout:g} s"
        text = self._output.decode("utf-8", "replace")
        return Answer(in_time and code == 0, said, monotonic() - began, output=text)

    def kill(self) -> None:
        """End it and all that it has started."""
        with self._lock:
            if self._process is not None and not self._over:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            elif self._process is None:
                self._over = True

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self._over:
                raise InterruptedError
            self._process = subprocess.Popen(  # noqa: S603  the operator's own setting, no shell
                [str(self._way.path), *self._way.arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self._way.directory,
                env=dict(self._environ),
                start_new_session=True,
            )
            return self._process

    def _talk(self, process: "subprocess.Popen[bytes]", deadline: float) -> bool:
        """Whether it has ended in time. What it has started may hold its output open: nobody waits for that."""
        with selectors.DefaultSelector() as pipes:
            for pipe, ready in ((process.stdin, selectors.EVENT_WRITE), (process.stdout, selectors.EVENT_READ)):
                assert pipe is not None  # noqa: S101  pipes were asked for
                os.set_blocking(pipe.fileno(), False)
                pipes.register(pipe, ready)
            while not _has_ended(process):
                if monotonic() >= deadline:
                    return False
                self._exchange(pipes)
            until = monotonic() + LINGER
            while pipes.get_map() and monotonic() < until:
                self._exchange(pipes)
        return True

    def _exchange(self, pipes: selectors.BaseSelector) -> None:
        for key, ready in pipes.select(LOOK):
            pipe: IO[bytes] = key.fileobj  # type: ignore[assignment]  # we have registered nothing else
            try:
                goes_on = self._tell(pipe.fileno()) if ready & selectors.EVENT_WRITE else self._listen(pipe.fileno())
            except BlockingIOError:
                continue
            except OSError:  # it does not want to know
                goes_on = False
            if not goes_on:
                pipes.unregister(pipe)
                pipe.close()

    def _tell(self, descriptor: int) -> bool:
        self._body = self._body[os.write(descriptor, self._body[:_CHUNK]) :]
        return len(self._body) > 0

    def _listen(self, descriptor: int) -> bool:
        more = os.read(descriptor, _CHUNK)
        self._output += more[: LARGEST - len(self._output)]
        return bool(more)

    def _bury(self, process: "subprocess.Popen[bytes]") -> None:
        self.kill()  # while its number is certainly still its own
        with self._lock:
            self._over = True
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Where the system can say so without giving its number free, that comes later."""
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit {code}"
    with contextlib.suppress(ValueError):
        return f"ended by {signal.Signals(-code).name}"
    return f"ended by signal {-code}"
