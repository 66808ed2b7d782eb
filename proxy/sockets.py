"""Sockets to listen on: bound, with their modes, stale ones out of the way."""

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
import struct
import sys
import termios
from pathlib import Path

from proxy.config import Tcp
from proxy.store import UnsafeFile
from proxy.store.files import check_place

AT_ONCE = struct.pack("ii", 1, 0)  # struct linger: drop what was not sent


def bind_tcp(address: Tcp, *, shared: bool = False) -> socket.socket:
    """Bound to `address`, not listening yet. `OSError` names it.

    `shared`: others like it of our own user may be bound there too, and the system shares connections out among them.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        found.bind((address.host, address.port))
    except OSError as error:
        found.close()
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from None
    found.settimeout(0)
    return found


def bind_unix(path: Path, *, mode: int = 0o600, group: int | None = None) -> socket.socket:
    """A Unix socket of `mode` and `group`, bound to `path`, in the place of a stale one if need be. Blocks. `OSError`.

    Others are let in only by `mode`: it is 0600, and our group's, until all of that is done.
    """
    _remove_stale(path)
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        found.bind(str(path))
        # Nobody can connect before somebody listens, so there is no moment with a looser mode.
        path.chmod(0o600)
        if group is not None:
            os.chown(path, -1, group)
        if mode != 0o600:  # noqa: PLR2004
            path.chmod(mode)
    except OSError as error:
        found.close()
        raise OSError(error.errno, f"cannot listen on {path}: {error.strerror}") from None
    found.settimeout(0)
    return found


def bind_shared(path: Path, *, mode: int, group: int | None) -> socket.socket:
    """`bind_unix` where other users may call: nobody but us must be able to put another socket in its place."""
    try:
        check_place(path)
    except UnsafeFile as unsafe:
        raise OSError(errno.EPERM, f"cannot listen on {path}: {unsafe}") from None
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {path}: {error.strerror}") from None
    return bind_unix(path, mode=mode, group=group)


def untaken(line: asyncio.WriteTransport) -> int:
    """Bytes that the other end has not taken yet: those that wait here, and where the system tells, those in it.

    It keeps megabytes for each connection, and takes nothing from us before a third of them is gone.
    """
    waiting, end = line.get_write_buffer_size(), line.get_extra_info("socket")
    # TLS counts what it has not enciphered yet, and not the 64 KiB and more that wait below it.
    below = getattr(getattr(line, "_ssl_protocol", None), "_transport", None)
    waiting += below.get_write_buffer_size() if below is not None else 0
    try:
        found = fcntl.ioctl(end.fileno() if end is not None else -1, termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):  # not every system knows that of sockets; or it has been closed
        return waiting
    return waiting + int.from_bytes(found, sys.byteorder)


def cut_off(line: asyncio.WriteTransport) -> None:
    """End a connection at once: the system must not go on offering what nobody takes, megabytes for minutes."""
    end = line.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    line.abort()


def _remove_stale(path: Path) -> None:
    """A socket left by a killed server is in the way of the next one; anything else there is not ours to remove."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        # Only a refusal says that nobody listens; a server may also be too busy to answer.
        if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
            raise OSError(errno.EADDRINUSE, f"another program listens on {path}")
    path.unlink(missing_ok=True)
