"""What the gateway tells the trail about calls: before something is sent that changes something, after it, in the end.

An intent is durable before the first byte leaves, and its outcome before the first byte of the answer does. If the disk
fails, nothing that changes something is sent, but for calls that lower risk: being unable to cancel is a loss too.
Reads never wait.
"""

import asyncio
from time import perf_counter

from proxy import logs
from proxy.audit import record as records
from proxy.audit.chain import members
from proxy.audit.record import UNKNOWN, Record
from proxy.audit.trail import PATIENCE, SLOW, Trail
from proxy.errors import Refusal

STRANGERS = 100  # calls of nobody known that are recorded one by one at once, and then one a second
TELL = 10.0  # seconds until those that were only counted are told
LOWER_PATIENCE = 1.0  # for the disk, of a call that passes in any case

log = logs.get("audit")


class Calls:
    """One record a call, whatever becomes of it; of a flood of strangers how many there were.

    `patience` is for the disk, `lower` the same for calls that lower risk, `tell` for the sum of the strangers, all in
    seconds.
    """

    def __init__(
        self, trail: Trail, *, patience: float = PATIENCE, lower: float = LOWER_PATIENCE, tell: float = TELL
    ) -> None:
        self._trail, self._patience, self._tell = trail, patience, tell
        self._lower_patience = min(lower, patience)
        self._room, self._at = float(STRANGERS), 0.0  # for calls of strangers
        self._uncounted = 0

    async def intend(self, record: Record, target: bytes, body: object) -> None:
        """Return when it is durable that this is about to be sent. `Refusal("audit-unavailable")`: send nothing.

        A `body` that is no bytes is none: what changes something is sent whole.
        """
        sent = body if isinstance(body, bytes) else b""
        record.sent = self._trail.keys.digest(record.method.encode(), target, sent)
        record.intent = self._trail.put("intent", records.intent(record))
        lowers = record.order == "lower"
        if lowers and self._trail.standing.fault:
            self._passes(record)
        elif not record.intent or not await self._durable(record):
            if not lowers:
                raise Refusal(
                    "audit-unavailable",
                    "The audit trail can't be written, so that nothing which changes something is sent.",
                    fix="see `bearerd status`; most often the disk is full",
                )
            self._passes(record)
        record.passed = True

    async def settle(self, record: Record, outcome: str | None = None) -> None:
        """Return when the outcome of an intent is durable; without an intent at once. A failing disk is only logged.

        `outcome` is that of the call, where the record's is about the answer, which has not gone out yet.
        """
        if not record.intent or record.settled:
            return
        record.settled = True
        record.seconds = perf_counter() - record.began
        number = self._trail.put("outcome", records.outcome(record, outcome))
        if not self._trail.standing.fault and (not await self._durable(record) or not number):
            log.error("an answer goes out before the audit trail has it", request_id=record.request_id)

    def begun(self, record: Record) -> None:
        """A stream is open: its record is on the disk within a second, and another one follows when it ends."""
        record.seconds = perf_counter() - record.began
        record.settled = True
        if record.traffic is not None:
            record.traffic.opened = record.seconds
        if record.trace is not None:  # nobody wants to hear of it when it has ended, in hours
            record.trace.over(record, record.seconds)
        self._trail.put("call", records.call(record))

    def ended(self, record: Record, wall: float | None = None) -> None:
        """The call is over. What has no record yet gets one, on the disk within a second.

        `wall`: Unix time, if it is known.
        """
        record.seconds = perf_counter() - record.began
        if record.client is None and not self._has_room():
            return  # the log may be on the same disk
        if record.outcome not in records.SOUND or record.mutating or records.debugging():
            records.write(record)
        if record.settled:
            if record.traffic is not None:
                self._trail.put("ended", records.ended(record, record.traffic))
            return
        record.settled = True
        if record.intent:
            # A client that left in the middle: what the broker made of the call nobody has heard.
            unknown = record.passed and record.outcome == "aborted"
            self._trail.put("outcome", records.outcome(record, UNKNOWN if unknown else None))
        elif record.mutating:
            self._trail.put("call", records.call(record))
        else:
            self._trail.note(records.call(record), wall)

    def _has_room(self) -> bool:
        """Whether another stranger gets a record. Else a flood of them would fill the disk, and so stop all orders."""
        now = perf_counter()
        self._room, self._at = min(STRANGERS, self._room + now - self._at), now
        if self._room >= 1:
            self._room -= 1
            return True
        if not self._uncounted:
            asyncio.get_running_loop().call_later(self._tell, self._tell_of_strangers)
        self._uncounted += 1
        return False

    def _tell_of_strangers(self) -> None:
        count, self._uncounted = self._uncounted, 0
        log.warning("calls without a known client were only counted", count=count)
        self._trail.put("strangers", members({"count": count}))

    async def _durable(self, record: Record) -> bool:
        patience = self._lower_patience if record.order == "lower" else self._patience
        try:
            async with asyncio.timeout(patience):
                await self._trail.durable()
        except TimeoutError:
            if patience >= self._patience:  # a disk that is merely slow has not failed: others still wait for it
                self._trail.stuck(SLOW)
        except OSError:
            pass
        else:
            return True
        return False

    def _passes(self, record: Record) -> None:
        log.error(
            "a call that lowers risk is sent although the audit trail can't be written",
            request_id=record.request_id,
            client=record.client,
            mount=record.mount,
            row=record.row,
        )
