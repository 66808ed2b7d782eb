"""What a definition says of orders."""

import pytest

from proxy.brokers import builtin, builtin_names
from proxy.gate.orderrule import FACTS, OrderForm, OrderRule
from tests.orderforms import row


def test_a_form_knows_where_each_fact_stands() -> None:
    """By the fact's name; nowhere if it does not say."""
    form = OrderForm("x", "json", symbol=("symbol", "asset"), price=("limit",))
    assert ("symbol", "asset") == form.names("symbol")
    assert () == form.names("side")


def test_a_rule_knows_the_form_of_each_choice() -> None:
    """The one under the empty name is for an order that leaves the field out."""
    one, other = OrderForm("one", "json"), OrderForm("other", "json")
    rule = OrderRule("place", (("", one), ("mleg", other)), by="order_class")
    assert [one, other, None] == [rule.form(choice) for choice in ("", "mleg", "oco")]


@pytest.mark.parametrize("broker", builtin_names())
def test_the_built_in_brokers_leave_nothing_open(broker: str) -> None:
    """Every order says, for each fact, where it stands or that it is not told; and no change is left unclassed."""
    for api in builtin(broker).apis.values():
        scopes = {each.scope for each in api.table.rows if each.order}
        for each in api.table.rows:
            if each.mutating and not each.deny and each.scope in scopes:
                assert each.order is not None or each.no_order, each.id
            if each.order is None or each.order.kind == "lower":
                continue
            assert each.order.forms, each.id
            for _, form in each.order.forms:
                open_ = {fact for fact in FACTS if not form.names(fact) and fact not in form.untold}
                assert open_ <= {"amount"}, (each.id, form.name, open_)
                assert not {text[1:-1] for text in form.symbol if text.startswith("{")} - set(each.captures)


@pytest.mark.parametrize(
    ("broker", "kinds"),
    [
        (
            "questrade",
            {"order_new": "place", "order_replace": "change", "order_cancel": "lower", "bracket": "place",
             "strategy": "place"},
        ),
        ("tradier", {"order_place": "place", "order_change": "change", "order_cancel": "lower"}),
        (
            "alpaca",
            {"orders_post": "place", "orders_one_patch": "change", "orders_delete": "lower",
             "orders_one_delete": "lower", "positions_delete": "lower", "positions_one_delete": "lower",
             "positions_one_exercise_post": "place",
             "positions_one_do_not_exercise_post": "change"},
        ),
    ],
)  # fmt: skip
def test_each_call_is_of_its_kind(broker: str, kinds: dict[str, str]) -> None:
    """What opens a risk, what alters an order, what lowers a risk."""
    found = {name: order.kind for name in kinds if (order := row(broker, name).order) is not None}
    assert kinds == found


def test_alpacas_two_apis_are_of_the_same_kinds() -> None:
    """The Broker API has the trading calls once more, below an account."""
    found = {}
    for name in ("trading", "broker"):
        rows = builtin("alpaca").apis[name].table.rows
        below = "/v1/trading/accounts/{account_id}" if name == "broker" else "/v2"
        found[name] = {
            (each.method, each.path.removeprefix(below)): each.order
            for each in rows
            if each.order and each.path.startswith(below) and "perpetuals" not in each.path
        }
    assert found["trading"] == found["broker"]
    assert 8 == len(found["trading"])
