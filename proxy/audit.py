"""One record a call: who, what, which row, outcome, time. Never a header, a query, a body or a raw path."""

from dataclasses import dataclass

from proxy import logs

log = logs.get("audit")


@dataclass(slots=True)
class Record:
    """What is known of one call so far; the gateway fills it in as it learns more.

    `grant` is whose credential went along; `row` is the template that matched, `outcome` is `broker` for a relayed
    answer, `here` for one of ours, else the name of the refusal. `seconds` runs from the parsed head to the last byte
    handed to the client.
    """

    request_id: str
    method: str
    mount: str | None = None
    client: str | None = None
    row: str | None = None
    scope: str | None = None
    mutating: bool = False
    status: int = 0
    outcome: str = "aborted"
    generation: int | None = None
    replayed: bool = False
    seconds: float = 0.0
    grant: str | None = None

    @property
    def refused(self) -> bool:
        """Whether bearerd said no. `aborted`: one of the two ends left before the answer was complete."""
        return self.outcome not in ("broker", "here", "aborted")


def write(record: Record) -> None:
    """Put the record on the log. What was refused or cut off stands out by its level, an order by `mutating`."""
    emit = log.info if record.outcome in ("broker", "here") else log.warning
    emit(
        "call",
        request_id=record.request_id,
        client=record.client,
        mount=record.mount,
        grant=record.grant,
        method=record.method,
        row=record.row,
        scope=record.scope,
        mutating=record.mutating,
        status=record.status,
        outcome=record.outcome,
        generation=record.generation,
        replayed=record.replayed,
        ms=round(record.seconds * 1000, 1),
    )
