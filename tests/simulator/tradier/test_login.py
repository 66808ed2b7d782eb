"""Tradier's OAuth part, over real sockets."""

from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest

from proxy.simulator.tradier.options import SCOPES
from tests.simulator.support import FORM
from tests.simulator.tradier.support import App

CALLBACK = "http://127.0.0.1:8081/callback"


async def test_authorize_leads_to_the_login_page_on_another_host(stranger: App) -> None:
    """302 without a body; the page carries the request and has two buttons."""
    reply = await stranger.send("GET", stranger.authorize_url())
    location = reply.headers["Location"]
    page = await stranger.send("GET", location)

    assert (302, b"", "0") == (reply.status, reply.body, reply.headers["Content-Length"])
    assert urlsplit(location).netloc != urlsplit(stranger.rest).netloc
    assert 'name="state" value="s&amp;t"' in page.body.decode()
    assert "<li>trade</li>" in page.body.decode()
    assert 2 == page.body.count(b'name="decision"')


@pytest.mark.parametrize(("decision", "expected"), [("allow", ["code", "state"]), ("deny", ["error", "state"])])
async def test_a_button_leads_back_to_the_registered_callback(
    stranger: App, decision: str, expected: list[str]
) -> None:
    """With a code, or with an error; the state is the application's own."""
    location = (await stranger.send("GET", stranger.authorize_url())).headers["Location"]
    form = dict(parse_qs(urlsplit(location).query)) | {"decision": [decision]}
    body = urlencode({name: value[0] for name, value in form.items()})
    back = urlsplit(
        (await stranger.send("POST", location.partition("?")[0], data=body, headers=FORM)).headers["Location"]
    )

    assert CALLBACK == f"{back.scheme}://{back.netloc}{back.path}"
    assert expected == list(parse_qs(back.query))
    assert ["s&t"] == parse_qs(back.query)["state"]


@pytest.mark.parametrize(
    "changes",
    [{"client_id": "other"}, {"state": ""}, {"scope": ""}, {"scope": "read,everything"}, {"scope": "read trade"}],
)
async def test_a_bad_request_is_refused(stranger: App, changes: dict[str, str]) -> None:
    """Client, state and scopes are required; scopes have commas between."""
    url = stranger.authorize_url(**changes)

    assert 400 == (await stranger.send("GET", url)).status
    with pytest.raises(ValueError, match=r"client_id|state|scope"):
        stranger.tradier.approve(url)


async def test_the_answer_is_json_without_a_token_type(stranger: App) -> None:
    """Scopes come back with blanks, the status is approved, and a partner gets a refresh token."""
    found = await stranger.login()

    assert ["access_token", "expires_in", "issued_at", "scope", "status", "refresh_token"] == list(found)
    assert (86_399, "read write market trade stream", "approved") == (
        found["expires_in"],
        found["scope"],
        found["status"],
    )
    assert "2026-03-03T12:00:00-05:00" == found["issued_at"]
    assert 29 == len(found["access_token"])


async def test_who_is_no_partner_gets_no_refresh_token(stranger: App) -> None:
    """The access token is all there is."""
    stranger.options.partner = False

    assert "refresh_token" not in await stranger.login()


async def test_fewer_scopes_than_asked_for_may_be_granted(stranger: App) -> None:
    """The answer says which."""
    stranger.options.scopes = ("read", "market")

    assert "read market" == (await stranger.login(*SCOPES))["scope"]


@pytest.mark.parametrize("wrong", ["reused", "made-up", "late", "grant_type"])
async def test_a_code_is_good_once_for_ten_minutes(stranger: App, wrong: str) -> None:
    """Anything else is Apigee's 400."""
    code = stranger.code()
    exchange = {"grant_type": "authorization_code", "code": code}
    match wrong:
        case "reused":
            assert 200 == (await stranger.post_token(**exchange)).status
        case "late":
            stranger.clock.time += 600
        case "made-up":
            exchange["code"] = "x"
        case _:
            exchange["grant_type"] = "refresh_token"
    reply = await stranger.post_token(**exchange)

    assert (400, "invalid_request") == (reply.status, reply.document["ErrorCode"])


@pytest.mark.parametrize("path", ["accesstoken", "refreshtoken"])
async def test_the_client_proves_itself_by_basic_only(stranger: App, path: str) -> None:
    """A wrong secret, no header and credentials in the form are all 401; the code stays good."""
    exchange = {"grant_type": "authorization_code", "code": stranger.code()}
    options = stranger.options
    in_form = {"client_id": options.client_id, "client_secret": options.client_secret, **exchange}
    url = f"{stranger.rest}/v1/oauth/{path}"
    replies = [
        await stranger.post_token(path, "wrong", **exchange),
        await stranger.send("POST", url, data=urlencode(in_form), headers=FORM),
        await stranger.send("POST", url, data=urlencode(exchange), headers=FORM | {"Authorization": "Basic !"}),
    ]

    assert [(401, "invalid_client")] * 3 == [(reply.status, reply.document["ErrorCode"]) for reply in replies]
    assert 200 == (await stranger.post_token(**exchange)).status


async def test_a_refresh_rotates_and_counts(app: App) -> None:
    """A new pair; the spent refresh token is refused and counted; the scopes stay."""
    spent, before = app.refresh, app.access
    found = await app.redeem()
    assert (spent, before) != (app.refresh, app.access)
    assert " ".join(SCOPES) == found["scope"]
    assert 200 == (await app.get("/v1/markets/clock")).status

    app.refresh = spent
    reply = await app.spend()
    assert (400, "Invalid Refresh Token") == (reply.status, reply.document["Error"])
    state = await app.state()
    assert (3, 1, 1, 2) == tuple(
        state[name] for name in ("token_posts", "rotations", "reused_refresh_tokens", "generation")
    )


@pytest.mark.parametrize(
    ("fault", "status"),
    [("token-400-apigee", 400), ("token-401-client", 401), ("token-500", 500), ("maintenance", 503)],
)
async def test_a_refusing_fault_leaves_the_token_unspent(app: App, fault: str, status: int) -> None:
    """Once; then the same refresh token works."""
    await app.fault(fault)

    assert status == (await app.spend()).status
    await app.redeem()


async def test_a_connection_dropped_after_loses_the_answer(app: App) -> None:
    """The refresh token is spent."""
    await app.fault("token-drop-after")
    with pytest.raises(aiohttp.ClientConnectionError):
        await app.spend()

    assert 400 == (await app.spend()).status


async def test_a_refresh_may_come_without_a_new_refresh_token(app: App) -> None:
    """The fault takes it out of the answer."""
    await app.fault("token-no-refresh")

    assert "refresh_token" not in await app.redeem()


@pytest.mark.parametrize(("method", "path"), [("POST", "authorize"), ("GET", "accesstoken"), ("PUT", "refreshtoken")])
async def test_other_methods_are_refused_and_no_calls(stranger: App, method: str, path: str) -> None:
    """405; what reaches the OAuth paths is never counted as a call."""
    assert 405 == (await stranger.send(method, f"{stranger.rest}/v1/oauth/{path}")).status
    assert {} == (await stranger.state())["calls"]


async def test_the_login_host_has_one_page(stranger: App) -> None:
    """Everything else is 404, other methods 405."""
    location = (await stranger.send("GET", stranger.authorize_url())).headers["Location"].partition("?")[0]

    assert 405 == (await stranger.send("PUT", location)).status
    assert 404 == (await stranger.send("GET", location + "/x")).status
