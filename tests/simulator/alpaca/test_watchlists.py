"""Watchlists."""

import pytest

from proxy.simulator.alpaca.answers import Refused
from proxy.simulator.alpaca.watchlists import Record, Watchlists
from tests.simulator.alpaca.support import MISSING
from tests.simulator.support import NOON


@pytest.fixture
def lists() -> Watchlists:
    return Watchlists("account", NOON)


def _symbols(record: Record) -> list[str]:
    rows = record["assets"]
    assert isinstance(rows, list)
    return [row["symbol"] for row in rows]


def test_short_records_have_no_assets(lists: Watchlists) -> None:
    """As the list of all has them."""
    assert ["Primary Watchlist"] == [record["name"] for record in lists.short()]
    assert "assets" not in lists.short()[0]


def test_a_list_is_made_changed_and_deleted(lists: Watchlists) -> None:
    """Assets in their order, under one id."""
    number = str(lists.create({"name": "x", "symbols": ["SPY"]}, NOON)["id"])

    assert ["SPY", "BTC/USD"] == _symbols(lists.add(number, {"symbol": "BTC/USD"}, NOON))
    assert ["BTC/USD"] == _symbols(lists.remove(number, "SPY", NOON))
    changed = lists.update(number, {"name": "y", "symbols": ["MSFT"]}, NOON + 1)
    assert ("y", ["MSFT"]) == (changed["name"], _symbols(changed))
    assert changed["created_at"] != changed["updated_at"]
    assert number == lists.named("y")
    lists.delete(number)
    with pytest.raises(Refused, match="40410000"):
        lists.get(number)


def test_names_and_symbols_stand_there_once(lists: Watchlists) -> None:
    """422 for a second one, for a name that is missing, and for a symbol that is not known."""
    number = lists.named("Primary Watchlist")
    for request in ({"name": "Primary Watchlist"}, {}, {"name": "z", "symbols": ["NOPE"]}, {"name": "z", "symbols": 5}):
        with pytest.raises(Refused, match="42210001"):
            lists.create(request, NOON)
    for symbol in ("AAPL", "NOPE", None):
        with pytest.raises(Refused, match="42210001"):
            lists.add(number, {"symbol": symbol}, NOON)


def test_what_is_not_there_is_not_found(lists: Watchlists) -> None:
    """By id, by name, and a symbol of a list."""
    for look in (
        lambda: lists.get(MISSING),
        lambda: lists.named("x"),
        lambda: lists.delete(MISSING),
        lambda: lists.update(MISSING, {}, NOON),
        lambda: lists.remove(lists.named("Primary Watchlist"), "TSLA", NOON),
    ):
        with pytest.raises(Refused, match="40410000"):
            look()
