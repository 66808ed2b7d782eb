"""The rate limit and its headers."""

import pytest

from proxy.simulator.alpaca.rates import RateLimit
from tests.simulator.alpaca.support import DATA, PAPER, Client, error
from tests.simulator.support import NOON


def test_headers_follow_the_minute() -> None:
    """What is left, and when it starts again."""
    limit = RateLimit()
    limit.count(NOON, 200, enforce=False)

    assert {
        "X-RateLimit-Limit": "200",
        "X-RateLimit-Remaining": "198",
        "X-RateLimit-Reset": str(int(NOON) + 60),
    } == limit.count(NOON + 59, 200, enforce=False).headers()
    assert 199 == limit.count(NOON + 60, 200, enforce=False).remaining


@pytest.mark.parametrize(("enforce", "remaining", "over"), [(False, 1, False), (True, 0, True)])
def test_nothing_is_refused_unless_it_is_enforced(enforce: bool, remaining: int, over: bool) -> None:
    """And then a zero is told before, too."""
    limit = RateLimit()
    for _ in range(2):
        limit.count(NOON, 2, enforce=enforce)
    counted = limit.count(NOON, 2, enforce=enforce)

    assert (remaining, over) == (counted.remaining, counted.over)


async def test_one_call_too_many_is_429(client: Client) -> None:
    """With the time to wait; hosts are counted apart, and the next minute is free again."""
    client.options.enforce_rate_limits, client.options.requests_per_minute = True, 2
    replies = [await client.get(PAPER, "/v2/clock") for _ in range(3)]

    assert [200, 200, 429] == [reply.status for reply in replies]
    assert (429, 42910000, "too many requests") == error(replies[2])
    assert ("0", "60") == (replies[2].headers["X-RateLimit-Remaining"], replies[2].headers["Retry-After"])
    assert 200 == (await client.get(DATA, "/v2/stocks/meta/exchanges")).status
    client.clock.time += 60
    assert 200 == (await client.get(PAPER, "/v2/clock")).status


async def test_another_limit_has_a_length_of_its_own(client: Client) -> None:
    """One call in five seconds."""
    client.options.limit = (1, 5.0)
    replies = [await client.get(PAPER, "/v2/clock") for _ in range(2)]

    assert [(200, "1"), (429, "1")] == [(reply.status, reply.headers["X-RateLimit-Limit"]) for reply in replies]
    client.clock.time += 5
    assert 200 == (await client.get(PAPER, "/v2/clock")).status
