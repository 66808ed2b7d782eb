"""What every API call passes, over real sockets."""

import asyncio
import io

import aiohttp
import pytest

from tests.callers import eventually
from tests.simulator.support import ACCOUNT, LIMIT_ORDER, Bot


async def test_a_good_call_is_answered_as_json(bot: Bot) -> None:
    """The content type names the character set, as live."""
    reply = await bot.get("/v1/accounts")

    assert (200, "application/json; charset=utf-8") == (reply.status, reply.headers["Content-Type"])
    assert ["26598145"] == [row["number"] for row in reply.document["accounts"]]


async def test_calls_are_counted_by_method_and_raw_target(bot: Bot) -> None:
    """Without the query, with every byte of the path; what is refused was counted too; tokens are no calls."""
    for target in ("/v1/time", "/v1/time?", "/v1/time?a=1", "//v1/time", "/v1/%74ime"):
        await bot.get(target)
    await bot.place()

    assert {
        "GET /v1/time": 3,
        "GET //v1/time": 1,
        "GET /v1/%74ime": 1,
        f"POST {ACCOUNT}/orders": 1,
    } == (await bot.state())["calls"]


@pytest.mark.parametrize(
    ("header", "status", "code", "kind"),
    [
        (None, 401, 1014, "none"),
        ("Bearer {other}", 401, 1017, "foreign"),
        ("Bearer {old}", 401, 1017, "stale"),
        ("{current}", 400, 1015, "foreign"),
        ("Basic {current}", 400, 1015, "foreign"),
        ("Bearer ", 400, 1015, "foreign"),
        ("", 400, 1015, "foreign"),
        ("Bearer {current} x", 400, 1015, "foreign"),
    ],
)
async def test_authorizations_are_judged_and_counted(
    bot: Bot, header: str | None, status: int, code: int, kind: str
) -> None:
    """Missing, malformed, never issued and no longer good are four different things."""
    old = bot.access
    await bot.redeem()
    sent = {} if header is None else {"Authorization": header.format(other="brd_key", old=old, current=bot.access)}
    reply = await bot.send("GET", bot.api + "/v1/time", headers=sent)

    assert (status, code) == reply.error
    expected = {"current": 0, "stale": 0, "foreign": 0, "none": 0} | {kind: 1}
    assert expected == (await bot.state())["authorizations"]


async def test_a_bare_token_that_is_current_counts_as_foreign(bot: Bot) -> None:
    """Only a well-formed header presents a token."""
    await bot.send("GET", bot.api + "/v1/time", headers={"Authorization": bot.access})

    assert 0 == (await bot.state())["authorizations"]["current"]


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/v1/accoutns", 404, 1001),
        ("GET", "//v1/time", 404, 1001),
        ("GET", "/v1/accounts/2659%38145/positions", 404, 1001),
        ("GET", "/", 404, 1001),
        ("POST", "/v1/time", 405, 1012),
        ("HEAD", "/v1/time", 405, None),
        ("GET", f"{ACCOUNT}/orders/impact", 405, 1012),
        ("GET", "/v1/markets/quotes/8049,27426", 400, 1002),
        ("GET", "/v1/accounts/11111111/positions", 404, 1018),
    ],
)
async def test_wrong_calls_get_questrades_errors(
    bot: Bot, method: str, target: str, status: int, code: int | None
) -> None:
    """Unknown paths, methods and accounts, and commas in the path."""
    reply = await bot.call(method, target)

    assert status == reply.status
    assert code == (reply.document["code"] if reply.body else None)


async def test_a_slash_at_the_end_is_forgiven(bot: Bot) -> None:
    """One public client sends it."""
    span = "startTime=2026-03-01T00%3A00%3A00Z&endTime=2026-03-02T00%3A00%3A00Z"

    assert 200 == (await bot.get(f"{ACCOUNT}/activities/?{span}")).status


@pytest.mark.parametrize(
    ("accept", "status"), [("application/json", 200), ("*/*", 200), ("text/html, */*", 200), ("text/xml", 400)]
)
async def test_only_json_can_be_asked_for(bot: Bot, accept: str, status: int) -> None:
    """1013 for anything else."""
    reply = await bot.call("GET", "/v1/time", Accept=accept)

    assert status == reply.status
    assert (1013 if status == 400 else None) == reply.document.get("code")


async def test_a_body_over_a_mebibyte_is_refused(bot: Bot) -> None:
    """413 with code 1005."""
    body = io.BytesIO(b"x" * ((1 << 20) + 1))
    headers = {"Authorization": f"Bearer {bot.access}"}
    reply = await bot.send("POST", f"{bot.api}{ACCOUNT}/orders", data=body, headers=headers)

    assert (413, 1005) == reply.error
    assert 0 == (await bot.state())["orders"]


async def test_a_personal_app_may_not_trade(bot: Bot) -> None:
    """403 with code 1016 for every order call, and reads go on."""
    bot.options.scopes = frozenset({"read_acc", "read_md"})
    replies = [await bot.place(), await bot.call("POST", f"{ACCOUNT}/orders/impact", LIMIT_ORDER)]

    assert [(403, 1016)] * 2 == [reply.error for reply in replies]
    assert 200 == (await bot.get(f"{ACCOUNT}/orders")).status
    assert 0 == (await bot.state())["orders"]


async def test_blocked_user_agents_get_403_on_the_api_host(bot: Bot) -> None:
    """A page, not JSON, whatever the token."""
    for agent in ("Python-urllib/3.11", ""):
        reply = await bot.call("GET", "/v1/time", **{"User-Agent": agent})
        assert (403, True) == (reply.status, b"403 Forbidden" in reply.body)


async def test_limited_answers_carry_the_rate_limit_headers(bot: Bot) -> None:
    """Account and market data calls count apart; refused arguments count too; other calls carry none."""
    first, second = await bot.get("/v1/time"), await bot.get(f"{ACCOUNT}/orders?stateFilter=x")
    market = await bot.get("/v1/markets/quotes/8049")

    assert ["29999", "29998", "14999"] == [reply.headers["X-RateLimit-Remaining"] for reply in (first, second, market)]
    assert str(int(bot.clock.time) + 3600) == first.headers["X-RateLimit-Reset"]
    assert "X-RateLimit-Remaining" not in (await bot.place()).headers


async def test_too_many_calls_a_second_are_refused_on_request(bot: Bot) -> None:
    """With enforcement the 31st account call gets 429, code 1006 and the headers; the next second is free."""
    bot.options.enforce_rate_limits = True
    replies = await asyncio.gather(*(bot.get("/v1/accounts") for _ in range(31)))
    (refused,) = [reply for reply in replies if reply.status != 200]

    assert (429, 1006) == refused.error
    assert str(int(bot.clock.time) + 1) == refused.headers["X-RateLimit-Reset"]
    assert "29969" == refused.headers["X-RateLimit-Remaining"]
    bot.clock.time += 1
    assert 200 == (await bot.get("/v1/accounts")).status


# ---- orders ----


async def test_an_order_lives_through_all_its_calls(bot: Bot) -> None:
    """Placed, listed, replaced, cancelled, over the wire; counted once."""
    first = (await bot.place()).document["orderId"]
    second = (await bot.call("POST", f"{ACCOUNT}/orders/{first}", {"quantity": 5})).document["orderId"]
    cancelled = await bot.call("DELETE", f"{ACCOUNT}/orders/{second}", {})
    listed = (await bot.get(f"{ACCOUNT}/orders")).document["orders"]

    assert (200, {"orderId": second}) == (cancelled.status, cancelled.document)
    assert [(first, "Replaced"), (second, "Canceled")] == [(row["id"], row["state"]) for row in listed]
    assert [] == (await bot.get(f"{ACCOUNT}/orders?stateFilter=Open")).document["orders"]
    assert 1 == (await bot.state())["orders"]


async def test_a_market_order_shows_up_as_an_execution(bot: Bot) -> None:
    """At once."""
    order_id = (await bot.place(orderType="Market")).document["orderId"]
    (execution,) = (await bot.get(f"{ACCOUNT}/executions")).document["executions"]

    assert (order_id, 236.48) == (execution["orderId"], execution["price"])


async def test_a_rejected_order_comes_with_200(bot: Bot) -> None:
    """The fault hits the next order call, not the reads before it; the order is not kept."""
    await bot.fault("order-200-error")
    assert 200 == (await bot.get("/v1/time")).status
    reply = await bot.place()

    assert 200 == reply.status
    assert {
        "code": 3054,
        "message": "Order was rejected by the exchange",
        "orderId": 177106005,
        "orders": [],
    } == reply.document
    assert 0 == (await bot.state())["orders"]
    assert "orders" in (await bot.place()).document


async def test_a_rejected_cancellation_names_its_order_and_leaves_it_open(bot: Bot) -> None:
    """Changes suffer as new orders do."""
    order_id = (await bot.place()).document["orderId"]
    await bot.fault("order-200-error")
    reply = await bot.call("DELETE", f"{ACCOUNT}/orders/{order_id}")

    assert (200, 3054, order_id) == (reply.status, reply.document["code"], reply.document["orderId"])
    assert [order_id] == [row["id"] for row in (await bot.get(f"{ACCOUNT}/orders?stateFilter=Open")).document["orders"]]


# ---- faults ----


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        ("api-401-1017", 401, b'"code":1017'),
        ("api-403-1016", 403, b'"code":1016'),
        ("api-429", 429, b'"code":1006'),
        ("api-500", 500, b'"code":1021'),
        ("user-agent-block", 403, b"403 Forbidden"),
        ("maintenance", 503, b"We're making some changes"),
    ],
)
async def test_a_refusing_fault_answers_and_does_nothing(bot: Bot, fault: str, status: int, text: bytes) -> None:
    """The order is not kept, the token stays good, the call was counted."""
    await bot.fault(fault)
    reply = await bot.place()

    assert status == reply.status
    assert text in reply.body
    assert 200 == (await bot.get("/v1/time")).status
    state = await bot.state()
    assert (0, 1, 2) == (state["orders"], state["calls"][f"POST {ACCOUNT}/orders"], state["authorizations"]["current"])


async def test_the_rate_limit_fault_carries_the_headers(bot: Bot) -> None:
    """Nothing remains until the next second."""
    await bot.fault("api-429")
    headers = (await bot.get("/v1/time")).headers

    assert ("0", str(int(bot.clock.time) + 1)) == (headers["X-RateLimit-Remaining"], headers["X-RateLimit-Reset"])


async def test_a_hanging_call_never_answers_and_does_nothing(bot: Bot) -> None:
    """The client gives up; nothing was kept."""
    await bot.fault("api-hang")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await bot.place()

    assert 0 == (await bot.state())["orders"]


async def test_a_dropped_call_does_nothing(bot: Bot) -> None:
    """The connection is reset before the order is read."""
    await bot.fault("api-drop")
    with pytest.raises(aiohttp.ClientConnectionError):
        await bot.place()

    assert 0 == (await bot.state())["orders"]


async def test_a_call_whose_answer_is_dropped_was_done(bot: Bot) -> None:
    """The order is kept though its client heard nothing, and it arrived once."""
    await bot.fault("api-drop-before-answer")
    with pytest.raises(aiohttp.ClientConnectionError):
        await bot.place()

    state = await bot.state()
    assert (1, 1) == (state["orders"], state["calls"][f"POST {ACCOUNT}/orders"])


async def test_a_slow_call_is_done_at_once_and_answered_late(bot: Bot) -> None:
    """A client that gives up meanwhile has placed its order."""
    await bot.fault("api-slow", 2)
    async with asyncio.TaskGroup() as group:
        placing = group.create_task(bot.place())
        async for _ in eventually(5):
            if (await bot.state())["orders"]:
                break
        assert not placing.done()
        placing.cancel()
    assert 1 == (await bot.state())["orders"]

    loop = asyncio.get_running_loop()
    start = loop.time()
    assert 200 == (await bot.get("/v1/time")).status
    assert loop.time() - start >= 0.2


async def test_a_truncated_answer_ends_early(bot: Bot) -> None:
    """The head promises more than comes; the order is kept."""
    await bot.fault("api-truncated")
    with pytest.raises(aiohttp.ClientPayloadError):
        await bot.place()

    assert 1 == (await bot.state())["orders"]
