"""The Broker API's own OAuth, as its page documents it."""

from typing import Any

import pytest

from proxy.simulator.alpaca.partner import CLIENT_ID
from tests.simulator.alpaca.support import BROKER, MISSING, Client
from tests.simulator.support import Reply, fields

UNKNOWN = "Client does not exist, or you do not have access to the client"


async def _post(client: Client, what: str, **changes: object) -> Reply:
    body: dict[str, Any] = {
        "client_id": CLIENT_ID,
        "client_secret": client.alpaca.partner.secret,
        "redirect_uri": "http://localhost",
        "scope": "general",
        "account_id": client.customer,
        **changes,
    }
    return await client.call(BROKER, "POST", f"/v1/oauth/{what}", body)


@pytest.mark.parametrize("client_id", [CLIENT_ID, "7a3c52a9-10e1-dc2a-bbb1-4da2b6b8e711"])
async def test_a_client_is_looked_up(client: Client, client_id: str) -> None:
    """In both forms of its id, with every documented field."""
    record = await client.read(BROKER, f"/v1/oauth/clients/{client_id}?response_type=code&scope=general")

    assert set(record) == fields(
        "client_id name description url terms_of_use privacy_policy status redirect_uri live_trading_approved"
    )
    assert (CLIENT_ID, "ACTIVE", ["http://localhost"]) == (
        record["client_id"],
        record["status"],
        record["redirect_uri"],
    )


async def test_an_unknown_client_is_a_401_with_a_text(client: Client) -> None:
    """A plain string as the body."""
    reply = await client.get(BROKER, f"/v1/oauth/clients/{MISSING}")

    assert (401, UNKNOWN) == (reply.status, reply.document)


async def test_a_token_is_issued_and_revoked(client: Client) -> None:
    """204 without a body; a second time there is none."""
    issued = await _post(client, "token")
    token = issued.document["access_token"]

    assert (200, "Bearer", "general") == (issued.status, issued.document["token_type"], issued.document["scope"])
    path = f"/v1/oauth/token/{token}"
    revoked = await client.call(BROKER, "DELETE", path)
    assert (204, b"") == (revoked.status, revoked.body)
    assert 404 == (await client.call(BROKER, "DELETE", path)).status


async def test_an_authorization_answers_with_a_code(client: Client) -> None:
    """And repeats what it is for."""
    reply = await _post(client, "authorize")

    assert {"code", "client_id", "redirect_uri", "scope"} == set(reply.document)
    assert (200, CLIENT_ID) == (reply.status, reply.document["client_id"])


@pytest.mark.parametrize("what", ["token", "authorize"])
@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"client_id": "x"}, 401),
        ({"client_id": None}, 401),
        ({"client_secret": "x"}, 401),
        ({"client_secret": None}, 401),
        ({"redirect_uri": "http://elsewhere"}, 422),
        ({"redirect_uri": None}, 422),
        ({"scope": "everything"}, 422),
        ({"scope": 5}, 422),
        ({"account_id": MISSING}, 422),
        ({"account_id": None}, 422),
    ],
    ids=lambda value: (
        "-".join(f"{name}-{text}"[:20] for name, text in value.items()) if isinstance(value, dict) else ""
    ),
)
async def test_every_field_is_checked(client: Client, what: str, changes: dict[str, object], status: int) -> None:
    """401 for client and secret, 422 for the rest, with a text in JSON; no token is made."""
    reply = await _post(client, what, **changes)

    assert (status, str) == (reply.status, type(reply.document))
    assert set() == client.alpaca.partner.tokens


async def test_the_call_itself_needs_the_partners_credential(client: Client) -> None:
    """The client's secret is not enough."""
    reply = await client.call(BROKER, "POST", "/v1/oauth/token", {}, headers={})

    assert 401 == reply.status
