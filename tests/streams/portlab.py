"""A gateway with a mount of Questrade's, its stream ports open, and a scripted broker behind it."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from proxy.admission import Door
from proxy.brokers import builtin
from proxy.config import PortRange, Tcp
from proxy.doors import Doorway
from proxy.gate.browser import Hosts
from proxy.gate.clients import Client, Keyring, digest, new_key
from proxy.gate.localport import StreamPort
from proxy.listener import OPEN, Entry, Listener, open_listener
from proxy.streams.questrade.door import PortDoor
from proxy.streams.questrade.hub import Timing
from proxy.streams.questrade.ports import StreamPorts
from proxy.streams.questrade.streams import QuestradeStreams
from tests.lab import TRUST, Lab, access_token, definition, running
from tests.streams.portbroker import PortBroker
from tests.wire import Reply

NOTIFICATIONS = "/lab/v1/notifications?mode=WebSocket"
BROKER = replace(builtin("questrade"), environments=definition().environments)
QUICK = Timing(tick=0.02, linger=0.05, last_words=0.3)
SUCCESS = {"success": True}
REFUSED = {"code": 1017, "message": "Access token is invalid"}
SCOPES = ("read_acc", "read_md")
RIGHTS = {"lab": frozenset(SCOPES)}
CLIENTS = {"bot": RIGHTS, "eve": RIGHTS, "reader": {"lab": frozenset({"read_acc"})}, "anna": RIGHTS}
MEMBERS = {name: Client(name, rights) for name, rights in CLIENTS.items()}
_LOWEST, _TRIES = 20_000, 10_000
KEYS = {name: new_key(partial(bytes.ljust, name.encode())).reveal() for name in CLIENTS}
BINDINGS = {digest(KEYS["anna"]): ("lab/anna",)}  # her key stands for her alone


def quotes(*ids: int) -> str:
    return f"/lab/v1/markets/quotes?ids={','.join(map(str, ids))}&stream=true&mode=WebSocket"


def unused_range(count: int) -> PortRange:
    """Ports that are free and stand side by side, below those that the system gives to connections."""
    start = os.getpid() * 37 % _TRIES
    for step in range(_TRIES):
        first = _LOWEST + (start + step * count) % _TRIES
        with ExitStack() as held, suppress(OSError):
            for number in range(first, first + count):
                held.enter_context(socket.socket()).bind(("127.0.0.1", number))
            return PortRange(first, first + count - 1)
    raise AssertionError("no free ports")


@dataclass
class PortLab:
    """`keys` are those of the clients. The broker's current token is that of the lab's desk."""

    lab: Lab
    broker: PortBroker
    ports: StreamPorts
    questrade: QuestradeStreams
    keys: dict[str, str]
    digests: dict[str, str]  # of the keys, which may change in place
    doorways: dict[int, Listener] = field(default_factory=dict)
    readers: list["Reader"] = field(default_factory=list)

    async def ask(self, target: str, client: str = "bot") -> Reply:
        """A call over HTTP."""
        return await self.lab.call("GET", target, key=self.keys[client])

    async def port(self, target: str, client: str = "bot") -> int:
        """The port that a call is answered with."""
        reply = await self.ask(target, client)
        assert 200 == reply.status, reply.body
        return int(reply.document["streamPort"])

    async def dial(self, port: int, path: str = "/", **options: Any) -> "Reader":
        """A socket at a port, which has said nothing yet."""
        options = {"compression": None, "proxy": None, "open_timeout": 5, "close_timeout": 1} | options
        self.readers.append(Reader(await connect(f"ws://127.0.0.1:{port}{path}", **options)))
        return self.readers[-1]

    def remove(self, client: str) -> None:
        """Its key is known no more."""
        del self.digests[digest(self.keys[client])]

    async def open(self, target: str, client: str = "bot") -> "Reader":
        """A stream as Questrade's clients open it: the call, the socket, the bare key; greeted."""
        reader = await self.dial(await self.port(target, client))
        await reader.ws.send(self.keys[client])
        assert SUCCESS == await reader.next()
        return reader

    async def rotate(self) -> None:
        """The keeper redeems: the token before is dead at once."""
        keeper = self.lab.keeper
        assert await keeper.renew(keeper.grant.generation) is not None
        keeper.give_back()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110  there is no event for it
                await asyncio.sleep(0.005)


@dataclass
class Reader:
    """A client's socket."""

    ws: ClientConnection

    async def next(self) -> Any:
        """The next message, as JSON."""
        return json.loads(await self.text())

    async def text(self) -> str:
        """The next message as it is written."""
        return str(await asyncio.wait_for(self.ws.recv(decode=True), 5))

    async def ended(self) -> tuple[int | None, str]:
        """Close code and reason; what else comes before them is passed over."""
        try:
            async with asyncio.timeout(5):
                while True:
                    await self.ws.recv()
        except ConnectionClosed as closed:
            received = closed.rcvd
            return (received.code, received.reason) if received is not None else (None, "")

    async def silent(self, seconds: float = 0.1) -> bool:
        """Whether nothing comes."""
        try:
            await asyncio.wait_for(self.ws.recv(), seconds)
        except TimeoutError:
            return True
        return False


@asynccontextmanager
async def port_lab(
    ports: PortRange | None = None,
    *,
    open_to_all: bool = False,
    entry: Entry = OPEN,
    timing: Timing = QUICK,
    idle: float = 5.0,
    **script: Any,
) -> AsyncIterator[PortLab]:
    """A lab that is logged in. `script` is the broker's."""
    clients = {"bot": RIGHTS}
    async with running(broker=BROKER, scopes=SCOPES, clients=clients, open_to_all=open_to_all, idle=idle) as lab:
        scripted = PortBroker(TRUST.tls, lambda: access_token(1 + lab.desk.refreshes), **script)
        lab.broker.otherwise = scripted.answer
        digests = {digest(key): name for name, key in KEYS.items()}
        lab.change(keyring=Keyring(digests, MEMBERS, bindings=BINDINGS, open_to_all=open_to_all))
        found = _attach(lab, scripted, digests, entry, timing)
        found.ports.define({"lab": ports}, free=True)
        lab.door.address = lab.listener.bound if isinstance(lab.listener.bound, Tcp) else None
        loop = asyncio.get_running_loop()
        work = [loop.create_task(found.questrade.run()), loop.create_task(lab.gateway.streams.run())]
        try:
            yield found
        finally:
            await lab.gateway.streams.end_all()
            for reader in found.readers:
                reader.ws.transport.resume_reading()
                await reader.ws.close()
            for task in work:
                task.cancel()
            await asyncio.wait(work)
            await found.ports.close()
            await scripted.stop()


def _attach(lab: Lab, broker: PortBroker, digests: dict[str, str], entry: Entry, timing: Timing) -> PortLab:
    gateway, listeners = lab.gateway, {}

    async def open_doorway(port: StreamPort, number: int) -> Doorway:
        door = Door(None, stream=port)

        def greet(new: Listener) -> None:
            door.hosts = Hosts(new.names)

        listener = await open_listener(
            Tcp(port.host, number),
            lambda _, request: gateway.handle(door, request),
            grace=0.1,
            greet=greet,
            entry=entry,
        )
        doorway = Doorway(listener)
        listeners[doorway.number] = listener
        return doorway

    ports = StreamPorts(open_doorway)
    questrade = QuestradeStreams(gateway.pacing, ports, lambda: gateway.policy.mounts, timing)
    gateway.handovers["stream_port"] = questrade
    gateway.port_door = PortDoor(gateway.entrance, gateway.streams, questrade)
    return PortLab(lab, broker, ports, questrade, KEYS, digests, listeners)
