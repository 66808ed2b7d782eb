"""What is inside: calls that are being served, who makes them, and what is told of each when it is over."""

import asyncio
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter

from proxy.audit import record as audit
from proxy.audit.calls import Calls
from proxy.errors import Refusal, Rendered, render
from proxy.metrics import Metrics


@dataclass(slots=True)
class Tally:
    """What `status` tells of a mount since the start. `last` is Unix time."""

    calls: int = 0
    denied: int = 0
    last: float | None = None

    def count(self, now: float, *, refused: bool) -> None:
        self.calls += 1
        self.denied += refused
        self.last = now


class Serving:
    """Every call of a gateway's, by either lane: `begin` and `end` it; `enter` and `leave` if the gate lets it in.

    Once `draining` is set nobody enters any more. `leaving`: a stop is near, so each answer ends its connection, and
    whoever calls again does so elsewhere, or over a new one.
    """

    def __init__(self, metrics: Metrics, calls: Calls) -> None:
        self.draining = self.leaving = False
        self.metrics = metrics
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self._calls = calls
        self._in_flight: Counter[str] = Counter()
        self._empty = asyncio.Event()

    def begin(self, method: str, request_id: str) -> audit.Record:
        """A call has come."""
        self.metrics.began()
        return audit.Record(request_id, method, began=perf_counter())

    def end(self, record: audit.Record, wall: float) -> None:
        """It is over at `wall` (Unix time), whatever became of it."""
        self._calls.ended(record, wall)
        self.metrics.ended()
        if record.trace is not None:
            record.trace.over(record, record.seconds)
        refused = record.refused
        if refused:
            self.metrics.denied(record.outcome, record.mount, record.client)
            if record.outcome == "guard-denied":
                self.metrics.guard_denied(record.mount, record.client, record.rule)
        if record.mount is not None:
            self.tallies[record.mount].count(wall, refused=refused)
        self.metrics.answered(
            mount=record.mount,
            template=record.row,
            method=record.method,
            status=record.status,
            client=record.client,
            seconds=record.seconds if record.traffic is None else record.traffic.opened,
        )

    def enter(self, client: str, most: int) -> None:
        """One call more of this client is served, of `most` at a time. Raises `Refusal`."""
        if self.draining:
            raise Refusal("draining", "bearerd is shutting down.", retry_after=1, close=True)
        if self._in_flight[client] >= most:
            detail, fix = f"The client {client} has too many calls in flight.", "raise limits.in_flight_per_client"
            raise Refusal("paced", detail, fix=fix, retry_after=1)
        self._in_flight[client] += 1

    def leave(self, client: str) -> None:
        """One of its calls is served."""
        self._in_flight[client] -= 1
        if self.draining and not self.in_flight:
            self._empty.set()

    @property
    def in_flight(self) -> int:
        """Calls being served right now."""
        return self._in_flight.total()

    async def drained(self, grace: float) -> None:
        """After `draining` was set: return when the last call has ended, or after `grace` seconds."""
        if self.in_flight:
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._empty.wait()


def refused(refusal: Refusal, record: audit.Record) -> Rendered:
    """A refusal as the client gets it, and on record."""
    record.outcome, record.rule = refusal.kind.name, refusal.rule or record.rule
    rendered = render(refusal, request_id=record.request_id, mount=record.mount, client=record.client)
    record.status = rendered.status
    return rendered
