"""A worker as a program."""

import socket
import subprocess
import sys

from proxy import __version__
from proxy.workers import vintage
from proxy.workers.link import pair


def test_it_ends_with_its_link_and_not_by_signals_of_a_terminal() -> None:
    """Whoever started it decides; when that has gone, it goes."""
    ours, theirs = pair()
    with theirs:
        command = [sys.executable, "-P", "-m", "proxy.workers", "asyncio", __version__, str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stderr=subprocess.PIPE)
    ours.shutdown(socket.SHUT_RDWR)
    ours.close()
    _, told = process.communicate(timeout=30)
    assert (process.returncode, told) == (0, b"")


def test_it_does_not_serve_a_supervisor_of_another_version() -> None:
    """Its files were replaced while the server ran: nothing is read from the link, and the two versions are named."""
    ours, theirs = pair()
    with ours, theirs:
        command = [sys.executable, "-P", "-m", "proxy.workers", "asyncio", "0.0.9", str(theirs.fileno())]
        done = subprocess.run(command, pass_fds=(theirs.fileno(),), capture_output=True, timeout=30, check=False)

    told = f"bearerd {__version__} is installed now, and the server that runs is 0.0.9: restart it\n"
    assert (vintage.OTHER, told) == (done.returncode, done.stderr.decode())
