"""Watchlists of the simulated Tradier."""

from typing import Any

import pytest

from proxy.simulator.tradier.answers import Mistake
from proxy.simulator.tradier.watchlists import Watchlists
from tests.simulator.tradier.support import App


@pytest.fixture
def lists() -> Watchlists:
    return Watchlists()


def _symbols(answer: Any) -> list[str]:
    items = answer["watchlist"]["items"]
    found = [] if items == "null" else items["item"]
    return [item["symbol"] for item in (found if isinstance(found, list) else [found])]


def test_a_list_is_made_changed_and_deleted(lists: Watchlists) -> None:
    """Its id is made of its name; what is left is answered at the end."""
    made: Any = lists.create("My List", "f, aapl")

    assert ("my-list", ["F", "AAPL"]) == (made["watchlist"]["id"], _symbols(made))
    assert ["F", "AAPL", "SPY"] == _symbols(lists.add("my-list", "spy"))
    assert ["F", "SPY"] == _symbols(lists.remove("my-list", "AAPL"))
    changed: Any = lists.update("my-list", "Other", "MSFT")
    assert ("Other", ["MSFT"]) == (changed["watchlist"]["name"], _symbols(changed))
    assert [] == _symbols(lists.remove("my-list", "msft"))
    left: Any = lists.delete("my-list")
    assert "default" == left["watchlists"]["watchlist"]["id"]


def test_mistakes_change_nothing(lists: Watchlists) -> None:
    """Unknown lists and symbols, names that are missing or taken."""
    before = lists.get("default")
    with pytest.raises(Mistake, match="name"):
        lists.create("", "F")
    with pytest.raises(Mistake, match="name"):
        lists.create("Default", "F")
    with pytest.raises(Mistake, match="symbol"):
        lists.remove("default", "MSFT")
    for wrong in (lists.get, lists.delete):
        with pytest.raises(Mistake, match="watchlist_id"):
            wrong("other")

    assert before == lists.get("default")


async def test_a_symbol_with_a_slash_is_named_escaped(app: App) -> None:
    """`BRK%2FB` in the path is one part."""
    await app.call("POST", "/v1/watchlists/default/symbols", {"symbols": "BRK/B"})
    reply = await app.call("DELETE", "/v1/watchlists/default/symbols/BRK%2FB")

    assert (200, ["AAPL", "SPY"]) == (reply.status, _symbols(reply.document))
