"""Where connections wait that have to show something first: a TLS handshake (or, where both are spoken, that they want
one), or whose process it is at a Unix socket.

A connection counts from the moment that it is accepted, and has ten seconds. The library's own listener would count it
after the handshake, and wait a minute for that.
"""

import asyncio
import errno
import grp
import os
import pwd
import select
import socket
import ssl
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from aiohttp import web

from proxy import logs, tlsline

PATIENCE = 10.0  # seconds for a handshake
SHORTEST = 0.1  # seconds that a handshake has at least, when its first byte was long in coming
HANDSHAKE = b"\x16"  # with which every TLS connection begins (RFC 8446, 5.1: content type handshake), and no HTTP does
FAREWELL = 5.0  # seconds for the other end to agree that a TLS connection is over
AT_A_TIME = 16  # connections that are accepted until others have their turn
HANDED_OVER = 3  # turns of the loop until an accepted connection is known to its server
LAST_ONES = 1.0  # seconds at most for those who knocked before the door closed
REST = 1.0  # seconds to wait when there are no more descriptors
QUIET = 60.0  # seconds between two lines of the log about the same trouble
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group
_PEER_GROUPS = 59  # SO_PEERGROUPS (Linux 4.13), which the socket module does not name
_GROUPS = 1024  # bytes for the numbers of a process's groups: 256 of them, the most that the socket module asks for

log = logs.get("listener")


@dataclass(slots=True)
class Crowd:
    """Counts the connections of all doors that share it: those inside, and those that wait for a handshake.

    `heads`: of those inside, which have sent nothing yet, or the beginning of a head.
    """

    limit: int
    inside: int = 0
    waiting: int = 0
    heads: int = 0


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS for a listener: the context for the next connection, and who is told of a handshake that failed, and why.

    `optional`: whoever does not begin with a handshake is let in without one.
    """

    context: Callable[[], ssl.SSLContext]
    failed: Callable[[str], None] = lambda _reason: None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Peers:
    """Who may call over a Unix socket, by number. Our own user and root always may."""

    users: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()

    def admit(self, user: int, groups: frozenset[int]) -> bool:
        return user in (0, os.geteuid()) or user in self.users or bool(groups & self.groups)


@dataclass(slots=True)
class _Trouble:
    """Says once a minute at most what goes wrong over and over."""

    last: float = -QUIET
    missed: int = 0
    seen: set[str] = field(default_factory=set)

    def tell(self, event: str, reason: str, now: float) -> None:
        self.missed += 1
        self.seen.add(reason)
        if now - self.last >= QUIET:
            log.warning(event, reason=", ".join(sorted(self.seen)), times=self.missed)
            self.last, self.missed = now, 0
            self.seen.clear()


class Vestibule:
    """Accepts the connections of `listening` and hands those on to `factory`'s protocols that have shown enough.

    `stranger` is what a process is sent that may not call. Made by `open`, which needs a running loop.
    """

    def __init__(
        self,
        listening: socket.socket,
        factory: Callable[[], asyncio.Protocol],
        *,
        crowd: Crowd,
        tls: Tls | None = None,
        peers: Peers | None = None,
        stranger: bytes = b"",
        patience: float = PATIENCE,
    ) -> None:
        self._listening = listening
        self._factory = factory
        self._crowd = crowd
        self._tls = tls
        self._peers = peers
        self._stranger = stranger
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._trouble = _Trouble()
        self._task: asyncio.Task[None] | None = None

    def open(self, backlog: int) -> None:
        self._listening.listen(backlog)
        self._task = self._loop.create_task(self._run())
        self._task.add_done_callback(_ended)

    async def close(self) -> None:
        """Take no more connections, and end those that have shown nothing yet."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    for _ in range(AT_A_TIME):
                        connection = await self._accept()
                        if connection is not None:
                            self._crowd.waiting += 1
                            group.create_task(self._receive(connection)).add_done_callback(self._received)
                    # To accept a connection that is there already lets nobody else run: a flood would have the loop.
                    await asyncio.sleep(0)
        finally:
            # Not earlier: another socket could get the number while the loop still looks at this one.
            self._listening.close()

    async def _accept(self) -> socket.socket | None:
        try:
            connection, _ = await self._loop.sock_accept(self._listening)
        except OSError as error:
            self._trouble.tell("a connection could not be accepted", error.strerror or "?", self._loop.time())
            if error.errno in _EXHAUSTED:
                await asyncio.sleep(REST)
            return None
        if self._crowd.inside + self._crowd.waiting >= self._crowd.limit:
            connection.close()  # without a handshake there are no words for it
            return None
        return connection

    def _received(self, _task: "asyncio.Task[None]") -> None:
        self._crowd.waiting -= 1

    async def _receive(self, connection: socket.socket) -> None:
        try:
            # None: the system does not tell (macOS). Then the socket's mode is what keeps others out.
            who = peer_of(connection) if self._peers is not None else None
            if self._peers is None or who is None or self._peers.admit(*who):
                await self._admit(connection)
            else:
                self._trouble.tell("a process of another user was refused", f"user {who[0]}", self._loop.time())
                await self._send_away(connection)
        except Exception as error:  # noqa: BLE001  one connection must not close the door
            log.error("a connection could not be received", error=type(error).__name__)
            connection.close()

    async def _send_away(self, connection: socket.socket) -> None:
        """Say why, and read on for a moment: a client that still writes would not see it."""
        with connection, suppress(OSError, TimeoutError):
            connection.send(self._stranger)
            connection.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(REST):
                while await self._loop.sock_recv(connection, 65536):
                    pass

    async def _admit(self, connection: socket.socket) -> None:
        tls, end = self._tls, self._loop.time() + self._patience
        if tls is not None and tls.optional:
            try:
                first = await self._first(connection)
            except asyncio.CancelledError:
                connection.close()
                raise
            if not first:
                connection.close()
                return
            tls = tls if first == HANDSHAKE else None
        try:
            if tls is None:
                await self._loop.connect_accepted_socket(self._factory, connection)
                return
            left = max(SHORTEST, end - self._loop.time())
            await tlsline.receive(connection, self._factory, tls.context(), patience=left, farewell=FAREWELL)
        except OSError as error:  # failed handshakes are, of every kind
            reason = reason_of(error)
            self._trouble.tell("a TLS handshake failed", reason, self._loop.time())
            if tls is not None:
                tls.failed(reason)

    async def _first(self, connection: socket.socket) -> bytes:
        """The first byte that comes, which is left where it is; nothing if none comes in time."""
        while True:
            try:
                return connection.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                pass
            except OSError:
                return b""
            if not await self._readable(connection):
                return b""

    async def _readable(self, connection: socket.socket) -> bool:
        come = asyncio.Event()
        self._loop.add_reader(connection, come.set)
        try:
            async with asyncio.timeout(self._patience):
                await come.wait()
        except TimeoutError:
            return False
        finally:
            self._loop.remove_reader(connection)
        return True


class OpenSite(web.SockSite):
    """Closes its door behind those whose connection the system has made already: else they would be cut off.

    `stays`: they would not, since somebody else keeps that door open, for whoever comes after us.
    """

    __slots__ = ("_door", "_stays")

    def __init__(self, runner: web.BaseRunner, door: socket.socket, *, backlog: int, stays: bool = False) -> None:
        super().__init__(runner, door, backlog=backlog)
        self._door, self._stays = door, stays

    async def stop(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + LAST_ONES
        while not self._stays and loop.time() < end and _knocked(self._door):  # noqa: ASYNC110  there is no event for it
            await asyncio.sleep(0)  # the loop accepts some of them
        for _ in range(HANDED_OVER):
            await asyncio.sleep(0)
        await super().stop()


def _knocked(door: socket.socket) -> bool:
    """Whether somebody waits to be let in."""
    if door.fileno() < 0:
        return False
    waiting = select.poll()
    waiting.register(door, select.POLLIN)
    return bool(waiting.poll(0))


class VestibuleSite(web.BaseSite):
    """Lets aiohttp's runner close a `Vestibule` as it closes its own servers."""

    __slots__ = ("_vestibule",)

    def __init__(self, runner: web.BaseRunner, vestibule: Vestibule, *, backlog: int) -> None:
        super().__init__(runner, backlog=backlog)
        self._vestibule = vestibule

    @property
    def name(self) -> str:
        return "vestibule"

    async def start(self) -> None:
        await super().start()
        self._vestibule.open(self._backlog)

    async def stop(self) -> None:
        await super().stop()
        await self._vestibule.close()


REASONS = ("timeout", "no-certificate", "bad-certificate", "distrusted", "old-version", "no-tls", "gone", "other")
# OpenSSL's words.
_SAID = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no-certificate",
    "CERTIFICATE_VERIFY_FAILED": "bad-certificate",
    # What clients say of our certificate: they do not know who signed it, or it is over.
    "TLSV1_ALERT_UNKNOWN_CA": "distrusted",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "distrusted",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "distrusted",
    "SSLV3_ALERT_BAD_CERTIFICATE": "distrusted",
    "UNSUPPORTED_PROTOCOL": "old-version",
    "VERSION_TOO_LOW": "old-version",
    "NO_SHARED_CIPHER": "old-version",
    "HTTP_REQUEST": "no-tls",
    "HTTPS_PROXY_REQUEST": "no-tls",
    "WRONG_VERSION_NUMBER": "no-tls",
    "UNKNOWN_PROTOCOL": "no-tls",
}


def reason_of(error: OSError) -> str:
    """Why a handshake failed, as one of `REASONS`."""
    if (known := _SAID.get(getattr(error, "reason", None) or "")) is not None:
        return known
    if isinstance(error, ConnectionAbortedError) and "longer than" in str(error):
        return "timeout"
    if isinstance(error, ConnectionError | ssl.SSLEOFError):
        return "gone"
    return "other"


def peer_of(connection: socket.socket) -> tuple[int, frozenset[int]] | None:
    """User and groups of the process at the other end of a Unix socket; None where the system does not tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    _, user, group = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    try:
        data = connection.getsockopt(socket.SOL_SOCKET, _PEER_GROUPS, _GROUPS)
    except OSError:  # more of them, or an old system: it is known by its first group only
        data = b""
    more = (number for (number,) in struct.iter_unpack("I", data))
    return user, frozenset((group, *more))


def peers_of(users: Iterable[str], groups: Iterable[str]) -> Peers:
    """Names and numbers as the numbers that they stand for. `LookupError` with the one that nobody has. Blocks."""
    return Peers(frozenset(map(_user, users)), frozenset(map(group_number, groups)))


def _user(name: str) -> int:
    try:
        return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise LookupError(f"there is no user '{name}' on this machine") from None


def group_number(name: str) -> int:
    """A group by name or number; `LookupError`. Blocks."""
    try:
        return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise LookupError(f"there is no group '{name}' on this machine") from None


def _ended(task: "asyncio.Task[None]") -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.error("a listener ended by a fault of ours", error=type(error).__name__)
