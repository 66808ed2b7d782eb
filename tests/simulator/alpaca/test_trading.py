"""The calls of the Trading API, over real sockets."""

from typing import Any

import pytest

from proxy.simulator.alpaca import assets, trading
from proxy.simulator.alpaca.routes import DENIED
from tests.simulator.alpaca.support import LIMIT, MARKET, MISSING, PAPER, Client, error
from tests.simulator.support import NOON

OPTION = assets.contracts(NOON)[0].symbol


async def test_an_order_is_placed_read_changed_and_cancelled(client: Client) -> None:
    """200, 200, 200, 204; by both ids."""
    placed = await client.place({**LIMIT, "client_order_id": "mine"})
    path = f"/v2/orders/{placed.document['id']}"
    changed = await client.call(PAPER, "PATCH", path, {"qty": "3"})

    assert 200 == placed.status
    assert "replaced" == (await client.read(PAPER, path))["status"]
    assert "mine" == (await client.read(PAPER, "/v2/orders:by_client_order_id?client_order_id=mine"))["client_order_id"]
    cancelled = await client.call(PAPER, "DELETE", f"/v2/orders/{changed.document['id']}")
    assert (204, []) == (cancelled.status, await client.read(PAPER, "/v2/orders?status=open"))
    assert 1 == (await client.state())["orders"]


async def test_a_repeated_client_order_id_is_refused(client: Client) -> None:
    """So that a repeated request does not become a second order."""
    order = {**LIMIT, "client_order_id": "mine"}
    await client.place(order)

    assert (422, 42210001, "client_order_id must be unique") == error(await client.place(order))


async def test_too_little_money_is_403_and_says_how_much_there_is(client: Client) -> None:
    """With members besides code and message."""
    reply = await client.place({**MARKET, "qty": "10000"})

    assert (403, 40310000, "insufficient buying power") == error(reply)
    assert "200000" == reply.document["buying_power"]


async def test_deleting_all_answers_207(client: Client) -> None:
    """One item for each order, one for each position."""
    order = (await client.place(LIMIT)).document
    orders = await client.call(PAPER, "DELETE", "/v2/orders")
    positions = await client.call(PAPER, "DELETE", "/v2/positions?cancel_orders=true")

    assert (207, [{"id": order["id"], "status": 200}]) == (orders.status, orders.document)
    assert (207, ["AAPL", "BTCUSD"]) == (positions.status, [item["symbol"] for item in positions.document])


async def test_one_position_is_read_and_closed(client: Client) -> None:
    """404 when it is gone."""
    order = await client.call(PAPER, "DELETE", "/v2/positions/AAPL?qty=100")

    assert (200, "100", "sell") == (order.status, order.document["qty"], order.document["side"])
    assert 404 == (await client.get(PAPER, "/v2/positions/AAPL")).status
    assert "0.5" == (await client.read(PAPER, "/v2/positions/BTC%2FUSD"))["qty"]


@pytest.mark.parametrize("name", ["AAPL", "BTC%2FUSD", "BTCUSD", OPTION, assets.identifier("SPY")])
async def test_an_asset_is_found_by_symbol_and_id(client: Client, name: str) -> None:
    """A slash comes encoded."""
    assert (await client.read(PAPER, f"/v2/assets/{name}"))["tradable"]


async def test_a_slash_that_is_not_encoded_is_another_path(client: Client) -> None:
    """Two segments, and no call has them."""
    assert (404, 40410000, "endpoint not found") == error(await client.get(PAPER, "/v2/assets/BTC/USD"))


async def test_watchlists_have_an_id_and_a_name(client: Client) -> None:
    """Every call by either."""
    made = (await client.call(PAPER, "POST", "/v2/watchlists", {"name": "My List", "symbols": ["AAPL"]})).document
    by_name, by_id = "/v2/watchlists:by_name", f"/v2/watchlists/{made['id']}"
    added = await client.call(PAPER, "POST", f"{by_name}?name=My%20List", {"symbol": "BTC/USD"})
    removed = await client.call(PAPER, "DELETE", f"{by_id}/BTC%2FUSD")
    renamed = await client.call(PAPER, "PUT", f"{by_name}?name=My%20List", {"name": "Other"})

    assert [["AAPL", "BTC/USD"], ["AAPL"], ["AAPL"]] == [
        [asset["symbol"] for asset in reply.document["assets"]] for reply in (added, removed, renamed)
    ]
    assert made["id"] == (await client.read(PAPER, f"{by_name}?name=Other"))["id"]
    assert 204 == (await client.call(PAPER, "DELETE", f"{by_name}?name=Other")).status
    assert (404, 40410000, "watchlist not found") == error(await client.get(PAPER, by_id))
    assert 400 == (await client.get(PAPER, by_name)).status


async def test_option_contracts_are_filtered_and_paged(client: Client) -> None:
    """By underlying, side, strike and date."""

    async def found(query: str) -> tuple[int, str | None]:
        reply: Any = await client.read(PAPER, f"/v2/options/contracts?{query}")
        return len(reply["option_contracts"]), reply["next_page_token"]

    assert (20, None) == await found("")
    assert (5, None) == await found("underlying_symbols=AAPL&type=put")
    assert (3, None) == await found("underlying_symbols=AAPL&type=call&strike_price_gte=230")
    assert (2, None) == await found("underlying_symbols=AAPL&type=call&strike_price_lte=225")
    assert (0, None) == await found("expiration_date_lte=2026-04-01")
    assert (20, None) == await found("expiration_date_gte=2026-04-01")
    assert (15, "15") == await found("limit=15")
    assert (5, None) == await found("limit=15&page_token=15")
    for query in ("strike_price_gte=x", "page_token=x", "expiration_date_gte=x"):
        assert (await client.get(PAPER, f"/v2/options/contracts?{query}")).status in (400, 422)


async def test_an_option_is_exercised_if_it_is_held(client: Client) -> None:
    """422 before it was bought, 404 for an option that there is not."""
    path = f"/v2/positions/{OPTION}/exercise"
    assert 422 == (await client.call(PAPER, "POST", path)).status
    await client.place({**MARKET, "symbol": OPTION, "qty": "1"})

    assert 200 == (await client.call(PAPER, "POST", path)).status
    assert 404 == (await client.call(PAPER, "POST", f"/v2/positions/{MISSING}/do-not-exercise")).status


async def test_reference_data_are_there(client: Client) -> None:
    """Clock, calendar, announcements."""
    week = "start=2026-03-02&end=2026-03-08"

    assert 5 == len(await client.read(PAPER, f"/v2/calendar?{week}"))
    assert 5 == len((await client.read(PAPER, f"/v3/calendar/XNYS?{week}"))["calendar"])
    assert (await client.read(PAPER, "/v2/clock"))["is_open"]
    assert "core" == (await client.read(PAPER, "/v3/clock"))["clocks"][0]["phase"]
    announcements = "/v2/corporate_actions/announcements"
    query = "ca_types=dividend&since=2026-01-01&until=2026-02-01"
    assert "AAPL" == (await client.read(PAPER, f"{announcements}?{query}"))[0]["initiating_symbol"]
    assert 400 == (await client.get(PAPER, announcements)).status


async def test_activities_of_one_kind_have_a_path_of_their_own(client: Client) -> None:
    """The same as with a query."""
    await client.place(MARKET)
    by_path = await client.read(PAPER, "/v2/account/activities/FILL")

    assert ["FILL"] == [row["activity_type"] for row in by_path]
    assert by_path == await client.read(PAPER, "/v2/account/activities?activity_types=FILL")


async def test_settings_are_written(client: Client) -> None:
    """And read back."""
    reply = await client.call(PAPER, "PATCH", "/v2/account/configurations", {"no_shorting": True})

    assert reply.document == await client.read(PAPER, "/v2/account/configurations")
    assert reply.document["no_shorting"]


def test_seven_calls_have_no_scope() -> None:
    """The ones that move money or coins out."""
    denied = [route.template for _, route in trading.routes().rows if route.scope == DENIED]

    assert 7 == len(denied)


def test_only_orders_and_positions_take_order_faults() -> None:
    """What places, changes or cancels."""
    marked = {f"{method} {route.template}" for method, route in trading.routes().rows if route.orders}

    assert {"POST /v2/orders", "DELETE /v2/positions"} < marked
    assert all("/orders" in path or "/positions" in path for path in marked)
    assert not any(path.startswith("GET") for path in marked)
