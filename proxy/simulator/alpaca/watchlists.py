"""The watchlists of one account."""

import uuid
from collections.abc import Mapping

from proxy.simulator.alpaca import assets, moments
from proxy.simulator.alpaca.answers import missing, unprocessable

Record = dict[str, object]


class Watchlists:
    """Named lists of symbols; a name stands there once."""

    def __init__(self, account_id: str, now: float) -> None:
        self._account_id = account_id
        self._lists: dict[str, Record] = {}
        self._symbols: dict[str, list[str]] = {}
        self.create({"name": "Primary Watchlist", "symbols": ["AAPL", "SPY"]}, now)

    def short(self) -> list[Record]:
        """`GET /v2/watchlists`: without assets."""
        return list(self._lists.values())

    def create(self, request: Mapping[str, object], now: float) -> Record:
        """Refused with 422 for a name that is missing or taken, or a symbol that is not known."""
        name = self._name(request)
        symbols = _symbols(request)
        number = str(uuid.uuid4())
        moment = moments.written(now)
        self._lists[number] = {
            "id": number,
            "account_id": self._account_id,
            "created_at": moment,
            "updated_at": moment,
            "name": name,
        }
        self._symbols[number] = symbols
        return self.get(number)

    def get(self, number: str) -> Record:
        """Refused with 404."""
        record = self._lists.get(number)
        if record is None:
            raise missing("watchlist")
        found = (assets.known(symbol) for symbol in self._symbols[number])
        return {**record, "assets": [asset.record() for asset in found if asset is not None]}

    def named(self, name: str) -> str:
        """The id of the list of this name. Refused with 404."""
        for number, record in self._lists.items():
            if record["name"] == name:
                return number
        raise missing("watchlist")

    def update(self, number: str, request: Mapping[str, object], now: float) -> Record:
        """Another name, other symbols, or both."""
        self.get(number)
        if request.get("name") not in (None, self._lists[number]["name"]):
            self._lists[number]["name"] = self._name(request)
        if request.get("symbols") is not None:
            self._symbols[number] = _symbols(request)
        return self._touched(number, now)

    def add(self, number: str, request: Mapping[str, object], now: float) -> Record:
        self.get(number)
        (symbol,) = _symbols({"symbols": [request.get("symbol")]})
        if symbol in self._symbols[number]:
            raise unprocessable("duplicate symbol")
        self._symbols[number].append(symbol)
        return self._touched(number, now)

    def remove(self, number: str, symbol: str, now: float) -> Record:
        self.get(number)
        if symbol not in self._symbols[number]:
            raise missing("symbol")
        self._symbols[number].remove(symbol)
        return self._touched(number, now)

    def delete(self, number: str) -> None:
        self.get(number)
        del self._lists[number], self._symbols[number]

    def _touched(self, number: str, now: float) -> Record:
        self._lists[number]["updated_at"] = moments.written(now)
        return self.get(number)

    def _name(self, request: Mapping[str, object]) -> str:
        name = request.get("name")
        if not isinstance(name, str) or not name:
            raise unprocessable("name is required")
        if any(record["name"] == name for record in self._lists.values()):
            raise unprocessable("watchlist name must be unique")
        return name


def _symbols(request: Mapping[str, object]) -> list[str]:
    wanted = request.get("symbols") or []
    if not isinstance(wanted, list) or any(assets.known(str(symbol)) is None for symbol in wanted):
        raise unprocessable("symbol not found")
    return [str(symbol) for symbol in wanted]
