"""Who is next: calls that wait, by their kind first, then client by client in turn. Pure.

Calls that lower risk go before orders, orders before everything else. Among calls of one kind each client gets one turn
before anybody gets a second, so that a client that asks for much waits for itself.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

LOWER, ORDER, READ = range(3)  # the kinds, those in front first
KINDS = (LOWER, ORDER, READ)

W = TypeVar("W")


class Turns(Generic[W]):
    """The queue of one budget. A waiter is whatever the caller gives; all of them differ. `count`: how many wait."""

    __slots__ = ("_rings", "count")

    def __init__(self) -> None:
        self._rings: tuple[OrderedDict[str, deque[W]], ...] = tuple(OrderedDict() for _ in KINDS)
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def add(self, kind: int, client: str, waiter: W) -> None:
        """Queue up behind the client's other calls of this kind."""
        self._rings[kind].setdefault(client, deque()).append(waiter)
        self.count += 1

    def remove(self, kind: int, client: str, waiter: W) -> None:
        """Somebody does not wait any longer. `ValueError` if nobody did."""
        waiting = self._rings[kind].get(client, deque())
        waiting.remove(waiter)
        if not waiting:
            del self._rings[kind][client]
        self.count -= 1

    def ahead(self, kind: int, client: str) -> int:
        """How many would have their turn before a call that came now."""
        before = sum(len(waiting) for ring in self._rings[:kind] for waiting in ring.values())
        own = len(self._rings[kind].get(client, ()))
        # Until our next one is due, any other client has at most as many turns as we have, that one included.
        others = (len(waiting) for name, waiting in self._rings[kind].items() if name != client)
        return before + own + sum(min(count, own + 1) for count in others)

    def next(self, admit: Callable[[str, int], bool]) -> W | None:
        """Take out the next waiter for whose client and kind `admit` says yes; None if there is none.

        Nobody overtakes a kind that waits in front.
        """
        for kind, ring in enumerate(self._rings):
            for client, waiting in ring.items():
                if admit(client, kind):
                    waiter = waiting.popleft()
                    self.count -= 1
                    if waiting:
                        ring.move_to_end(client)
                    else:
                        del ring[client]
                    return waiter
            if ring:
                return None
        return None

    def heads(self) -> Iterator[tuple[str, int]]:
        """Client and kind of those of whom one is next."""
        for kind, ring in enumerate(self._rings):
            if ring:
                return ((client, kind) for client in ring)
        return iter(())

    def counts(self) -> dict[str, int]:
        """How many calls of each client wait."""
        found: dict[str, int] = {}
        for ring in self._rings:
            for client, waiting in ring.items():
                found[client] = found.get(client, 0) + len(waiting)
        return found
