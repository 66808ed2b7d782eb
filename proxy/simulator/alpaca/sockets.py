"""Which socket is on which host and path."""

from collections.abc import Callable

from aiohttp import web

from proxy.simulator.alpaca import tradingsocket
from proxy.simulator.alpaca.credentials import Credentials, Host, Verdict
from proxy.simulator.alpaca.datasocket import DataSocket, Desk, Places
from proxy.simulator.alpaca.eventstream import EventStream
from proxy.simulator.alpaca.feeds import feed_of
from proxy.simulator.alpaca.options import Options
from proxy.simulator.alpaca.trading import READ
from proxy.simulator.alpaca.tradingsocket import TradingSocket
from proxy.simulator.alpaca.updates import Update
from proxy.simulator.streams import Stream, Streams

_TRADING = (Host.PAPER, Host.LIVE)
Judge = Callable[[str, str], Verdict]


class Sockets:
    """The sockets of one simulated Alpaca."""

    def __init__(self, streams: Streams, credentials: Credentials, options: Options) -> None:
        self.streams = streams
        self._credentials = credentials
        self._options = options
        self._places = Places()

    def has(self, host: Host, path: str) -> bool:
        """Whether there is a socket of this raw path."""
        if host is Host.STREAM:
            return feed_of(path) is not None
        return host in _TRADING and path in tradingsocket.PATHS

    def scope(self, host: Host) -> str:
        """The scope that a Connect token needs."""
        return "data" if host is Host.STREAM else READ

    async def serve(
        self,
        request: web.BaseRequest,
        host: Host,
        verdict: Verdict,
        judge: Judge,
        account_id: Callable[[Verdict], str],
    ) -> web.StreamResponse:
        """One socket, to its end. A trading socket wants a credential in a frame, whatever the handshake brought."""
        feed = feed_of(request.raw_path.partition("?")[0])
        if feed is None or host is not Host.STREAM:
            trading = TradingSocket(
                request, self.streams, judge, account_id, self._still_good, binary=host is Host.PAPER
            )
            return await trading.serve()
        desk = Desk(self.streams, self._places, self._options.now, judge, self._still_good)
        return await DataSocket(request, desk, feed, verdict, presented(request)).serve()

    def hear(self, update: Update) -> None:
        """Something has happened to an order."""

        def heard(stream: Stream) -> bytes | None:
            if isinstance(stream, TradingSocket):
                return stream.about(update)
            return stream.further(self.streams.beat) if isinstance(stream, EventStream) else None

        self.streams.tell(heard)

    def _still_good(self, secret: str) -> bool:
        return self._credentials.still_good(secret, self._options.now())


def presented(request: web.BaseRequest) -> str:
    """The secret part of a handshake's credential; empty if it brings none."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return value if scheme else request.headers.get("APCA-API-SECRET-KEY", "")
