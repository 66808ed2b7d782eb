"""What a finding about the store holds back."""

import pytest

from proxy.secret import Secret
from proxy.tokens.grant import Grant
from proxy.tokens.quarantine import Quarantine


@pytest.mark.parametrize(
    ("grant", "expected"),
    [
        (Grant("a", 1, refresh_token=Secret("r-token"), epoch=0), True),
        (Grant("a", 1, refresh_token=Secret("r-token"), epoch=1), False),
        (Grant("a", 1, access_token=Secret("a-token"), epoch=0), False),
    ],
    ids=["issued-before", "issued-after", "spends-nothing"],
)
def test_what_is_held_in_quarantine(grant: Grant, expected: bool) -> None:
    """A refresh token that was issued before the finding."""
    assert expected is Quarantine(1, "x", 1.0).holds(grant)


def test_nothing_is_held_without_a_finding() -> None:
    """Records of old carry no epoch, and there was none."""
    assert not Quarantine().holds(Grant("a", 1, refresh_token=Secret("r-token")))
