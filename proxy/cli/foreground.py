"""A program in our place: it has our terminal, gets the signals that we get, and how it ends is how we end."""

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Mapping, Sequence

NOT_FOUND, NOT_RUNNABLE, SIGNALLED = 127, 126, 128  # exit codes, as shells have them

_PASSED_ON = {
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGWINCH,
    signal.SIGTSTP,
    signal.SIGCONT,
}
_WATCHED = {*_PASSED_ON, signal.SIGCHLD}
_BY_KEYBOARD = {signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGWINCH}
_FROM_KERNEL = 0x80  # SI_KERNEL: sent by no process, but by the terminal
# Python ignores these, and what is ignored stays so in a new program.
_AS_USUAL = {signal.SIGPIPE, signal.SIGXFSZ}


def block() -> set[int]:
    """Keep all signals that are passed on from this thread; returns what was kept from it before."""
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED))


def run(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run `command` to its end; returns its exit code, or 128 + n if signal n ended it. `OSError` if it can't start.

    To be called in the main thread, once, before the process ends: the signals stay blocked. Other threads that were
    started before must have called `block`.
    """
    if not command[0]:  # an unset variable, in quotes; the system would say nothing of use
        raise FileNotFoundError(errno.ENOENT, "the name of the program is empty")
    for number in (signal.SIGCHLD, signal.SIGWINCH, signal.SIGCONT):
        signal.signal(number, lambda *_: None)  # what nobody handles is dropped, blocked or not, on some systems
    before = block()
    return _watch(os.posix_spawnp(command[0], tuple(command), environ, setsigmask=before, setsigdef=_AS_USUAL))


def _watch(process: int) -> int:
    while True:
        number, delivered = _next()
        if number != signal.SIGCHLD:
            if not delivered:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process, number)
            continue
        found, status = os.waitpid(process, os.WNOHANG | os.WUNTRACED)
        if not found:
            continue
        if os.WIFSTOPPED(status):
            os.kill(os.getpid(), signal.SIGSTOP)  # our shell is to see that the job has stopped
            continue
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else SIGNALLED - code


def _next() -> tuple[int, bool]:
    """The next signal, and whether the program got it too: a terminal sends its signals to everybody in front."""
    if sys.platform == "linux":
        found = signal.sigwaitinfo(_WATCHED)
        return found.si_signo, found.si_code == _FROM_KERNEL
    number = signal.sigwait(_WATCHED)
    return number, number in _BY_KEYBOARD and _in_front()


def _in_front() -> bool:
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False
