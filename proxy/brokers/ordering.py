"""The `orders:` of a definition → how orders are written, and the `order:` of a row → what it has to do with them."""

from collections.abc import Mapping
from typing import Any

from proxy.brokers.section import Section
from proxy.config.problem import did_you_mean
from proxy.gate.orderrule import FACTS, FORMATS, KINDS, NAMINGS, Kind, OrderForm, OrderRule

NO_ORDER = "none"
SOLE = ""  # the choice of a row whose orders are written in one way

_LISTS = ("parts", "exits", "limit_types", "buys")
_FORM = ("format", *FACTS, *_LISTS, "underlying", "naming", "indexed", "net", "ratio", "untold")
_RULE = ("kind", "form", "by", "forms")


def read_forms(section: Section) -> dict[str, OrderForm]:
    """The ways in which the broker's orders are written, by name."""
    return {name: form for name, part in section.named("orders") if (form := _form(part, name))}


def _form(section: Section, name: str) -> OrderForm | None:
    section.known(_FORM)
    section.needs("format")
    written = section.choice("format", FORMATS)
    fields: dict[str, Any] = {key: section.texts(key) for key in (*FACTS, *_LISTS, "untold")}
    fields |= {key: section.flag(key) or False for key in ("indexed", "net")}
    fields |= {key: section.text(key) for key in ("underlying", "ratio")}
    naming = section.choice("naming", NAMINGS) or NAMINGS[0]
    for fact in fields["untold"]:
        if fact not in FACTS:
            section.fault("untold", f"'{fact}' is no fact of an order", did_you_mean(fact, FACTS) or _known(FACTS))
        elif fields[fact]:
            section.fault("untold", f"holds {fact}, whose place is given too", "remove one of the two")
    only = {"json": ("parts", "exits", "ratio"), "form": ("indexed",)}
    for kind, keys in only.items():
        for key in keys:
            if written != kind and fields[key]:
                section.fault(key, f"is for orders written as {kind}", "remove it", at_key=True)
    if written == "form" and any("." in name for fact in FACTS for name in fields[fact]):
        section.fault("format", "a form has no members of members", "write names without a point")
    return None if written is None else OrderForm(name, written, naming=naming, **fields)  # type: ignore[arg-type]


def read_order(section: Section, forms: Mapping[str, OrderForm]) -> tuple[OrderRule | None, bool]:
    """What a row says of orders: its rule, and whether it says that it is none."""
    if section.data.get("order") == NO_ORDER:
        return None, True
    if "order" not in section.data:
        return None, False
    part = section.section("order")
    part.known(_RULE)
    part.needs("kind")
    kind: Kind | None = next((each for each in KINDS if each == part.choice("kind", KINDS)), None)
    if ("by" in part.data) != ("forms" in part.data) or ("form" in part.data and "forms" in part.data):
        part.fault(None, "says twice or by half how the order is written", "give it `form:`, or `by:` and `forms:`")
    chosen = part.text_map("forms")
    if (sole := part.text("form")) is not None:
        chosen = {SOLE: sole}
    found = []
    for choice, name in chosen.items():
        if name in forms:
            found.append((choice, forms[name]))
        else:
            place = part if choice == SOLE and sole is not None else part.section("forms")
            key = "form" if place is part else choice
            place.fault(key, f"no way of writing orders is called '{name}'", did_you_mean(name, forms) or _known(forms))
    if len({form.format for _, form in found}) > 1:
        part.fault("forms", "are written in two formats", "give each format a row of its own")
    return (None if kind is None else OrderRule(kind, tuple(found), part.text("by"))), False


def _known(names: Mapping[str, object] | tuple[str, ...]) -> str:
    return f"known: {', '.join(names) or 'none'}"
