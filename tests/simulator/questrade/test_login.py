"""The login host, over real sockets."""

import asyncio
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import aiohttp
import pytest

from proxy.simulator.questrade.options import Shape
from tests.simulator.support import FORM, Bot, Reply

CALLBACK = "http://127.0.0.1:8081/callback"
LOGIN = {"client_id": "demo-questrade", "response_type": "code", "redirect_uri": CALLBACK, "state": "s&t"}
HUB = "/APIAccess/UserApps.aspx"


def _refresh(bot: Bot) -> dict[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": bot.refresh}


async def _assert_spent(bot: Bot, spent: bool) -> None:
    """Whether the bot's refresh token is spent, by trying it."""
    assert (400 if spent else 200) == (await bot.spend()).status


@pytest.mark.parametrize("form", ["get", "post-query", "post-form"])
async def test_all_three_forms_of_a_refresh_work(stranger: Bot, form: str) -> None:
    """GET and POST with a query, POST with a form."""
    query = urlencode(_refresh(stranger))
    match form:
        case "get":
            reply = await stranger.send("GET", f"{stranger.token_url}?{query}")
        case "post-query":
            reply = await stranger.send("POST", f"{stranger.token_url}?{query}")
        case _:
            reply = await stranger.send("POST", stranger.token_url, data=query, headers=FORM)

    assert 200 == reply.status
    assert "application/json; charset=utf-8" == reply.headers["Content-Type"]


async def test_the_answer_has_the_five_fields_in_order(stranger: Bot) -> None:
    """Alphabetical, and no field more: one client refuses any extra one."""
    pair = await stranger.redeem()

    assert ["access_token", "api_server", "expires_in", "refresh_token", "token_type"] == list(pair)
    assert ("Bearer", 1800) == (pair["token_type"], pair["expires_in"])
    assert (await stranger.state())["api_server"] == pair["api_server"]


@pytest.mark.parametrize(("shape", "tail"), [(Shape.SLASH, "/"), (Shape.BARE, ""), (Shape.V1, "/v1")])
async def test_api_server_comes_in_three_shapes(stranger: Bot, shape: Shape, tail: str) -> None:
    """With a slash, without, with /v1."""
    stranger.options.shape = shape
    pair = await stranger.redeem()

    assert stranger.api + tail == pair["api_server"]


async def test_the_life_of_tokens_can_be_turned_while_running(bot: Bot) -> None:
    """The next answer says so, and its token dies then."""
    bot.options.expires_in = 1
    assert 1 == (await bot.redeem())["expires_in"]
    assert 200 == (await bot.get("/v1/time")).status
    bot.clock.time += 1

    assert (401, 1017) == (await bot.get("/v1/time")).error


async def test_a_spent_or_unknown_refresh_token_is_bad_request_in_plain_text(stranger: Bot) -> None:
    """400 and two words, not JSON; only the spent one counts as reused."""
    spent = stranger.refresh
    await stranger.redeem()
    for token in (spent, "unknown", ""):
        reply = await stranger.post_token(grant_type="refresh_token", refresh_token=token)
        assert (400, b"Bad Request") == (reply.status, reply.body)
        assert "text/plain; charset=utf-8" == reply.headers["Content-Type"]

    state = await stranger.state()
    assert (4, 1, 1, 2) == tuple(
        state[name] for name in ("token_posts", "rotations", "reused_refresh_tokens", "generation")
    )


@pytest.mark.parametrize("grant_type", ["password", "client_credentials", ""])
async def test_other_grants_are_refused(bot: Bot, grant_type: str) -> None:
    """Only refresh tokens and authorization codes are taken."""
    assert 400 == (await bot.post_token(grant_type=grant_type, refresh_token=bot.refresh)).status
    await _assert_spent(bot, False)


async def test_a_json_body_is_not_understood(bot: Bot) -> None:
    """The form is a form."""
    assert 400 == (await bot.send("POST", bot.token_url, json=_refresh(bot))).status
    await _assert_spent(bot, False)


async def test_two_refreshes_at_once_give_one_pair(stranger: Bot) -> None:
    """Exactly one of them wins, as a careless client finds out."""
    replies = await asyncio.gather(*(stranger.spend() for _ in range(8)))

    assert [200] + [400] * 7 == sorted(reply.status for reply in replies)
    assert 7 == (await stranger.state())["reused_refresh_tokens"]


async def test_the_token_endpoint_can_be_slow(stranger: Bot) -> None:
    """Latency is an option, for measuring clients."""
    stranger.options.token_latency = 0.1
    loop = asyncio.get_running_loop()
    start = loop.time()
    await stranger.redeem()

    assert loop.time() - start >= 0.1


async def test_blocked_user_agents_get_403_on_the_login_host(stranger: Bot) -> None:
    """On the token endpoint and on pages; the token is not spent."""
    for headers in ({"User-Agent": "Python-urllib/3.11"}, {"User-Agent": ""}):
        reply = await stranger.send(
            "POST", stranger.token_url, data=urlencode(_refresh(stranger)), headers=headers | FORM
        )
        assert (403, True) == (reply.status, b"403 Forbidden" in reply.body)
        assert 403 == (await stranger.send("GET", stranger.login_host + HUB, headers=headers)).status
    await _assert_spent(stranger, False)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PUT", "/oauth2/token", 405), ("GET", "/oauth2/revoke", 405), ("GET", "/", 404), ("GET", "/oauth2/tokens", 404)],
)
async def test_other_paths_and_methods_are_refused(stranger: Bot, method: str, path: str, status: int) -> None:
    """They count as nothing."""
    assert status == (await stranger.send(method, stranger.login_host + path)).status
    assert 0 == (await stranger.state())["token_posts"]


# ---- faults ----


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        ("token-400-text", 400, b"Bad Request"),
        ("token-invalid-grant", 400, b'{"error":"invalid_grant"}'),
        ("token-403", 403, b"403 Forbidden"),
        ("token-429", 429, b"Too Many Requests"),
        ("token-500", 500, b"Internal Server Error"),
        ("token-503-html-maintenance", 503, b"We're making some changes"),
        ("token-html-200", 200, b"We're making some changes"),
        ("user-agent-block", 403, b"403 Forbidden"),
        ("maintenance", 503, b"We're making some changes"),
    ],
)
async def test_a_refusing_fault_leaves_the_token_unspent(bot: Bot, fault: str, status: int, body: bytes) -> None:
    """The answer is what the fault says, once; then the same refresh token works."""
    await bot.fault(fault)
    reply = await bot.spend()

    assert status == reply.status
    assert body in reply.body
    assert ("text/html" in reply.headers["Content-Type"]) == body.startswith((b"We're", b"403", b"Internal"))
    await _assert_spent(bot, False)
    assert 3 == (await bot.state())["token_posts"]


async def test_a_throttled_token_endpoint_says_when_to_come_back(bot: Bot) -> None:
    """429 with Retry-After in seconds."""
    await bot.fault("token-429")

    assert "1" == (await bot.spend()).headers["Retry-After"]


async def test_a_hanging_token_endpoint_never_answers_and_spends_nothing(bot: Bot) -> None:
    """The client gives up; the token is still good."""
    await bot.fault("token-hang")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await bot.spend()

    await _assert_spent(bot, False)


async def test_a_connection_dropped_before_spends_nothing(bot: Bot) -> None:
    """The client cannot tell, but the token is good."""
    await bot.fault("token-drop-before")
    with pytest.raises(aiohttp.ClientConnectionError):
        await bot.spend()

    await _assert_spent(bot, False)


async def test_a_connection_dropped_after_loses_the_answer(bot: Bot) -> None:
    """To the client it looks the same, but the token is spent and the access token dead."""
    await bot.fault("token-drop-after")
    with pytest.raises(aiohttp.ClientConnectionError):
        await bot.spend()

    await _assert_spent(bot, True)
    assert (401, 1017) == (await bot.get("/v1/time")).error
    state = await bot.state()
    assert (3, 2, 1) == (state["generation"], state["rotations"], state["reused_refresh_tokens"])


async def test_a_slow_answer_comes_late_from_a_token_that_is_spent_at_once(bot: Bot) -> None:
    """A client that gives up meanwhile has lost the pair."""
    await bot.fault("token-slow", 2)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await bot.spend()
    assert 3 == (await bot.state())["generation"]

    bot.refresh = bot.questrade.new_refresh_token()
    loop = asyncio.get_running_loop()
    start = loop.time()
    await bot.redeem()
    assert loop.time() - start >= 0.2


async def _cut_answer(bot: Bot) -> bytes:
    """What arrives of an answer that ends too early."""
    parts = []
    data = urlencode(_refresh(bot))
    async with bot.session.post(bot.token_url, data=data, headers=FORM) as answer:
        assert 200 == answer.status
        try:
            async for part in answer.content.iter_any():
                parts.append(part)  # noqa: PERF401  a comprehension would lose what came before the error
        except aiohttp.ClientPayloadError:
            return b"".join(parts)
    pytest.fail("the answer was whole")


async def test_a_truncated_answer_lacks_the_new_refresh_token(bot: Bot) -> None:
    """It ends within it; the token is spent."""
    await bot.fault("token-truncated")
    cut = await _cut_answer(bot)

    assert b'"refresh_token":"' in cut
    assert not cut.endswith(b'"')
    await _assert_spent(bot, True)


async def test_a_late_truncation_leaves_the_new_refresh_token_whole(bot: Bot) -> None:
    """Not JSON, but what matters can be salvaged."""
    await bot.fault("token-truncated-late")
    cut = await _cut_answer(bot)
    bot.refresh = cut.split(b'"refresh_token":"')[1].split(b'"')[0].decode()

    assert b"token_type" not in cut
    await _assert_spent(bot, False)


async def _spoiled(bot: Bot, fault: str) -> Reply:
    await bot.fault(fault)
    reply = await bot.spend()
    assert 200 == reply.status
    await _assert_spent(bot, True)
    return reply


async def test_an_empty_answer_spends_the_token(bot: Bot) -> None:
    """200 and nothing."""
    assert b"" == (await _spoiled(bot, "token-empty-200")).body


@pytest.mark.parametrize(
    ("fault", "changes"),
    [
        ("token-junk-expires", {"expires_in": "soon"}),
        ("token-no-api-server", {"api_server": None}),
        ("token-foreign-api-server", {"api_server": "https://api01.iq.questrade.com.evil.example/"}),
    ],
)
async def test_an_answer_with_one_bad_field_spends_the_token(bot: Bot, fault: str, changes: dict[str, Any]) -> None:
    """All else in it is good: the pair works."""
    pair = (await _spoiled(bot, fault)).document
    (name, value) = next(iter(changes.items()))

    assert value == pair.get(name)
    bot.access = pair["access_token"]
    assert 200 == (await bot.get("/v1/time")).status


# ---- login by authorization code ----


async def _decide(bot: Bot, decision: str, **changes: str) -> Reply:
    form = urlencode({**LOGIN, "decision": decision, **changes})
    return await bot.send("POST", bot.login_host + "/oauth2/authorize", data=form, headers=FORM)


async def _code(bot: Bot) -> str:
    return parse_qs(urlsplit((await _decide(bot, "allow")).headers["Location"]).query)["code"][0]


async def test_the_login_page_is_a_form_that_carries_the_request(stranger: Bot) -> None:
    """Everything that came in the query goes into hidden fields, escaped."""
    stranger.options.client_id = "app<1>"
    query = urlencode({**LOGIN, "client_id": "app<1>"})
    reply = await stranger.send("GET", f"{stranger.login_host}/oauth2/authorize?{query}")
    page = reply.body.decode()

    assert (200, "text/html; charset=utf-8") == (reply.status, reply.headers["Content-Type"])
    assert '<form method="post" action="/oauth2/authorize">' in page
    assert 'name="client_id" value="app&lt;1&gt;"' in page
    assert 'name="state" value="s&amp;t"' in page
    assert "<1>" not in page


async def test_allowing_leads_back_with_code_and_state(stranger: Bot) -> None:
    """The state is the application's own, unchanged."""
    reply = await _decide(stranger, "allow")
    target = urlsplit(reply.headers["Location"])

    assert 302 == reply.status
    assert CALLBACK == f"{target.scheme}://{target.netloc}{target.path}"
    assert ["code", "state"] == [name for name, _ in parse_qsl(target.query)]
    assert ["s&t"] == parse_qs(target.query)["state"]


async def test_denying_leads_back_with_an_error(stranger: Bot) -> None:
    """No code, no pair."""
    query = parse_qs(urlsplit((await _decide(stranger, "deny")).headers["Location"]).query)

    assert {"error": ["access_denied"], "state": ["s&t"]} == query


async def test_a_redirect_address_keeps_its_own_query(stranger: Bot) -> None:
    """Code and state are added to it."""
    stranger.options.callback = CALLBACK + "?a=1"
    location = (await _decide(stranger, "allow", redirect_uri=CALLBACK + "?a=1")).headers["Location"]

    assert location.startswith(CALLBACK + "?a=1&code=")


@pytest.mark.parametrize("sent_uri", [CALLBACK, None])
async def test_a_code_is_exchanged_once_for_a_pair(stranger: Bot, sent_uri: str | None) -> None:
    """With the redirect address or, as one client does, without; the pair is a new grant and no rotation."""
    code = await _code(stranger)
    exchange = {"grant_type": "authorization_code", "code": code, "client_id": LOGIN["client_id"]}
    exchange |= {"redirect_uri": sent_uri} if sent_uri else {}
    reply = await stranger.post_token(**exchange)

    assert {"access_token", "api_server", "expires_in", "refresh_token", "token_type"} == set(reply.document)
    stranger.access, stranger.api = reply.document["access_token"], reply.document["api_server"].rstrip("/")
    assert 200 == (await stranger.get("/v1/time")).status
    assert 400 == (await stranger.post_token(**exchange)).status
    state = await stranger.state()
    assert (2, 0, 2) == (state["generation"], state["rotations"], state["token_posts"])


@pytest.mark.parametrize(
    "wrong", [{"client_id": "other"}, {"redirect_uri": "https://evil.example/"}, {"code": "made-up"}, {"late": "1"}]
)
async def test_a_code_is_bound_to_client_address_and_ten_minutes(stranger: Bot, wrong: dict[str, str]) -> None:
    """Anything else is Bad Request."""
    code = await _code(stranger)
    stranger.clock.time += 600 if "late" in wrong else 599
    exchange = {"grant_type": "authorization_code", "code": code, "client_id": LOGIN["client_id"], **wrong}

    assert b"Bad Request" == (await stranger.post_token(**exchange)).body


async def test_the_implicit_flow_puts_the_pair_into_the_fragment(stranger: Bot) -> None:
    """No code, no exchange: the five fields and the state."""
    location = (await _decide(stranger, "allow", response_type="token")).headers["Location"]
    pair = dict(parse_qsl(urlsplit(location).fragment))

    assert {"access_token", "api_server", "expires_in", "refresh_token", "token_type", "state"} == pair.keys()
    stranger.access, stranger.api = pair["access_token"], pair["api_server"].rstrip("/")
    assert 200 == (await stranger.get("/v1/time")).status


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": ""},
        {"client_id": "unregistered"},
        {"response_type": "magic"},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": "http://127.0.0.1:8081/other"},
    ],
)
async def test_a_bad_login_request_is_refused_on_the_page(stranger: Bot, changes: dict[str, str]) -> None:
    """Nobody is redirected to an address that is not registered, pair in the fragment or not."""
    url = f"{stranger.login_host}/oauth2/authorize?{urlencode({**LOGIN, **changes})}"
    implicit = {"response_type": "token", **changes}

    assert 400 == (await stranger.send("GET", url)).status
    assert 400 == (await _decide(stranger, "allow", **changes)).status
    assert 400 == (await _decide(stranger, "allow", **implicit)).status
    with pytest.raises(ValueError, match=r"registered|response_type"):
        stranger.questrade.approve(url)


async def test_a_person_in_a_browser_can_be_played(stranger: Bot) -> None:
    """`approve` does what the button does: its code is worth a pair."""
    url = f"{stranger.login_host}/oauth2/authorize?{urlencode(LOGIN)}"
    code = parse_qs(urlsplit(stranger.questrade.approve(url)).query)["code"][0]
    exchange = {"grant_type": "authorization_code", "code": code, "client_id": LOGIN["client_id"]}

    assert 200 == (await stranger.post_token(**exchange)).status
    with pytest.raises(ValueError, match="not an authorize address"):
        stranger.questrade.approve(stranger.login_host + "/oauth2/token")


async def test_the_app_hub_makes_a_refresh_token_by_hand(bot: Bot) -> None:
    """For a person whose token was stolen or spent: a button, a token, a new grant."""
    asked = await bot.send("GET", bot.login_host + HUB)
    made = await bot.send("POST", bot.login_host + HUB)
    bot.refresh = made.body.decode().split("<code>")[1].split("</code>")[0]

    assert b"<code>" not in asked.body
    assert "no-store" == made.headers["Cache-Control"]
    await bot.redeem()
    assert 200 == (await bot.get("/v1/time")).status


@pytest.mark.parametrize("which", ["access", "refresh"])
async def test_revoking_either_token_ends_the_grant(bot: Bot, which: str) -> None:
    """Both are dead afterwards; an unknown token is answered the same."""
    for token in ("unknown", getattr(bot, which)):
        form = urlencode({"token": token})
        reply = await bot.send("POST", bot.login_host + "/oauth2/revoke", data=form, headers=FORM)
        assert (200, b"") == (reply.status, reply.body)

    assert (401, 1017) == (await bot.get("/v1/time")).error
    assert 400 == (await bot.spend()).status
    assert 400 == (await bot.send("POST", bot.login_host + "/oauth2/revoke")).status
