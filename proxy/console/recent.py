"""The newest calls, read from the end of the audit trail on the disk: nothing is kept for it, and no call pays for it.

What is shown is who called what and how it ended: a row of the broker's table, never a path, a query or a body, and of
no account more than the trail has, which is its end. Reading is bounded, and blocks; whether the trail is as it was
written, `bearerd audit verify` says.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Self

from proxy.audit import reading
from proxy.audit.reading import Fields, backwards
from proxy.audit.record import ABORTED, SOUND, UNKNOWN
from proxy.errors import KINDS
from proxy.spans import span
from proxy.store import StoreError

MOST = 512 * 1024  # bytes that are read for one page
COUNT = 50  # rows of one page, where somebody wants them all
USUAL = 15  # rows that are shown without being asked for
OUTCOMES = (*sorted(SOUND), ABORTED, UNKNOWN, *sorted({kind.name for kind in KINDS.values()}))
_LAST = 1e11  # Unix time: the year 5138; what is later is no time, and can't be written as one
_IN_FLIGHT = 120.0  # seconds after which nobody waits for a broker's answer any more
_LONGEST = 120  # characters of a name
_STREAM_ENDED = "ended"
_MEANINGS = {
    "here": "bearerd answered this itself",
    ABORTED: "one of the two ends left before the answer was complete",
    UNKNOWN: "nobody knows what came of it: look at your orders",
}
_WAITING = "no outcome is on record yet: the broker has not answered, or look at your orders"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which calls somebody wants to see, as the filters of the page say; None is any."""

    client: str | None = None
    mount: str | None = None
    outcome: str | None = None
    orders: bool = False
    refused: bool = False

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Self:
        """What the fields of the form say. What is not understood is passed over."""
        outcome = query.get("outcome")
        return cls(
            client=_given(query.get("client")),
            mount=_given(query.get("mount")),
            outcome=outcome if outcome in OUTCOMES else None,
            orders=query.get("orders") == "1",
            refused=query.get("refused") == "1",
        )

    @property
    def anything(self) -> bool:
        """Whether no call is left out."""
        return self == type(self)()

    @property
    def record(self) -> reading.Wanted:
        """The same, as `bearerd audit search` asks for it."""
        return reading.Wanted(
            client=self.client, mount=self.mount, outcome=self.outcome, orders=self.orders, refused=self.refused
        )


@dataclass(frozen=True, slots=True)
class Row:
    """A call as it is shown. `sign` is ✓ ! or ✗; `what` is mount and row of the broker's table; `took` is text."""

    sign: str
    time: float
    client: str
    method: str
    what: str
    status: str
    outcome: str
    meaning: str
    took: str
    order: bool

    @property
    def plain(self) -> bool:
        """Whether there is nothing to explain."""
        return self.sign == "✓" and self.outcome == "broker"


@dataclass(frozen=True, slots=True)
class Recent:
    """Calls that fit, the newest first, an order as one. `since`: when the oldest call was made that was looked at.

    `fault`: why the trail could not be read; empty if it could. `outcomes` may be chosen, `usual` rows are enough.
    """

    rows: Sequence[Row] = ()
    since: float | None = None
    fault: str = ""
    outcomes: Sequence[str] = OUTCOMES
    usual: int = USUAL


def newest(directory: Path, wanted: Wanted, count: int = COUNT, *, most: int = MOST) -> Recent:
    """At most `count` calls of the trail in `directory`, from what its last `most` bytes hold. Never raises."""
    shown: list[Fields] = []
    calls, fits = _Calls(), wanted.record.fits
    try:
        with closing(backwards(directory, most)) as pieces:
            for fields in calls.of(pieces):
                if fits(fields):
                    shown.append(fields)
                    if len(shown) == count:
                        break
    except (OSError, StoreError) as error:
        return Recent(fault=str(getattr(error, "strerror", None) or error))
    shown.sort(key=lambda fields: (fields["time"], fields["seq"]), reverse=True)
    return Recent([row_of(fields) for fields in shown], calls.since)


class _Calls:
    """Joins intents and outcomes on the way back through a trail, where an outcome comes before its intent."""

    def __init__(self) -> None:
        self.since: float | None = None  # the oldest record that was looked at
        self._latest: float | None = None  # the newest: the trail's own clock
        self._outcomes: dict[Any, Fields] = {}
        self._ended = False  # whether the server that wrote what comes now has ended since, or has lost records

    def of(self, pieces: Iterable[list[Fields]]) -> Iterator[Fields]:
        """Calls and ends of streams, an order where its intent stands, if that is read at all."""
        for piece in pieces:
            for fields in reversed(piece):
                if not 0 <= fields["time"] <= _LAST:
                    continue
                self.since = fields["time"]
                self._latest = self._latest or self.since
                match fields["kind"]:
                    case "outcome" if isinstance(fields.get("intent"), int):
                        self._outcomes[fields["intent"]] = fields
                    case "intent":
                        yield self._joined(fields)
                    case "call" | "ended":
                        yield fields
                    case "started" | "gap":
                        self._ended = True
                    case _:
                        pass
        # Whatever has an outcome changes something, also where its intent is not among the records.
        yield from (fields | {"kind": "call", "mutating": True} for fields in self._outcomes.values())

    def _joined(self, intent: Fields) -> Fields:
        outcome = self._outcomes.pop(intent["seq"], None)
        if outcome is not None:
            return intent | outcome | {"kind": "call", "time": intent["time"]}
        waiting = not self._ended and (self._latest or 0.0) - intent["time"] < _IN_FLIGHT
        return intent | {"kind": "call", "outcome": UNKNOWN, "waiting": waiting}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def row_of(fields: Fields) -> Row:
    """A record as a row."""
    stream = fields["kind"] == _STREAM_ENDED
    status = fields.get("status")
    outcome = _STREAM_ENDED if stream else _text(fields, "outcome")
    waiting = fields.get("waiting") is True and not stream
    known = status if isinstance(status, int) and not isinstance(status, bool) else None
    return Row(
        sign="✓" if stream else "!" if waiting else _sign(outcome, known),
        time=float(fields["time"]),
        client=_text(fields, "client"),
        method=_text(fields, "method"),
        what=_place(fields),
        status="" if known is None else str(known),
        outcome="waiting" if waiting else outcome,
        meaning=_stream(fields) if stream else _WAITING if waiting else meaning(outcome, known),
        took=_duration(fields.get("ms")),
        order=fields.get("mutating") is True,
    )


def meaning(outcome: str, status: int | None) -> str:
    """What an outcome says, in words."""
    if outcome == "broker":
        failed = status is not None and status >= 400  # noqa: PLR2004  where errors begin
        return "the broker answered, with an error of its own" if failed else "the broker answered"
    if outcome in _MEANINGS:
        return _MEANINGS[outcome]
    kinds = [kind for kind in KINDS.values() if kind.name == outcome]
    fitting = [kind for kind in kinds if kind.status == status] or kinds
    return fitting[0].title if fitting else "a newer or older bearerd has written this"


def _sign(outcome: str, status: int | None) -> str:
    if outcome.endswith(UNKNOWN):
        return "✗"
    return "✓" if outcome in ("broker", "here") and (status or 0) < 400 else "!"  # noqa: PLR2004


def _place(fields: Fields) -> str:
    mount, row = _text(fields, "mount"), _text(fields, "row")
    return f"/{mount}{row}" if mount else row


def _stream(fields: Fields) -> str:
    """How a stream ended, and what went over it."""
    up, down, code = (fields.get(name) for name in ("up", "down", "close"))
    passed = f"{up:,} messages up, {down:,} down" if isinstance(up, int) and isinstance(down, int) else ""
    closed = f"close code {code}" if isinstance(code, int) else "without a close code"
    return ", ".join(filter(None, ("the stream is over", closed, passed)))


def _duration(ms: Any) -> str:
    """`12 ms`, `1.2 s`, `3h12m`."""
    if not _number(ms):
        return ""
    if ms < 1000:  # noqa: PLR2004  a second
        return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"  # noqa: PLR2004
    return f"{ms / 1000:.1f} s" if ms < 60_000 else span(ms / 1000)  # noqa: PLR2004


def _text(fields: Fields, name: str) -> str:
    """A name without what could move a cursor or turn the direction of a line."""
    value = fields.get(name)
    shown = value[:_LONGEST] if isinstance(value, str) else ""
    return "".join(letter if letter.isprintable() else "?" for letter in shown)


def _given(text: str | None) -> str | None:
    return text if text and len(text) <= _LONGEST and text.isprintable() else None
