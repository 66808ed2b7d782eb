"""Alpaca's market data sockets (https://docs.alpaca.markets/docs/streaming-market-data).

The broker speaks first. The credential comes with the handshake, or in the first frame within ten seconds; after a bad
one the broker closes. One connection of an account to each feed.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from proxy.simulator.alpaca.credentials import Verdict
from proxy.simulator.alpaca.feeds import EVERYTHING, JSON, MSGPACK, Codec, Feed, Moment, Pair, is_symbol
from proxy.simulator.streams import Shared, Streams
from proxy.simulator.websocket import Message, Over, Socket, framed

_PATIENCE = 10.0
_TYPE = "application/msgpack"
# https://docs.alpaca.markets/docs/streaming-market-data, …/real-time-option-data; the codes 412 and 413 are seen there.
ERRORS = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    410: "invalid subscribe action for this feed",
    412: "option messages are only available in MsgPack format",
    413: "star symbol is not allowed for option quotes",
}


class Places:
    """Who is connected to which feed: so many sockets of an account at a time. Times are Unix seconds."""

    def __init__(self) -> None:
        self._taken: Counter[tuple[str, str]] = Counter()
        self._held: list[tuple[float, tuple[str, str]]] = []

    def take(self, account: str, path: str, most: int, now: float) -> bool:
        """Whether there was a place; then it is taken."""
        place = (account, path)
        self._held = [held for held in self._held if held[0] > now]
        if most and self._taken[place] + sum(held[1] == place for held in self._held) >= most:
            return False
        self._taken[place] += 1
        return True

    def free(self, account: str, path: str, until: float | None = None) -> None:
        """The place is free again; after a connection that broke off it is held until then."""
        self._taken[account, path] -= 1
        if until is not None:
            self._held.append((until, (account, path)))


@dataclass(frozen=True, slots=True)
class Desk:
    """What a socket asks of the broker. `now` is Unix time.

    - `judge`: what the two halves of an auth frame are worth, counted; two empty ones are none;
    - `good`: whether a credential that was good is so still.
    """

    streams: Streams
    places: Places
    now: Callable[[], float]
    judge: Callable[[str, str], Verdict]
    good: Callable[[str], bool]


class DataSocket(Socket):
    """One socket to one feed. `verdict` is what the handshake's credential is worth."""

    def __init__(self, request: web.BaseRequest, desk: Desk, feed: Feed, verdict: Verdict, presented: str) -> None:
        super().__init__(request, desk.streams)
        self._desk = desk
        self._places = desk.places
        self._feed = feed
        self._verdict = verdict
        self.presented = presented
        self._path = request.raw_path.partition("?")[0]
        self._codec: Codec = MSGPACK if request.headers.get("Content-Type", "").startswith(_TYPE) else JSON
        self.text = self._codec is JSON
        self._account: str | None = None
        self._subscribed: dict[Pair, None] = {}
        self._key: tuple[object, ...] = ()

    async def greet(self) -> None:
        """Who it is, and whether there is a place."""
        await self.say(self._success("connected"))
        if self._feed.only_msgpack and self._codec is not MSGPACK:
            await self._refuse(412)
        if self._verdict.kind == "none":
            await self._authenticate()
        elif not self._verdict.good or self.streams.auth_refused():
            await self._refuse(402)
        account, flow = self._verdict.person or "the usual", self.streams.flow
        if not self._places.take(account, self._path, flow.connections, self._desk.now()):
            await self._refuse(406)
        self._account = account
        self.good = lambda: self._desk.good(self.presented)
        await self.say(self._success("authenticated"))
        self.streams.join(self)

    async def hear(self, message: Message) -> None:
        """Subscribe, unsubscribe, or something wrong."""
        asked = self._read(message)
        action = asked.get("action") if asked is not None else None
        if asked is None or action not in ("subscribe", "unsubscribe", "auth"):
            await self._complain(400)
        elif action == "auth":
            await self._complain(403)
        else:
            await self._change(asked, adds=action == "subscribe")

    def over(self) -> None:
        super().over()
        if self._account is not None:
            held = self.streams.flow.held
            until = self._desk.now() + held if self.broken and held else None
            self._places.free(self._account, self._path, until)

    def due(self, beats: range, shared: Shared) -> bytes:
        """The messages of these beats, in as few frames as may be."""
        if not self._subscribed:
            return b""
        if self._key not in shared:
            moment = Moment(int(self._desk.now() * 1_000_000) * 1000)
            messages = self._feed.messages(self._subscribed, beats, moment, self._codec)
            most = self.streams.flow.frame
            parts = [messages[at : at + most] for at in range(0, len(messages), most)]
            shared[self._key] = b"".join(framed(self._codec.encode(part), text=self.text) for part in parts)
            shared["count", *self._key] = str(len(messages)).encode()
        self.sent += int(shared["count", *self._key])
        return shared[self._key]

    def expired(self) -> bytes:
        return self.framed(self._error(402))

    def slow(self) -> bytes:
        return self.framed(self._error(407))

    async def _authenticate(self) -> None:
        patience = self.streams.flow.patience
        try:
            asked = self._read(await self.next(_PATIENCE if patience is None else patience))
        except (TimeoutError, Over) as ended:
            self._desk.judge("", "")
            if isinstance(ended, Over):
                raise
            await self._refuse(404)
            return
        named = asked if asked is not None and asked.get("action") == "auth" else {}
        key, secret = str(named.get("key", "")), str(named.get("secret", ""))
        self._verdict, self.presented = self._desk.judge(key, secret), secret
        if not named:
            await self._refuse(400 if asked is None else 401)
        if not self._verdict.good or self.streams.auth_refused():
            await self._refuse(402)

    async def _change(self, asked: Mapping[str, object], *, adds: bool) -> None:
        pairs = self._pairs(asked)
        if isinstance(pairs, int):
            await self._complain(pairs)
            return
        after = {**self._subscribed, **pairs} if adds else {p: None for p in self._subscribed if p not in pairs}
        most = self.streams.flow.symbols
        if most and len({pair for pair in after if pair[0] in self._feed.makers}) > most:
            await self._complain(405)
            return
        self._subscribed = after
        self._key = (self._feed.name, self._codec.name, *sorted(after))
        confirmed: dict[str, list[str]] = {channel: [] for channel in self._feed.channels}
        for channel, symbol in after:
            confirmed[channel].append(symbol)
        await self.say(self._codec.encode([{"T": "subscription", **confirmed}]))

    def _pairs(self, asked: Mapping[str, object]) -> dict[Pair, None] | int:
        """What a client names, with what comes along with it; or the code of its mistake."""
        pairs: dict[Pair, None] = {}
        for channel, symbols in asked.items():
            if channel == "action":
                continue
            if channel not in self._feed.channels:
                return 410
            if not isinstance(symbols, list) or not all(map(is_symbol, symbols)):
                return 400
            if channel in self._feed.no_star and EVERYTHING in symbols:
                return 413
            names = (channel, *self._feed.implied.get(channel, ()))
            pairs.update({(name, str(symbol)): None for name in names for symbol in symbols})
        return pairs

    def _read(self, message: Message) -> Mapping[str, object] | None:
        try:
            found = self._codec.decode(message)
        except (ValueError, TypeError, RecursionError):
            return None
        return found if isinstance(found, dict) and all(isinstance(name, str) for name in found) else None

    def _success(self, text: str) -> bytes:
        return self._codec.encode([{"T": "success", "msg": text}])

    def _error(self, code: int) -> bytes:
        return self._codec.encode([{"T": "error", "code": code, "msg": ERRORS[code]}])

    async def _complain(self, code: int) -> None:
        await self.say(self._error(code))

    async def _refuse(self, code: int) -> None:
        await self._complain(code)
        raise Over(1000)
