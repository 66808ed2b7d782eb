"""A worker as a program."""

import socket
import subprocess
import sys

from proxy.workers.link import pair


def test_it_ends_with_its_link_and_not_by_signals_of_a_terminal() -> None:
    """Whoever started it decides; when that has gone, it goes."""
    ours, theirs = pair()
    with theirs:
        command = [sys.executable, "-P", "-m", "proxy.workers", "asyncio", str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stderr=subprocess.PIPE)
    ours.shutdown(socket.SHUT_RDWR)
    ours.close()
    _, told = process.communicate(timeout=30)
    assert (process.returncode, told) == (0, b"")
