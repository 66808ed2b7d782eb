"""Server-sent events: which there are, and which of them a client asks for (https://docs.alpaca.markets/docs/sse-events).

Events are numbered; a cursor of the older family is that number, of the newer one a ULID that ends in it. Without
`since…` a stream begins with what happens next; with `until…` it ends by itself. That the event which a cursor names
does not come again is a choice: it is not documented.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from proxy.simulator.alpaca import assets, moments
from proxy.simulator.alpaca.answers import BAD_REQUEST, Refused, encoded
from proxy.simulator.alpaca.routes import Call, Handler
from proxy.simulator.alpaca.updates import Updates

Record = dict[str, object]

STREAM = "text/event-stream"
OLD = 3  # events that were there before the simulator began
# Comments, as seen in readers of real streams: the second says no blank after the colon; how often it comes is written
# nowhere. https://docs.alpaca.markets/reference/subscribetotradev2sse has the third.
GREETING, HEARTBEAT = b": welcome to the Alpaca events\n\n", b":heartbeat\n\n"
TOO_SLOW = ": you are reading too slowly, dropped %d messages\n\n"
_MOST = 10_000  # events that a stream begins with
_CURSORS = ("", "_id", "_ulid")
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DIGITS = 26


class Source(Protocol):
    """Events of one family, by number from 1 on."""

    def newest(self, beat: int) -> int:
        """The number of the newest one at this beat."""
        ...

    def event(self, number: int) -> tuple[float, Record]:
        """When it happened (Unix time), and what."""
        ...


@dataclass(frozen=True, slots=True)
class MadeUp:
    """Events that `make` builds from their number: a few of yesterday, and then one a beat."""

    make: Callable[[int, Call], Record]
    call: Call
    began: float  # Unix time

    def newest(self, beat: int) -> int:
        return OLD + beat

    def event(self, number: int) -> tuple[float, Record]:
        # A millisecond apart, so that cursors sort; when a beat really was, nobody knows any more.
        moment = self.began + number / 1000 - (moments.DAY if number <= OLD else 0)
        return moment, self.make(number, self.call)


@dataclass(frozen=True, slots=True)
class OfOrders:
    """Updates of orders: of one account, or of all that these are about."""

    updates: Updates
    account_id: str | None = None

    def newest(self, _: int) -> int:
        return self.updates.newest

    def event(self, number: int) -> tuple[float, Record]:
        update = self.updates.get(number)
        mine = update is not None and self.account_id in (None, update.account_id)
        if update is None or not mine:
            return 0.0, {}
        return update.moment, {**update.document(), "account_id": update.account_id}


@dataclass(slots=True)
class Events:
    """One event stream that a client has asked for. `since` None: what happens next.

    `since` and `until` are numbers, the times Unix time. `named`: each event has a line with its id. `ends`: the client
    asked for an end.
    """

    source: Source
    numbered: bool
    named: bool = False
    since: int | None = None
    since_time: float | None = None
    until: int | None = None
    until_time: float | None = None
    told: int = field(default=0)  # the number of the newest event that has been written

    @property
    def ends(self) -> bool:
        return self.until is not None or self.until_time is not None

    def begin(self, beat: int) -> list[bytes]:
        """What there is to tell of the past."""
        newest = self.source.newest(beat)
        first = newest + 1
        if self.since is not None:
            first = self.since + 1
        elif self.since_time is not None:
            first = 1
        self.told = max(0, min(first, newest + 1) - 1, newest - _MOST)
        return self.further(beat)

    def further(self, beat: int) -> list[bytes]:
        """What has happened since, each whole as it goes on the wire."""
        newest = self.source.newest(beat)
        numbers = range(self.told + 1, min(newest, self.until or newest) + 1)
        self.told = max(self.told, newest)
        return [written for number in numbers for written in self._written(number)]

    def over(self, now: float) -> bool:
        """Whether the end that the client asked for has come, and all before it has been written."""
        by_number = self.until is not None and self.told >= self.until
        return by_number or (self.until_time is not None and now >= self.until_time)

    def _written(self, number: int) -> Iterator[bytes]:
        moment, record = self.source.event(number)
        late = self.until_time is not None and moment > self.until_time
        if not record or late or (self.since_time is not None and moment < self.since_time):
            return
        name = ulid(moment, number)
        event_id: Record = {"event_id": number, "event_ulid": name} if self.numbered else {"event_id": name}
        document = {**event_id, "at": moments.written(moment), **record}
        line = f"id: {name}\n".encode() if self.named else b""
        yield line + b"data: " + encoded(document) + b"\n\n"


def stream(make: Callable[[int, Call], Record], *, numbered: bool = False, named: bool = False) -> Handler:
    """A stream of events that are made up; `numbered` ones have an integer as cursor, `named` ones an id of their own,
    and go on after a `Last-Event-Id`."""

    def answer(call: Call) -> Events:
        return asked(Events(MadeUp(make, call, call.account.opened), numbered, named), call)

    return answer


def of_orders(updates: Callable[[Call], Source], *, numbered: bool = False) -> Handler:
    """A stream of what happens to orders."""
    return lambda call: asked(Events(updates(call), numbered), call)


def asked(events: Events, call: Call) -> Events:
    """The cursors of a call. Refused with 400 for those that make no sense."""
    given = [kind for kind in _CURSORS if call.arguments.get(f"since{kind}")]
    ends = [kind for kind in _CURSORS if call.arguments.get(f"until{kind}")]
    if len(given) > 1 or len(ends) > 1:
        raise Refused(BAD_REQUEST, "since, since_id and since_ulid can't be used at the same time")
    for kind in ends:
        if kind not in given:
            raise Refused(BAD_REQUEST, f"until{kind} requires since{kind}")
    for kind in given:
        since, until = call.arguments[f"since{kind}"], call.arguments.get(f"until{kind}")
        if kind:
            events.since = number_of(since)
            events.until = number_of(until) if until else None
        else:
            events.since_time = moments.read(since)
            events.until_time = moments.read(until) if until else None
    last = call.headers.get("last-event-id")
    if events.named and last:
        events.since = number_of(last)
    return events


def number_of(cursor: str) -> int:
    """The number of the event that a cursor names: an integer or a ULID. Refused with 400 if it is neither."""
    if len(cursor) == _DIGITS and set(cursor.upper()) <= set(_ALPHABET):
        value = 0
        for letter in cursor.upper():
            value = value * 32 + _ALPHABET.index(letter)
        return value % (1 << 80)
    if cursor.isascii() and cursor.isdigit() and len(cursor) < _DIGITS:
        return int(cursor)
    raise Refused(BAD_REQUEST, "invalid event id")


def ulid(moment: float, number: int) -> str:
    """26 characters that sort by time (https://github.com/ulid/spec)."""
    value = (int(moment * 1000) << 80) + number
    digits = []
    for _ in range(_DIGITS):
        value, digit = divmod(value, 32)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def activity(number: int, call: Call) -> Record:
    first = call.account.activities([], {"page_size": "1"})[0]
    return {"account_id": call.account.id, "activity": first, "id": f"{number}"}


def change(what: str, before: str, after: str) -> Callable[[int, Call], Record]:
    """Something of an account that went from one status to another."""

    def make(number: int, call: Call) -> Record:
        return {
            f"{what}_id": assets.identifier(f"{what} {number}"),
            "account_id": call.account.id,
            "account_number": call.account.number,
            "status_from": before,
            "status_to": after,
        }

    return make
