"""What waits to be told to one hook, up to a limit. Pure."""

from collections import deque
from collections.abc import Iterator

from proxy.alerts.notice import Notice

ROOM = 100


class Queue:
    """First come, first told. Things that happened to the same key become one. `room`: how many wait at most."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._waiting: deque[Notice] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Notice]:
        return iter(self._waiting)

    @property
    def takes_more(self) -> bool:
        """Whether one more would push nothing out that nobody has overtaken."""
        return len(self._waiting) < self._room or len({each.key for each in self._waiting}) < len(self._waiting)

    def put(self, notice: Notice) -> Notice | None:
        """Have it wait. Returns what had to go for it: the oldest that a later one has overtaken, else the oldest."""
        if notice.kind == "notice":
            for place, earlier in enumerate(self._waiting):
                if earlier.key == notice.key:
                    self._waiting[place] = notice.with_earlier(earlier)
                    return None
        self._waiting.append(notice)
        return self._make_room() if len(self._waiting) > self._room else None

    def take(self) -> Notice | None:
        """The next one, which does not wait any more."""
        return self._waiting.popleft() if self._waiting else None

    def _make_room(self) -> Notice:
        seen: set[str] = set()
        overtaken = 0
        for place in reversed(range(len(self._waiting))):
            key = self._waiting[place].key
            if key in seen:
                overtaken = place
            seen.add(key)
        found = self._waiting[overtaken]
        del self._waiting[overtaken]
        return found
