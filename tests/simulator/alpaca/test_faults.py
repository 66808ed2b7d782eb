"""Faults on request."""

import json

import aiohttp
import pytest

from proxy.simulator.alpaca.faults import ORDER_REFUSALS, REFUSALS, catalogue
from tests.simulator.alpaca.support import BROKER, LIMIT, PAPER, Client, error


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("api-401", 401, 40110000),
        ("api-401-scope", 401, 40110000),
        ("api-401-gateway", 401, None),
        ("api-403-gateway", 403, None),
        ("api-429", 429, 42910000),
        ("api-500", 500, 50010000),
    ],
)
async def test_a_refused_call_is_not_carried_out(client: Client, fault: str, status: int, code: int | None) -> None:
    """It is counted, no order is kept, and the next one is taken."""
    await client.fault(fault)
    reply = await client.place(LIMIT)

    assert (status, code) == (reply.status, reply.document.get("code"))
    assert 0 == (await client.state())["orders"]
    assert 200 == (await client.place(LIMIT)).status
    assert 2 == (await client.state())["calls"]["POST /v2/orders"]


@pytest.mark.parametrize(("fault", "code"), [("order-403", 40310000), ("order-422", 42210001)])
async def test_an_order_fault_hits_orders_only(client: Client, fault: str, code: int) -> None:
    """Reading goes on meanwhile."""
    await client.fault(fault)

    assert 200 == (await client.get(PAPER, "/v2/orders")).status
    assert code == error(await client.place(LIMIT))[1]


async def test_a_429_tells_when_to_come_back(client: Client) -> None:
    """Rate headers and Retry-After."""
    await client.fault("api-429")
    reply = await client.get(PAPER, "/v2/clock")

    assert ("0", "1") == (reply.headers["X-RateLimit-Remaining"], reply.headers["Retry-After"])


async def test_a_done_order_is_kept_whatever_becomes_of_its_answer(client: Client) -> None:
    """The connection breaks after it was placed."""
    for fault in ("api-drop-before-answer", "api-truncated"):
        await client.fault(fault)
        with pytest.raises(aiohttp.ClientError):
            await client.place(LIMIT)

    assert 2 == (await client.state())["orders"]


async def test_partner_calls_fail_with_a_text(client: Client) -> None:
    """500 with a string in JSON, as documented."""
    await client.fault("api-500-text")
    reply = await client.get(BROKER, "/v1/oauth/clients/x")

    assert (500, "Some server error occurred. Please contact Alpaca.") == (reply.status, reply.document)


@pytest.mark.parametrize(
    ("fault", "status"), [("token-401-invalid-client", 401), ("token-429", 429), ("token-500", 500)]
)
async def test_a_refused_mint_issues_nothing(client: Client, fault: str, status: int) -> None:
    """The next one does."""
    await client.fault(fault)

    assert status == (await client.ask_authx()).status
    assert 0 == (await client.state())["generation"]
    assert await client.mint()


async def test_a_connect_code_survives_a_refused_exchange(client: Client) -> None:
    """It was not looked at."""
    code = client.code()
    await client.fault("token-500")

    assert 500 == (await client.exchange(code=code)).status
    assert 200 == (await client.exchange(code=code)).status


async def test_a_lost_answer_has_issued_a_token(client: Client) -> None:
    """The code is spent."""
    code = client.code()
    await client.fault("token-drop-after")
    with pytest.raises(aiohttp.ClientError):
        await client.exchange(code=code)

    assert 1 == (await client.state())["generation"]
    assert 400 == (await client.exchange(code=code)).status


def test_every_refusal_has_a_name_in_the_catalogue() -> None:
    """And JSON is what it says it is."""
    known = catalogue().catalogue()

    assert {*REFUSALS, *ORDER_REFUSALS} <= set(known)
    for name, answer in ORDER_REFUSALS.items():
        assert answer.status == json.loads(answer.body)["code"] // 100_000, name
