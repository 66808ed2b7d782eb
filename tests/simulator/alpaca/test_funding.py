"""Banks, transfers, journals and portfolios, over real sockets."""

from typing import Any

import pytest

from proxy.simulator.alpaca import funding
from tests.simulator.alpaca.support import BROKER, Client
from tests.simulator.support import Reply


async def _post(client: Client, path: str, body: object, **headers: str) -> Reply:
    return await client.call(BROKER, "POST", path, body, headers={**client.credential(BROKER), **headers})


@pytest.mark.parametrize(
    ("what", "body", "name", "value"),
    [
        ("ach_relationships", {"nickname": "Mine"}, "nickname", "Mine"),
        ("recipient_banks", {"name": "Other Bank"}, "name", "Other Bank"),
        ("transfers", {"transfer_type": "wire", "amount": 10.5}, "amount", "10.5"),
    ],
)
async def test_money_of_a_customer_is_kept_at_the_account(
    client: Client, what: str, body: object, name: str, value: str
) -> None:
    """Made, listed, deleted."""
    path = f"/v1/accounts/{client.customer}/{what}"
    made = (await _post(client, path, body)).document

    assert (value, client.customer) == (made[name], made["account_id"])
    assert made in await client.read(BROKER, path)
    assert 204 == (await client.call(BROKER, "DELETE", f"{path}/{made['id']}")).status
    assert made not in await client.read(BROKER, path)


async def test_a_journal_is_made_once_for_an_idempotency_key(client: Client) -> None:
    """The header is looked at."""
    body = {"from_account": client.customer, "to_account": client.customer, "entry_type": "JNLC", "amount": "5"}
    first, again = [await _post(client, "/v1/journals", body, **{"Idempotency-Key": "k"}) for _ in range(2)]

    assert first.document == again.document
    assert ("5", "queued") == (first.document["net_amount"], first.document["status"])
    assert first.document == await client.read(BROKER, f"/v1/journals/{first.document['id']}")


@pytest.mark.parametrize("kind", ["batch", "reverse_batch"])
async def test_a_batch_makes_a_journal_for_each_entry(client: Client, kind: str) -> None:
    """422 without entries."""
    entries = [{"to_account": client.customer, "amount": amount} for amount in ("1", "2")]
    made = (await _post(client, f"/v1/journals/{kind}", {"entry_type": "JNLC", "entries": entries})).document

    assert ["1", "2"] == [journal["net_amount"] for journal in made]
    assert 422 == (await _post(client, f"/v1/journals/{kind}", {"entries": []})).status


async def test_portfolios_are_changed(client: Client) -> None:
    """Weights are there from the beginning."""
    (portfolio,) = await client.read(BROKER, "/v1/rebalancing/portfolios")
    path = f"/v1/rebalancing/portfolios/{portfolio['id']}"
    changed = await client.call(BROKER, "PATCH", path, {"name": "Bold"})

    assert ("Bold", ["cash", "asset"]) == (
        changed.document["name"],
        [weight["type"] for weight in changed.document["weights"]],
    )


@pytest.mark.parametrize("what", ["subscriptions", "runs"])
async def test_lists_of_rebalancing_stand_under_their_name(client: Client, what: str) -> None:
    """With a token for the next page."""
    found: Any = await client.read(BROKER, f"/v1/rebalancing/{what}")

    assert (1, None) == (len(found[what]), found["next_page_token"])


async def test_an_amount_that_is_no_number_is_refused(client: Client) -> None:
    """422."""
    assert 422 == (await _post(client, f"/v1/accounts/{client.customer}/transfers", {"amount": "lots"})).status


def test_each_simulated_broker_has_shelves_of_its_own() -> None:
    """What is kept in one is not in another."""
    one, other = dict(funding.rows()), dict(funding.rows())

    assert one["GET"].answer is not other["GET"].answer
