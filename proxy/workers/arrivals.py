"""Connections that workers hand over: served here from then on, as if they had come to that door in this process.

What comes is the client's own socket (of a TLS connection a socket that leads to it, for its keys are the worker's) and
what was read of it. That we have it is said before anything of it is looked at: a worker that has not heard that by the
time we are gone may hand the connection to the next one, and no order is served twice.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from proxy.doors import Doors
from proxy.workers.link import Link, Message

AGAIN = 0.005  # seconds until we look again whether all that was said has left us


class Arrivals:
    """Receives connections for `doors`."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    def take(self, link: Link, message: Message, do: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        """Take over a connection; `do` is given the rest of the work."""
        (file,) = message.files
        if link.say("taken", message.data["id"]):
            do(self._serve(link, file, message))
        else:
            os.close(file)

    async def _serve(self, link: Link, file: int, message: Message) -> None:
        while link.waiting:  # noqa: ASYNC110  what was said might not have left us when we die
            await asyncio.sleep(AGAIN)
        if link.over:
            os.close(file)
            return
        end = socket.socket(fileno=file)
        end.settimeout(0)
        listener = self._doors.at(message.data["door"])
        if listener is None or listener.server is None:
            end.close()  # a reload has just closed that door
            return
        shown = message.data["shown"]
        served = listener.server()
        guest = Guest(served, message.blob, None if shown is None else frozenset(shown))
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: guest, end)
        except OSError:
            end.close()


class Guest(asyncio.Protocol):
    """Begins a connection with what was read of it elsewhere; after that it is `served`'s."""

    def __init__(self, served: Any, began: bytes, shown: frozenset[str] | None) -> None:
        self._served = served
        self._began = began
        self._shown = shown

    def connection_made(self, transport: Any) -> None:
        line = transport if self._shown is None else Introduced(transport, self._shown)
        transport.set_protocol(self._served)
        self._served.connection_made(line)
        self._served.data_received(self._began)


class Introduced:
    """A transport whose client speaks TLS with a worker: what it has shown there is known here.

    All else is the transport's own. `names` are those of the client's certificate.
    """

    __slots__ = ("_line", "_names")

    _line: asyncio.Transport
    _names: frozenset[str]

    def __init__(self, line: asyncio.Transport, names: frozenset[str]) -> None:
        object.__setattr__(self, "_line", line)
        object.__setattr__(self, "_names", names)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        match name:
            case "sslcontext":
                return True  # it is asked only whether there is one
            case "peercert":
                return {"subjectAltName": tuple(("DNS", each) for each in self._names)}
            case _:
                return self._line.get_extra_info(name, default)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._line, name, value)
