"""Alpaca's trading socket (https://docs.alpaca.markets/docs/websocket-streaming): the client speaks first, in JSON.

The paper host sends binary frames, the live one text. Who has not said who it is may say so again, or be told that it
may not listen.
"""

import json
from collections.abc import Callable, Mapping

import msgpack  # type: ignore[import-untyped]
from aiohttp import web

from proxy.simulator.alpaca.credentials import Verdict
from proxy.simulator.alpaca.updates import Update
from proxy.simulator.streams import Streams
from proxy.simulator.websocket import Message, Over, Socket

TRADE_UPDATES = "trade_updates"
PATHS = ("/stream", "/stream/")
_PATIENCE = 10.0
_AUTH = ("auth", "authenticate")


class TradingSocket(Socket):
    """One trading socket. `judge` counts a credential; `account_id` tells whose account a good one is for."""

    def __init__(
        self,
        request: web.BaseRequest,
        streams: Streams,
        judge: Callable[[str, str], Verdict],
        account_id: Callable[[Verdict], str],
        still_good: Callable[[str], bool],
        *,
        binary: bool,
    ) -> None:
        super().__init__(request, streams)
        self._judge = judge
        self._account_id = account_id
        self._still_good = still_good
        self._packed = request.headers.get("Content-Type", "").startswith("application/msgpack")
        self.text = not binary and not self._packed
        self._account: str | None = None
        self._listens = False

    async def greet(self) -> None:
        """A credential within ten seconds, however many are tried."""
        patience = self.streams.flow.patience
        try:
            await self.hear(await self.next(_PATIENCE if patience is None else patience))
        except (TimeoutError, Over) as ended:
            if self._account is None:
                self._judge("", "")
            raise ended if isinstance(ended, Over) else Over(1000) from None

    async def hear(self, message: Message) -> None:
        """Authenticate, or listen."""
        asked = _read(message)
        action, data = asked.get("action"), asked.get("data")
        fields = data if isinstance(data, dict) else asked
        if action in _AUTH:
            await self._authenticate(fields)
        elif action == "listen" and self._account is not None:
            wanted = fields.get("streams")
            listed = [name for name in wanted if name == TRADE_UPDATES] if isinstance(wanted, list) else []
            self._listens = bool(listed)
            await self._tell("listening", {"streams": listed})
        else:
            await self._tell("authorization", {"status": "unauthorized", "action": str(action or "")[:20]})

    async def _authenticate(self, fields: Mapping[str, object]) -> None:
        token = fields.get("oauth_token")
        if token is not None:
            key, secret = "oauth", str(token)
        else:
            key = str(fields.get("key_id", fields.get("key", "")))
            secret = str(fields.get("secret_key", fields.get("secret", "")))
        verdict, again = self._judge(key, secret), self._account is not None
        good = verdict.good and not self.streams.auth_refused()
        if good:
            self._account, self.presented = self._account_id(verdict), secret
            self.good = lambda: self._still_good(secret)
        await self._tell("authorization", {"status": "authorized" if good else "unauthorized", "action": _AUTH[1]})
        if good and not again:
            self.streams.join(self)

    async def _tell(self, stream: str, data: Mapping[str, object]) -> None:
        await self.say(self._written(stream, data))

    def _written(self, stream: str, data: Mapping[str, object]) -> bytes:
        document = {"stream": stream, "data": data}
        if self._packed:
            packed: bytes = msgpack.packb(document)
            return packed
        return json.dumps(document, separators=(",", ":")).encode()

    def about(self, update: Update) -> bytes | None:
        """What this socket hears of an update of an order."""
        if not self._listens or update.account_id != self._account:
            return None
        return self.framed(self._written(TRADE_UPDATES, update.document()))

    def expired(self) -> bytes:
        data = {"status": "unauthorized", "action": _AUTH[1]}
        return self.framed(self._written("authorization", data))

    @property
    def nonsense(self) -> tuple[bytes, bytes]:
        _, broken = super().nonsense
        return self.framed(b'{"stream":"trade_upd'), broken


def _read(message: Message) -> Mapping[str, object]:
    """JSON in either kind of frame, or MessagePack; nothing if it is neither."""
    for read in (json.loads, msgpack.unpackb):
        try:
            found = read(message)
        except (ValueError, TypeError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return {}
