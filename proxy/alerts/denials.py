"""Refusals by guards: the first is told at once, further ones of the same kind once a minute, as a number. Pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from proxy.alerts.notice import Notice, denied
from proxy.clock import Now

PAUSE = 60.0  # seconds between two notices of one client, mount and guard
LABELS = ("mount", "client", "guard")


@dataclass(slots=True)
class _Series:
    """One client, mount and guard. `waiting` have not been told yet, the first of them came at `since`."""

    counted: float
    waiting: int = 0
    since: float = 0.0
    told_at: float | None = None


class Denials:
    """Hears of counters that only grow. What had been counted when it was first asked is not told."""

    def __init__(self, new_id: Callable[[], str], pause: float = PAUSE) -> None:
        self._new_id = new_id
        self._pause = pause
        self._series: dict[tuple[str, ...], _Series] | None = None

    def look(self, counts: Iterable[tuple[tuple[str, ...], float]], now: Now) -> Iterator[Notice]:
        """What is to be told now. `counts`: labels (see `LABELS`) and the number so far."""
        if self._series is None:
            self._series = {labels: _Series(count) for labels, count in counts}
            return
        for labels, count in counts:
            series = self._series.setdefault(labels, _Series(0))
            if count > series.counted:
                series.since = series.since if series.waiting else now.wall
                series.waiting += round(count - series.counted)
                series.counted = count
            if series.waiting and (series.told_at is None or now.boot - series.told_at >= self._pause):
                about = dict(zip(LABELS, labels, strict=True))
                yield denied(about, series.waiting, series.since, self._new_id(), now.wall)
                series.waiting, series.told_at = 0, now.boot
