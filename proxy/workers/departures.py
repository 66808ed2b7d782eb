"""Connections that a worker gives to custody, with what it has read of them.

A plain connection goes as it is: custody gets the client's own socket, and serves it even if this worker dies. Of a TLS
connection it gets a socket that leads here, where its keys are.

A connection is ours until custody says that it has it, which it says before it looks at anything: one that was sent to
a custody that died without a word is sent to the next one. While there is none it waits; then the client is told that
nothing was sent.
"""

import asyncio
import contextlib
import itertools
import os
import socket
from dataclasses import dataclass, field

from proxy import logs
from proxy.certificates import shown_names
from proxy.connection import ExpressHandler
from proxy.errors import Refusal, render
from proxy.workers.line import Line
from proxy.workers.pump import Pump

WAIT = 10.0  # seconds for custody to come back
MOST = 2000  # connections that wait for it
_PIECES = 16

log = logs.get("workers")

_NOT_NOW = render(
    Refusal(
        "overloaded",
        "The process that serves this kind of call is not there at the moment. Nothing was sent.",
        retry_after=1,
        close=True,
    ),
    request_id="-",
).spelled()


@dataclass(slots=True)
class Leaving:
    """One connection on its way: its socket, what was read of it, where it came in, and what a TLS client has shown."""

    file: int
    read: bytes = field(repr=False)
    door: str
    shown: list[str] | None
    timer: asyncio.TimerHandle | None = None
    sent: bool = False


class Departures:
    """`joined` and `lost` say whether custody is there, `taken` that it has a connection."""

    def __init__(self, line: Line, *, wait: float = WAIT, most: int = MOST) -> None:
        self._line = line
        self._wait = wait
        self._most = most
        self._leaving: dict[int, Leaving] = {}
        self._numbers = itertools.count(1)
        self._pumps: set[Pump] = set()

    @property
    def on_their_way(self) -> int:
        """How many custody has not said that it has."""
        return len(self._leaving)

    @property
    def led(self) -> int:
        """How many connections custody serves through us."""
        return len(self._pumps)

    def go(self, client: ExpressHandler, read: bytes, door: str) -> None:
        """Give this connection away. It must be idle: nothing under way, nothing unwritten."""
        line = client.line
        if line is None:
            return
        secure = line.get_extra_info("sslcontext") is not None
        shown = sorted(shown_names(line)) if secure else None
        if secure:
            file = self._led_through(client, line)
        else:
            file = os.dup(line.get_extra_info("socket").fileno())
            line.abort()  # ours only: the connection itself stays open as long as the copy is
        leaving = Leaving(file, read, door, shown)
        if len(self._leaving) >= self._most:
            self._refuse(leaving)
            return
        number = next(self._numbers)
        self._leaving[number] = leaving
        self._send(number, leaving)

    def _led_through(self, client: ExpressHandler, line: asyncio.Transport) -> int:
        ours, theirs = socket.socketpair()
        pump = Pump(line, ours, self._pumps.discard)
        self._pumps.add(pump)
        line.set_protocol(pump)
        client.transport = None  # it would close it
        client.connection_lost(None)  # for it, and its tasks, this is the end
        pump.open()
        return theirs.detach()

    def _send(self, number: int, leaving: Leaving) -> None:
        link = self._line.link
        told = {"id": number, "door": leaving.door, "shown": leaving.shown}
        if link is not None and link.say("connection", told, blob=leaving.read, files=[leaving.file]):
            leaving.sent = True
            if leaving.timer is not None:
                leaving.timer.cancel()
        elif leaving.timer is None:
            loop = asyncio.get_running_loop()
            leaving.timer = loop.call_later(self._wait, self._give_up, number)

    def _give_up(self, number: int) -> None:
        leaving = self._leaving.get(number)
        if leaving is not None and not leaving.sent:
            del self._leaving[number]
            self._refuse(leaving)

    def _refuse(self, leaving: Leaving) -> None:
        with socket.socket(fileno=leaving.file) as end, contextlib.suppress(OSError):
            end.settimeout(0)
            end.send(_NOT_NOW)
            end.shutdown(socket.SHUT_WR)
            for _ in range(_PIECES):  # of the body: what is left unread cuts the client off before it has read
                if not end.recv(65536):
                    break

    def joined(self) -> None:
        """Custody is there: it gets all that wait."""
        for number, leaving in list(self._leaving.items()):
            if not leaving.sent:
                self._send(number, leaving)

    def lost(self) -> None:
        """Custody has gone. What it has not said that it has, it has not looked at."""
        for number, leaving in self._leaving.items():
            leaving.sent, leaving.timer = False, None
            leaving.timer = asyncio.get_running_loop().call_later(self._wait, self._give_up, number)

    def taken(self, number: int) -> None:
        """Custody has it."""
        leaving = self._leaving.pop(number, None)
        if leaving is not None:
            os.close(leaving.file)
