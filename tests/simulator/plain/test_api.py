"""What every call of a plain broker passes."""

from pathlib import Path

from proxy.simulator.plain.api import Received
from tests.simulator.plain.bench import CODE, SECRET
from tests.simulator.plain.conftest import Start
from tests.simulator.support import HandClock


async def test_a_call_is_answered_with_its_sample(start: Start) -> None:
    """Status, body and headers are those of the file."""
    bench = await start(CODE)
    await bench.log_in()
    accounts, one = await bench.call("GET", "/v1/accounts?x=1"), await bench.call("GET", "/v1/accounts/7")

    assert (200, [{"id": 1}]) == (accounts.status, accounts.document)
    assert (200, b"one", "text/plain; charset=utf-8") == (one.status, one.body, one.headers["Content-Type"])
    assert {"GET /v1/accounts": 1, "GET /v1/accounts/7": 1} == bench.broker.state()["calls"]


async def test_orders_are_counted_and_named(start: Start) -> None:
    """A header may hold where the broker lives, the parts of the path, and the order's number."""
    bench = await start(CODE)
    await bench.log_in()
    await bench.call("POST", "/v1/accounts/7/orders")
    second = await bench.call("POST", "/v1/accounts/7/orders")

    assert (201, f"{bench.url}/v1/7/2/{{rest}}") == (second.status, second.headers["Location"])
    assert 2 == bench.broker.state()["orders"]


async def test_what_the_file_lacks_is_not_found(start: Start) -> None:
    """A known path with another method is 405; an empty segment fits no name."""
    bench = await start(CODE)
    await bench.log_in()

    assert 404 == (await bench.call("GET", "/v1/nothing")).status
    assert 404 == (await bench.call("GET", "/v1/accounts/")).status
    assert 405 == (await bench.call("DELETE", "/v1/accounts")).status


async def test_credentials_are_judged_and_counted(start: Start, clock: HandClock) -> None:
    """Current, outlived, made up, missing: only the first is answered, and no order is kept for the others."""
    bench = await start(CODE)
    await bench.log_in()
    assert 200 == (await bench.call("GET", "/v1/accounts")).status
    clock.time += 1800
    assert 401 == (await bench.call("POST", "/v1/accounts/7/orders")).status
    bench.access = "made-up"
    assert 401 == (await bench.call("GET", "/v1/accounts")).status
    assert 401 == (await bench.send("GET", "/v1/accounts")).status

    assert {"current": 1, "stale": 1, "foreign": 1, "none": 1} == bench.broker.state()["authorizations"]
    assert 0 == bench.broker.state()["orders"]


async def test_a_plain_secret_is_compared(start: Start) -> None:
    """Both headers, and nothing in Authorization; the refusal is the file's."""
    bench = await start(SECRET)
    pair = {"X-Key-Id": "key-id", "X-Key": "canary"}

    assert 200 == (await bench.send("GET", "/v1/accounts", headers=pair)).status
    wrong = await bench.send("GET", "/v1/accounts", headers=pair | {"X-Key": "wrong"})
    assert (403, {"message": "no"}) == (wrong.status, wrong.document)
    assert 403 == (await bench.send("GET", "/v1/accounts", headers=pair | {"Authorization": "Bearer x"})).status
    assert {"current": 1, "stale": 0, "foreign": 2, "none": 0} == bench.broker.state()["authorizations"]


async def test_the_last_calls_are_kept_as_they_came(start: Start) -> None:
    """Target, headers and body, for whoever wants to look; their repr shows none of it."""
    bench = await start(SECRET)
    await bench.send("POST", "/v1/accounts?a=%2F", data=b"body", headers={"X-Key": "canary"})
    seen = bench.broker.received[-1]

    assert ("POST", "/v1/accounts?a=%2F", b"body") == (seen.method, seen.target, seen.body)
    assert ("X-Key", "canary") in seen.headers
    assert "canary" not in repr(Received("GET", "/?canary", (("a", "canary"),), b"canary"))


async def test_shared_faults_hit_calls_and_tokens(start: Start, tmp_path: Path) -> None:
    """A fault is used up by the request that it hits."""
    bench = await start(CODE)
    await bench.log_in()
    bench.broker.faults.add("api-500")
    assert [500, 200] == [(await bench.call("GET", "/v1/accounts")).status for _ in range(2)]

    bench.broker.faults.add("token-500")
    assert 500 == (await bench.renew()).status
    assert 200 == (await bench.renew()).status
