"""The doors that clients come through: listeners, what each leads to, and what connections have to show there."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

from aiohttp import web

from proxy.admission import Door
from proxy.certificates import Certificates
from proxy.clock import Clock
from proxy.config import Address, Config, Tcp
from proxy.connection import ExpressHandler, Lane, QuietHandler
from proxy.gate.browser import Hosts
from proxy.gate.localport import StreamPort
from proxy.inforce import InForce
from proxy.listener import OPEN, Entry, Given, Listener, open_listener
from proxy.vestibule import Crowd, Peers, group_number, peers_of

GRACE = 1.0  # seconds that a listener gives to requests inside when it closes
LAST_HEADS = 0.2  # seconds for the requests of those who were let in just before the doors closed

Handle = Callable[[Door, web.BaseRequest], Awaitable[web.StreamResponse]]
Sockets = Callable[[str, Address, Entry], Awaitable[Given | None]]


class Doors:
    """Every data listener of a server. `open()` first, `close()` last.

    `handle` answers requests; `failed` is told of each TLS handshake that fails, and why. `lane_at` makes a door's
    express lane, and `handler` is the protocol of connections with one. `sockets`, if given, has those of `listen` and
    of the roots that other processes share, or have opened for us.
    """

    def __init__(
        self,
        clock: Clock,
        handle: Handle,
        failed: Callable[[str], None],
        lane_at: Callable[[Door], Lane | None] = lambda _: None,
        *,
        sockets: Sockets | None = None,
        handler: type[ExpressHandler] = ExpressHandler,
    ) -> None:
        self.listeners: list[Listener] = []  # those of `listen`, then the roots; ports of streams are not among them
        self.certificates: Certificates | None = None
        self._config: Config
        self._clock = clock
        self._handle = handle
        self._failed = failed
        self._lane_at = lane_at
        self._sockets = sockets
        self._handler = handler
        self._entry = OPEN
        self._doors: dict[Listener, Door] = {}
        self._names: dict[Listener, str] = {}
        self._crowd = Crowd(0)

    async def open(self, config: Config) -> None:
        """Open the addresses of `listen` and the roots of mounts. `ConfigInvalid` for what connections would have to
        show, `OSError`: some may be open.
        """
        self._config = config
        self._crowd.limit = config.limits.connections
        if config.tls.on:
            self.certificates = await Certificates.opened(config, self._clock)
        self._entry = await entry_of(config, self.certificates, self._failed)
        for address in config.listen:
            self.listeners.append(await self._open(address))
        for name, mount in config.mounts.items():
            if mount.port is not None:
                self.listeners.append(await self._open_root(config, name))

    async def open_port(self, port: StreamPort, number: int) -> "Doorway":
        """Open the port of a stream at `number`; 0 is any free one. `OSError`."""
        listener = await self._open(Tcp(port.host, number), stream=port)
        return Doorway(listener, lambda: self._doors.pop(listener, None))

    def at(self, name: str) -> Listener | None:
        """The listener of that name: what the same door is called in all processes."""
        return next((listener for listener, known in self._names.items() if known == name), None)

    def name_at(self, door: Door) -> str:
        """The name of the listener that leads to this door; empty once that is retired."""
        return next((self._names.get(each, "") for each, found in self._doors.items() if found is door), "")

    async def stop_accepting(self) -> None:
        """Let nobody in any more. Whoever was let in just before has a moment for the request."""
        await asyncio.gather(*(listener.stop_accepting() for listener in self.listeners))
        await self._last_heads()

    async def _last_heads(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + LAST_HEADS
        while self._crowd.heads and loop.time() < end:  # noqa: ASYNC110  there is no event for it
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Close all; requests inside have a moment left."""
        await self._last_heads()
        listeners, self.listeners = self.listeners, []
        await asyncio.gather(*(listener.close() for listener in listeners))

    # -- what there is ------------------------------------------------------------------------------------------------

    def all(self) -> list[tuple[Listener, str | None]]:
        """Every listener, with the mount that it serves at its root, if it is one of those."""
        return [(listener, self._doors[listener].mount) for listener in self.listeners]

    @property
    def url(self) -> str:
        """Where clients call."""
        return next((listener.url for listener, mount in self.all() if mount is None), "")

    def __len__(self) -> int:
        """How many are known, ports of streams among them."""
        return len(self._doors)

    # -- change -------------------------------------------------------------------------------------------------------

    async def new_roots(self, config: Config) -> list[Listener]:
        """Listeners for the roots that are new there or have moved. `OSError` if one can't be opened; then none is."""
        opened: list[Listener] = []
        try:
            for name, mount in config.mounts.items():
                if mount.port is not None and mount.port != _port(self._config, name):
                    opened.append(await self._open_root(config, name))
        except BaseException:
            for listener in opened:  # other processes call the next one there by the same name
                self._names.pop(listener, None)
            await asyncio.gather(*(listener.close() for listener in opened))
            for listener in opened:
                del self._doors[listener]
            raise
        return opened

    def take_over(self, config: Config, roots: list[Listener], in_force: InForce | None) -> list[Listener]:
        """Go by `config` from here on, with these new roots. Returns the listeners that are to be retired."""
        gone = [
            listener for listener, mount in self.all() if mount and _port(self._config, mount) != _port(config, mount)
        ]
        self._config = config
        for listener in gone:  # at once: the next configuration may have that door again
            self._names.pop(listener, None)
        self.listeners = [listener for listener in self.listeners if listener not in gone] + roots
        self._crowd.limit = config.limits.connections
        if self.certificates is not None and in_force is not None:
            self.certificates.take(config.tls, in_force)
        self.rename()
        return gone

    async def retire(self, gone: list[Listener], *, grace: float) -> None:
        """Close these; requests inside have `grace` seconds."""
        await asyncio.gather(*(listener.close(grace=grace) for listener in gone))
        for listener in gone:
            del self._doors[listener]

    def rename(self) -> None:
        """Answer to the names that are ours now."""
        for listener, door in self._doors.items():
            door.hosts = hosts_of(listener, self._config, port_of_stream=door.stream is not None)

    # -- opening ------------------------------------------------------------------------------------------------------

    async def _open(self, address: Address, mount: str | None = None, stream: StreamPort | None = None) -> Listener:
        entry = entry_at(self._config, self._entry, address, own_port=(mount, stream) != (None, None))
        name = _another(f"{mount or ''} {address}", self._names.values())
        given = await self._sockets(name, address, entry) if self._sockets and not stream else None
        listener = await open_listener(
            address,
            self._enter,
            grace=GRACE,
            greet=lambda new: self._greet(new, mount, stream),
            crowd=self._crowd,
            make=self._protocols,
            entry=entry,
            given=given,
        )
        if given is not None:
            self._names[listener] = name
        return listener

    async def _open_root(self, config: Config, mount: str) -> Listener:
        """Serve a mount at the root of its own port, on the address of the first listener."""
        first, port = config.listen[0], config.mounts[mount].port
        host = first.host if isinstance(first, Tcp) else "127.0.0.1"
        return await self._open(Tcp(host, port or 0), mount)

    def _greet(self, listener: Listener, mount: str | None, stream: StreamPort | None) -> None:
        hosts = hosts_of(listener, self._config, port_of_stream=stream is not None)
        address = listener.bound if isinstance(listener.bound, Tcp) else None
        self._doors[listener] = Door(hosts, mount, address, stream)

    def _protocols(self, listener: Listener) -> Callable[..., QuietHandler]:
        lane = self._lane_at(self._doors[listener])
        return QuietHandler if lane is None else partial(self._handler, lane=lane)

    async def _enter(self, listener: Listener, request: web.BaseRequest) -> web.StreamResponse:
        return await self._handle(self._doors[listener], request)


@dataclass(frozen=True, slots=True)
class Doorway:
    """A listener at a stream's port. `closed` is called once it is."""

    listener: Listener
    closed: Callable[[], object] = lambda: None

    @property
    def number(self) -> int:
        if not isinstance(self.listener.bound, Tcp):
            raise TypeError("a stream's port is a TCP port")
        return self.listener.bound.port

    async def close(self) -> None:
        await self.listener.close()
        self.closed()


def hosts_of(listener: Listener, config: Config, *, port_of_stream: bool = False) -> Hosts | None:
    """The Host values that lead to a listener; None for a Unix socket.

    At a stream's port, names that the operator has written down are those of the machine, with this port.
    """
    if not isinstance(listener.bound, Tcp):
        return None
    names = [name.rpartition(":")[0] for name in config.allowed_hosts] if port_of_stream else []
    return Hosts([*listener.names, *config.allowed_hosts, *(f"{name}:{listener.bound.port}" for name in names)])


async def entry_of(config: Config, certificates: Certificates | None, failed: Callable[[str], None]) -> Entry:
    """What the data listeners ask of connections. `ConfigInvalid` for a user or group that there is not."""
    unix = config.unix_socket
    groups = [unix.groups[0]] if unix.groups else []
    path = "users"
    try:
        peers = await asyncio.to_thread(peers_of, unix.users, ())
        path = "groups"
        peers = Peers(peers.users, (await asyncio.to_thread(peers_of, (), unix.groups)).groups)
        group = next(iter([await asyncio.to_thread(group_number, name) for name in groups]), None)
    except LookupError as error:
        fix = "name one that there is, or its number"
        raise config.invalid(config.problem(("unix_socket", path), str(error.args[0]), fix)) from None
    return Entry(certificates, failed, mode=int(unix.mode, 8), group=group, peers=peers)


def entry_at(config: Config, entry: Entry, address: Address, *, own_port: bool = False) -> Entry:
    """`entry` as it is at one address: whether TLS is spoken there, on `listen` or on a port of its own (a mount's)."""
    if own_port:
        return replace(entry, plain_too=entry.certificates is not None and config.plain_too(address))
    return entry if config.encrypts(address) else replace(entry, certificates=None)


def _another(name: str, known: Collection[str]) -> str:
    """`name`, or the first like it that is not known: several addresses may ask for any free port."""
    return next(found for number in count(1) if (found := name if number == 1 else f"{name} {number}") not in known)


def _port(config: Config, mount: str) -> int | None:
    return config.mounts[mount].port if mount in config.mounts else None
