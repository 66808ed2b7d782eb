"""The knobs of a simulated Tradier."""

from proxy.simulator.tradier.options import SCOPES, Options


def test_a_partner_s_application_is_the_default() -> None:
    """Tokens live for a day less a second, as the documented answer says."""
    options = Options()

    assert (86_399, True, True, SCOPES) == (options.expires_in, options.partner, options.rotates, options.scopes)
