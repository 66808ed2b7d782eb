"""Whether a store may be what it seems: a copy, or an older state of itself, must not lead to a redemption.

The store counts such findings. Each grant remembers the count at which its tokens were issued; one that is behind is
quarantined, until a login or an operator's `bearerd adopt` brings it a new generation.
"""

from dataclasses import dataclass

from proxy.tokens.grant import Grant


@dataclass(slots=True)
class Quarantine:
    """The newest finding: its number (0: none so far), what was found, and when (Unix time). Changed in place."""

    epoch: int = 0
    reason: str = ""
    since: float = 0.0

    def holds(self, grant: Grant) -> bool:
        """Whether nothing of this grant may be redeemed. What is minted or does not change spends nothing."""
        return grant.refresh_token is not None and grant.epoch < self.epoch
