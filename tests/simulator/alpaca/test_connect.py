"""Alpaca Connect: the login page and the exchange of its codes."""

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.simulator.alpaca.support import BROKER, DATA, LIMIT, LIVE, PAPER, Client, bearer, error
from tests.simulator.support import FORM

NO_SCOPE = (401, 40110000, "token is not authorized for this scope")
INVALID_CLIENT = (401, 40110000, "invalid_client")


async def test_the_page_has_a_form_with_an_allow_button(client: Client) -> None:
    """Its fields are those of the request, escaped, and the page is not stored."""
    reply = await client.send("GET", client.authorize_url(state='"><b>'))

    assert (200, "no-store") == (reply.status, reply.headers["Cache-Control"])
    assert b'name="decision" value="allow"' in reply.body
    assert b'name="state" value="&quot;&gt;&lt;b&gt;"' in reply.body


@pytest.mark.parametrize(("decision", "answer"), [("allow", "code"), ("deny", "error")])
async def test_a_button_sends_the_browser_back(client: Client, decision: str, answer: str) -> None:
    """With a code, or with an error; the state comes along."""
    url = client.authorize_url()
    form = urlsplit(url).query + f"&decision={decision}"
    reply = await client.send("POST", url.partition("?")[0], data=form, headers=FORM)
    back = parse_qs(urlsplit(reply.headers["Location"]).query)

    assert (302, {answer, "state"}) == (reply.status, set(back))


@pytest.mark.parametrize(
    "changes",
    [
        {"response_type": "token"},
        {"response_type": ""},
        {"client_id": "other"},
        {"redirect_uri": ""},
        {"redirect_uri": "http://127.0.0.1:8081/callback/x"},
        {"scope": "trading everything"},
        {"scope": "account:read"},
        {"scope": "trading,data"},
        {"env": "sandbox"},
    ],
    ids=lambda changes: "-".join(f"{name}-{value}" for name, value in changes.items()),
)
async def test_a_wrong_request_is_refused_on_the_page(client: Client, changes: dict[str, str]) -> None:
    """400, without a redirect to anywhere."""
    reply = await client.send("GET", client.authorize_url(**changes))

    assert 400 == reply.status
    assert "Location" not in reply.headers


async def test_an_answer_has_no_expiry_and_no_refresh_token(client: Client) -> None:
    """Three fields, as documented; scopes with blanks between them."""
    reply = await client.exchange(code=client.code(scope="account:write trading"))

    assert 200 == reply.status
    assert {"access_token", "token_type", "scope"} == set(reply.document)
    assert ("bearer", "account:write trading") == (reply.document["token_type"], reply.document["scope"])


async def test_a_token_does_not_end(client: Client) -> None:
    """A year later it is as good as on the first day."""
    token = await client.connect()
    client.clock.time += 365 * 86_400

    assert 200 == (await client.get(PAPER, "/v2/account", bearer(token))).status


async def test_a_code_works_once_and_for_ten_minutes(client: Client) -> None:
    """The second use and a late one are refused."""
    code, late = client.code(), client.code()

    assert 200 == (await client.exchange(code=code)).status
    assert (400, 40010000, "invalid_grant") == error(await client.exchange(code=code))
    client.clock.time += 600
    assert (400, 40010000, "invalid_grant") == error(await client.exchange(code=late))


async def test_a_code_is_bound_to_its_redirect_uri(client: Client) -> None:
    """Another one is refused, and the code is used up."""
    code = client.code()

    assert 400 == (await client.exchange(code=code, redirect_uri="http://localhost/x")).status
    assert 400 == (await client.exchange(code=code)).status


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"client_secret": ""}, INVALID_CLIENT),
        ({"client_secret": "wrong"}, INVALID_CLIENT),
        ({"client_id": "wrong"}, INVALID_CLIENT),
        ({"code": ""}, (400, 40010000, "code is required")),
        ({"redirect_uri": ""}, (400, 40010000, "redirect_uri is required")),
        ({"grant_type": ""}, (400, 40010000, "grant_type is required")),
        ({"grant_type": "refresh_token"}, (400, 40010000, "unsupported grant_type")),
    ],
    ids=["no-secret", "wrong-secret", "wrong-client", "no-code", "no-redirect", "no-grant-type", "other-grant-type"],
)
async def test_every_field_is_needed(client: Client, changes: dict[str, str], wanted: tuple[int, int, str]) -> None:
    """The secret goes into the form."""
    assert wanted == error(await client.exchange(**{"code": "x", **changes}))


async def test_all_but_a_form_is_an_invalid_client(client: Client) -> None:
    """As its users found out: JSON with the right values too."""
    application = client.alpaca.credentials.application
    fields = {"client_id": application.id, "client_secret": application.secret, "code": client.code()}
    reply = await client.send("POST", f"{client.alpaca.url('paper')}/oauth/token", json=fields)

    assert INVALID_CLIENT == error(reply)


@pytest.mark.parametrize(
    ("env", "good"), [("paper", [PAPER]), ("live", [LIVE]), ("", [PAPER, LIVE])], ids=["paper", "live", "both"]
)
async def test_a_token_covers_the_accounts_that_were_asked_for(client: Client, env: str, good: list[str]) -> None:
    """Without `env` both; either trading host exchanges the code."""
    reply = await client.exchange(LIVE, code=client.code(env=env))
    token = bearer(reply.document["access_token"])

    assert good == [host for host in (PAPER, LIVE) if 200 == (await client.get(host, "/v2/account", token)).status]


async def test_scopes_are_enforced(client: Client) -> None:
    """Reading needs none; writing settings, trading and data need theirs."""
    token = bearer(await client.connect(scope=""))
    order = await client.call(PAPER, "POST", "/v2/orders", LIMIT, headers=token)
    setting = await client.call(PAPER, "PATCH", "/v2/account/configurations", {}, headers=token)

    assert 200 == (await client.get(PAPER, "/v2/orders", token)).status
    assert NO_SCOPE == error(order)
    assert NO_SCOPE == error(setting)
    assert NO_SCOPE == error(await client.get(DATA, "/v2/stocks/AAPL/bars/latest", token))
    assert 0 == (await client.state())["orders"]


async def test_granted_scopes_open_their_calls(client: Client) -> None:
    """All three of them; the Broker API is not among them."""
    token = bearer(await client.connect())
    order = await client.call(PAPER, "POST", "/v2/orders", LIMIT, headers=token)
    setting = await client.call(PAPER, "PATCH", "/v2/account/configurations", {}, headers=token)

    assert [200, 200] == [order.status, setting.status]
    assert 200 == (await client.get(DATA, "/v2/stocks/AAPL/bars/latest", token)).status
    assert 401 == (await client.get(BROKER, "/v1/clock", token)).status


async def test_pkce_is_ignored(client: Client) -> None:
    """It is not supported: a challenge that nobody answers does no harm."""
    code = client.code(code_challenge="abc", code_challenge_method="plain")

    assert 200 == (await client.exchange(code=code)).status
