"""What a worker has counted and recorded, until custody has it.

Records of calls are texts here; custody gives them their number, time and place in the chain. They are told twenty
times a second, so that a killed worker takes hardly more with it than a killed server does. While custody is away they
wait, up to a limit, and beyond that they are only counted.
"""

from collections.abc import Mapping
from typing import Any

from proxy import logs
from proxy.audit.trail import Standing
from proxy.gate.clients import Uses
from proxy.metrics import Metrics
from proxy.serving import Tally

ROOM = 100_000  # records that wait for custody
AT_ONCE = 4000  # of them that are told at a time: of two kilobytes each at most, so a message holds them

log = logs.get("workers")


class Told:
    """The trail, for a worker's `Calls`. Nothing is durable here: what needs that is served by custody."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.lost = 0

    def put(self, kind: str, text: str) -> int:
        """See `Trail`. Only reads are served here, so there is nothing but calls."""
        if kind != "call":
            raise AssertionError(f"a worker has a record {kind} to put")
        if len(self.texts) >= ROOM:
            self.lost += 1
            return 0
        self.texts.append(text)
        return len(self.texts)

    def note(self, text: str, _wall: float | None = None) -> None:
        """See `Trail`."""
        self.put("call", text)

    @property
    def standing(self) -> Standing:
        return Standing(0, self.lost, 0, "", 0.0)

    def take(self) -> list[str]:
        """What is to be told now."""
        if self.lost:
            log.error("records of calls were lost while nobody took them", count=self.lost)
            self.lost = 0
        texts, self.texts = self.texts[:AT_ONCE], self.texts[AT_ONCE:]
        return texts

    def keep(self, texts: list[str]) -> None:
        """Nobody has heard these."""
        self.texts[:0] = texts


class Tallies:
    """What `status` tells of mounts, since the last report."""

    def __init__(self, tallies: Mapping[str, Tally]) -> None:
        self._tallies = tallies
        self._before: dict[str, tuple[int, int]] = {}

    def take(self) -> dict[str, list[Any]]:
        """Of each mount with new calls: how many, how many were denied, when the last one was."""
        found: dict[str, list[Any]] = {}
        for mount, tally in self._tallies.items():
            calls, denied = self._before.get(mount, (0, 0))
            if tally.calls != calls:
                found[mount] = [tally.calls - calls, tally.denied - denied, tally.last]
                self._before[mount] = tally.calls, tally.denied
        return found


def uses_taken(uses: Uses) -> tuple[dict[str, float], dict[str, float]]:
    """The keys and clients that were used since the last report."""
    keys, clients = dict(uses.keys), dict(uses.clients)
    uses.keys.clear()
    uses.clients.clear()
    return keys, clients


class Counted:
    """The metrics, if they have changed since the last report."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._in_flight = 0

    def take(self) -> dict[str, Any] | None:
        found = self._metrics.snapshot()
        before, self._in_flight = self._in_flight, found["in_flight"]
        return found if found["counts"] or before != self._in_flight else None
