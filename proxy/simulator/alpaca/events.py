"""Server-sent events: a few of each family, of yesterday's making, then the end or silence."""

from collections.abc import Callable
from dataclasses import dataclass

from proxy.simulator.alpaca import assets, moments
from proxy.simulator.alpaca.answers import BAD_REQUEST, Refused, encoded
from proxy.simulator.alpaca.routes import Call, Handler

Record = dict[str, object]

STREAM = "text/event-stream"
_COUNT = 3
_CURSORS = ("", "_id", "_ulid")
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True)
class Events:
    """An event stream: whole events, bytes as they go on the wire. `ends`: the client asked for an end."""

    chunks: tuple[bytes, ...]
    ends: bool


def stream(make: Callable[[int, Call], Record], *, numbered: bool = False) -> Handler:
    """A stream whose events `make` builds from their number and the call; `numbered` ones have an integer as cursor.

    A cursor `until…` needs the `since…` of its kind, and then the stream ends by itself.
    """

    def answer(call: Call) -> Events:
        ends = False
        for kind in _CURSORS:
            if call.arguments.get(f"until{kind}"):
                if not call.arguments.get(f"since{kind}"):
                    raise Refused(BAD_REQUEST, f"until{kind} requires since{kind}")
                ends = True
        chunks = [b": you're connected to the simulated stream\n\n"]
        for number in range(1, _COUNT + 1):
            at = call.now - moments.DAY + number
            document = {"event_id": number if numbered else ulid(at, number), "at": moments.written(at)}
            chunks.append(b"data: " + encoded(document | make(number, call)) + b"\n\n")
        return Events(tuple(chunks), ends)

    return answer


def ulid(moment: float, number: int) -> str:
    """26 characters that sort by time (https://github.com/ulid/spec)."""
    value = (int(moment * 1000) << 80) + number
    digits = []
    for _ in range(26):
        value, digit = divmod(value, 32)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def trade(number: int, call: Call) -> Record:
    """An update of an order: of one that is there, else of a made-up one."""
    orders = call.account.book.listed({"status": "all"}, [], 1)
    made_up: Record = {"id": assets.identifier(f"order {number}"), "symbol": "AAPL", "status": "new"}
    order = orders[0] if orders else made_up
    return {"event": "new", "order": order, "timestamp": moments.written(call.now), "account_id": call.account.id}


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
