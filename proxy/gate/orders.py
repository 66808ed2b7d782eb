"""An order as typed values: read from the body or the query of a call, or refused.

Only what can be read in one way is read. A fact that is told twice, under a second spelling, in a place where the
definition has none, or in a form that its Content-Type does not announce, is refused: the broker may take another one.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from proxy.gate.bodies import bare, denied, fields, media, members, strict_object
from proxy.gate.orderrule import FACTS, OrderForm, OrderRule
from proxy.gate.query import spellings
from proxy.gate.rows import CAPTURE

_INDEXED = re.compile(r"([^\[\]]+)\[(0|[1-9][0-9]{0,2})\]")
_WORD = re.compile(r"[!-~](?:[ -~]{0,62}[!-~])?")  # some brokers fill an option's root with spaces

Facts = dict[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """One thing to buy or sell. A fact that the order does not tell is None; nothing has been converted.

    `ratio` is how many of it the whole's `quantity` stands for. `price` is None where the order's type does not bind
    it, or where it is that of several parts together.
    """

    form: OrderForm
    symbol: str | None = None
    underlying: str | None = None
    side: str | None = None
    type: str | None = None
    quantity: str | None = None
    amount: str | None = None
    price: str | None = None
    ratio: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """A call as it came: what may hold an order."""

    captures: Sequence[tuple[str, bytes]]
    query: bytes | None
    body: bytes
    headers: Sequence[tuple[bytes, bytes]]


def read(rule: OrderRule, written: Written) -> tuple[Part, ...]:
    """All parts of the order. `Refusal("guard-denied")` if it cannot be read without doubt."""
    names = _names(rule)
    format_ = rule.forms[0][1].format
    whole, parts, used = _json(written, names) if format_ == "json" else _form(written, names)
    choice = whole.pop(rule.by, "") if rule.by else ""
    form = rule.form(choice)
    if form is None:
        raise denied(f"The order's `{rule.by}` is none whose form bearerd knows, so the order cannot be judged.")
    if used - {*form.parts, *form.exits} or (parts and not (form.indexed or form.parts)):
        raise denied("The order has parts, where its kind has none.")
    told = _facts(form, whole)
    if parts and form.underlying in form.symbol and "symbol" in told:
        told["underlying"] = told.pop("symbol")  # one name: each part says its own symbol
    for capture, value in written.captures:
        for fact in FACTS:
            if f"{{{capture}}}" in form.names(fact):
                if fact in told:
                    raise _twice(fact)
                told[fact] = value.decode("ascii")
    return tuple(_part(form, told, each) for each in parts or [{}])


class _Names:
    """Every name that the forms of a rule read, whichever form an order takes."""

    def __init__(self, rule: OrderRule) -> None:
        forms = [form for _, form in rule.forms]
        self.facts = {name for form in forms for fact in FACTS for name in form.names(fact) if not CAPTURE.match(name)}
        self.facts |= {name for form in forms for name in (form.underlying, form.ratio, rule.by) if name}
        self.parts = {name for form in forms for name in form.parts}
        self.exits = {name for form in forms for name in form.exits}
        self.prices = {name for form in forms for name in form.price}
        self.indexed = any(form.indexed for form in forms)
        # `instrument.symbol` in JSON is the member of an object that stands among the facts.
        self.objects = {name[:dot] for name in self.facts for dot, char in enumerate(name) if char == "."}
        self.all = self.facts | self.parts | self.exits | self.objects
        self._bare = {bare(name) for name in self.all}

    def check(self, name: str) -> bool:
        """Whether the name is one of these. Refused if it is another spelling of one."""
        if name in self.all:
            return True
        if self.resembles(name):
            raise denied("The order spells a name in a second way, so it cannot be judged.")
        return False

    def resembles(self, name: str) -> bool:
        """Whether some reader could take the name for one of these."""
        return bare(name) in self._bare


@cache
def _names(rule: OrderRule) -> _Names:
    """There are as many rules as rows of definitions."""
    return _Names(rule)


_Told = tuple[Facts, list[Facts], set[str]]


def _json(written: Written, names: _Names) -> _Told:
    """The facts of the whole and of each part, and which members hold parts or exits."""
    _not_named(written.query, names, "The order stands in the body, and its query names part of it too.")
    if not written.body:
        return {}, [], set()
    if media(written.headers) != "json":
        raise denied("The body is not announced as `Content-Type: application/json`.", fix="send that header")
    top = strict_object(written.body, written.headers, as_written=True)
    parts: list[Facts] = []
    used = {name for name in (names.parts | names.exits) & top.keys() if top[name] is not None}
    for name in sorted(used & names.parts):
        listed = top[name]
        if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
            raise denied(f"`{name}` is no list of objects.")
        parts += [_members(item, names) for item in listed]
    for name in sorted(used & names.exits):
        _check_exit(name, top[name], names)
    return _members(top, names, whole=True), parts, used


def _members(found: Mapping[str, object], names: _Names, *, whole: bool = False, below: str = "") -> Facts:
    told: Facts = {}
    for member, value in found.items():
        name = below + member
        if "." in member and names.resembles(name):
            raise denied("The order spells a way as a name, so it cannot be judged.")
        if not names.check(name):
            if any(names.check(inner) for inner, _ in members(value)):
                raise denied("The order tells a fact in a place where its kind has none.")
        elif name in names.facts:
            if (text := _text(name, value)) is not None:
                told[name] = text
        elif name in names.objects:
            if value is not None and not isinstance(value, dict):
                raise denied(f"`{name}` is no object.")
            told |= _members(value or {}, names, whole=whole, below=f"{name}.")
        elif not whole:
            raise denied("A part of the order has parts of its own.")
    return told


def _check_exit(name: str, value: object, names: _Names) -> None:
    """Where an order closes itself again it says at which prices, and nothing else that is judged."""
    if not isinstance(value, dict):
        raise denied(f"`{name}` is no object.")
    for inner, _ in members(value):
        if names.check(inner) and inner not in names.prices:
            raise denied(f"`{name}` may tell prices and nothing else of the order.")


def _text(name: str, value: object) -> str | None:
    """A fact as it was written. Absent, null and empty say nothing."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise denied(f"`{name}` is neither a plain text nor a number.")
    return value


def _form(written: Written, names: _Names) -> _Told:
    raw = written.query or b""
    if written.body:
        _not_named(written.query, names, "The order stands in the body, and its query names part of it too.")
        if media(written.headers) != "form":
            fix = "send that header, or the fields in the query without a body"
            raise denied("The body is not announced as `Content-Type: application/x-www-form-urlencoded`.", fix=fix)
        raw = written.body
    whole: Facts = {}
    parts: dict[int, Facts] = {}
    seen: set[tuple[str, int | None]] = set()
    for field, value in fields(raw):
        name, index = _indexed(field, names)
        if not names.check(name):
            continue
        if (name, index) in seen:
            raise _twice(name)
        seen.add((name, index))
        if (text := _text(name, value)) is not None:
            (whole if index is None else parts.setdefault(index, {}))[name] = text
    spelled = spellings(raw)
    for name in names.all:
        if spelled(name) != sum(name == found for found, _ in seen):
            raise denied(f"The order names `{name}` in a second spelling, so it cannot be judged.")
    return whole, [parts[index] for index in sorted(parts)], set()


def _indexed(field: str, names: _Names) -> tuple[str, int | None]:
    found = _INDEXED.fullmatch(field) if names.indexed else None
    return (found[1], int(found[2])) if found else (field, None)


def _not_named(query: bytes | None, names: _Names, detail: str) -> None:
    spelled = spellings(query)
    if query and any(spelled(name) for name in names.all):
        raise denied(detail, fix="tell the order once, in one place")


def _facts(form: OrderForm, told: Facts) -> Facts:
    """What was told, by fact. A name that this form has no use for is refused: the broker may have one."""
    found: Facts = {}
    left = dict(told)
    for fact in FACTS:
        for name in form.names(fact):
            if name in left:
                if fact in found:
                    raise _twice(fact)
                found[fact] = left.pop(name)
    for key, place in (("underlying", form.underlying), ("ratio", form.ratio)):
        if place is not None and place in left:
            found[key] = left.pop(place)
    if left:
        raise denied(f"The order tells `{min(left)}`, for which its kind has no place.")
    return found


def _part(form: OrderForm, whole: Facts, told: Facts) -> Part:
    found = _facts(form, told)
    ratio = found.pop("ratio", None)
    if "ratio" in whole:
        raise denied(f"`{form.ratio}` belongs to a part of the order.")
    for fact in found:
        if fact in whole:
            raise _twice(fact)
    facts: Facts = {**whole, **found}
    if form.underlying is not None and "symbol" not in facts and "underlying" in facts:
        facts["symbol"] = facts["underlying"]
    binding = not form.net and (not form.limit_types or facts.get("type") in form.limit_types)
    price = facts.pop("price", None)
    return Part(form, **facts, price=price if binding else None, ratio=ratio)


def _twice(fact: str) -> Exception:
    return denied(f"The order tells its `{fact}` twice, so it cannot be judged.")
