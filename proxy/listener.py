"""The doors: addresses that are open, what connections have to show there, and the server behind each."""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from aiohttp import web

from proxy.certificates import Certificates
from proxy.config import Address, Tcp, Unix
from proxy.connection import HEAD_TIMEOUT, NOT_YOURS, TAKE_TIMEOUT, QuietHandler
from proxy.quietserver import QuietServer
from proxy.sockets import bind_shared, bind_tcp
from proxy.vestibule import Crowd, OpenSite, Peers, Tls, Vestibule, VestibuleSite

BACKLOG = 1024  # connections that the system keeps until we accept them
ACCEPTED = 16  # connections at a time: a flood of a thousand would keep everybody inside waiting for it
HTTP, HTTPS = 80, 443  # ports that no client names


@dataclass(frozen=True, slots=True)
class Entry:
    """What a listener asks of a connection before it is let in.

    `certificates`: TLS with what they have in force; None: plain HTTP. `plain_too`: both, as the client begins.
    `failed` is told of each handshake that fails, and why. `pages`: it is for people's browsers, which are not asked
    for a certificate. `mode`, `group` (a number) and `peers` are for Unix sockets only.
    """

    certificates: Certificates | None = None
    failed: Callable[[str], None] = lambda _reason: None
    pages: bool = False
    plain_too: bool = False
    mode: int = 0o600
    group: int | None = None
    peers: Peers = field(default_factory=Peers)


OPEN = Entry()


@dataclass(frozen=True, slots=True)
class Given:
    """A socket that is bound and listens already, because several processes share it.

    `accepts`: connections are accepted here, too. `closed` is told when the door closes; the address is its to free.
    `stays`: it listens on when we do no longer, so that who waits there is left to the next one.
    """

    end: socket.socket
    accepts: bool
    closed: Callable[[], None]
    stays: bool = False


class Listener:
    """One address, open. `address` is what was asked for, `bound` what it became (port 0 picks a free one)."""

    def __init__(
        self, address: Address, bound: Address, certificates: Certificates | None = None, *, plain_too: bool = False
    ) -> None:
        self.address = address
        self.bound = bound
        self._certificates = certificates
        self._plain = plain_too or certificates is None
        self._runner: web.ServerRunner | None = None
        self._given: Given | None = None

    def attach(self, runner: web.ServerRunner, given: Given | None = None) -> None:
        """The server behind the door, before it opens."""
        self._runner, self._given = runner, given

    @property
    def server(self) -> web.Server | None:
        """What makes the protocols of connections, once it is open."""
        return self._runner.server if self._runner is not None else None

    @property
    def url(self) -> str:
        """Where clients call; without TLS, if that is possible."""
        if not isinstance(self.bound, Tcp):
            return str(self.bound)
        return f"http://{self.bound}" if self._plain else self.secure_url or ""

    @property
    def secure_url(self) -> str | None:
        """Where clients call with TLS, under a name that its certificate is for, if there is one."""
        if self._certificates is None or not isinstance(self.bound, Tcp):
            return None
        return f"https://{self._certificates.place(self.bound)}"

    @property
    def names(self) -> tuple[str, ...]:
        """The `Host` values that lead here without being configured."""
        if not isinstance(self.bound, Tcp):
            return ()
        names = {str(self.bound)}
        if self.bound.loopback or self.bound.everywhere:
            names |= {f"{host}:{self.bound.port}" for host in ("127.0.0.1", "localhost", "[::1]")}
        if self._certificates is not None:
            names.update(self._certificates.names(self.bound.port))
        if (self.bound.port == HTTP and self._plain) or (self.bound.port == HTTPS and self._certificates is not None):
            names |= {name.removesuffix(f":{self.bound.port}") for name in names}  # clients leave out that port
        return tuple(sorted(names))

    async def stop_accepting(self) -> None:
        """Close the door; requests inside go on."""
        sites = list(self._runner.sites) if self._runner else []
        given, self._given = self._given, None
        if given is not None:
            given.closed()
        elif sites and isinstance(self.bound, Unix):
            # While we still listen, nobody takes the name for a stale one: it is certainly ours to remove.
            await asyncio.to_thread(self.bound.path.unlink, missing_ok=True)
        for site in sites:
            await site.stop()

    async def close(self, *, grace: float = 0.0) -> None:
        """Close the door, give requests inside their grace (the listener's or this longer one), end what is left."""
        await self.stop_accepting()
        if self._runner is None:
            return
        server = self._runner.server
        if grace and server is not None:
            server.pre_shutdown()
            await server.shutdown(grace)
        await self._runner.cleanup()


async def open_listener(
    address: Address,
    handler: Callable[["Listener", web.BaseRequest], Awaitable[web.StreamResponse]],
    *,
    grace: float,
    greet: Callable[["Listener"], None] = lambda _: None,
    head_timeout: float = HEAD_TIMEOUT,
    take_timeout: float = TAKE_TIMEOUT,
    crowd: Crowd | None = None,
    entry: Entry = OPEN,
    make: Callable[["Listener"], Callable[..., QuietHandler]] = lambda _: QuietHandler,
    given: Given | None = None,
) -> Listener:
    """Bind and serve. `greet` learns of the listener before its door opens. `OSError` names the address.

    `make` is asked after `greet` for what makes the protocols of its connections. With `given` nothing is bound.
    """
    crowd = crowd or Crowd(sys.maxsize)
    if isinstance(address, Tcp):
        bound_socket = given.end if given is not None else await bind_at(address, entry)
        bound: Address = Tcp(address.host, bound_socket.getsockname()[1])
        listener = Listener(address, bound, entry.certificates, plain_too=entry.plain_too)
    else:
        bound_socket = given.end if given is not None else await bind_at(address, entry)
        listener = Listener(address, address)
    greet(listener)
    server = QuietServer(
        partial(handler, listener),
        head_timeout=head_timeout,
        take_timeout=take_timeout,
        crowd=crowd,
        make=make(listener),
    )
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=grace)
    await runner.setup()
    listener.attach(runner, given)
    if given is None or given.accepts:
        stays = given is not None and given.stays
        await _site(runner, server, bound_socket, crowd, entry, stays=stays).start()
        bound_socket.listen(BACKLOG)
    return listener


async def bind_at(address: Address, entry: Entry) -> socket.socket:
    """A socket bound to `address`. `OSError` names it."""
    if isinstance(address, Tcp):
        return bind_tcp(address)
    return await asyncio.to_thread(bind_shared, address.path, mode=entry.mode, group=entry.group)


def _site(
    runner: web.ServerRunner, server: QuietServer, bound: socket.socket, crowd: Crowd, entry: Entry, *, stays: bool
) -> web.BaseSite:
    unix, certificates = bound.family == socket.AF_UNIX, entry.certificates
    if not unix and certificates is None:
        return OpenSite(runner, bound, backlog=ACCEPTED, stays=stays)  # the loop accepts as many as that in one turn
    vestibule = Vestibule(
        bound,
        server,
        crowd=crowd,
        tls=None
        if unix or certificates is None
        else Tls(lambda: certificates.context(pages=entry.pages), entry.failed, optional=entry.plain_too),
        peers=entry.peers if unix else None,
        stranger=NOT_YOURS,
    )
    return VestibuleSite(runner, vestibule, backlog=BACKLOG)
