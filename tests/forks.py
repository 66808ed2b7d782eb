"""Commands of `bearerd` without the wait for its imports: one process has everything imported, and forks for each.

What it forks is a process like any other: it has a directory, an environment and streams of its own, runs the whole
command from `main` on, and ends as Python does: threads, then what `atexit` knows. Only the start of the interpreter is
shared, and at the very end its modules are not taken apart. Where that counts (its own variables, how long it takes,
what a process list shows) a test starts `product.COMMAND` itself.

As a program (`python tests/forks.py DESCRIPTOR`) this is the process that forks; it ends with the one that started it.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from select import POLLIN, poll

_HEAD = 4  # bytes: how long an order is
_STREAMS = 3
_PATIENCE = 40.0  # seconds
_AT_START = ("PYTHON", "LC_", "LANG", "TZ")
_EXAMPLE = Path(__file__).resolve().parent.parent / "config.example.yaml"


class Fork:
    """One command, with the methods of `subprocess.Popen` that are needed."""

    def __init__(self, report: int) -> None:
        self._report = os.fdopen(report, "rb", buffering=0)
        self._code: int | None = None
        self._lock = threading.Lock()
        self.pid = self._number()

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float = _PATIENCE) -> int:
        """Its exit code. subprocess.TimeoutExpired if it has not ended after so many seconds."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, seconds: float) -> int | None:
        if not self._lock.acquire(blocking=seconds > 0):
            return None  # another thread waits for it
        try:
            if self._code is None:
                waiting = poll()
                waiting.register(self._report, POLLIN)
                if waiting.poll(seconds * 1000):
                    self._code = self._number()
                    self._report.close()
            return self._code
        finally:
            self._lock.release()

    def _number(self) -> int:
        line = self._report.readline()
        assert line, "the process that forks has ended; what it said is on stderr"
        return int(line)


class Ending:
    """The end of a forked process, once all that it had to do at its end is done.

    Python would take a thousand modules apart then, each page of which the fork has to copy first: five times the work
    of a short command. Made before the product is imported, it is the last that `atexit` calls.
    """

    def __init__(self) -> None:
        self._code: int | None = None
        atexit.register(self._leave)

    def of(self, command: Callable[[], None]) -> None:
        """Run the command; how it ends is noted, and goes on."""
        try:
            command()
        except SystemExit as end:
            self._code = 0 if end.code is None else end.code if isinstance(end.code, int) else None
            raise
        self._code = 0

    def _leave(self) -> None:
        if self._code is None:
            return  # an exception, or a text: that is Python's to tell
        gc.collect()  # what was left open is told
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                return
        os._exit(self._code & 0xFF)


class Forge:
    """The process that forks, for all commands of this one. It is started for the first of them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self._orders: socket.socket | None = None
        self._lock = threading.Lock()

    def run(self, arguments: Sequence[str], home: Path, environ: Mapping[str, str], streams: Sequence[int]) -> Fork:
        """`bearerd ARGUMENTS` in a directory. `streams`: descriptors for stdin, stdout and stderr."""
        assert _at_start(environ) == _at_start(self._environ), "only a new interpreter heeds these variables"
        order = json.dumps({"arguments": arguments, "home": str(home), "environ": dict(environ)}).encode()
        report, theirs = os.pipe()
        with self._lock:
            if self._orders is None:
                self._orders = self._start()
            socket.send_fds(self._orders, [len(order).to_bytes(_HEAD)], [*streams, theirs])
            self._orders.sendall(order)
        os.close(theirs)
        return Fork(report)

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=self._environ,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(process.wait)
        atexit.register(ours.close)  # comes first
        return ours


def _at_start(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in environ.items() if name.startswith(_AT_START)}


def import_everything() -> None:
    import proxy

    for module in pkgutil.walk_packages(proxy.__path__, "proxy."):
        if module.name != "proxy.__main__":  # which runs at once
            importlib.import_module(module.name)
    # What each command would build anew: the models of the configuration, and the brokers that come with bearerd.
    importlib.import_module("proxy.settings").read(_EXAMPLE, {"HOME": "/home/somebody"})
    assert threading.active_count() == 1, "a thread does not survive a fork"
    gc.collect()
    gc.freeze()


def fork_for_each(orders: socket.socket) -> list[str]:
    """Returns in each of the forked processes, with the arguments of its command; ends where there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for those who wait for us
    while True:
        head, descriptors, _, _ = socket.recv_fds(orders, _HEAD, _STREAMS + 1)
        if not head:
            os._exit(0)
        order = json.loads(orders.recv(int.from_bytes(head), socket.MSG_WAITALL))
        if os.fork() == 0:
            orders.close()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            *streams, report = descriptors
            mind_a_fork(report, streams)
            return take_over(order, streams)
        for descriptor in descriptors:
            os.close(descriptor)
        with contextlib.suppress(ChildProcessError):  # there is none any more
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass


def mind_a_fork(report: int, streams: Sequence[int]) -> None:
    """Fork once more, and return there; here, tell the number of that process, and how it ended."""
    pid = os.fork()
    if pid == 0:
        os.close(report)
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for descriptor in streams:
        os.close(descriptor)
    os.write(report, b"%d\n" % pid)
    os.write(report, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os._exit(0)


def take_over(order: Mapping[str, object], streams: Sequence[int]) -> list[str]:
    """Be what the order says; the arguments."""
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    match order:
        case {"arguments": list(arguments), "home": str(home), "environ": dict(environ)}:
            os.chdir(home)
            os.environ.clear()
            os.environ.update(environ)
            return arguments
        case _:
            raise AssertionError(order)


if __name__ == "__main__":
    ending = Ending()
    import_everything()
    sys.argv = ["bearerd", *fork_for_each(socket.socket(fileno=int(sys.argv[1])))]
    from proxy.cli import main

    ending.of(main)
