"""The `guards:` of a configuration as the gate judges by them, and whether the brokers' definitions can feed them."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from zoneinfo import ZoneInfo

from proxy.brokers import Api, Broker
from proxy.config import Config, Problem
from proxy.config.guards import MIDNIGHT, Hours
from proxy.config.guards import Guards as Section
from proxy.config.problem import Path
from proxy.gate import accounts
from proxy.gate.guards import DAYS, Book, Guards, Session
from proxy.gate.orderrule import Fact, OrderForm
from proxy.gate.rows import Row

_HELP = "see: bearerd help brokers"


def book_of(config: Config) -> Book:
    """All guards of a configuration without problems."""
    mounts: dict[str, Guards] = {}
    clients: dict[tuple[str, str], Guards] = {}
    for path, mount, section in config.guards:
        found = _guards(path, section)
        if path[0] == "mounts":
            mounts[mount] = found
        else:
            clients[str(path[1]), mount] = found
    return Book(mounts, clients)


def _guards(path: Path, section: Section) -> Guards:
    return Guards(
        where=".".join(map(str, path)),
        accounts=_set(section.accounts),
        symbols=_set(section.symbols),
        underlyings=_set(section.underlyings),
        sides=_set(section.sides),
        types=_set(section.types),
        max_quantity=_decimal(section.max_quantity),
        max_notional=_decimal(section.max_notional),
        orders_per_minute=section.orders_per_minute,
        hours=None if section.hours is None else _session(section.hours),
    )


def _set(words: Sequence[str] | None) -> frozenset[str] | None:
    return None if words is None else frozenset(words)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _session(hours: Hours) -> Session:
    days = frozenset(DAYS.index(day) for day in hours.days)
    end = 24 * 60 if hours.close == MIDNIGHT else _minute(hours.close)
    return Session(days, _minute(hours.open), end, ZoneInfo(hours.zone))


def _minute(text: str) -> int:
    hour, _, minute = text.partition(":")
    return int(hour) * 60 + int(minute)


def problems(config: Config, brokers: Mapping[str, Broker]) -> Iterator[Problem]:
    """Guards that would watch nothing, or that a definition does not say how to read. Each with the fix."""
    for path, name, section in config.guards:
        mount = config.mounts.get(name)
        broker = brokers.get(mount.broker) if mount else None
        if mount is None or broker is None or (mount.api is not None and mount.api not in broker.apis):
            continue  # told elsewhere
        beside = mount.guards if path[0] == "clients" else None
        api = broker.api(mount.api)
        for key, message, fix in (*_unfed(section, api, mount.broker), *_unsound(section, beside, api)):
            yield config.problem((*path, key) if key else path, message, fix, at_key=True)


_Finding = tuple[str, str, str]


def _unfed(section: Section, api: Api, broker: str) -> Iterator[_Finding]:
    """Guards that no call of the API could ever meet, or that its definition leaves open."""
    if section.accounts and not any(accounts.concerns(row) for row in api.table.rows):
        fix = f"remove it; or say which captures are one, in brokers.{broker}.account_params"
        yield "accounts", f"no call of the API '{api.name}' names an account", fix
    guards = _guards((), section)
    orders = [row for row in api.table.rows if row.order and row.order.kind != "lower"]
    asked = [name for name, _ in guards.facts]
    timed = [name for name in ("orders_per_minute", "hours") if getattr(section, name) is not None]
    if not orders:
        yield from ((key, f"no call of the API '{api.name}' is an order", "remove it") for key in (*asked, *timed))
        return
    scopes = {row.scope for row in orders}
    for row in api.table.rows:
        if (asked or timed) and row.mutating and not (row.deny or row.order or row.no_order) and row.scope in scopes:
            message = f"row {row.id} does not say whether it is an order, and others of its scope {row.scope} are"
            yield "", message, f"add `order:` to it under brokers.{broker}, if need be `order: none`; {_HELP}"
    for name, facts in guards.facts:
        yield from _unread(name, facts, orders, broker)


def _unread(name: str, facts: tuple[Fact, ...], orders: Sequence[Row], broker: str) -> Iterator[_Finding]:
    for row in orders:
        forms = _forms(row)
        if not forms:
            message = f"row {row.id} does not say how its orders are written"
            yield name, message, f"name a form of brokers.{broker}.orders in its `order:`; {_HELP}"
        for form in forms:
            if not any(form.names(fact) or fact in form.untold for fact in facts):
                message = f"brokers.{broker}.orders.{form.name} does not say where an order tells its {facts[-1]}"
                yield name, message, f"add `{facts[-1]}: [NAME]` there, or list it under `untold:`; {_HELP}"
    placing = [form for row in orders if row.order and row.order.kind == "place" for form in _forms(row)]
    if placing and not any(form.names(fact) for form in placing for fact in facts):
        yield name, f"no order of this broker tells its {facts[-1]}, so that all would be refused", "remove it"


def _forms(row: Row) -> list[OrderForm]:
    return [form for _, form in row.order.forms] if row.order else []


def _unsound(section: Section, beside: Section | None, api: Api) -> Iterator[_Finding]:
    """Guards that hold nothing back without another one. Those of the mount count for its clients too."""
    forms = [form for row in api.table.rows for form in _forms(row)]
    numbered = any(form.naming == "number" for form in forms)
    both = [each for each in (section, beside) if each is not None]
    if section.underlyings and forms and all(form.naming == "number" or not form.symbol for form in forms):
        yield "underlyings", "orders name a symbol by its number, which does not tell an option", "list it in `symbols`"
    if section.max_notional is None:
        return
    if numbered and not any(each.symbols for each in both):
        message = "orders name a symbol by its number, so that a contract of 100 shares looks like a share"
        yield "max_notional", message, "list `symbols` as well, and no options among them"
    buys = {side for form in forms for side in form.buys}
    if not any(each.max_quantity or (each.sides and buys.issuperset(each.sides)) for each in both):
        message = "a sale's limit price is the least that it brings, so that it bounds no sale"
        fix = f"add max_quantity, or sides: [{', '.join(sorted(buys))}]" if buys else "add max_quantity"
        yield "max_notional", message, fix
