"""A plain broker's rate limit."""

from proxy.simulator.plain.rates import RateLimit
from tests.simulator.plain.bench import CODE
from tests.simulator.plain.conftest import Start
from tests.simulator.support import NOON


def test_a_window_begins_with_its_first_call() -> None:
    """Reset counts seconds from now, never down to 0."""
    limit = RateLimit()
    counted = [limit.count(NOON + passed, 2, 10.0) for passed in (0, 9.5, 9.9, 10)]

    assert [(1, 10, False), (0, 1, False), (0, 1, True), (1, 10, False)] == [
        (each.remaining, each.seconds, each.over) for each in counted
    ]
    assert {"RateLimit-Limit": "2", "RateLimit-Remaining": "1", "RateLimit-Reset": "10"} == counted[0].headers()
    refusal = counted[2].refusal()
    assert (429, "1") == (refusal.status, refusal.headers["Retry-After"])


async def test_calls_over_the_limit_are_refused_on_request_only(start: Start) -> None:
    """With headers that tell it; without a limit there are none."""
    bench = await start(CODE)
    await bench.log_in()
    free = await bench.call("GET", "/v1/accounts")
    bench.broker.options.limit = (1, 60.0)
    counted = [await bench.call("GET", "/v1/accounts") for _ in range(2)]

    assert [200, 200, 429] == [free.status, *(reply.status for reply in counted)]
    assert "RateLimit-Limit" not in free.headers
    assert {"1"} == {reply.headers["RateLimit-Limit"] for reply in counted}
