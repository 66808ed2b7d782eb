"""Ports that stay ours: found once, and the same after every restart of the process that listens on them."""

import contextlib
import socket
import sys
from contextlib import ExitStack

HOST = "127.0.0.1"


def reserve(count: int, first: int = 0) -> tuple[list[int], ExitStack]:
    """`count` ports on loopback: `first` and those that follow, or any free ones for 0. OSError if one is taken.

    Until the stack is closed nobody else is given them. On Linux a socket that is bound but does not listen keeps a
    port from others and lets a listener with SO_REUSEADDR have it; elsewhere the ports are only found.
    """
    held = ExitStack()
    try:
        ports = [_bind(held, first and first + number) for number in range(count)]
    except OSError:
        held.close()
        raise
    if sys.platform != "linux":
        held.close()
    return ports, held


def reserve_near(count: int, wanted: int) -> tuple[list[int], ExitStack]:
    """The ports from `wanted` on, or free ones if any of those is taken."""
    with contextlib.suppress(OSError):
        return reserve(count, wanted)
    return reserve(count)


def _bind(held: ExitStack, port: int) -> int:
    found = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if port and sys.platform == "linux":
            # Two that both reuse addresses may bind one port, until one of them listens. This name only one can have.
            held.enter_context(socket.socket(socket.AF_UNIX)).bind(f"\0bearerd reserves {HOST}:{port}")
        found.bind((HOST, port))
    except OSError as error:
        raise OSError(error.errno, f"cannot use port {port} of {HOST}: {error.strerror}") from None
    number: int = found.getsockname()[1]
    return number
