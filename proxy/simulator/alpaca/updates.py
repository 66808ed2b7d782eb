"""What has happened to orders, in the order in which it did: what the trading socket and the event streams tell."""

import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.simulator.alpaca import moments

Record = dict[str, object]
_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Update:
    """One change of one order. `number` counts from 1, `moment` is Unix time; `order` is how it was then."""

    number: int
    moment: float
    account_id: str
    event: str
    order: Record
    more: Record = field(default_factory=dict)

    def document(self) -> Record:
        """As both the trading socket and the event streams write it."""
        return {
            "event": self.event,
            "execution_id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.account_id} {self.number}")),
            "order": self.order,
            "timestamp": moments.written(self.moment),
            **self.more,
        }


class Updates:
    """The newest updates of some accounts, and who hears of new ones. `newest`: the number of the newest."""

    def __init__(self) -> None:
        self.newest = 0
        self._kept: deque[Update] = deque(maxlen=_KEPT)
        self._listeners: list[Callable[[Update], None]] = []

    def get(self, number: int) -> Update | None:
        """None if there is none of this number, or it was too long ago."""
        at = number - self.newest - 1 + len(self._kept)
        return self._kept[at] if 0 <= at < len(self._kept) else None

    def listen(self, heard: Callable[[Update], None]) -> None:
        """Call `heard` with each update from now on."""
        self._listeners.append(heard)

    def add(self, account_id: str, event: str, order: Record, now: float, more: Record | None = None) -> None:
        """Keep an update, and tell it."""
        self.newest += 1
        update = Update(self.newest, now, account_id, event, dict(order), more or {})
        self._kept.append(update)
        for heard in self._listeners:
            heard(update)
