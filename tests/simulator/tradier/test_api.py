"""What every API call of Tradier's passes, over real sockets."""

import asyncio

import aiohttp
import pytest

from tests.simulator.support import trusting
from tests.simulator.tradier.support import ACCOUNT, LIMIT, MARKET, App


async def test_answers_are_xml_unless_json_is_asked_for(app: App) -> None:
    """`*/*` is not asking for JSON; a list that names JSON is."""
    by_accept = {
        accept: (await app.call("GET", "/v1/user/profile", Accept=accept)).headers["Content-Type"]
        for accept in ("*/*", "application/xml", "application/json", "application/json, text/plain, */*")
    }

    assert ["xml", "xml", "json", "json"] == [kind.split("/")[1].split(";")[0] for kind in by_accept.values()]
    assert (
        b"<profile><account><account_number>VA000001<" in (await app.call("GET", "/v1/user/profile", Accept="*/*")).body
    )


@pytest.mark.parametrize(
    ("header", "text", "kind"),
    [
        (None, "Invalid Access Token", "none"),
        ("Bearer brd_key", "Invalid Access Token", "foreign"),
        ("Basic {current}", "Invalid Access Token", "foreign"),
        ("Bearer {old}", "Access Token expired", "stale"),
    ],
)
async def test_authorizations_are_judged_and_counted(app: App, header: str | None, text: str, kind: str) -> None:
    """A token that is dead and one that never was are two different faults, both 401 and JSON."""
    old = app.access
    app.tradier.expire()
    await app.redeem()
    sent = {} if header is None else {"Authorization": header.format(old=old, current=app.access)}
    reply = await app.send("GET", app.rest + "/v1/user/profile", headers=sent)

    assert (401, text) == (reply.status, reply.document["fault"]["faultstring"])
    assert reply.document["fault"]["detail"]["errorcode"].startswith("keymanagement.service.")
    assert {"current": 0, "stale": 0, "foreign": 0, "none": 0} | {kind: 1} == (await app.state())["authorizations"]


async def test_a_token_may_do_what_its_scopes_say(stranger: App) -> None:
    """403 for everything else."""
    await stranger.login("market")
    replies = [
        await stranger.get("/v1/markets/clock"),
        await stranger.get("/v1/user/profile"),
        await stranger.place(),
        await stranger.call("POST", "/v1/markets/events/session", {}),
    ]

    assert [200, 403, 403, 403] == [reply.status for reply in replies]
    assert 0 == (await stranger.state())["orders"]


async def test_a_personal_token_has_no_scopes_and_no_end(stranger: App) -> None:
    """It is good for everything, whatever the time."""
    stranger.access = stranger.tradier.links().logins["personal"]["secret"]
    stranger.clock.time += 10 * 365 * 86_400
    stranger.tradier.expire()

    assert 200 == (await stranger.place()).status
    assert 1 == (await stranger.state())["authorizations"]["current"]


async def test_a_token_dies_after_its_life(app: App) -> None:
    """401 from then on, until the next refresh."""
    app.clock.time += 86_399
    assert 401 == (await app.get("/v1/markets/clock")).status
    await app.redeem()

    assert 200 == (await app.get("/v1/markets/clock")).status


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/v1/markets/quotez", 404),
        ("GET", "/v1/beta/markets/fundamentals/ratios?symbols=F", 404),
        ("PATCH", f"{ACCOUNT}/orders/1", 405),
        ("GET", "/v1/accounts/6YA99999/balances", 400),
        ("GET", "/v1/markets/quotes", 400),
    ],
)
async def test_wrong_calls_are_refused(app: App, method: str, target: str, status: int) -> None:
    """Paths, methods, accounts, arguments; fundamentals live beside /v1, not below it."""
    assert status == (await app.call(method, target)).status


async def test_mistakes_are_plain_text(app: App) -> None:
    """Whatever was asked for."""
    reply = await app.get("/v1/markets/quotes")

    assert ("text/plain; charset=utf-8", b"Invalid parameter, symbols: is required") == (
        reply.headers["Content-Type"],
        reply.body,
    )


async def test_a_post_without_a_length_is_refused(app: App) -> None:
    """An empty body says so by `Content-Length: 0`."""
    port = int(app.rest.rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(app.running.ca_file))
    head = f"POST /v1/accounts/events/session HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {app.access}\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 411 ")
    assert 200 == (await app.call("POST", "/v1/accounts/events/session", {})).status


async def test_calls_are_counted_by_method_and_raw_target(app: App) -> None:
    """Without the query."""
    for target in ("/v1/markets/clock?delayed=true", "/v1/markets/clock", "/v1/%6darkets/clock"):
        await app.get(target)
    await app.place()

    assert {
        "GET /v1/markets/clock": 2,
        "GET /v1/%6darkets/clock": 1,
        f"POST {ACCOUNT}/orders": 1,
    } == (await app.state())["calls"]


async def test_answers_carry_the_rate_limit_headers(app: App) -> None:
    """A window for each bucket, from its first call on, its end in milliseconds; mistakes count too."""
    replies = [await app.get("/v1/markets/clock"), await app.get("/v1/markets/quotes"), await app.place()]
    shown = [[reply.headers[f"X-Ratelimit-{name}"] for name in ("Allowed", "Used", "Available")] for reply in replies]

    assert [["120", "1", "119"], ["120", "2", "118"], ["60", "1", "59"]] == shown
    assert str(int(app.clock.time + 60) * 1000) == replies[0].headers["X-Ratelimit-Expiry"]


async def test_too_many_calls_are_refused_on_request(app: App) -> None:
    """429 in plain text, which ends with the moment in milliseconds; the next minute is free."""
    app.options.enforce_rate_limits = True
    replies = [await app.place(preview="true") for _ in range(61)]
    refused = replies[60]

    assert [200] * 60 == [reply.status for reply in replies[:60]]
    assert (429, "0") == (refused.status, refused.headers["X-Ratelimit-Available"])
    assert refused.body.startswith(b"Quota Violation")
    assert refused.body.endswith(refused.headers["X-Ratelimit-Expiry"].encode())
    app.clock.time += 60
    assert 200 == (await app.place(preview="true")).status


async def test_without_enforcement_nothing_says_that_nothing_is_left(app: App) -> None:
    """One client stops by itself when `Available` is 0."""
    replies = [await app.get("/v1/markets/clock") for _ in range(121)]

    assert ("1", 200) == (replies[-1].headers["X-Ratelimit-Available"], replies[-1].status)


async def test_the_fields_of_an_order_may_come_in_the_query(app: App) -> None:
    """With an empty body, as some clients send it."""
    query = "&".join(f"{name}={value}" for name, value in LIMIT.items())
    reply = await app.call("POST", f"{ACCOUNT}/orders?{query}", {})

    assert (200, "ok") == (reply.status, reply.document["order"]["status"])
    assert 1 == (await app.state())["orders"]


async def test_a_refused_order_comes_with_200(app: App) -> None:
    """In JSON and in XML; nothing is kept."""
    reply = await app.place(quantity="1000")
    headers = {"Accept": "application/xml"}
    xml = await app.call("POST", f"{ACCOUNT}/orders", {**MARKET, "duration": "gtc"}, **headers)

    assert (200, {"errors": {"error": ["You do not have enough buying power for this trade"]}}) == (
        reply.status,
        reply.document,
    )
    assert (200, True) == (xml.status, b"<errors><error>You cannot place market orders with GTC" in xml.body)
    assert 0 == (await app.state())["orders"]


# ---- faults ----


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        ("api-401-invalid", 401, b"invalid_access_token"),
        ("api-401-expired", 401, b"access_token_expired"),
        ("api-500-expired", 500, b"access_token_expired"),
        ("api-401-apiproduct", 401, b"no apiproduct match found"),
        ("api-403-scope", 403, b"InsufficientScope"),
        ("api-404-temporary", 404, b"Not Found"),
        ("api-429", 429, b"Quota Violation"),
        ("api-500-datastore", 500, b"Datastore Error"),
        ("api-500-too-big", 500, b"TooBigBody"),
        ("api-502", 502, b"Bad Gateway"),
        ("api-500", 500, b"Internal Server Error"),
    ],
)
async def test_a_refusing_fault_answers_and_does_nothing(app: App, fault: str, status: int, text: bytes) -> None:
    """The order is not kept, the token stays good, the call was counted."""
    await app.fault(fault)
    reply = await app.place()

    assert (status, True) == (reply.status, text in reply.body)
    assert 200 == (await app.get("/v1/markets/clock")).status
    state = await app.state()
    assert (0, 1) == (state["orders"], state["calls"][f"POST {ACCOUNT}/orders"])


async def test_the_order_fault_hits_the_next_order_only(app: App) -> None:
    """200 with an error; reads before it pass."""
    await app.fault("order-200-error")
    assert 200 == (await app.get("/v1/markets/clock")).status

    assert ["errors"] == list((await app.place()).document)
    assert ["order"] == list((await app.place()).document)


async def test_a_call_whose_answer_is_dropped_was_done(app: App) -> None:
    """The order is kept though its client heard nothing."""
    await app.fault("api-drop-before-answer")
    with pytest.raises(aiohttp.ClientConnectionError):
        await app.place()

    assert 1 == (await app.state())["orders"]
