"""Serves the sockets of Alpaca's market data: clients of one grant that want the same feed share one hub."""

import asyncio
from contextlib import ExitStack

from aiohttp import web

from proxy import logs
from proxy.errors import Refusal
from proxy.relay.dialling import Handshake
from proxy.relay.headers import Text
from proxy.streams.alpaca.guest import Guest
from proxy.streams.alpaca.hub import Hub, Line
from proxy.streams.alpaca.messages import LARGEST_FRAME
from proxy.streams.alpaca.reopening import Pace
from proxy.streams.client import SocketEnded
from proxy.streams.opening import IDLE, Opening

ALPACA_DATA = "alpaca-data"  # the dialect of those sockets
MSGPACK = "application/msgpack"
_ABOUT_US = ("user-agent", "via")  # headers that say nothing of the one client that came first

Key = tuple[object, ...]

log = logs.get("streams")


class Hubs:
    """The hubs of this server. `run` holds their tasks."""

    def __init__(self, pace: Pace | None = None) -> None:
        self._pace = pace or Pace()
        self._hubs: dict[Key, Hub] = {}
        self._starting: asyncio.Queue[tuple[Key, Hub]] = asyncio.Queue()

    async def run(self) -> None:
        """Keep the hubs going, for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._live(*await self._starting.get()))

    async def _live(self, key: Key, hub: Hub) -> None:
        try:
            await hub.run()
        except Exception as fault:  # noqa: BLE001 - the other hubs, and the server, go on
            log.error("a hub failed", grant=hub.line.grant, fault=type(fault).__name__)
        finally:
            del self._hubs[key]

    async def serve(self, opening: Opening) -> web.StreamResponse:
        """From the handshake to the end. Raises `Refusal` as long as there was no 101."""
        if opening.client is None:
            return await self._serve_late(opening)
        with opening.entered():
            client = await opening.accept()
            guest = Guest(client, binary=_speaks_msgpack(opening.headers))
            with client.served():
                try:
                    guest.greet()
                    await self._attend(opening, guest)
                except SocketEnded:
                    await client.close()
        return client.response

    async def _serve_late(self, opening: Opening) -> web.StreamResponse:
        """The first frame says who it is: 101 first, and refusals are the broker's words and close codes."""
        with ExitStack() as waiting:
            stranger = waiting.enter_context(opening.streams.stranger())
            client = await opening.accept()
            stranger.end = client.end
            guest = Guest(client, binary=_speaks_msgpack(opening.headers))
            with client.served():
                try:
                    guest.greet()
                    opening.admit(await guest.introduction(self._pace.introduction))
                    waiting.close()
                    with opening.entered(client):
                        opening.began()
                        await self._attend(opening, guest)
                except Refusal as refusal:
                    opening.refused(refusal)
                    guest.turn_away(refusal)
                    await client.close()
                except SocketEnded:
                    if opening.client is None:
                        opening.missed()
                    await client.close()
        return client.response

    async def _attend(self, opening: Opening, guest: Guest) -> None:
        """Raises `SocketEnded` in the end."""
        hub = self._hub(opening)
        opening.headers.clear()  # nobody needs them any more, and there may be thousands of sockets
        hub.join(guest)
        try:
            await guest.attend(hub, opening.digest)
        finally:
            hub.leave(guest)

    def _hub(self, opening: Opening) -> Hub:
        place = opening.relay.place
        key = (opening.grant, place.origin, _path(opening))
        line = Line(opening.relay, _handshake(opening), opening.grant)
        hub = self._hubs.get(key)
        if hub is None:
            hub = self._hubs[key] = Hub(line, self._pace)
            self._starting.put_nowait((key, hub))
        hub.line = line  # after a reload the newest is right
        return hub


def _path(opening: Opening) -> bytes:
    """The feed. No query is documented, and one client's must not be everybody's."""
    return opening.target.partition(b"?")[0]


def _handshake(opening: Opening) -> Handshake:
    """With MessagePack, whatever the client speaks: options come in nothing else, and its times are exact."""
    kept = [(name, value) for name, value in opening.headers if name.lower() in _ABOUT_US]
    return Handshake(
        _path(opening),
        [*kept, ("Content-Type", MSGPACK)],
        idle=opening.row.idle or IDLE,
        beat=opening.limits.beat,
        compress=opening.limits.compression,
        most=LARGEST_FRAME,  # it confirms everything that all clients have, each time
    )


def _speaks_msgpack(headers: Text) -> bool:
    kinds = [value.partition(";")[0].strip().lower() for name, value in headers if name.lower() == "content-type"]
    return kinds == [MSGPACK]
