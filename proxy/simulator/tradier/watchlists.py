"""Watchlists: named lists of symbols."""

import re

from proxy.simulator.tradier.answers import Mistake, several

Record = dict[str, object]


class Watchlists:
    """The watchlists of the one user; there is a `default` one. A list of an unknown id is a `Mistake`."""

    def __init__(self) -> None:
        self._lists: dict[str, tuple[str, dict[str, str]]] = {"default": ("default", {"aapl": "AAPL", "spy": "SPY"})}

    def all(self) -> Record:
        shown: list[object] = [self._head(number) for number in self._lists]
        return several("watchlists", "watchlist", shown)

    def get(self, number: str) -> Record:
        items: list[object] = [{"symbol": symbol, "id": each} for each, symbol in self._find(number)[1].items()]
        return {"watchlist": self._head(number) | several("items", "item", items)}

    def create(self, name: str | None, symbols: str | None) -> Record:
        """A list of that name already is a mistake."""
        if not name:
            raise Mistake("Invalid parameter, name: is required")
        number = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "list"
        if number in self._lists:
            raise Mistake("Invalid parameter, name: there is a watchlist of that name")
        self._lists[number] = (name, _items(symbols or ""))
        return self.get(number)

    def update(self, number: str, name: str | None, symbols: str | None) -> Record:
        """New symbols replace the old ones."""
        old_name, old = self._find(number)
        self._lists[number] = (name or old_name, old if symbols is None else _items(symbols))
        return self.get(number)

    def delete(self, number: str) -> Record:
        """Answers the lists that are left."""
        self._find(number)
        del self._lists[number]
        return self.all()

    def add(self, number: str, symbols: str) -> Record:
        self._find(number)[1].update(_items(symbols))
        return self.get(number)

    def remove(self, number: str, symbol: str) -> Record:
        if self._find(number)[1].pop(symbol.lower(), None) is None:
            raise Mistake("Invalid parameter, symbol: is not in this watchlist")
        return self.get(number)

    def _head(self, number: str) -> Record:
        return {"name": self._lists[number][0], "id": number, "public_id": f"public-{number}"}

    def _find(self, number: str) -> tuple[str, dict[str, str]]:
        if number not in self._lists:
            raise Mistake("Invalid parameter, watchlist_id: unknown")
        return self._lists[number]


def _items(symbols: str) -> dict[str, str]:
    found = [name.strip().upper() for name in symbols.split(",") if name.strip()]
    return {name.lower(): name for name in found}
