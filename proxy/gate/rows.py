"""One row of a scope table: a kind of call and its one scope. A row that makes no sense cannot be made."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from proxy.gate.orderrule import FACTS, OrderRule
from proxy.gate.target import MAX_SEGMENT, MAX_SEGMENTS, PLAIN

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

_BODY_LIMITS = {"GET": 0, "HEAD": 0, "DELETE": 64}  # some SDKs send `{}` with DELETE
_ORDER_BODY = 64 * 1024
_OTHER_BODY = 1024 * 1024

CAPTURE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
FILLED = ("client_secret",)  # members of which a secret is kept
_PREFIX = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,63})+", re.ASCII)
_QUERY_WORD = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
DIALECTS = ("plain", "alpaca-data", "alpaca-trading", "tradier")  # how a broker's WebSocket is opened and spoken
REWRITES = ("stream_port", "stream_url")  # addresses in JSON answers that become ours


class TableError(ValueError):
    """A row that cannot be part of its table. `row` is its id, `problem` one clause that says why."""

    def __init__(self, row: str, problem: str) -> None:
        super().__init__(f"{row}: {problem}")
        self.row = row
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of call. `path` is a template such as `/v1/accounts/{account}/orders`; its captures have named types.

    - `when_query`: the row is meant only if the query holds exactly these names, once each, with these values;
    - `enum`: the allowed values of a query name, if it is there (and then only once);
    - `query_without`, `body_without`: names that the query, or a JSON body at its top level, must not hold;
    - `query`: the names that the broker documents, for people; `inferred`: the scope is our reading, not the broker's
      word;
    - `rate`: the broker's rate category; `max_body`: bytes, None for the default of the method;
    - `deny`: the broker documents the call and no scope for it, so that none opens it;
    - `sent_prefix`: the constant start of the path, and what is sent instead of it;
    - `websocket`: the call opens a WebSocket, in which one `speaks` a dialect: `plain` is a credential in the handshake
      and everything relayed;
    - `idle`: seconds for which a broker may be silent on a stream or in a WebSocket, None for what is usual;
    - `rewrites`: what JSON answers hold that must become an address of ours: a `stream_port` or a `stream_url`;
    - `fills`: members of a JSON body that are put in here from what is kept of the application in `client_id`;
    - `order`: what the call has to do with orders; None for a call that has nothing to do with them, which a row that
      changes something says with `no_order` where rows of the same scope are orders;
    - `account_captures`: the captures that are an account; `accounts`: names in query or body that hold one too.
    """

    id: str
    method: str
    path: str
    scope: str
    mutating: bool = False
    streaming: bool = False
    rate: str | None = None
    when_query: tuple[tuple[str, str], ...] = ()
    enum: tuple[tuple[str, tuple[str, ...]], ...] = ()
    query_without: tuple[str, ...] = ()
    body_without: tuple[str, ...] = ()
    max_body: int | None = None
    query: tuple[str, ...] = ()
    inferred: bool = False
    deny: bool = False
    sent_prefix: tuple[str, str] | None = None
    websocket: bool = False
    speaks: str = "plain"
    idle: int | None = None
    rewrites: str | None = None
    fills: tuple[str, ...] = ()
    order: OrderRule | None = None
    no_order: bool = False
    account_captures: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if problems := list(_row_problems(self)):
            raise TableError(self.id, "; ".join(problems))

    @property
    def body_limit(self) -> int:
        """How many bytes of body the call may bring."""
        if self.max_body is not None:
            return self.max_body
        return _BODY_LIMITS.get(self.method, _ORDER_BODY if self.mutating else _OTHER_BODY)

    @property
    def buffered(self) -> bool:
        """Whether the whole body is read before anything is sent: to know what was sent, or to look into it."""
        return self.mutating or bool(self.body_without or self.fills or self.accounts)

    def sent(self, path: bytes) -> bytes:
        """What goes to the broker for a path that matched this row: byte for byte, except for a replaced start."""
        if self.sent_prefix is None:
            return path
        start, instead = self.sent_prefix
        return instead.encode() + path[len(start.encode()) :]

    @property
    def sent_path(self) -> str:
        """The template of what goes to the broker."""
        return self.sent(self.path.encode()).decode()

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.path[1:].split("/"))

    @property
    def captures(self) -> tuple[str, ...]:
        """The names of the template's captures, in order."""
        return tuple(found[1] for segment in self.segments if (found := CAPTURE.fullmatch(segment)))


def _row_problems(row: Row) -> Iterator[str]:
    if row.method not in METHODS:
        yield f"method {row.method!r} is none of {', '.join(METHODS)}"
    if bool(row.scope) == row.deny:
        yield "it is denied, so that no scope may open it" if row.scope else "it has no scope"
    if row.max_body is not None and row.max_body < 0:
        yield "max_body is below 0"
    yield from _stream_problems(row)
    yield from _order_problems(row)
    yield from _template_problems(row)
    yield from _prefix_problems(row)
    yield from _query_problems(row)
    yield from _fill_problems(row)


def _stream_problems(row: Row) -> Iterator[str]:
    if row.websocket and (row.method != "GET" or row.mutating):
        yield "a WebSocket is opened by a GET that changes nothing"
    if row.websocket and row.streaming:
        yield "it is a WebSocket or a stream over HTTP, not both"
    if row.speaks not in DIALECTS:
        yield f"speaks {row.speaks!r} is none of {', '.join(DIALECTS)}"
    elif row.speaks != "plain" and not row.websocket:
        yield "only a WebSocket speaks a dialect"
    if row.idle is not None and not (row.idle > 0 and (row.websocket or row.streaming)):
        yield "idle is a number of seconds above 0, of a stream or a WebSocket"
    if row.rewrites is not None and (row.rewrites not in REWRITES or row.websocket):
        yield f"rewrites is one of {', '.join(REWRITES)}, in the JSON answers of a call"


def _order_problems(row: Row) -> Iterator[str]:
    if row.order is None:
        return
    if not row.mutating:
        yield "what concerns orders changes something: `mutating: true`"
    for _, form in row.order.forms:
        for name in (name for fact in FACTS for name in form.names(fact)):
            if (found := CAPTURE.fullmatch(name)) and found[1] not in row.captures:
                yield f"its orders, written as {form.name}, tell a fact in {name}, which its path does not have"


def _fill_problems(row: Row) -> Iterator[str]:
    if row.fills and row.method in _BODY_LIMITS:
        yield f"a {row.method} has no body to fill"
    if not set(row.fills) <= set(FILLED):
        yield f"fills can only name {', '.join(FILLED)}"


def _query_problems(row: Row) -> Iterator[str]:
    names = [*dict(row.when_query), *dict(row.enum), *row.query_without]
    for word in [*names, *dict(row.when_query).values(), *(value for _, values in row.enum for value in values)]:
        if not _QUERY_WORD.fullmatch(word):
            yield f"{word!r} cannot decide over a query; only letters, digits, `_`, `-` and `.` can"
    if len(names) != len(set(names)):
        yield "a query name stands in more than one of when_query, enum and query_without"


def _prefix_problems(row: Row) -> Iterator[str]:
    """Both starts are constant and whole segments, so that what was matched says exactly what is sent."""
    if row.sent_prefix is None:
        return
    start, instead = row.sent_prefix
    if not (row.path == start or row.path.startswith(start + "/")) or not _PREFIX.fullmatch(start):
        yield "sent_prefix must begin with the constant start of the path, up to a whole segment"
    elif row.sent_path.count("/") > MAX_SEGMENTS + row.path.endswith("/"):
        yield f"what sent_prefix makes of the path has more than {MAX_SEGMENTS} segments"
    if not _PREFIX.fullmatch(instead):
        yield f"{instead!r} cannot be sent as the start of a path"


def _template_problems(row: Row) -> Iterator[str]:
    if not row.path.startswith("/") or row.path == "/":
        yield "path must start with `/` and name something"
        return
    segments = row.segments if row.segments[-1] else row.segments[:-1]  # a row may end in a slash
    if len(segments) > MAX_SEGMENTS:
        yield f"path has more than {MAX_SEGMENTS} segments"
    for segment in segments:
        if CAPTURE.fullmatch(segment):
            continue
        if "{" in segment or "}" in segment:
            yield f"in {segment!r} a capture must be the whole segment, as in {{account}}"
        elif not segment or segment in (".", ".."):
            yield "path has an empty segment, `.` or `..`"
        elif len(segment) > MAX_SEGMENT or not PLAIN.issuperset(segment.encode()):
            yield f"{segment!r} holds a byte that no request target may hold"
    if len(row.captures) != len(set(row.captures)):
        yield "two captures share a name"
