"""Articles, screeners and corporate actions."""

from typing import Any

import pytest

from proxy.simulator.alpaca import news
from proxy.simulator.alpaca.answers import Refused
from tests.simulator.alpaca.support import call
from tests.simulator.support import fields


def test_articles_come_page_by_page() -> None:
    """Newest first, until there are no more."""
    pages: list[Any] = []
    token: str | None = "0"
    while token is not None:
        pages.append(news.articles(call(f"limit=25&page_token={token}")))
        token = pages[-1]["next_page_token"]
    every = [article for page in pages for article in page["news"]]

    assert [25, 25, 10] == [len(page["news"]) for page in pages]
    assert sorted((article["created_at"] for article in every), reverse=True) == [each["created_at"] for each in every]
    assert fields("id headline author created_at updated_at summary content url images symbols source") == set(every[0])


def test_articles_are_about_what_was_asked_for() -> None:
    """By symbol."""
    found: Any = news.articles(call("symbols=AAPL,SPY&limit=50"))

    assert {("AAPL",), ("SPY",)} == {tuple(article["symbols"]) for article in found["news"]}


@pytest.mark.parametrize("query", ["limit=51", "page_token=x", "limit=0"])
def test_a_bad_page_is_refused(query: str) -> None:
    """400."""
    with pytest.raises(Refused, match="40010000"):
        news.articles(call(query))


def test_the_most_active_come_first() -> None:
    """As many as asked for."""
    found: Any = news.most_actives(call("by=volume&top=3"))

    assert 3 == len(found["most_actives"])
    assert fields("symbol volume trade_count") == set(found["most_actives"][0])


@pytest.mark.parametrize(("kind", "symbol"), [("stocks", "AAPL"), ("crypto", "BTC/USD")])
def test_movers_are_of_one_market(kind: str, symbol: str) -> None:
    """Gainers and losers."""
    found: Any = news.movers(call(market_type=kind))

    assert (symbol, kind) == (found["gainers"][0]["symbol"], found["market_type"])
    assert 0 > found["losers"][0]["percent_change"]
    with pytest.raises(Refused, match="40010000"):
        news.movers(call(market_type="bonds"))


def test_corporate_actions_are_grouped_by_kind() -> None:
    """All of them, or those that were asked for."""
    every: Any = news.corporate_actions(call())
    some: Any = news.corporate_actions(call("types=cash_dividend,name_change"))

    assert 13 == len(every["corporate_actions"])
    assert {"cash_dividends", "name_changes"} == set(some["corporate_actions"])
    assert None is some["next_page_token"]


def test_an_event_is_about_a_corporate_action() -> None:
    """With its number."""
    assert (2, "AAPL") == tuple(news.corporate_action_event(2, call())[name] for name in ("number", "symbol"))
