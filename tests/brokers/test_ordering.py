"""`orders:` and `order:` of a definition are read, and every mistake in them is told."""

import pytest

from proxy.gate.orderrule import OrderForm, OrderRule
from tests.brokers.plain import PLAIN, good, read_text

FORMS = """
account_params: [account]
orders:
  shares: {format: json, symbol: [symbol], side: [side], quantity: [qty], price: [p], limit_types: [limit], type: [t]}
  legs: {format: json, parts: [legs], net: true, ratio: ratio, symbol: [symbol], untold: [side, type, price]}
"""


def with_row(order: str, forms: str = FORMS) -> str:
    """The plain definition, with one more row."""
    row = f'{{id: order_x, method: POST, path: "/v1/accounts/{{account}}/x", scope: write, mutating: true, {order}}}'
    return PLAIN.replace("rows:\n", f"rows:\n  - {row}\n", 1) + forms


def rule(order: str) -> OrderRule | None:
    """What is read of the row's `order:`."""
    table = good(with_row(order)).api().table
    return next(row.order for row in table.rows if row.id == "order_x")


def test_a_form_is_read_with_all_its_keys() -> None:
    """Names of facts, and what they mean."""
    found = good(with_row("order: {kind: place, form: legs}")).orders
    assert found["legs"] == OrderForm(
        "legs", "json", symbol=("symbol",), parts=("legs",), ratio="ratio", net=True, untold=("side", "type", "price")
    )
    assert ("limit",) == found["shares"].limit_types


def test_a_row_has_one_form_or_one_for_each_choice() -> None:
    """`form:`, or `by:` with `forms:`; without either the kind alone."""
    forms = good(with_row("order: {kind: place}")).orders
    assert OrderRule("place", (("", forms["shares"]),)) == rule("order: {kind: place, form: shares}")
    assert OrderRule("lower") == rule("order: {kind: lower}")
    choices = (("", forms["shares"]), ("mleg", forms["legs"]))
    assert OrderRule("change", choices, "class") == rule(
        'order: {kind: change, by: class, forms: {"": shares, mleg: legs}}'
    )


def test_a_row_may_say_that_it_is_no_order() -> None:
    """`order: none` is an answer, where leaving it out is none."""
    for order, expected in (("order: none", True), ("max_body: 64", False)):
        rows = good(with_row(order)).api().table.rows
        assert (None, expected) == next((row.order, row.no_order) for row in rows if row.id == "order_x")


def test_accounts_are_known_by_their_captures_and_names() -> None:
    """`account_params` for the whole broker, `accounts` for one row."""
    rows = {row.id: row for row in good(with_row("accounts: [acct]")).api().table.rows}
    assert (("account",), ("acct",)) == (rows["order_x"].account_captures, rows["order_x"].accounts)
    assert () == rows["c"].account_captures


@pytest.mark.parametrize(
    ("order", "forms", "expected"),
    [
        ("order: {kind: plaice}", FORMS, "order.kind: is not one of place, change, lower, did you mean"),
        ("order: {form: shares}", FORMS, "order.kind: is missing, add `kind: …`"),
        ("order: {kind: place, from: shares}", FORMS, "order.from: unknown key 'from', did you mean 'form'?"),
        ("order: {kind: place, form: share}", FORMS, "order.form: no way of writing orders is called 'share'"),
        ("order: {kind: place, by: x}", FORMS, "order: says twice or by half how"),
        ("order: {kind: place, form: legs, by: x, forms: {a: legs}}", FORMS, "order: says twice or by half how"),
        ("order: {kind: place, by: x, forms: {a: leg}}", FORMS, "order.forms.a: no way of writing orders"),
        ("order: place", FORMS, "order: must be a mapping, not text"),
        ("order: {kind: lower}", "orders: {x: {}}\n", "orders.x.format: is missing"),
        ("order: {kind: lower}", "orders: {x: {format: xml}}\n", "orders.x.format: is not one of json, form"),
        ("order: {kind: lower}", "orders: {x: {format: json, untold: [prize]}}\n", "orders.x.untold: 'prize' is no"),
        (
            "order: {kind: lower}", "orders: {x: {format: json, price: [p], untold: [price]}}\n",
            "orders.x.untold: holds price, whose place is given too",
        ),
        ("order: {kind: lower}", "orders: {x: {format: form, parts: [legs]}}\n", "orders.x.parts: is for orders"),
        ("order: {kind: lower}", "orders: {x: {format: json, indexed: true}}\n", "orders.x.indexed: is for orders"),
        ("order: {kind: lower}", "orders: {x: {format: json, naming: names}}\n", "orders.x.naming: is not one of"),
        ("order: {kind: lower}", "orders: {x: {format: form, symbol: [a.b]}}\n", "orders.x.format: a form has no"),
        (
            "order: {kind: place, by: x, forms: {a: one, b: two}}",
            "orders: {one: {format: json}, two: {format: form}}\n", "order.forms: are written in two formats",
        ),
    ],
    ids=[
        "kind", "no kind", "key", "form", "by alone", "form and forms", "forms", "a word", "no format", "format",
        "untold", "both", "parts of a form", "numbers in JSON", "naming", "a point", "two formats",
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(order: str, forms: str, expected: str) -> None:
    """And with the fix."""
    problems = read_text(with_row(order, forms))[1]
    assert any(expected in problem for problem in problems), problems


def test_a_fact_in_the_path_is_in_the_path() -> None:
    """Else such an order would tell it nowhere."""
    forms = "orders: {x: {format: json, symbol: ['{PLACE}']}}\n"
    for place, count in (("account", 0), ("nowhere", 1)):
        problems = read_text(with_row("order: {kind: place, form: x}", forms.replace("PLACE", place)))[1]
        assert count == sum("tell a fact in {nowhere}, which its path does not have" in each for each in problems)


def test_what_concerns_orders_changes_something() -> None:
    """A read that calls itself an order would be held back by nothing that looks at changes."""
    text = with_row("order: {kind: lower}").replace("mutating: true, order", "order")
    assert any("what concerns orders changes something" in problem for problem in read_text(text)[1])
