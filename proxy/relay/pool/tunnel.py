"""Asks a proxy on the way out for a tunnel to a broker (RFC 9110, section 9.3.6). It sees a host and a port."""

import asyncio
import re
from typing import cast

from proxy.outbound import MOST_INTERIM, NotSent

LARGEST = 32 * 1024  # bytes that a proxy may answer
_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"(?:\r?\n)?HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")
_OPEN = b"200"
_ODD = "the egress proxy gave no answer that makes sense"


class Tunnel(asyncio.Protocol):
    """The plain connection to the proxy, until TLS goes through it. `ready` raises `NotSent` if there is no tunnel."""

    def __init__(self, authority: str, loop: asyncio.AbstractEventLoop) -> None:
        self._authority = authority
        self._ready: asyncio.Future[None] = loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._got = b""
        self._interim = 0

    async def ready(self) -> None:
        """The proxy has let us through, and said nothing more."""
        await self._ready

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        line = cast("asyncio.Transport", transport)  # on uvloop it is none by name
        self._transport = line
        line.write(f"CONNECT {self._authority} HTTP/1.1\r\nHost: {self._authority}\r\n\r\n".encode("ascii"))

    def data_received(self, data: bytes) -> None:
        """Some of the answer."""
        self._got += data
        while (end := _END.search(self._got)) is not None and not self._ready.done():
            status = _STATUS.match(self._got)
            if status is None:
                self._refuse(_ODD)
            elif status[1][:1] == b"1":
                self._got = self._got[end.end() :]
                self._interim += 1
                if self._interim > MOST_INTERIM:
                    self._refuse(_ODD)
            elif status[1] != _OPEN:
                self._refuse("the egress proxy refused the connection")
            elif end.end() != len(self._got):  # nobody at the far end speaks before TLS does
                self._refuse(_ODD)
            else:
                self._ready.set_result(None)
                return
        if len(self._got) > LARGEST:
            self._refuse(_ODD)

    def connection_lost(self, exc: Exception | None) -> None:
        """The proxy has closed it."""
        del exc
        self._refuse("the egress proxy closed the connection")

    def _refuse(self, why: str) -> None:
        if not self._ready.done():
            self._ready.set_exception(NotSent(why))
        if self._transport is not None:
            self._transport.abort()
