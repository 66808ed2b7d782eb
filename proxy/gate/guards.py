"""The operator's guards: which accounts, and which orders, of what size, how often and when. Pure: time is passed in.

A guard never assumes. An order that does not tell what a guard asks for is refused, and so is one that cannot be read
without doubt. Without guards nothing is read.
"""

import re
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Context, Decimal, Inexact
from zoneinfo import ZoneInfo

from proxy.errors import Refusal
from proxy.gate import accounts, orders
from proxy.gate.orderrule import Fact
from proxy.gate.orders import Part, Written
from proxy.gate.rows import Row

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTE = 60.0  # seconds
CONTRACT = 100  # shares behind an option
_EXACT = Context(prec=120, traps=[Inexact])  # three factors of 24 digits and more
_PLAINLY = "write it in one way only; what is read: bearerd help guards"

# OCC's 21 characters, with or without the spaces that fill the root: AAPL220617C00270000.
_OPTION = re.compile(r"([A-Z][A-Z0-9]{0,5}) {0,5}[0-9]{6}[CP][0-9]{8}")
_TICKER = re.compile(r"[A-Z][A-Z0-9]{0,9}(?:[./-][A-Z0-9]{1,10})?")
_AMOUNT = re.compile(r"(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class Session:
    """When orders may come: on these days (0 is Monday), from a minute of the day to before another, local time.

    If `end` is not after `start`, it is that of the next day.
    """

    days: frozenset[int]
    start: int
    end: int
    zone: ZoneInfo

    def holds(self, wall: float) -> bool:
        """Whether that Unix time is inside."""
        local = datetime.fromtimestamp(wall, self.zone)
        today, minute = local.weekday(), local.hour * 60 + local.minute
        if self.start < self.end:
            return today in self.days and self.start <= minute < self.end
        return (today in self.days and minute >= self.start) or ((today - 1) % 7 in self.days and minute < self.end)


@dataclass(frozen=True, slots=True)
class Guards:
    """What one part of the configuration, `where`, allows. None: it does not say.

    `underlyings` are those of options, which `symbols` never allows by the name of the share. `max_notional` is in the
    order's currency.
    """

    where: str
    accounts: frozenset[str] | None = None
    symbols: frozenset[str] | None = None
    underlyings: frozenset[str] | None = None
    sides: frozenset[str] | None = None
    types: frozenset[str] | None = None
    max_quantity: Decimal | None = None
    max_notional: Decimal | None = None
    orders_per_minute: int | None = None
    hours: Session | None = None

    @property
    def facts(self) -> tuple[tuple[str, tuple[Fact, ...]], ...]:
        """The guards that look into an order, each with the facts that it asks for. One of several will do."""
        asked: dict[str, tuple[Fact, ...]] = {
            "symbols": ("symbol",),
            "underlyings": ("symbol",),
            "sides": ("side",),
            "types": ("type",),
            "max_quantity": ("quantity",),
            "max_notional": ("amount", "price"),
        }
        return tuple((name, facts) for name, facts in asked.items() if getattr(self, name) is not None)


@dataclass(frozen=True, slots=True)
class Book:
    """All guards of a configuration: those of a mount, and those of a client on a mount, as (client, mount)."""

    mounts: Mapping[str, Guards] = field(default_factory=dict)
    clients: Mapping[tuple[str, str], Guards] = field(default_factory=dict)

    def of(self, mount: str, client: str) -> tuple[Guards, ...]:
        """Those that all have to let a call pass."""
        if not self.mounts and not self.clients:
            return ()
        return tuple(each for each in (self.mounts.get(mount), self.clients.get((client, mount))) if each is not None)


NO_GUARDS = Book()


@dataclass(frozen=True, slots=True)
class Call:
    """What guards judge: the row that matched, and what came with it."""

    row: Row
    written: Written


class Tempo:
    """How many orders were let through in the last minute, for each part of the configuration. Outlives a reload."""

    def __init__(self) -> None:
        self._times: defaultdict[str, deque[float]] = defaultdict(deque)

    def admit(self, limits: Sequence[tuple[str, int]], boot: float) -> str | None:
        """Count one order everywhere, or nowhere: then whose limit it would pass. `boot`: seconds, never stepped."""
        for where, limit in limits:
            times = self._times[where]
            while times and times[0] <= boot - MINUTE:
                times.popleft()
            if len(times) >= limit:
                return where
        for where, _ in limits:
            self._times[where].append(boot)
        return None


def check(guards: Sequence[Guards], call: Call, tempo: Tempo, *, wall: float, boot: float) -> None:
    """Raise `Refusal("guard-denied")` unless all guards let the call pass. `wall` and `boot`: seconds, see `Now`."""
    try:
        _check(guards, call, tempo, wall=wall, boot=boot)
    except Refusal as refusal:
        refusal.fix = refusal.fix or _PLAINLY
        raise


def _check(guards: Sequence[Guards], call: Call, tempo: Tempo, *, wall: float, boot: float) -> None:
    _accounts(guards, call)
    if call.row.order is None or call.row.order.kind == "lower":
        return
    _hours(guards, wall)
    if any(each.facts for each in guards):
        _order(guards, call)
    limits = [(each.where, each.orders_per_minute) for each in guards if each.orders_per_minute is not None]
    if (passed := tempo.admit(limits, boot)) is not None:
        limit = dict(limits)[passed]
        detail = f"More than {limit} orders in a minute. Nothing was sent."
        raise _denied("orders_per_minute", detail, fix=f"wait, or raise {passed}.orders_per_minute")


def _accounts(guards: Sequence[Guards], call: Call) -> None:
    asked = [each for each in guards if each.accounts is not None]
    if not asked or not (accounts.concerns(call.row) or call.row.order):
        return
    named = accounts.named(call.row, call.written)
    if not named:
        raise _denied("accounts", "The call does not say which account it is about.", fix="name the account")
    for each in asked:
        if each.accounts is not None and not each.accounts.issuperset(named):
            raise _denied("accounts", "The call names an account that is not allowed.", fix=_add(each, "accounts"))


def _hours(guards: Sequence[Guards], wall: float) -> None:
    for each in guards:
        if each.hours is not None and not each.hours.holds(wall):
            detail = "Orders are not allowed at this hour. Cancelling and closing is."
            raise _denied("hours", detail, fix=f"see {each.where}.hours")


def _order(guards: Sequence[Guards], call: Call) -> None:
    rule = call.row.order
    if rule is None or not rule.forms:
        detail = f"{call.row.method} {call.row.path} does not tell what it orders, and a guard asks."
        raise _denied("order", detail, fix="add a form of the order to the broker's definition: bearerd help brokers")
    for part in orders.read(rule, call.written):
        for each in guards:
            _judge(each, part)


def _judge(guards: Guards, part: Part) -> None:
    if guards.symbols is not None or guards.underlyings is not None:
        _symbols(guards, part)
    asked: tuple[tuple[str, Fact, frozenset[str] | None], ...]
    asked = (("sides", "side", guards.sides), ("types", "type", guards.types))
    for name, fact, allowed in asked:
        if allowed is not None and _told(guards, part, fact, name) not in allowed:
            detail = f"The order's {fact} is not allowed; allowed: {', '.join(sorted(allowed))}."
            raise _denied(name, detail, fix=_add(guards, name))
    if guards.max_quantity is not None and _quantity(guards, part, "max_quantity") > guards.max_quantity:
        detail = f"The order's quantity is above {guards.max_quantity}."
        raise _denied("max_quantity", detail, fix=f"order less, or raise {guards.where}.max_quantity")
    if guards.max_notional is not None and _notional(guards, part) > guards.max_notional:
        detail = f"The order is worth more than {guards.max_notional}."
        raise _denied("max_notional", detail, fix=f"order less, or raise {guards.where}.max_notional")


def _symbols(guards: Guards, part: Part) -> None:
    shares, roots = guards.symbols or frozenset(), guards.underlyings or frozenset()
    symbol = _told(guards, part, "symbol", "symbols" if guards.symbols is not None else "underlyings")
    root = _root(part)
    # What names the underlying must fit: another reader may take it for the symbol.
    beside = part.underlying in (None, root) or part.underlying in shares | roots
    if beside and (symbol in shares or (root is not None and root in roots)):
        return
    name = "symbols" if root is None else "underlyings"
    what = "symbol" if root is None else "option's underlying"
    raise _denied(name, f"The order's {what} is not allowed.", fix=_add(guards, name))


def _root(part: Part) -> str | None:
    """The underlying of an option, as its symbol says; None for what is no option."""
    found = _OPTION.fullmatch(part.symbol or "") if part.form.naming == "ticker" else None
    return found[1] if found else None


def _quantity(guards: Guards, part: Part, name: str) -> Decimal:
    quantity = _number(_told(guards, part, "quantity", name), "quantity", name)
    if part.amount is not None:
        raise _both(name)
    if part.form.ratio is None:
        return quantity
    if part.ratio is None:
        raise _untold(guards, name, "quantity of each part")
    ratio = _number(part.ratio, "ratio", name)
    if ratio > 1 and not any((guards.symbols, guards.underlyings, guards.sides, guards.types)):
        # These four refuse a change, which tells the whole's quantity and no ratio: it could make more of each part.
        fix = f"order parts of ratio 1, or add underlyings or symbols to {guards.where}"
        raise _denied(name, "The order has a ratio, which a later change of its quantity would not tell.", fix=fix)
    return _EXACT.multiply(quantity, ratio)


def _notional(guards: Guards, part: Part) -> Decimal:
    name = "max_notional"
    if part.amount is not None:
        if part.quantity is not None:
            raise _both(name)
        return _number(part.amount, "amount", name)
    if part.price is None:
        raise _untold(guards, name, "amount, nor a limit price that binds")
    quantity = _quantity(guards, part, name)
    worth = _EXACT.multiply(quantity, _number(part.price, "price", name))
    return _EXACT.multiply(worth, Decimal(_multiplier(guards, part)))


def _multiplier(guards: Guards, part: Part) -> int:
    if part.form.naming == "number" and part.symbol is not None:
        return 1
    if _root(part) is not None:
        return CONTRACT
    # A change may leave the symbol out: then it could be an option's.
    if part.symbol is None:
        return CONTRACT
    if not _TICKER.fullmatch(part.symbol):
        raise _untold(guards, "max_notional", "symbol in the form of a ticker")
    return 1


def _told(guards: Guards, part: Part, fact: Fact, name: str) -> str:
    found: str | None = getattr(part, fact)
    if found is None:
        raise _untold(guards, name, fact)
    return found


def _number(text: str, fact: str, name: str) -> Decimal:
    if not _AMOUNT.fullmatch(text):
        detail = f"The order's {fact} is no plain number, such as 10 or 0.25."
        raise _denied(name, detail, fix="write digits, and at most one point")
    return Decimal(text)


def _untold(guards: Guards, name: str, fact: str) -> Refusal:
    detail = f"The order does not tell its {fact}, and a guard asks for it."
    return _denied(name, detail, fix=f"tell it, or remove {guards.where}.{name}")


def _both(name: str) -> Refusal:
    return _denied(name, "The order tells a quantity and an amount.", fix="tell one of the two")


def _add(guards: Guards, name: str) -> str:
    return f"add it to {guards.where}.{name}"


def _denied(rule: str, detail: str, *, fix: str) -> Refusal:
    return Refusal("guard-denied", detail, fix=fix, rule=rule)
