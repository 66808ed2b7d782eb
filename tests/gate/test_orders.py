"""Orders are read in one way, or not at all."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import Refusal
from proxy.gate.orderrule import OrderForm, OrderRule
from proxy.gate.orders import Part, Written, read
from tests.orderforms import ALPACA, FORM, JSON, OPTION, QUESTRADE, TRADIER, form, row, written

FACTS = ("symbol", "underlying", "side", "type", "quantity", "amount", "price", "ratio")


def facts(broker: str, name: str, call: Written) -> list[dict[str, str]]:
    """The parts of an order, without what they do not tell."""
    rule = row(broker, name).order
    assert rule is not None
    return [told(part) for part in read(rule, call)]


def told(part: Part) -> dict[str, str]:
    return {name: value for name in FACTS if (value := getattr(part, name)) is not None}


def refused(broker: str, name: str, call: Written) -> str:
    """Why an order is not read."""
    with pytest.raises(Refusal) as caught:
        facts(broker, name, call)
    assert ("guard-denied", "unreadable") == (caught.value.kind.name, caught.value.rule)
    return caught.value.detail


def leg(number: int, **fields: str) -> dict[str, str]:
    return {f"{name}[{number}]": value for name, value in fields.items()}


AAPL = {"symbol": "AAPL", "side": "buy", "type": "limit", "quantity": "10", "price": "100.5"}
BRACKET = {
    "symbolId": 8049,
    "components": [
        {"orderClass": "Primary", "action": "Buy", "orderType": "Limit", "limitPrice": 100.5, "quantity": 10},
        {"orderClass": "StopLoss", "action": "Sell", "orderType": "Stop", "stopPrice": 90, "quantity": 10},
    ],
}
STRATEGY = {
    "strategy": "VerticalCall", "orderType": "Limit", "limitPrice": 1.5,
    "legs": [{"symbolId": 1, "action": "BTO", "quantity": 2}, {"symbolId": 2, "action": "STO", "legQuantity": 2}],
}  # fmt: skip
COVERED = {  # https://www.questrade.com/api/documentation/rest-operations/order-calls/accounts-id-orders-strategy
    "symbolId": 27426, "strategy": "CoveredCall", "orderType": "Limit", "limitPrice": 18.5, "timeInForce": "Day",
    "legs": [
        {"symbolId": 27426, "legQuantity": 1000, "action": "Buy"},
        {"symbolId": 10550014, "legQuantity": 10, "action": "Sell"},
    ],
}  # fmt: skip
SPREAD = {"class": "multileg", "symbol": "AAPL", "type": "debit", "price": "1.5"}
SPREAD |= leg(0, option_symbol=OPTION, side="buy_to_open", quantity="2")
SPREAD |= leg(1, option_symbol="AAPL270115C00210000", side="sell_to_open", quantity="2")
MLEG = {
    "order_class": "mleg", "qty": "2", "type": "limit", "limit_price": "1.5",
    "legs": [{"symbol": OPTION, "ratio_qty": "1", "side": "buy"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("broker", "name", "call", "expected"),
    [
        pytest.param(
            "questrade", "order_new", written(QUESTRADE),
            [{"symbol": "8049", "side": "Buy", "type": "Limit", "quantity": "10", "price": "100.5"}], id="questrade",
        ),
        pytest.param(
            "questrade", "order_new", written({**QUESTRADE, "orderType": "Market"}),
            [{"symbol": "8049", "side": "Buy", "type": "Market", "quantity": "10"}], id="questrade, market",
        ),
        pytest.param(
            "questrade", "bracket", written(BRACKET),
            [{"symbol": "8049", "side": "Buy", "type": "Limit", "quantity": "10", "price": "100.5"},
             {"symbol": "8049", "side": "Sell", "type": "Stop", "quantity": "10"}], id="questrade, bracket",
        ),
        pytest.param(
            "questrade", "strategy", written(STRATEGY),
            [{"symbol": "1", "side": "BTO", "type": "Limit", "quantity": "2"},
             {"symbol": "2", "side": "STO", "type": "Limit", "quantity": "2"}], id="questrade, strategy",
        ),
        pytest.param(
            "questrade", "strategy", written(COVERED),
            [{"symbol": "27426", "underlying": "27426", "side": "Buy", "type": "Limit", "quantity": "1000"},
             {"symbol": "10550014", "underlying": "27426", "side": "Sell", "type": "Limit", "quantity": "10"}],
            id="questrade, strategy with its underlying",
        ),
        pytest.param(
            "questrade", "strategy", written(COVERED | {"legs": [{"action": "Buy"}]}),
            [{"symbol": "27426", "underlying": "27426", "side": "Buy", "type": "Limit"}],
            id="questrade, a leg without a symbol",
        ),
        pytest.param(
            "questrade", "strategy", written(COVERED | {"legs": []}), [{"symbol": "27426", "type": "Limit"}],
            id="questrade, no legs",
        ),
        pytest.param("tradier", "order_place", written(form(TRADIER), headers=FORM), [AAPL], id="tradier, form"),
        pytest.param("tradier", "order_place", written(query=form(TRADIER)), [AAPL], id="tradier, query"),
        pytest.param(
            "tradier", "order_place", written(b"class=equity&symbol=AAPL&option_symbol=&side=", headers=FORM),
            [{"symbol": "AAPL"}], id="tradier, empty fields say nothing",
        ),
        pytest.param(
            "tradier", "order_place", written(query=form({**TRADIER, "class": "option", "option_symbol": OPTION})),
            [AAPL | {"symbol": OPTION, "underlying": "AAPL"}], id="tradier, option",
        ),
        pytest.param(
            "tradier", "order_place", written(form(SPREAD), headers=FORM),
            [{"symbol": OPTION, "underlying": "AAPL", "side": "buy_to_open", "type": "debit", "quantity": "2"},
             {"symbol": "AAPL270115C00210000", "underlying": "AAPL", "side": "sell_to_open", "type": "debit",
              "quantity": "2"}], id="tradier, multileg",
        ),
        pytest.param(
            "tradier", "order_place",
            written(query=b"class=combo&symbol=AAPL&side[0]=buy&quantity[0]=100&side[1]=sell_to_open&quantity[1]=1"
                    b"&option_symbol[1]=" + OPTION.encode() + b"&type=market"),
            [{"symbol": "AAPL", "underlying": "AAPL", "side": "buy", "type": "market", "quantity": "100"},
             {"symbol": OPTION, "underlying": "AAPL", "side": "sell_to_open", "type": "market", "quantity": "1"}],
            id="tradier, combo",
        ),
        pytest.param(
            "tradier", "order_place",
            written(form({"class": "otoco", **leg(0, **AAPL), **leg(1, **AAPL | {"type": "market"})}), headers=FORM),
            [AAPL, {**{name: text for name, text in AAPL.items() if name != "price"}, "type": "market"}],
            id="tradier, otoco",
        ),
        pytest.param("alpaca", "orders_post", written(ALPACA), [AAPL], id="alpaca"),
        pytest.param(
            "alpaca", "orders_post", written({"symbol": "AAPL", "notional": 12.50, "qty": None, "legs": None}),
            [{"symbol": "AAPL", "amount": "12.5"}], id="alpaca, an amount",
        ),
        pytest.param(
            "alpaca", "orders_post",
            written({**ALPACA, "order_class": "bracket", "take_profit": {"limit_price": "110"},
                     "stop_loss": {"stop_price": "90"}}),
            [AAPL], id="alpaca, bracket",
        ),
        pytest.param(
            "alpaca", "orders_post", written(MLEG),
            [{"symbol": OPTION, "side": "buy", "type": "limit", "quantity": "2", "ratio": "1"}], id="alpaca, mleg",
        ),
        pytest.param(
            "alpaca", "orders_one_patch", written({"qty": "3", "limit_price": 7}), [{"quantity": "3", "price": "7"}],
            id="alpaca, change",
        ),
        pytest.param(
            "alpaca", "orders_one_patch", written({"notional": "300"}), [{"amount": "300"}],
            id="alpaca, change of an amount",
        ),
        pytest.param(
            "tradier", "order_change", written(form({"type": "limit", "quantity": "1", "price": "9"}), headers=FORM),
            [{"type": "limit"}], id="tradier, a change leaves the quantity",
        ),
        pytest.param(
            "alpaca", "positions_one_exercise_post",
            written(headers=(), captures={"symbol_or_contract_id": OPTION.encode()}), [{"symbol": OPTION}],
            id="alpaca, exercise",
        ),
    ],
)  # fmt: skip
def test_an_order_is_read_as_it_was_written(
    broker: str, name: str, call: Written, expected: list[dict[str, str]]
) -> None:
    """Every form of the three brokers, with the facts of each part."""
    assert expected == facts(broker, name, call)


TWICE_IN_TWO_PLACES = "The order stands in the body, and its query names part of it too."


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"symbol": "AAPL", "symbol": "TSLA"}', "The body names the same member twice."),
        (b'{"symbol": "AAPL", "Symbol": "TSLA"}', "The body names the same member twice."),
        (b'{"x": {"a": 1, "a": 2}}', "The body names the same member twice."),
        (b'{"Symbol": "TSLA"}', "spells a name in a second way"),
        (b'{"s_ymbol": "TSLA"}', "spells a name in a second way"),
        ('{"\uff53ymbol": "TSLA"}'.encode(), "spells a name in a second way"),
        (b'{"\\u0053ymbol": "TSLA"}', "spells a name in a second way"),
        (b'{"\\u017fymbol": "TSLA"}', "spells a name in a second way"),
        (b'{"sym\\u200bbol": "TSLA"}', "spells a name in a second way"),
        (b'{"symbol\\u0000": "TSLA"}', "spells a name in a second way"),
        (b'{"symbol\\u0000x": "TSLA"}', "spells a name in a second way"),
        (b'{"\\u0000symbol ": "TSLA"}', "spells a name in a second way"),
        (b'{"limitPrice": 1}', "spells a name in a second way"),
        (b'{"x":' * 300 + b'{"qty": 1}' + b"}" * 300, "in a place where its kind has none"),
        (b'{"order": {"symbol": "TSLA"}}', "in a place where its kind has none"),
        (b'{"order": [{"deep": {"qty": 1}}]}', "in a place where its kind has none"),
        (b'{"take_profit": {"qty": 9}}', "may tell prices"),
        (b'{"take_profit": [1]}', "is no object"),
        (b'{"legs": [{"symbol": "TSLA"}]}', "has parts, where its kind has none"),
        (b'{"order_class": "mleg", "legs": {"symbol": "TSLA"}}', "is no list of objects"),
        (b'{"order_class": "mleg", "legs": [{"legs": []}]}', "has parts of its own"),
        (b'{"order_class": "mleg", "symbol": "AAPL", "legs": [{"symbol": "TSLA"}]}', "tells its `symbol` twice"),
        (b'{"order_class": "mleg", "ratio_qty": 5, "legs": [{"symbol": "TSLA"}]}', "belongs to a part"),
        (b'{"order_class": "mleg", "take_profit": {"limit_price": 1}}', "has parts, where its kind has none"),
        (b'{"order_class": "new"}', "is none whose form bearerd knows"),
        (b'{"order_class": "mleg", "notional": 5}', "for which its kind has no place"),
        (b'{"symbol": ["TSLA"]}', "neither a plain text nor a number"),
        (b'{"symbol": true}', "neither a plain text nor a number"),
        (b'{"symbol": "AAPL "}', "neither a plain text nor a number"),
        (b'{"symbol": "AAPL\\n"}', "neither a plain text nor a number"),
        (b'{"symbol": "' + b"A" * 65 + b'"}', "neither a plain text nor a number"),
        (b'{"qty": NaN}', "is not strict JSON"),
        (b'{"qty": Infinity}', "is not strict JSON"),
        (b'{"qty": 010}', "is not strict JSON"),
        (b'{"qty": 1,}', "is not strict JSON"),
        (b"{'qty': 1}", "is not strict JSON"),
        (b'\xef\xbb\xbf{"qty": 1}', "is not strict JSON"),
        ('{"qty": 1}'.encode("utf-16"), "is not strict JSON"),
        (b'{"qty": 1}\x00', "is not strict JSON"),
        (b'{"qty": 1} {"qty": 2}', "is not strict JSON"),
        (b'{"x":' * 5_000 + b"1" + b"}" * 5_000, "is not strict JSON"),
        (b'[{"qty": 1}]', "is not a JSON object"),
        (b"symbol=TSLA&qty=1", "is not strict JSON"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else ascii(value)[:48],
)  # fmt: skip
def test_json_with_a_second_reading_is_refused(body: bytes, reason: str) -> None:
    """Members twice, other spellings, other places, other encodings, what is nearly JSON."""
    assert reason in refused("alpaca", "orders_post", written(body))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (b"symbol=AAPL&symbol=TSLA", "tells its `symbol` twice"),
        (b"symbol=AAPL&symbol=", "tells its `symbol` twice"),
        (b"side[0]=buy&side[0]=sell", "tells its `side` twice"),
        (b"side[0]=buy&side%5B0%5D=sell", "tells its `side` twice"),
        (b"Symbol=TSLA", "spells a name in a second way"),
        (b"%73ymbol=TSLA", "spells a name in an odd way"),
        (b"%2573ymbol=TSLA", "spells a name in an odd way"),
        (b"symbol=AAPL;symbol=TSLA", "holds a byte at which servers differ"),
        (b"symbol=AAPL\x00", "holds a byte at which servers differ"),
        (b"symbol=AAPL quantity=1", "holds a byte at which servers differ"),
        ("symbol=ÄAPL".encode(), "holds a byte at which servers differ"),
        (b"symbol=%C4", "no UTF-8"),
        (b"symbol=A%", "`%` without two hexadecimal digits"),
        (b"symbol=A%4", "`%` without two hexadecimal digits"),
        (b"symbol=%u0041", "`%` without two hexadecimal digits"),
        (b"symbol[]=TSLA", "in a second spelling"),
        (b"symbol[00]=TSLA", "in a second spelling"),
        (b"symbol[0][1]=TSLA", "in a second spelling"),
        (b"order[symbol]=TSLA", "in a second spelling"),
        (b"order.symbol=TSLA", "in a second spelling"),
        (b"+symbol=TSLA", "spells a name in a second way"),
        (b"tag=a%26symbol=TSLA", "in a second spelling"),
        (b"tag=a%3Bquantity%3D5", "in a second spelling"),
        (b"class=equity&symbol=AAPL&option_symbol=TSLA270115C00200000", "for which its kind has no place"),
        (b"class=option&symbol=AAPL&symbol[0]=TSLA", "has parts, where its kind has none"),
        (b"class=oto&symbol[0]=AAPL&option_symbol[0]=TSLA270115C00200000", "tells its `symbol` twice"),
        (b"class=multileg&quantity=1000&quantity[0]=1", "tells its `quantity` twice"),
        (b"class=multileg&symbol=AAPL&symbol[0]=TSLA&quantity[0]=1", "tells its `underlying` twice"),
        (b"symbol=AAPL", "is none whose form bearerd knows"),
        (b"class=futures&symbol=AAPL", "is none whose form bearerd knows"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else ascii(value)[:60],
)  # fmt: skip
@pytest.mark.parametrize("place", ["body", "query"])
def test_a_form_with_a_second_reading_is_refused(fields: bytes, reason: str, place: str) -> None:
    """The same in a form and in a query: names twice, other spellings, other separators, names of other kinds."""
    call = written(fields, headers=FORM) if place == "body" else written(query=fields, headers=())
    assert reason in refused("tradier", "order_place", call)


@pytest.mark.parametrize(
    ("broker", "name", "call", "reason"),
    [
        ("tradier", "order_place", written(form(TRADIER), query=b"quantity=1000", headers=FORM), TWICE_IN_TWO_PLACES),
        ("tradier", "order_place", written(b"tag=x", query=form(TRADIER), headers=FORM), TWICE_IN_TWO_PLACES),
        ("tradier", "order_place", written(form(TRADIER), query=b"Q%55antity=9", headers=FORM), TWICE_IN_TWO_PLACES),
        ("tradier", "order_place", written(form(TRADIER), query=b"%ff=9", headers=FORM), TWICE_IN_TWO_PLACES),
        ("tradier", "order_place", written(TRADIER), "not announced as"),
        ("tradier", "order_place", written(form(TRADIER), headers=()), "not announced as"),
        ("alpaca", "orders_post", written(ALPACA, query=b"qty=1000"), TWICE_IN_TWO_PLACES),
        ("alpaca", "orders_post", written(ALPACA, query=b"legs=1"), TWICE_IN_TWO_PLACES),
        ("alpaca", "orders_post", written(ALPACA, headers=FORM), "not announced as"),
        ("alpaca", "orders_post", written(ALPACA, headers=()), "not announced as"),
        ("alpaca", "orders_post", written(ALPACA, headers=(*JSON, *JSON)), "not announced as"),
        (
            "alpaca", "orders_post",
            written(ALPACA, headers=[(b"Content-Type", b"application/json; charset=utf-16")]), "not announced as",
        ),
    ],
    ids=[
        "form and query", "query and form", "an odd query", "an unreadable query", "JSON for a form", "no type of form",
        "JSON and query", "parts in the query", "JSON called a form", "no type", "two types", "another charset",
    ],
)  # fmt: skip
def test_an_order_stands_in_one_place_and_says_what_it_is(broker: str, name: str, call: Written, reason: str) -> None:
    """Body or query, never both; and the Content-Type of its format."""
    assert reason in refused(broker, name, call)


@pytest.mark.parametrize("number", ["1e400", "1e2", "10.0", "-0", "123456789012345678901234567890", "0.1000"])
def test_numbers_stay_as_they_were_written(number: str) -> None:
    """Nothing is rounded, cut or turned into infinity before a guard has seen it."""
    assert [{"quantity": number}] == facts("alpaca", "orders_post", written(f'{{"qty": {number}}}'.encode()))


@pytest.mark.parametrize(
    "value",
    [b"application/json", b"Application/JSON", b"application/json; charset=utf-8", b'application/json;charset="UTF-8"'],
)
def test_usual_spellings_of_the_content_type_pass(value: bytes) -> None:
    """Case, and a charset that changes nothing."""
    assert [AAPL] == facts("alpaca", "orders_post", written(ALPACA, headers=[(b"content-type", value)]))


SCHWAB = OrderForm(
    "single", "json", parts=("orderLegCollection",), symbol=("instrument.symbol",), side=("instruction",),
    quantity=("quantity",), type=("orderType",), price=("price",),
)  # fmt: skip


def schwab(**leg: object) -> list[dict[str, str]]:
    """An order of one leg, read by a form whose symbol is a member of a member."""
    order = {"orderType": "LIMIT", "price": "1.5", "orderLegCollection": [{"instruction": "BUY", "quantity": 2} | leg]}
    rule = OrderRule("place", (("", SCHWAB),))
    return [told(part) for part in read(rule, written(order))]


def test_a_fact_may_be_a_member_of_a_member() -> None:
    """The dots of its name are the way there; what stands beside it is nobody's business."""
    rest = {"side": "BUY", "quantity": "2", "type": "LIMIT", "price": "1.5"}
    option = "AAPL  240517P00190000"
    found = schwab(instrument={"symbol": option, "assetType": "OPTION"}, legId=1)
    assert [{"symbol": option, **rest}] == found
    assert [rest] == schwab(instrument=None)


@pytest.mark.parametrize(
    ("leg", "reason"),
    [
        ({"instrument": "AAPL"}, "is no object"),
        ({"Instrument": {"symbol": "AAPL"}}, "spells a name in a second way"),
        ({"instrument.symbol": "AAPL", "instrument": {"symbol": "TSLA"}}, "spells a way as a name"),
        ({"instrument": {"Symbol": "AAPL"}}, "spells a name in a second way"),
        ({"instrument": {"x": {"instrument": {"symbol": "AAPL"}}}}, "in a place where its kind has none"),
        ({"childOrderStrategies": [{"orderType": "MARKET"}]}, "in a place where its kind has none"),
        ({"orderLegCollection": [{"quantity": 5}]}, "has parts of its own"),
    ],
    ids=["no object", "case", "with a point", "case inside", "deeper", "children", "legs of a leg"],
)
def test_a_member_of_a_member_has_one_way_too(leg: dict[str, object], reason: str) -> None:
    """The same rules on the way there."""
    with pytest.raises(Refusal) as caught:
        schwab(**leg)
    assert reason in caught.value.detail


def test_a_fact_of_the_path_is_told_once_too() -> None:
    """Where a form takes it from the path or from the body."""
    form_ = OrderForm("x", "json", symbol=("{symbol}", "symbol"))
    rule = OrderRule("place", (("", form_),))
    assert ["AAPL"] == [part.symbol for part in read(rule, written({}, captures={"symbol": b"AAPL"}))]
    with pytest.raises(Refusal, match="guard-denied"):
        read(rule, written({"symbol": "TSLA"}, captures={"symbol": b"AAPL"}))


def test_names_that_no_guard_reads_are_the_clients_own() -> None:
    """SDKs send more than a definition lists."""
    more = {**ALPACA, "client_order_id": "a & b; c=1", "extended_hours": False, "x": [{"y": None}]}
    assert [AAPL] == facts("alpaca", "orders_post", written(more))


def read_or_refused(broker: str, name: str, call: Written) -> list[dict[str, str]] | None:
    """The parts, or None for a refusal by a guard. Nothing else may be raised."""
    try:
        return facts(broker, name, call)
    except Refusal as caught:
        refusal = caught
    assert "guard-denied" == refusal.kind.name
    return None


NOISE = st.sampled_from(
    ["symbol", "Symbol", "side[0]", "quantity", "qty", "tag", "class", "%", "%5B", "=", "&", ";", "+", "\x00", "é", "1"]
)


@given(parts=st.lists(NOISE, max_size=12), place=st.booleans())
def test_any_form_is_read_or_refused(parts: Sequence[str], place: bool) -> None:
    """Whatever a form says, there are facts or a refusal, and a symbol is never read twice."""
    raw = "".join(parts).encode()
    call = written(raw, headers=FORM) if place else written(query=raw, headers=())
    found = read_or_refused("tradier", "order_place", call)
    if found is not None:
        assert 1 >= len(re.findall(rb"(?i)symbol=[^&]", raw)) or len(found) > 1


MEMBERS = st.dictionaries(
    st.sampled_from(["symbol", "qty", "legs", "order_class", "take_profit", "x", "Qty", "side"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["symbol", "qty", "x"]), inner),
        max_leaves=6,
    ),
)


@given(document=MEMBERS)
def test_any_json_is_read_or_refused(document: Mapping[str, Any]) -> None:
    """Whatever an object holds, there are facts or a refusal, and what was read is what stands there."""
    found = read_or_refused("alpaca", "orders_post", written(json.dumps(document).encode()))
    if found is not None:
        assert all(part.get("symbol") in (None, document.get("symbol")) or "legs" in document for part in found)
