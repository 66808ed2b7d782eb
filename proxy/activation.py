"""Listening sockets that the service manager has opened for us, and keeps while one server follows another.

Who connects in between waits in the system's queue for the next server. systemd's protocol (sd_listen_fds): open files
from number 3 on, as many as `LISTEN_FDS` says, meant for the process `LISTEN_PID`.
"""

import os
import socket
from collections.abc import MutableMapping
from pathlib import Path

from proxy.config import Address, Tcp, Unix
from proxy.listener import Entry, Given

FIRST = 3  # SD_LISTEN_FDS_START


class Activated:
    """Those that nobody has taken yet. A door finds its own by its address."""

    def __init__(self, ends: dict[Address, socket.socket]) -> None:
        self._ends = ends

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> "Activated":
        """What the environment says; it is said no longer afterwards. `OSError` if that is no listening socket."""
        pid, count, _ = (environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
        if pid != str(os.getpid()) or not count.isdecimal():
            return cls({})
        ends = [_opened(number) for number in range(FIRST, FIRST + int(count))]
        return cls({_address(end): end for end in ends})

    def __bool__(self) -> bool:
        return bool(self._ends)

    @property
    def addresses(self) -> list[str]:
        """Those that no door has asked for."""
        return [str(address) for address in self._ends]

    async def socket_for(self, _name: str, address: Address, _entry: Entry) -> Given | None:
        """The socket that listens at this address, if there is one."""
        plain = Tcp(address.host, address.port) if isinstance(address, Tcp) else address
        end = self._ends.pop(plain, None)
        return None if end is None else Given(end, accepts=True, closed=lambda: None, stays=True)


def _opened(number: int) -> socket.socket:
    os.set_inheritable(number, False)  # noqa: FBT003  it takes no keyword
    end = socket.socket(fileno=number)
    if not end.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise OSError(f"what the service manager gave us as number {number} does not listen: use ListenStream=")
    end.settimeout(0)
    return end


def _address(end: socket.socket) -> Address:
    name = end.getsockname()
    if end.family == socket.AF_UNIX and isinstance(name, str):
        return Unix(Path(name))
    if end.family in (socket.AF_INET, socket.AF_INET6):
        return Tcp(name[0], name[1])
    raise OSError("the service manager gave us a socket that `listen` cannot name: ListenStream= is a port or a path")
