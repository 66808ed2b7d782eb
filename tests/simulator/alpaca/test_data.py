"""The calls of the Market Data API, over real sockets."""

from typing import Any

import pytest

from proxy.simulator.alpaca import assets, data
from tests.simulator.alpaca.support import DATA, Client, error
from tests.simulator.support import NOON

SPAN = "start=2026-02-02T00:00:00Z&end=2026-02-28T00:00:00Z"
OPTION = assets.contracts(NOON)[0].symbol


async def _pages(client: Client, target: str) -> list[Any]:
    pages = [await client.read(DATA, target)]
    while pages[-1]["next_page_token"]:
        pages.append(await client.read(DATA, f"{target}&page_token={pages[-1]['next_page_token'].replace('=', '%3D')}"))
    return pages


@pytest.mark.parametrize("sort", ["asc", "desc"])
async def test_pages_together_are_the_whole(client: Client, sort: str) -> None:
    """One symbol after the other, nothing twice, nothing left out, in either direction."""
    target = f"/v2/stocks/bars?symbols=AAPL,SPY&timeframe=1Day&{SPAN}&sort={sort}"
    whole = (await client.read(DATA, target))["bars"]
    pages = await _pages(client, f"{target}&limit=7")
    joined: dict[str, list[object]] = {}
    for page in pages:
        for symbol, bars in page["bars"].items():
            joined.setdefault(symbol, []).extend(bars)

    assert [20, 20] == [len(bars) for bars in whole.values()]
    assert whole == joined
    assert 6 == len(pages)


async def test_the_call_for_one_symbol_names_it(client: Client) -> None:
    """The list stands beside the symbol."""
    found = await client.read(DATA, f"/v2/stocks/AAPL/trades?{SPAN}&limit=3")

    assert ("AAPL", 3) == (found["symbol"], len(found["trades"]))
    assert found["next_page_token"]


@pytest.mark.parametrize(
    ("target", "key"),
    [
        ("/v2/stocks/bars/latest?symbols=AAPL", "bars"),
        ("/v2/stocks/quotes/latest?symbols=AAPL", "quotes"),
        ("/v2/stocks/trades/latest?symbols=AAPL", "trades"),
        ("/v1beta3/crypto/us/latest/orderbooks?symbols=BTC%2FUSD", "orderbooks"),
        ("/v1beta3/crypto/us/snapshots?symbols=BTC%2FUSD", "snapshots"),
        (f"/v1beta1/options/quotes/latest?symbols={OPTION}", "quotes"),
        (f"/v1beta1/options/snapshots?symbols={OPTION}", "snapshots"),
        ("/v1beta1/crypto-perps/us/latest/pricing?symbols=BTC%2FUSD", "pricing"),
        ("/v1beta1/forex/latest/rates?currency_pairs=USDJPY", "rates"),
        ("/v1beta1/fixed_income/latest/prices?isins=US1", "prices"),
        ("/v1beta1/indices/latest/values?symbols=SPX", "values"),
    ],
)
async def test_the_newest_of_each_symbol_stands_under_its_name(client: Client, target: str, key: str) -> None:
    """One key, then the symbols."""
    found = await client.read(DATA, target)

    assert [key] == [name for name in found if name != "next_page_token"]
    assert 1 == len(found[key])


@pytest.mark.parametrize(("what", "key"), [("bars", "bar"), ("quotes", "quote"), ("trades", "trade")])
async def test_the_newest_of_one_symbol_stands_under_a_name_for_one(client: Client, what: str, key: str) -> None:
    """And the symbol beside it."""
    found = await client.read(DATA, f"/v2/stocks/AAPL/{what}/latest")

    assert {"symbol", key} == set(found)


async def test_stock_snapshots_have_no_key_around_them(client: Client) -> None:
    """The symbols are at the top; the one for a single symbol is flat."""
    assert ["AAPL", "SPY"] == list(await client.read(DATA, "/v2/stocks/snapshots?symbols=AAPL,SPY"))
    assert "dailyBar" in await client.read(DATA, "/v2/stocks/AAPL/snapshot")


async def test_unknown_symbols_are_left_out_of_lists_and_not_found_alone(client: Client) -> None:
    """As live."""
    assert ["AAPL"] == list((await client.read(DATA, "/v2/stocks/bars/latest?symbols=AAPL,NOPE"))["bars"])
    assert 404 == (await client.get(DATA, "/v2/stocks/NOPE/bars/latest")).status


async def test_an_option_chain_has_every_contract_of_its_underlying(client: Client) -> None:
    """With greeks; 404 where there is none."""
    chain = (await client.read(DATA, "/v1beta1/options/snapshots/AAPL"))["snapshots"]

    assert 10 == len(chain)
    assert {"latestTrade", "latestQuote", "impliedVolatility", "greeks"} == set(chain[OPTION])
    assert 404 == (await client.get(DATA, "/v1beta1/options/snapshots/TSLA")).status


async def test_the_default_span_is_today(client: Client) -> None:
    """From midnight UTC to now: two and a half hours of trading."""
    found = await client.read(DATA, "/v2/stocks/AAPL/bars?timeframe=1Hour")

    assert 3 == len(found["bars"])


@pytest.mark.parametrize(
    "query",
    [
        "",
        "symbols=AAPL&timeframe=1Year",
        "symbols=AAPL&limit=10001",
        "symbols=AAPL&start=x",
        "symbols=AAPL&page_token=!",
    ],
)
async def test_a_bad_query_is_refused(client: Client, query: str) -> None:
    """400."""
    assert (400, 40010000) == error(await client.get(DATA, f"/v2/stocks/bars?{query}"))[:2]


async def test_a_logo_is_a_picture(client: Client) -> None:
    """Not JSON."""
    reply = await client.get(DATA, "/v1beta1/logos/AAPL")

    assert ("image/png", b"\x89PNG") == (reply.headers["Content-Type"], reply.body[:4])


def test_public_calls_are_the_crypto_ones() -> None:
    """Thirteen of them, as the specification marks them."""
    public = [route.template for _, route in data.routes().rows if route.public]

    assert 13 == len(public)
    assert all("crypto" in path for path in public)
