"""What every call passes, over real sockets."""

import asyncio
import io

import pytest

from tests.simulator.alpaca.support import BROKER, DATA, LIMIT, LIVE, PAPER, Client, bearer, error
from tests.simulator.support import trusting


async def test_a_good_answer_has_the_usual_headers(client: Client) -> None:
    """The rate limit, an id for the request, JSON."""
    first, second = [await client.get(PAPER, "/v2/account") for _ in range(2)]

    assert "application/json; charset=utf-8" == first.headers["Content-Type"]
    assert ["199", "198"] == [reply.headers["X-RateLimit-Remaining"] for reply in (first, second)]
    assert {"X-RateLimit-Limit", "X-RateLimit-Reset", "X-Request-ID"} <= set(first.headers)
    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]


async def test_no_credential_gets_the_gateways_words_and_a_wrong_one_the_apis(client: Client) -> None:
    """401 both times, the second with a code."""
    none = await client.get(PAPER, "/v2/account", {})

    assert (401, {"message": "unauthorized."}) == (none.status, none.document)
    wrong = await client.get(PAPER, "/v2/account", bearer("brd_key"))
    assert (401, 40110000, "request is not authorized") == error(wrong)


async def test_calls_without_a_need_for_credentials_are_open(client: Client) -> None:
    """Crypto data: but a wrong credential is refused there, too."""
    bars = "/v1beta3/crypto/us/latest/bars?symbols=BTC%2FUSD"

    assert 200 == (await client.get(DATA, bars, {})).status
    assert 401 == (await client.get(DATA, bars, bearer("brd_key"))).status
    assert 401 == (await client.get(DATA, "/v2/stocks/AAPL/bars/latest", {})).status


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/accounts"),
        ("GET", "/v2/account/"),
        ("POST", "/v2/account"),
        ("GET", "//v2/account"),
        ("GET", "/v2/%61ccount"),
        ("GET", "/v2/orders%3Aby_client_order_id?client_order_id=x"),
    ],
)
async def test_an_unknown_path_or_method_is_404(client: Client, method: str, path: str) -> None:
    """With Alpaca's code, whoever asks with a good credential."""
    assert (404, 40410000) == error(await client.call(PAPER, method, path))[:2]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/wallets/transfers"),
        ("POST", "/v2/wallets/whitelists"),
        ("DELETE", "/v2/wallets/whitelists/x"),
        ("POST", "/v2/perpetuals/wallets/transfers"),
        ("POST", "/v2/perpetuals/wallets/whitelists"),
        ("DELETE", "/v2/perpetuals/wallets/whitelists/x"),
        ("POST", "/v2/tokenization/mint"),
    ],
)
async def test_calls_that_no_scope_covers_are_carried_out_and_counted(client: Client, method: str, path: str) -> None:
    """So that a test can prove that none arrived, whichever credential would have been taken."""
    token = bearer(await client.connect(scope=""))
    replies = [await client.call(PAPER, method, path, {}, headers=headers) for headers in (None, token)]
    state = await client.state()

    assert {200 if method == "POST" else 204} == {reply.status for reply in replies}
    assert (2, 2, 0) == (state["denied"], state["hosts"]["paper"]["denied"], state["hosts"]["live"]["denied"])


async def test_a_refused_call_that_no_scope_covers_is_counted_too(client: Client) -> None:
    """It arrived."""
    await client.call(LIVE, "POST", "/v2/wallets/transfers", {}, headers={})

    assert 1 == (await client.state())["denied"]


async def test_errors_of_a_call_keep_the_rate_headers(client: Client) -> None:
    """A 404 counts as a call."""
    reply = await client.get(PAPER, "/v2/positions/TSLA")

    assert (404, "199") == (reply.status, reply.headers["X-RateLimit-Remaining"])


async def test_a_body_beyond_all_measure_is_refused(client: Client) -> None:
    """413, and nothing is kept."""
    headers = {**client.credential(PAPER), "Content-Type": "application/json"}
    url = client.alpaca.url(PAPER) + "/v2/orders"
    reply = await client.send("POST", url, data=io.BytesIO(b" " * 3_000_000), headers=headers)

    assert 413 == reply.status


async def test_an_empty_answer_is_empty(client: Client) -> None:
    """204 without a body."""
    order = (await client.place(LIMIT)).document
    reply = await client.call(PAPER, "DELETE", f"/v2/orders/{order['id']}")

    assert (204, b"") == (reply.status, reply.body)


async def test_a_customer_that_is_not_there_is_404(client: Client) -> None:
    """Also where the rest of the path is known."""
    reply = await client.get(BROKER, "/v1/trading/accounts/00000000-0000-4000-8000-000000000000/orders")

    assert (404, 40410000, "account not found") == error(reply)


async def test_bytes_that_are_no_text_are_a_wrong_credential(client: Client) -> None:
    """401 like any other, as a key and as a token."""
    port = int(client.alpaca.url(PAPER).rpartition(":")[2])
    for header in (b"APCA-API-KEY-ID: \xff", b"Authorization: Bearer \xff", b"Authorization: Basic \xff"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(client.running.ca_file))
        writer.write(b"GET /v2/clock HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + header + b"\r\n\r\n")
        assert b"HTTP/1.1 401" == (await reader.read())[:12]
        writer.close()
        await writer.wait_closed()
