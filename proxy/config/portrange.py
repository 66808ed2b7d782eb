"""A range of ports, as a value that checks itself and prints itself back.

>>> port_range("8090-8099")
PortRange(first=8090, last=8099)
>>> port_range("8099-8090")   # Wrong: the last port comes before the first, …
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from proxy.config.address import Wrong

LOWEST, HIGHEST = 1024, 65535
MOST = 100  # ports of one range

_FORM = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class PortRange:
    """The ports from `first` to `last`, both included."""

    first: int
    last: int

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last + 1))

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def port_range(value: object) -> PortRange:
    """`8090-8099`, or one port. Raises `Wrong`."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise Wrong("is no range of ports", "write FIRST-LAST, as in 8090-8099")
    first = int(found[1])
    last = int(found[2] or first)
    if last < first:
        raise Wrong("the last port comes before the first", f"write {last}-{first}")
    if first < LOWEST or last > HIGHEST:
        raise Wrong(f"ports go from {LOWEST} to {HIGHEST} here", "choose others")
    if last - first >= MOST:
        raise Wrong(f"a range has at most {MOST} ports", f"write {first}-{first + MOST - 1} or a shorter one")
    return PortRange(first, last)
