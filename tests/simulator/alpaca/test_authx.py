"""The token endpoint for client credentials."""

import pytest

from tests.simulator.alpaca.support import BROKER, DATA, PAPER, Client, basic, bearer


async def test_a_token_lives_for_899_seconds(client: Client) -> None:
    """The last second is good, the end is not; the answer says so."""
    reply = await client.ask_authx()
    token = bearer(reply.document["access_token"])

    assert (200, 899, "Bearer") == (reply.status, reply.document["expires_in"], reply.document["token_type"])
    assert {"access_token", "expires_in", "token_type"} == set(reply.document)
    client.clock.time += 898
    assert 200 == (await client.get(BROKER, "/v1/clock", token)).status
    client.clock.time += 1
    assert 401 == (await client.get(BROKER, "/v1/clock", token)).status


async def test_a_token_opens_data_and_broker_and_not_trading(client: Client) -> None:
    """The Trading API does not take them yet."""
    token = bearer(await client.mint())

    assert 200 == (await client.get(DATA, "/v2/stocks/AAPL/bars/latest", token)).status
    assert 200 == (await client.get(BROKER, "/v1/accounts", token)).status
    assert 401 == (await client.get(PAPER, "/v2/account", token)).status


async def test_the_token_before_stays_good(client: Client) -> None:
    """A re-mint takes nothing away from calls on their way."""
    before = await client.mint()
    await client.mint()

    assert 200 == (await client.get(BROKER, "/v1/clock", bearer(before))).status


@pytest.mark.parametrize(
    ("changes", "status", "code", "field"),
    [
        ({"grant_type": ""}, 400, "invalid_request", "grant_type"),
        ({"grant_type": "authorization_code"}, 400, "invalid_request", "grant_type"),
        ({"client_id": ""}, 400, "invalid_request", "client_id"),
        ({"client_secret": ""}, 400, "invalid_request", "client_secret"),
        ({"client_secret": "wrong"}, 401, "invalid_client", "client_id"),
        ({"client_id": "wrong"}, 401, "invalid_client", "client_id"),
    ],
    ids=["no-type", "other-type", "no-client", "no-secret", "wrong-secret", "wrong-client"],
)
async def test_errors_name_the_field(
    client: Client, changes: dict[str, str], status: int, code: str, field: str
) -> None:
    """A code, and the fields that it is about."""
    reply = await client.ask_authx(**changes)

    assert (status, {"error": code, "fields": [{"name": field}]}) == (reply.status, reply.document)


async def test_basic_is_refused(client: Client) -> None:
    """Only the form is taken, with the right secret in both places too."""
    reply = await client.ask_authx(basic(client.alpaca.credentials.machine))

    assert (401, "invalid_client") == (reply.status, reply.document["error"])


async def test_all_but_a_form_is_refused(client: Client) -> None:
    """JSON with the right values too."""
    machine = client.alpaca.credentials.machine
    fields = {"grant_type": "client_credentials", "client_id": machine.id, "client_secret": machine.secret}
    reply = await client.send("POST", f"{client.alpaca.url('authx')}/v1/oauth2/token", json=fields)

    assert (400, "invalid_request") == (reply.status, reply.document["error"])
    assert 0 == (await client.state())["generation"]
