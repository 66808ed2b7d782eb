"""What a record is. Names and numbers only: never a header, a query, a body, a raw path, a token. Pure.

Kinds of records: `call` (one that changes nothing, or was refused before anything could be sent; a stream when it is
open), `ended` (a stream, when it is over), `intent` and `outcome` (one that changes something, before its bytes leave
and after), `act` (an operator's), and what the trail
says of itself: `opened`, `started`, `stopped`, `gap`, `retired`, `strangers`.
"""

import functools
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from proxy import logs
from proxy.audit.chain import members
from proxy.gate import tracecontext
from proxy.gate.rows import Row

UNKNOWN = "unknown"  # the outcome of an intent of which nobody knows what came of it
UNKNOWNS = frozenset({UNKNOWN, "outcome-unknown"})  # the same, where the client was told so
ABORTED = "aborted"  # the outcome of a call that one of its two ends left before the answer was complete
SHOWN = 3  # characters of an account's number
HIDDEN = "***"  # stands for the rest of it
_TEXT = 200  # characters of a text that an operator gave

SOUND = frozenset({"broker", "here"})  # the outcomes of calls that were answered as they should be

log = logs.get("audit")
# Asked first: structlog takes 5 µs to find that nobody listens.
debugging = functools.partial(logging.getLogger("audit").isEnabledFor, logging.DEBUG)


@dataclass(slots=True)
class Traffic:
    """What went over a socket: messages and bytes from the client (`up`) and to it (`down`), and how it ended.

    `code` is the close code that the client was given, or gave; None: it left without. `opened`: seconds until it was
    open.
    """

    up: int = 0
    up_bytes: int = 0
    down: int = 0
    down_bytes: int = 0
    code: int | None = None
    opened: float = 0.0


class Traced(Protocol):
    """A call that is traced: see `tracing.py`."""

    def sets_off(self) -> None:
        """It goes to the broker from here on."""

    def answered(self, status: int, seconds: float) -> None:
        """The broker's answer head is there, `seconds` after the first byte was sent."""

    def over(self, record: "Record", seconds: float) -> None:
        """It has ended after so many seconds, as `record` says. Only the first word counts."""

    def lines(self) -> tracecontext.Lines:
        """The header lines that tell the broker whose child its work is."""

    def headers(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Headers for the broker, with those lines in the place of the client's."""


@dataclass(slots=True)
class Record:
    """What is known of one call so far; the gateway fills it in as it learns more.

    `grant` is whose credential went along; `row` is the template that matched, `rule` what decided: the row's id, or
    the guard or halt that said no. `order` is the row's class (`place`, `change`, `lower`), `account` the end of the
    account's number, `sent` the keyed digest of what went to the broker. `outcome` is `broker` for a relayed answer,
    `here` for one of ours, else the name of the refusal. `seconds` runs from the parsed head to the last byte handed to
    the client, of an outcome to when that was known. `intent`: the number of the intent's record, 0 without;
    `passed`: it may have been sent since. `trace_id` is that of the trace that the client or we see it in.
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
    order: str | None = None
    rule: str | None = None
    account: str | None = None
    sent: str | None = None
    began: float = 0.0
    intent: int = 0
    passed: bool = False
    settled: bool = False
    traffic: Traffic | None = None
    trace_id: str | None = None
    trace: Traced | None = None

    @property
    def refused(self) -> bool:
        """Whether bearerd said no. `aborted`: one of the two ends left before the answer was complete."""
        return self.outcome not in ("broker", "here", "aborted")


def matched(record: Record, row: Row, captures: Iterable[tuple[str, bytes]]) -> None:
    """A row has matched, and these are the captures of its path; an account among them is masked."""
    record.row, record.scope, record.mutating = row.path, row.scope or None, row.mutating
    record.rule, record.order = row.id, row.order.kind if row.order else None
    if row.account_captures:
        accounts = [value for name, value in captures if name in row.account_captures]
        record.account = masked(accounts[0].decode("ascii", "replace")) if accounts else None
    else:
        record.account = None


def call(record: Record) -> str:
    """A call as the members of a JSON object. Of what comes again and again the text is made once."""
    it = record
    known = _known(
        it.method, it.client, it.mount, it.grant, it.row, it.scope, it.order, it.mutating, it.rule, it.account
    )
    ended = _ended(it.status, it.outcome, it.generation, it.replayed)
    traced = f'"trace_id":"{it.trace_id}",' if it.trace_id is not None else ""
    return f'"id":"{it.request_id}",{traced}{known},{ended},"ms":{it.seconds * 1000:.1f}'


def intent(record: Record) -> str:
    """What is known before anything is sent."""
    traced = f'"trace_id":"{record.trace_id}",' if record.trace_id is not None else ""
    return f'"id":"{record.request_id}",{traced}{_known_of(record)},"sent":"{record.sent}"'


def outcome(record: Record, outcome: str | None = None) -> str:
    """How an intent ended; `outcome` if that is another than the record's own."""
    said = _told(client=record.client, mount=record.mount, intent=record.intent)
    ended = _ended(record.status, outcome or record.outcome, record.generation, record.replayed)
    return f'"id":"{record.request_id}",{said},{ended},"ms":{record.seconds * 1000:.1f}'


def ended(record: Record, traffic: Traffic) -> str:
    """How a stream ended, and what went over it."""
    said = _told(
        client=record.client,
        mount=record.mount,
        row=record.row,
        close=traffic.code,
        up=traffic.up,
        up_bytes=traffic.up_bytes,
        down=traffic.down,
        down_bytes=traffic.down_bytes,
    )
    return f'"id":"{record.request_id}",{said},"ms":{record.seconds * 1000:.1f}'


def _known_of(record: Record) -> str:
    it = record
    return _known(
        it.method, it.client, it.mount, it.grant, it.row, it.scope, it.order, it.mutating, it.rule, it.account
    )


# A cache finds positional arguments in a fraction of the time.
@functools.lru_cache(maxsize=4096)
def _known(  # noqa: PLR0917
    method: str,
    client: str | None,
    mount: str | None,
    grant: str | None,
    row: str | None,
    scope: str | None,
    order: str | None,
    mutating: bool,  # noqa: FBT001
    rule: str | None,
    account: str | None,
) -> str:
    base, _, member = (grant or "").partition("/")
    return _told(
        method=method,
        client=client,
        mount=mount,
        grant=base or None,
        member=member or None,
        row=row,
        scope=scope,
        **{"class": order},
        mutating=mutating or None,
        rule=rule,
        account=account,
    )


@functools.lru_cache(maxsize=4096)
def _ended(status: int, outcome: str, generation: int | None, replayed: bool) -> str:  # noqa: FBT001
    return _told(status=status, outcome=outcome, generation=generation, replayed=replayed or None)


def _told(**fields: Any) -> str:
    """What is not known, or is not so, is left out."""
    return members({name: value for name, value in fields.items() if value is not None})


def masked(account: str) -> str:
    """The last three characters of an account's number; of one that is hardly longer, none."""
    return HIDDEN + account[-SHOWN:] if len(account) > SHOWN else HIDDEN


def about(details: Mapping[str, Any]) -> dict[str, Any]:
    """Details of an operator's act, safe to keep: short, without what is known to be or looks like a secret."""
    return {name: _plain(value) for name, value in details.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    return logs.redact(str(value)[:_TEXT])


def write(record: Record) -> None:
    """Put the record on the log: what was refused or cut off as a warning, an order as information.

    Of a read that went well the trail is enough: a line on the log costs ten times as much, and is for debugging.
    """
    if record.outcome in SOUND:
        if not record.mutating and not debugging():
            return
        emit = log.info if record.mutating else log.debug
    else:
        emit = log.warning
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
        rule=record.rule,
        generation=record.generation,
        replayed=record.replayed,
        ms=round(record.seconds * 1000, 1),
        **({"trace_id": record.trace_id} if record.trace_id is not None else {}),
    )
