"""The life of a request, from a client's socket to the simulated broker's counters and back."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.house import ACCOUNT, ORDER, House, house
from tests.wire import connected

QUERY = "startTime=2018-08-01T00%3A00%3A00.09%2B00%3A00&endTime=2018-08-02T00:00:00-05:00&False=False"


async def test_a_days_work(state_dir: Path) -> None:
    """Accounts, positions, quotes, candles, an order and its cancelling: all with one token, all of them current."""
    async with house(state_dir) as home:
        for target in (
            "v1/time",
            "v1/accounts",
            "v1/accounts/26598145/positions",
            "v1/markets/quotes?ids=8049%2C27426",
        ):
            assert 200 == (await home.call("GET", f"/questrade/{target}")).status
        activities = await home.call("GET", f"{ACCOUNT}/activities?{QUERY}")
        assert 200 == activities.status
        number = (await home.order()).document["orderId"]
        cancelled = await home.call("DELETE", f"{ACCOUNT}/orders/{number}", body=b"{}")
        assert 200 == cancelled.status

        assert 1 == home.seen("calls")["GET /v1/accounts/26598145/activities"]
        assert {"current": 7, "stale": 0, "foreign": 0, "none": 0} == home.seen("authorizations")
        assert (1, 1) == (home.seen("orders"), home.seen("token_posts"))


async def test_rate_limits_reach_the_client(state_dir: Path) -> None:
    """As the broker counts them; a 429 too, and it is not repeated."""
    async with house(state_dir) as home:
        reply = await home.call("GET", "/questrade/v1/accounts")
        assert (reply.one("X-RateLimit-Remaining") or "").isdigit()
        assert (reply.one("X-RateLimit-Reset") or "").isdigit()

        home.simulator.faults.add("api-429")
        limited = await home.call("GET", "/questrade/v1/accounts")
        assert (429, 1006, "0") == (limited.status, limited.document["code"], limited.one("X-RateLimit-Remaining"))
        assert 2 == home.seen("calls")["GET /v1/accounts"]


async def test_an_expired_token_costs_one_renewal_and_no_client_a_failure(state_dir: Path) -> None:
    """64 calls meet the dead token together: one redeem, every answer 200."""
    async with house(state_dir) as home:
        home.simulator.expire()
        replies = await asyncio.gather(*(home.call("GET", "/questrade/v1/accounts") for _ in range(64)))

        assert {200} == {reply.status for reply in replies}
        assert (2, 2, 0) == tuple(home.seen(name) for name in ("token_posts", "rotations", "reused_refresh_tokens"))
        assert 64 == home.seen("authorizations")["current"]


async def test_an_order_with_a_dead_token_is_placed_exactly_once(state_dir: Path) -> None:
    """The broker proves that it did not take the first; the second has the new token."""
    async with house(state_dir) as home:
        home.simulator.expire()
        assert 200 == (await home.order()).status

        assert (1, 2) == (home.seen("orders"), home.seen("rotations"))
        assert 2 == home.seen("calls")["POST /v1/accounts/26598145/orders"]


async def test_an_api_server_that_moves_is_followed(state_dir: Path) -> None:
    """The old one answers 401; the next token answer names the new one, and the call arrives there."""
    async with house(state_dir) as home:
        first = home.app.operations.status()["mounts"][0]["api_host"]
        home.simulator.move_api_server()
        assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status

        (mount,) = home.app.operations.status()["mounts"]
        assert first != mount["api_host"]
        assert f"https://{mount['api_host']}/" == home.seen("api_server")


async def test_a_stolen_refresh_token_asks_for_a_login(state_dir: Path) -> None:
    """503 with the command, no Retry-After; a login mends it without a restart."""
    async with house(state_dir) as home:
        home.simulator.steal()
        reply = await home.call("GET", "/questrade/v1/accounts")
        assert ((503, "login-needed"), "bearerd login questrade") == (reply.problem, reply.document["fix"])
        assert None is reply.one("Retry-After")

        await home.app.operations.login("questrade", home.simulator.new_refresh_token())
        assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status


@pytest.mark.parametrize(
    ("fault", "placed"),
    [
        ("api-drop", 0), ("api-close", 0), ("api-drop-before-answer", 1), ("api-close-before-answer", 1),
        ("api-close-after-head", 1), ("api-truncated", 1), ("api-gateway-502", 1), ("api-gateway-504", 1),
    ],
)  # fmt: skip
async def test_an_order_whose_answer_is_lost_is_outcome_unknown(state_dir: Path, fault: str, placed: int) -> None:
    """Placed or not, it arrives at most once, and nothing asks the client to send it again."""
    async with house(state_dir) as home:
        home.simulator.faults.add(fault)
        reply = await home.order()

        assert ((500, "outcome-unknown"), None) == (reply.problem, reply.one("Retry-After"))
        assert (placed, 1) == (home.seen("orders"), home.seen("calls")["POST /v1/accounts/26598145/orders"])


@pytest.mark.parametrize("fault", ["api-drop", "api-drop-before-answer", "api-truncated"])
async def test_a_cancelled_order_is_cancelled_once(state_dir: Path, fault: str) -> None:
    """A DELETE that is cut off by a reset arrives once, though its method is idempotent."""
    async with house(state_dir) as home:
        number = (await home.order()).document["orderId"]
        home.simulator.faults.add(fault)
        reply = await home.call("DELETE", f"{ACCOUNT}/orders/{number}")

        assert (500, "outcome-unknown") == reply.problem
        assert 1 == home.seen("calls")[f"DELETE /v1/accounts/26598145/orders/{number}"]


async def test_an_order_that_cannot_be_sent_may_be_repeated(state_dir: Path) -> None:
    """Nobody listens at the broker's: 503 with Retry-After for the order, 502 for a read."""
    async with house(state_dir) as home:
        await home.simulator.stop()
        order = await home.order()
        assert ((503, "broker-unreachable"), True) == (order.problem, order.one("Retry-After") is not None)
        read = await home.call("GET", "/questrade/v1/accounts")
        assert ((502, "broker-unreachable"), None) == (read.problem, read.one("Retry-After"))


@pytest.mark.parametrize(
    ("fault", "status", "sent"),
    [("api-403-1016", 403, b'"code":1016'), ("api-500", 500, b'"code":1021'), ("maintenance", 503, b"maintenance"),
     ("order-200-error", 200, b'"code":3054')],
)  # fmt: skip
async def test_the_brokers_own_answers_pass(state_dir: Path, fault: str, status: int, sent: bytes) -> None:
    """Whatever they are; `Proxy-Status` is only on ours, and no such answer renews a token."""
    async with house(state_dir) as home:
        home.simulator.faults.add(fault)
        reply = await home.order()

        assert (status, None) == (reply.status, reply.one("Proxy-Status"))
        assert sent in reply.body
        assert (1, 0) == (home.seen("token_posts"), home.seen("orders"))


async def test_a_refused_call_costs_the_broker_nothing(state_dir: Path) -> None:
    """Neither a call nor a token request."""
    async with house(
        state_dir, ("bot: {questrade: [read_acc, read_md, trade]}", "bot: {questrade: [read_md]}")
    ) as home:
        home.simulator.expire()
        before = home.simulator.state()
        for method, target in (
            ("GET", "/questrade/v1/accounts"), ("GET", "/questrade/v1/accoutns"), ("GET", "/questrade/v1/accounts/"),
            ("DELETE", f"{ACCOUNT}/orders/1"), ("GET", "/none/v1/accounts"), ("HEAD", "/questrade/v1/markets/quotes/1"),
            ("GET", "/questrade/v1/markets/quotes?ids=1&stream=True"),
        ):  # fmt: skip
            assert (await home.call(method, target)).status in (400, 403, 404)
        assert before == home.simulator.state()


async def test_an_unmodified_client_refreshes_and_goes_on(state_dir: Path) -> None:
    """It believes that it redeems a refresh token; the broker hears nothing of it."""
    async with house(state_dir) as home:
        form = f"grant_type=refresh_token&refresh_token={home.key}".encode()
        token = (await home.call("POST", "/questrade/oauth2/token", body=form, key="")).document
        assert {"access_token", "api_server", "expires_in", "refresh_token", "token_type"} == token.keys()

        path = token["api_server"].removeprefix(f"http://127.0.0.1:{home.port}") + "v1/accounts"
        reply = await home.call("GET", path, key=token["access_token"])
        assert (200, 1) == (reply.status, home.seen("token_posts"))


async def test_one_connection_serves_many_calls(state_dir: Path) -> None:
    """Pipelined, refused and answered ones mixed, each answer in its place."""
    async with house(state_dir) as home, connected("127.0.0.1", home.port) as wire:
        body = json.dumps(ORDER).encode()
        await wire.send(
            request(home, "GET", "/questrade/v1/time")
            + request(home, "GET", "/questrade/v1/none")
            + request(home, "POST", f"{ACCOUNT}/orders", body)
            + request(home, "GET", "/questrade/v1/accounts")
        )
        replies = [await wire.reply() for _ in range(4)]
        assert [200, 403, 200, 200] == [reply.status for reply in replies]
        assert "accounts" in replies[3].document


def request(home: House, method: str, target: str, body: bytes | None = None) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{home.port}", f"X-Api-Key: {home.key}"]
    lines += [f"Content-Length: {len(body)}"] if body is not None else []
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


async def test_a_client_that_leaves_frees_everything(state_dir: Path) -> None:
    """While the broker hangs, its call is given up; a renewal afterwards waits for nobody."""
    async with house(state_dir) as home:
        home.simulator.faults.add("api-hang")
        async with connected("127.0.0.1", home.port) as wire:
            await wire.send(request(home, "GET", "/questrade/v1/accounts"))
            async with asyncio.timeout(5):
                while not home.seen("calls"):  # noqa: ASYNC110  the broker counts in its own time
                    await asyncio.sleep(0.01)
            wire.reset()
        async with asyncio.timeout(5):
            while home.app.gateway.serving.in_flight:  # noqa: ASYNC110  the server sees the reset in its own time
                await asyncio.sleep(0.01)

        home.simulator.expire()
        async with asyncio.timeout(1.5):  # a pair that is still lent would hold the redeem back for 2 s
            assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status
