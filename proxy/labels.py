"""What labels of metrics may hold: closed sets, so that nobody's call opens a series.

What is in no set is counted as `other`, and what was never found out as `-`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

OTHER = "other"
NONE = "-"


@dataclass(slots=True)
class Names:
    """The names that the configuration and the scope tables give. They only grow: what is gone keeps counting."""

    mounts: frozenset[str] = frozenset()
    clients: frozenset[str] = frozenset()
    templates: frozenset[str] = frozenset()
    grants: frozenset[str] = frozenset()

    def allow(
        self, mounts: Iterable[str], clients: Iterable[str], templates: Iterable[str], grants: Iterable[str]
    ) -> None:
        """Know these too."""
        self.mounts |= frozenset(mounts)
        self.clients |= frozenset(clients)
        self.templates |= frozenset(templates)
        self.grants |= frozenset(grants)


def one_of(value: str | None, allowed: frozenset[str]) -> str:
    """A label for `value`; None was never found out."""
    if value is None:
        return NONE
    return value if value in allowed else OTHER
