"""The knobs that every simulated broker has."""

import time

from proxy.simulator.options import Options, clock


def test_the_clock_is_unix_time() -> None:
    """It is the machine's own."""
    assert abs(clock() - time.time()) < 60  # noqa: TID251


def test_options_can_be_turned_while_the_simulator_runs() -> None:
    """They are not frozen, and know no others."""
    options = Options()
    options.expires_in = 1

    assert 1 == options.expires_in
    assert {"rate_limits": "none"} == options.rates()
    assert not options.enforces
    options.limit = (5, 10.0)
    assert options.enforces
    assert {} == options.rates()
    assert not hasattr(options, "__dict__")
