"""The calls of the Broker API, over real sockets."""

from typing import Any

from tests.simulator.alpaca.support import BROKER, LIMIT, PAPER, Client
from tests.simulator.support import fields


async def test_customers_are_listed_made_changed_and_closed(client: Client) -> None:
    """204 for a closed one."""
    person: dict[str, Any] = {"contact": {"city": "Oslo"}, "identity": {"given_name": "Edith", "family_name": "X"}}
    made = (await client.call(BROKER, "POST", "/v1/accounts", person)).document
    path = f"/v1/accounts/{made['id']}"
    changed = await client.call(BROKER, "PATCH", path, {"contact": {"city": "Bergen"}})

    assert 3 == len(await client.read(BROKER, "/v1/accounts"))
    assert "Bergen" == changed.document["contact"]["city"]
    assert 204 == (await client.call(BROKER, "POST", f"{path}/actions/close")).status
    assert "ACCOUNT_CLOSED" == (await client.read(BROKER, path))["status"]


async def test_each_customer_has_a_trading_account(client: Client) -> None:
    """Orders and positions of one are not those of another, nor of the partner's own on paper."""
    ada, grace = client.alpaca.customers.accounts
    base = f"/v1/trading/accounts/{ada}"
    placed = await client.call(BROKER, "POST", f"{base}/orders", {**LIMIT, "client_order_id": "mine"})

    assert 200 == placed.status
    assert placed.document == await client.read(BROKER, f"{base}/orders:by_client_order_id?client_order_id=mine")
    assert placed.document == await client.read(BROKER, f"{base}/orders/{placed.document['id']}")
    assert [] == await client.read(BROKER, f"/v1/trading/accounts/{grace}/orders")
    assert [] == await client.read(PAPER, "/v2/orders")
    assert 207 == (await client.call(BROKER, "DELETE", f"{base}/orders")).status
    assert 1 == (await client.state())["orders"]


async def test_a_trading_account_has_what_the_broker_api_adds(client: Client) -> None:
    """Besides the fields of the Trading API."""
    record = await client.read(BROKER, f"/v1/trading/accounts/{client.customer}/account")
    more = fields(
        "cash_withdrawable cash_transferable previous_close last_long_market_value last_short_market_value last_cash"
        " last_initial_margin last_regt_buying_power last_buying_power clearing_broker"
    )

    assert more < set(record)


async def test_positions_of_all_customers_come_at_once(client: Client) -> None:
    """By account."""
    found = await client.read(BROKER, "/v1/accounts/positions")

    assert list(client.alpaca.customers.accounts) == list(found["positions"])
    assert "as_of" in found


async def test_watchlists_and_settings_are_the_customers(client: Client) -> None:
    """The same calls as on the trading host."""
    base = f"/v1/trading/accounts/{client.customer}"
    made = (await client.call(BROKER, "POST", f"{base}/watchlists", {"name": "x", "symbols": ["AAPL"]})).document
    one = f"{base}/watchlists/{made['id']}"
    await client.call(BROKER, "POST", one, {"symbol": "SPY"})
    await client.call(BROKER, "DELETE", f"{one}/AAPL")
    changed = await client.call(BROKER, "PATCH", f"{base}/account/configurations", {"no_shorting": True})

    assert ["SPY"] == [asset["symbol"] for asset in (await client.read(BROKER, one))["assets"]]
    assert changed.document["no_shorting"]
    assert 204 == (await client.call(BROKER, "DELETE", one)).status


async def test_documents_are_listed_and_downloaded(client: Client) -> None:
    """As a PDF."""
    base = f"/v1/accounts/{client.customer}/documents"
    (document,) = await client.read(BROKER, base)
    reply = await client.get(BROKER, f"{base}/{document['id']}/download")

    assert ("application/pdf", b"%PDF") == (reply.headers["Content-Type"], reply.body[:4])


async def test_reference_data_are_those_of_the_trading_api(client: Client) -> None:
    """Under other versions."""
    for broker, trading in (("/v1/assets", "/v2/assets"), ("/v1/clock", "/v2/clock"), ("/v2/clock", "/v3/clock")):
        assert await client.read(BROKER, broker) == await client.read(PAPER, trading)


async def test_checks_of_a_person_are_there(client: Client) -> None:
    """Approved."""
    found = await client.read(BROKER, f"/v1/accounts/{client.customer}/cip")

    assert (client.customer, "approved") == (found["account_id"], found["kyc"]["approval_status"])
