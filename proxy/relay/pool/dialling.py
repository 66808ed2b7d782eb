"""Opens a connection to a broker: its name, an address, TCP, a tunnel if there is a proxy on the way, TLS.

Whatever goes wrong here, not a byte of a call has left: `NotSent`.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import zip_longest
from typing import TypeVar
from urllib.parse import urlsplit

from proxy import flow
from proxy.brokers.origin import Origin
from proxy.filestamp import Stamp
from proxy.outbound import CONNECT_TIMEOUT, NotSent, kept_alive, tls_context
from proxy.relay.pool.tunnel import Tunnel
from proxy.resolver import PublicResolver

NAMES_KEPT = 30.0  # seconds that the addresses of a name are used on
TRUST_KEPT = 600.0  # seconds that certificates of authorities are used on, which may be changed on the disk
HEAD_START = 0.25  # seconds for an address before the next one is tried beside it
_MOST_NAMES = 512
_NO_NAME = "the host name could not be resolved, or leads to a private address that nothing declares"

Address = tuple[socket.AddressFamily, str, int]


@dataclass(frozen=True, slots=True)
class Route:
    """How to get to an origin: what is trusted, which names may lead to private addresses, the proxy's URL."""

    origin: Origin
    ca_file: str | None = None
    private_hosts: frozenset[str] = frozenset()
    egress: str | None = None
    trust: Stamp | None = None  # which file `ca_file` was


class Cuttable(asyncio.Protocol):
    """What may speak on a connection of `Dialling`."""

    __slots__ = ()

    @property
    def alive(self) -> bool:
        """Whether it was made, and is not lost."""
        raise NotImplementedError

    def abort(self) -> None:
        """Cut it."""
        raise NotImplementedError


Speaker = TypeVar("Speaker", bound=Cuttable)


class Dialling:
    """Opens connections. Keeps for a while what was found out on the way: addresses of names, trusted certificates."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._trust: dict[tuple[str | None, Stamp | None], tuple[float, ssl.SSLContext]] = {}
        self._names: dict[tuple[str, frozenset[str]], tuple[float, list[Address]]] = {}
        self._reading = asyncio.Lock()
        flow.read_in_pieces()

    async def dial(self, route: Route, make: Callable[[], Speaker]) -> Speaker:
        """A connection on which TLS is established. Raises `NotSent`."""
        with _not_sent():
            tls = await self._tls(route.ca_file, route.trust)
            host = route.origin.host.strip("[]")
            if route.egress is not None:
                return await self._through(route.egress, route.origin, tls, make)
            addresses = await self._addresses(host, route.origin.port, route.private_hosts)
            async with asyncio.timeout(CONNECT_TIMEOUT):
                line = await connect(addresses)
                connection = make()
                with _closed_on_failure(line), _cut_on_failure(connection):
                    await self._loop.create_connection(lambda: connection, sock=line, ssl=tls, server_hostname=host)
        return connection

    async def _through(self, egress: str, origin: Origin, tls: ssl.SSLContext, make: Callable[[], Speaker]) -> Speaker:
        """By CONNECT. The proxy resolves the broker's name; its own may well be private."""
        proxy = urlsplit(egress)
        name = proxy.hostname or ""
        addresses = await self._addresses(name, proxy.port or 80, frozenset((name,)))
        authority = f"{origin.host}:{origin.port}"
        async with asyncio.timeout(CONNECT_TIMEOUT):
            line = await connect(addresses)
            with _closed_on_failure(line):
                plain, tunnel = await self._loop.create_connection(lambda: Tunnel(authority, self._loop), sock=line)
        try:
            await tunnel.ready()  # it may take the proxy as long as the whole call may take
            async with asyncio.timeout(CONNECT_TIMEOUT):
                connection = make()
                transport = await self._loop.start_tls(plain, connection, tls, server_hostname=origin.host.strip("[]"))
        except BaseException:
            plain.abort()
            raise
        if transport is None:
            raise NotSent("TLS could not be established")
        connection.connection_made(transport)
        return connection

    async def _tls(self, ca_file: str | None, trust: Stamp | None) -> ssl.SSLContext:
        """Read once for all that ask at the same time, and for all grants."""
        async with self._reading:
            since, tls = self._trust.get((ca_file, trust), (0.0, None))
            if tls is None or self._loop.time() - since > TRUST_KEPT:
                tls = await tls_context(ca_file)
                self._trust[ca_file, trust] = (self._loop.time(), tls)
        return tls

    async def _addresses(self, host: str, port: int, private_hosts: frozenset[str]) -> list[Address]:
        """Where a name leads, families in turns. One that is written out leads to itself."""
        with suppress(ValueError):
            kind = socket.AF_INET6 if ip_address(host.partition("%")[0]).version == 6 else socket.AF_INET  # noqa: PLR2004
            return [(kind, host, port)]
        until, found = self._names.get((host, private_hosts), (0.0, []))
        if self._loop.time() > until:
            try:
                answers = await PublicResolver(private_hosts).resolve(host, port)
            except (OSError, UnicodeError):  # the latter of a name that is none
                raise NotSent(_NO_NAME) from None
            found = _in_turns([(socket.AddressFamily(each["family"]), each["host"], port) for each in answers])
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
            self._names[host, private_hosts] = (self._loop.time() + NAMES_KEPT, found)
        return [(family, address, port) for family, address, _ in found]


def _in_turns(addresses: Sequence[Address]) -> list[Address]:
    """As the system orders them, but a family that leads nowhere costs one attempt, not all of its addresses."""
    first = [each for each in addresses if each[0] == addresses[0][0]]
    other = [each for each in addresses if each[0] != addresses[0][0]]
    return [each for pair in zip_longest(first, other) for each in pair if each is not None]


async def connect(addresses: Sequence[Address]) -> socket.socket:
    """A socket to the first that answers; each has a head start before the next (RFC 8305). Raises `OSError`."""
    if len(addresses) == 1:
        return await _reach(addresses[0])
    found: list[socket.socket] = []
    try:
        await _race(addresses, found)
    except BaseException:
        for line in found:
            line.close()
        raise
    for line in found[1:]:
        line.close()
    if not found:
        raise OSError("no address answers")
    return found[0]


async def _race(addresses: Sequence[Address], found: list[socket.socket]) -> None:
    """Put into `found` what answers first; what answers at the same moment may stand there too."""
    tried: list[asyncio.Task[None]] = []
    settled = asyncio.Event()

    async def attempt(address: Address) -> None:
        with suppress(OSError):
            found.append(await _reach(address))
            for other in tried:
                if other is not asyncio.current_task():
                    other.cancel()
        settled.set()

    async with asyncio.TaskGroup() as group:
        for address in addresses:
            settled.clear()
            tried.append(group.create_task(attempt(address)))
            with suppress(TimeoutError):
                async with asyncio.timeout(HEAD_START):
                    await settled.wait()
            if found:
                break


async def _reach(address: Address) -> socket.socket:
    family, host, port = address
    place = (host, port, 0, 0) if family == socket.AF_INET6 else (host, port)
    line = kept_alive((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", place))
    with _closed_on_failure(line):
        line.setblocking(False)  # noqa: FBT003
        await asyncio.get_running_loop().sock_connect(line, place)
    return line


@contextmanager
def _closed_on_failure(line: socket.socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        line.close()
        raise


@contextmanager
def _cut_on_failure(connection: Cuttable) -> Iterator[None]:
    """Else Python's TLS says goodbye first, and listens on a socket that is closed, or on the next of its number."""
    try:
        yield
    except BaseException:
        if connection.alive:
            connection.abort()
        raise


@contextmanager
def _not_sent() -> Iterator[None]:
    """Map what goes wrong to `NotSent`."""
    try:
        yield
    except TimeoutError:
        raise NotSent(f"no connection within {CONNECT_TIMEOUT:.0f} s") from None
    except ssl.CertificateError:
        raise NotSent("the TLS certificate is not trusted") from None
    except ssl.SSLError:
        raise NotSent("TLS could not be established") from None
    except OSError:
        raise NotSent("the connection was refused or could not be made") from None
