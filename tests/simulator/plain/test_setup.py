"""What a plain broker is."""

from proxy.simulator.plain.setup import Endpoint, Setup


def test_secrets_stay_out_of_a_setup_s_repr() -> None:
    """Made up as they are, they are treated as secrets everywhere."""
    setup = Setup("p", "P", "secret", "keys", (), secret=("id", "canary"))
    endpoint = Endpoint("/token", client_secret="canary")

    assert "canary" not in repr(setup) + repr(endpoint)
