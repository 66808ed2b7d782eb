"""What becomes of a request that comes to a worker: answered here if it is a plain read, else given to custody.

It is looked at only when nothing else of its connection is under way: until then its bytes wait. So nothing but plain
reads ever gets into a worker's gateway, and what custody gets is a connection between two requests.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web

from proxy.connection import ExpressHandler, Lane
from proxy.express import Express

LOOK = 0.002  # seconds until it is looked again whether a connection is free

Depart = Callable[[ExpressHandler, bytes], None]


class Threshold:
    """At one door: the lane that decides. `depart` gives a connection away; `express` False: no express lane."""

    def __init__(self, lane: Express, depart: Depart, *, express: bool) -> None:
        self._lane = lane
        self._depart = depart
        self._express = express

    def take(self, line: ExpressHandler, data: bytes) -> bool:
        """See `Lane`. False: a plain read that the gate lets pass, for which not all is at hand."""
        if self._express and self._lane.take(line, data):
            return True
        if self._lane.lets_in(line, data):
            return False
        self._depart(line, data)
        return True


class FrontHandler(ExpressHandler):
    """A connection of a worker's."""

    __slots__ = ("_kept", "_looking")

    def __init__(self, server: web.Server, lane: Lane, **settings: Any) -> None:
        super().__init__(server, lane, **settings)
        self._kept = b""
        self._looking: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        if self._kept:
            self._keep(data)
        elif self._carried is not None:
            self._hold(data)
        elif not data:
            self.ordinary(data)
        elif not self._idle():
            self._keep(data)
        elif not self._lane.take(self, data):
            self.ordinary(data)

    def _keep(self, data: bytes) -> None:
        if self._line is not None and not self._kept:
            self._line.pause_reading()
        self._kept += data
        if self._looking is None:
            self._looking = self._loop.call_later(LOOK, self._look)

    def _look(self) -> None:
        self._looking = None
        if self._line is None or self._ends or self._close or self._force_close:
            self._kept = b""
        elif self._carried is None and self._idle():
            kept, self._kept = self._kept, b""
            self._line.resume_reading()
            super().data_received(kept)
        else:
            self._looking = self._loop.call_later(LOOK, self._look)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._kept = b""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        super().connection_lost(exc)
