"""The knobs."""

import time

from proxy.simulator.questrade.options import Options, Shape, clock


def test_the_defaults_are_those_seen_live() -> None:
    """30 minutes, a slash at the end of api_server, orders allowed so that they can be tried, nothing slowed down."""
    options = Options()

    assert (1800, Shape.SLASH, 0.0) == (options.expires_in, options.shape, options.token_latency)
    assert {"read_acc", "read_md", "trade"} == options.scopes
    assert not options.enforce_rate_limits


def test_the_clock_is_unix_time() -> None:
    """Rate limit headers and times in answers are compared with the client's clock."""
    assert abs(time.time() - clock()) < 5  # noqa: TID251  what else to compare with
