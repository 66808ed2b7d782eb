"""The knobs."""

from proxy.simulator.alpaca.options import Options


def test_defaults_are_those_of_the_real_thing() -> None:
    """Tokens of 899 seconds, 200 calls a minute."""
    options = Options()

    assert (899, 200, False) == (options.expires_in, options.requests_per_minute, options.enforce_rate_limits)
