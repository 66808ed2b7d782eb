"""The operator's guards: an order outside of one never passes, an order inside of all does."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import Refusal
from proxy.gate.guards import DAYS, NO_GUARDS, Book, Call, Guards, Session, Tempo, check
from tests.orderforms import ALPACA, FORM, OPTION, QUESTRADE, SORTS, TRADIER, Sort, form, row, written

NEW_YORK = ZoneInfo("America/New_York")
WEEK = frozenset(range(5))
HERE = {"account": b"VA000001"}


def guards(**asked: Any) -> Guards:
    """Lists become sets, numbers exact."""
    for name, value in asked.items():
        if isinstance(value, list):
            asked[name] = frozenset(value)
        elif name.startswith("max_"):
            asked[name] = Decimal(value)
    return Guards("mounts.here.guards", **asked)


def verdict(call: Call, *asked: Guards, wall: float = 0.0, boot: float = 0.0, tempo: Tempo | None = None) -> str | None:
    """The rule that refused the call, None if it passes."""
    try:
        check(asked, call, tempo or Tempo(), wall=wall, boot=boot)
    except Refusal as caught:
        refusal = caught
    else:
        return None
    assert "guard-denied" == refusal.kind.name
    assert refusal.fix
    return refusal.rule


def tradier(name: str = "order_place", **fields: Any) -> Call:
    """A call of Tradier's with these fields beside those of an equity order; None leaves one out."""
    return Call(row("tradier", name), written(form(TRADIER | fields), headers=FORM, captures=HERE))


def alpaca(name: str = "orders_post", **fields: Any) -> Call:
    told = {key: value for key, value in (ALPACA | fields).items() if value is not None}
    return Call(row("alpaca", name), written(told))


def questrade(name: str = "order_new", **fields: Any) -> Call:
    return Call(row("questrade", name), written(QUESTRADE | fields, captures={"account": b"26598145"}))


OPTION_ORDER: dict[str, Any] = {"class": "option", "option_symbol": OPTION, "side": "buy_to_open", "price": "2"}
BARE = dict.fromkeys(("symbol", "side", "type"))  # what a change at Alpaca does not tell
SPREAD: dict[str, Any] = {
    "class": "multileg", "symbol": "AAPL", "side": None, "quantity": None, "type": "debit", "price": "1",
    "option_symbol[0]": OPTION, "side[0]": "buy_to_open", "quantity[0]": "2",
    "option_symbol[1]": OPTION, "side[1]": "sell_to_open", "quantity[1]": "3",
}  # fmt: skip
LOWERED: dict[str, Any] = {"class": None, "symbol": None, "side": None, "quantity": "1", "price": "9000"}
COVERED: dict[str, Any] = {
    "action": None, "quantity": None, "strategy": "CoveredCall",
    "legs": [
        {"symbolId": 8049, "legQuantity": 1000, "action": "Buy"},
        {"symbolId": 9292, "legQuantity": 10, "action": "STO"},
    ],
}  # fmt: skip
MLEG: dict[str, Any] = {
    "symbol": None, "side": None, "order_class": "mleg", "qty": "4",
    "legs": [{"symbol": OPTION, "side": "buy", "ratio_qty": "3"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("call", "asked", "expected"),
    [
        pytest.param(alpaca(), guards(symbols=["AAPL"]), None, id="a symbol"),
        pytest.param(alpaca(symbol="TSLA"), guards(symbols=["AAPL"]), "symbols", id="another symbol"),
        pytest.param(alpaca(symbol="aapl"), guards(symbols=["AAPL"]), "symbols", id="a symbol in lower case"),
        pytest.param(alpaca(symbol=None), guards(symbols=["AAPL"]), "symbols", id="no symbol"),
        pytest.param(alpaca(symbol=OPTION), guards(symbols=["AAPL"]), "underlyings", id="its option"),
        pytest.param(alpaca(symbol=OPTION), guards(underlyings=["AAPL"]), None, id="an option's underlying"),
        pytest.param(alpaca(symbol=OPTION), guards(symbols=[OPTION]), None, id="an option by its name"),
        pytest.param(alpaca(symbol="AAPL  270115C00200000"), guards(underlyings=["AAPL"]), None, id="with spaces"),
        pytest.param(alpaca(), guards(underlyings=["AAPL"]), "symbols", id="the share of an option"),
        pytest.param(alpaca(symbol=OPTION.lower()), guards(underlyings=["AAPL", "aapl"]), "symbols", id="lower case"),
        pytest.param(questrade(), guards(symbols=["8049"]), None, id="a number"),
        pytest.param(questrade(symbolId=8050), guards(symbols=["8049"]), "symbols", id="another number"),
        pytest.param(questrade(symbolId="08049"), guards(symbols=["8049"]), "symbols", id="a number with a zero"),
        pytest.param(tradier(**OPTION_ORDER), guards(underlyings=["AAPL"]), None, id="tradier, option"),
        pytest.param(tradier(**OPTION_ORDER), guards(symbols=["AAPL"]), "underlyings", id="option of a share"),
        pytest.param(tradier(**OPTION_ORDER), guards(symbols=[OPTION]), None, id="tradier, an option by its name"),
        pytest.param(
            tradier(**OPTION_ORDER | {"symbol": "TSLA"}), guards(underlyings=["AAPL"]), "underlyings",
            id="tradier, an option under another name",
        ),
        pytest.param(tradier(**SPREAD), guards(underlyings=["AAPL"]), None, id="tradier, spread"),
        pytest.param(
            tradier(**SPREAD | {"option_symbol[1]": "TSLA270115C00200000"}), guards(underlyings=["AAPL"]),
            "underlyings", id="tradier, the second leg",
        ),
        pytest.param(
            tradier(**SPREAD | {"class": "combo", "option_symbol[0]": None, "side[0]": "buy"}),
            guards(underlyings=["AAPL"]), "symbols", id="tradier, the share in a combo",
        ),
        pytest.param(alpaca(), guards(sides=["buy"]), None, id="a side"),
        pytest.param(alpaca(side="sell"), guards(sides=["buy"]), "sides", id="another side"),
        pytest.param(alpaca(side=None), guards(sides=["buy"]), "sides", id="no side"),
        pytest.param(tradier(**SPREAD), guards(sides=["buy_to_open"]), "sides", id="the side of the second leg"),
        pytest.param(alpaca(), guards(types=["limit"]), None, id="a type"),
        pytest.param(alpaca(type="market"), guards(types=["limit"]), "types", id="another type"),
        pytest.param(alpaca(), guards(max_quantity="10"), None, id="the most"),
        pytest.param(alpaca(qty="10.000000001"), guards(max_quantity="10"), "max_quantity", id="a bit more"),
        pytest.param(alpaca(qty="0.3"), guards(max_quantity="0.3"), None, id="a fraction, exactly"),
        pytest.param(alpaca(qty=None, notional="5"), guards(max_quantity="10"), "max_quantity", id="money"),
        pytest.param(tradier(**SPREAD), guards(max_quantity="2"), "max_quantity", id="of the second leg"),
        pytest.param(
            alpaca(**MLEG), guards(max_quantity="12", underlyings=["AAPL"]), None, id="mleg, times its ratio"
        ),
        pytest.param(
            alpaca(**MLEG), guards(max_quantity="11.9", underlyings=["AAPL"]), "max_quantity",
            id="mleg, above by its ratio",
        ),
        pytest.param(
            alpaca(**MLEG), guards(max_quantity="12"), "max_quantity", id="mleg, a ratio that a change would not tell"
        ),
        pytest.param(
            alpaca(**MLEG | {"legs": [{"symbol": OPTION, "side": "buy", "ratio_qty": "1"}]}), guards(max_quantity="4"),
            None, id="mleg, one of each",
        ),
        pytest.param(
            alpaca(**MLEG | {"legs": [{"symbol": OPTION, "side": "buy", "ratio_qty": "2"}]}), guards(max_quantity="99"),
            "max_quantity", id="mleg, a ratio of two",
        ),
        pytest.param(
            alpaca(**MLEG | {"legs": [{"symbol": OPTION, "side": "buy"}]}), guards(max_quantity="99"), "max_quantity",
            id="mleg, without a ratio",
        ),
        *(
            pytest.param(alpaca(qty=text), guards(max_quantity="1000000"), "max_quantity", id=f"quantity {text!r}")
            for text in ("-1", "+1", "1e2", "0x1", "01", "1.", ".5", "1,000", "1_000", "ten", "1e400")
        ),
        pytest.param(alpaca(), guards(max_notional="1005"), None, id="worth the most"),
        pytest.param(alpaca(), guards(max_notional="1004.99"), "max_notional", id="worth more"),
        pytest.param(alpaca(type="market", limit_price=None), guards(max_notional="9e9"), "max_notional", id="market"),
        pytest.param(alpaca(type="market"), guards(max_notional="9e9"), "max_notional", id="market, price"),
        pytest.param(alpaca(type="stop"), guards(max_notional="9e9"), "max_notional", id="stop with a price"),
        pytest.param(
            alpaca(type="market", qty=None, limit_price=None, notional="500"), guards(max_notional="500"), None,
            id="an amount",
        ),
        pytest.param(
            alpaca(type="market", qty=None, limit_price=None, notional="500.01"), guards(max_notional="500"),
            "max_notional", id="a larger amount",
        ),
        pytest.param(alpaca(notional="1"), guards(max_notional="500"), "max_notional", id="amount and quantity"),
        pytest.param(alpaca(symbol=OPTION, qty="1", limit_price="2"), guards(max_notional="200"), None, id="contract"),
        pytest.param(
            alpaca(qty="1000000000000.000000001", limit_price="1000000000000.000000001"), guards(max_notional="1e24"),
            "max_notional", id="nothing is rounded",
        ),
        pytest.param(
            alpaca(symbol=OPTION, qty="1", limit_price="2.01"), guards(max_notional="200"), "max_notional",
            id="a contract worth more",
        ),
        pytest.param(
            alpaca(symbol="904837e3-3b76-47ec-b432-046db621571b"), guards(max_notional="9e9"), "max_notional",
            id="the id of an asset",
        ),
        pytest.param(alpaca(symbol="BTC/USD"), guards(max_notional="1005"), None, id="a pair"),
        pytest.param(alpaca(symbol="BRK.B"), guards(max_notional="1005"), None, id="a class of shares"),
        pytest.param(alpaca(**MLEG), guards(max_notional="9e9"), "max_notional", id="mleg has a price for all legs"),
        pytest.param(tradier(**SPREAD), guards(max_notional="9e9"), "max_notional", id="so has a spread"),
        pytest.param(questrade(), guards(max_notional="1005"), None, id="questrade"),
        pytest.param(questrade(), guards(max_notional="1004"), "max_notional", id="questrade, worth more"),
        pytest.param(alpaca(limit_price="-1"), guards(max_notional="9e9"), "max_notional", id="a negative price"),
        pytest.param(
            alpaca("orders_one_patch", **BARE, limit_price=None), guards(max_notional="9e9"), "max_notional",
            id="a change of the quantity alone",
        ),
        pytest.param(
            alpaca("orders_one_patch", **BARE), guards(max_notional="100500"), None,
            id="a change counts as a contract of 100",
        ),
        pytest.param(
            alpaca("orders_one_patch", **BARE), guards(max_notional="100499"), "max_notional", id="a change above it"
        ),
        pytest.param(alpaca("orders_one_patch", **BARE), guards(symbols=["AAPL"]), "symbols", id="no symbol there"),
        pytest.param(alpaca("orders_one_patch", **BARE), guards(max_quantity="9"), "max_quantity", id="large change"),
        pytest.param(
            alpaca("orders_one_patch", **BARE, notional="1"), guards(max_quantity="10"), "max_quantity",
            id="a change to an amount beside the quantity",
        ),
        pytest.param(alpaca(notional="9000"), guards(max_quantity="10"), "max_quantity", id="quantity, then an amount"),
        *(
            pytest.param(tradier("order_change", **LOWERED), guards(**{name: most}), name, id=f"tradier change, {name}")
            for name, most in (("max_quantity", "10"), ("max_notional", "9e9"))
        ),
        pytest.param(tradier("order_change", **LOWERED), guards(types=["limit"]), None, id="tradier, a change's type"),
        pytest.param(
            questrade("strategy", **COVERED), guards(symbols=["8049", "9292"], max_quantity="1000"), None,
            id="questrade, strategy",
        ),
        pytest.param(
            questrade("strategy", **COVERED), guards(symbols=["8049"]), "symbols", id="questrade, a leg elsewhere"
        ),
        pytest.param(
            questrade("strategy", **COVERED), guards(symbols=["9292"]), "symbols", id="questrade, underlying elsewhere"
        ),
        pytest.param(
            questrade("strategy", **COVERED), guards(max_quantity="999"), "max_quantity", id="questrade, a large leg"
        ),
        pytest.param(alpaca("locates_post"), guards(max_quantity="9"), "max_quantity", id="what nobody can read"),
    ],
)  # fmt: skip
def test_each_guard_decides(call: Call, asked: Guards, expected: str | None) -> None:
    """One guard, one order."""
    assert expected == verdict(call, asked)


@pytest.mark.parametrize(
    ("call", "asked", "detail", "fix"),
    [
        (alpaca(symbol="GME"), {"symbols": ["A"]}, "The order's symbol is not allowed.", "add it to WHERE.symbols"),
        (
            alpaca(symbol=OPTION), {"symbols": ["A"]}, "The order's option's underlying is not allowed.",
            "add it to WHERE.underlyings",
        ),
        (alpaca(), {"sides": ["y", "x"]}, "The order's side is not allowed; allowed: x, y.", "add it to WHERE.sides"),
        (
            alpaca(), {"max_quantity": "9"}, "The order's quantity is above 9.",
            "order less, or raise WHERE.max_quantity",
        ),
        (alpaca(), {"max_notional": "9"}, "The order is worth more than 9.", "order less, or raise WHERE.max_notional"),
        (alpaca(), {"accounts": ["9"]}, "The call does not say which account it is about.", "name the account"),
        (tradier(), {"accounts": ["9"]}, "The call names an account that is not allowed.", "add it to WHERE.accounts"),
        (
            alpaca(side=None), {"sides": ["x"]}, "The order does not tell its side, and a guard asks for it.",
            "tell it, or remove WHERE.sides",
        ),
        (
            alpaca(Qty=5), {"sides": ["x"]}, "The body names the same member twice.",
            "write it in one way only; what is read: bearerd help guards",
        ),
        (
            Call(row("alpaca", "orders_post"), written(ALPACA, headers=())), {"sides": ["x"]},
            "The body is not announced as `Content-Type: application/json`.", "send that header",
        ),
        (
            alpaca("orders_one_patch", **BARE), {"underlyings": ["A"]},
            "The order does not tell its symbol, and a guard asks for it.", "tell it, or remove WHERE.underlyings",
        ),
        *(
            (
                alpaca(**fields), {name: "9"}, f"The order's {fact} is no plain number, such as 10 or 0.25.",
                "write digits, and at most one point",
            )
            for fact, name, fields in (
                ("quantity", "max_quantity", {"qty": "ten"}),
                ("price", "max_notional", {"limit_price": "ten"}),
                ("amount", "max_notional", {"qty": None, "notional": "ten"}),
                ("ratio", "max_quantity", MLEG | {"legs": [{"symbol": OPTION, "side": "buy", "ratio_qty": "ten"}]}),
            )
        ),
        (
            alpaca(), {"orders_per_minute": 0}, "More than 0 orders in a minute. Nothing was sent.",
            "wait, or raise WHERE.orders_per_minute",
        ),
        (
            alpaca(), {"hours": Session(frozenset(), 0, 1, NEW_YORK)},
            "Orders are not allowed at this hour. Cancelling and closing is.", "see WHERE.hours",
        ),
    ],
    ids=[
        "symbol", "option", "side", "quantity", "money", "no account", "account", "untold", "twice", "no type",
        "untold underlying", "no quantity", "no price", "no amount", "no ratio", "too often", "at night",
    ],
)  # fmt: skip
def test_a_refusal_says_why_and_what_to_do(call: Call, asked: dict[str, Any], detail: str, fix: str) -> None:
    """Without quoting what the client wrote; the fix names the line."""
    with pytest.raises(Refusal) as caught:
        check([guards(**asked)], call, Tempo(), wall=0, boot=0)
    assert (detail, fix.replace("WHERE", "mounts.here.guards")) == (caught.value.detail, caught.value.fix)


EVERY_FACT = guards(
    symbols=["X"], sides=["X"], types=["X"], max_quantity="0", max_notional="0", orders_per_minute=1,
    hours=Session(frozenset(), 0, 1, NEW_YORK),
)  # fmt: skip


@pytest.mark.parametrize(
    ("broker", "name"),
    [
        ("questrade", "order_cancel"),
        ("tradier", "order_cancel"),
        ("alpaca", "orders_delete"),
        ("alpaca", "orders_one_delete"),
        ("alpaca", "positions_delete"),
        ("alpaca", "positions_one_delete"),
        ("alpaca", "broker_trading_accounts_positions_delete"),
    ],
)
def test_what_lowers_a_risk_outlives_every_guard_but_the_accounts(broker: str, name: str) -> None:
    """Cancelling and closing: nothing of it is read, not even a body that nobody could."""
    captures = {"account": b"1", "account_id": b"1"}
    call = Call(row(broker, name), written(b"\xff", headers=(), captures=captures))
    assert None is verdict(call, EVERY_FACT)
    if call.row.account_captures:
        assert "accounts" == verdict(call, replace(EVERY_FACT, accounts=frozenset({"2"})))
        assert None is verdict(replace(call, written=written(captures=captures)), guards(accounts=["1"]))


@pytest.mark.parametrize("name", ["orders", "watchlists_post", "account"])
def test_calls_that_are_no_orders_are_none_of_their_business(name: str) -> None:
    """Reads, and changes of other things."""
    assert None is verdict(Call(row("alpaca", name), written(b"\xff")), EVERY_FACT)


def test_without_guards_nothing_is_read() -> None:
    """A body that nobody can read passes."""
    call = Call(row("alpaca", "orders_post"), written(b"\xff", headers=()))
    assert None is verdict(call)
    assert "unreadable" == verdict(call, guards(symbols=["AAPL"]))


def test_how_often_and_when_needs_no_order_to_be_read() -> None:
    """Those two guards ask for nothing that the order tells."""
    call = Call(row("alpaca", "orders_post"), written(b"\xff", headers=()))
    assert None is verdict(call, guards(orders_per_minute=1, hours=Session(frozenset(range(7)), 0, 1440, NEW_YORK)))


def test_a_row_without_a_form_is_closed_to_guards_that_read() -> None:
    """The definition does not say where such an order tells anything."""
    found = row("alpaca", "orders_post")
    assert found.order is not None
    call = Call(replace(found, order=replace(found.order, forms=())), written(ALPACA))
    assert "order" == verdict(call, guards(symbols=["AAPL"]))
    assert None is verdict(call, guards(orders_per_minute=1))


def test_all_guards_have_to_let_an_order_pass() -> None:
    """Those of the mount and those of the client, whichever is tighter."""
    wide, tight = guards(symbols=["AAPL", "TSLA"], max_quantity="10"), guards(max_quantity="9")
    assert None is verdict(alpaca(qty="9"), wide, tight)
    assert "max_quantity" == verdict(alpaca(), wide, tight)
    assert "max_quantity" == verdict(alpaca(), tight, wide)
    assert "symbols" == verdict(alpaca(symbol="GME", qty="1"), tight, wide)


def test_a_book_knows_whose_guards_a_call_meets() -> None:
    """Those of its mount, and those of its client there."""
    one, other = guards(max_quantity="1"), guards(max_quantity="2")
    book = Book({"here": one}, {("bot", "here"): other})
    assert (one, other) == book.of("here", "bot")
    assert (one,) == book.of("here", "notebook")
    assert () == book.of("there", "bot")
    assert () == NO_GUARDS.of("here", "bot")


def test_orders_of_a_minute_are_counted_where_the_limit_stands() -> None:
    """The window slides; what was refused does not count, for nobody."""
    mount = replace(guards(orders_per_minute=3), where="mounts.here.guards")
    bot = replace(guards(orders_per_minute=2), where="clients.bot.here.guards")
    tempo = Tempo()

    def at(boot: float, *asked: Guards) -> str | None:
        return verdict(alpaca(), *asked, boot=boot, tempo=tempo)

    assert [None, None] == [at(0.0, mount, bot), at(1.0, mount, bot)]
    assert "orders_per_minute" == at(2.0, mount, bot)
    assert None is at(3.0, mount)
    assert "orders_per_minute" == at(59.9, mount)
    assert [None, "orders_per_minute"] == [at(60.0, mount), at(60.1, mount)]
    assert [None, "orders_per_minute"] == [at(61.0, mount, bot), at(61.1, mount, bot)]


def test_an_order_that_is_refused_for_another_reason_is_not_counted() -> None:
    """A client may try again with a smaller order."""
    asked, tempo = guards(orders_per_minute=1, max_quantity="5"), Tempo()
    assert "max_quantity" == verdict(alpaca(), asked, tempo=tempo)
    assert None is verdict(alpaca(qty="5"), asked, tempo=tempo)
    assert "orders_per_minute" == verdict(alpaca(qty="5"), asked, tempo=tempo)


def moment(text: str, zone: ZoneInfo = NEW_YORK) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("session", "text", "expected"),
    [
        (Session(WEEK, 570, 960, NEW_YORK), "2026-11-20T09:29:59", False),
        (Session(WEEK, 570, 960, NEW_YORK), "2026-11-20T09:30:00", True),
        (Session(WEEK, 570, 960, NEW_YORK), "2026-11-20T15:59:59", True),
        (Session(WEEK, 570, 960, NEW_YORK), "2026-11-20T16:00:00", False),
        (Session(WEEK, 570, 960, NEW_YORK), "2026-11-21T12:00:00", False),
        (Session(WEEK, 570, 1440, NEW_YORK), "2026-11-20T23:59:59", True),
        (Session(frozenset({4}), 1080, 120, NEW_YORK), "2026-11-20T18:00:00", True),
        (Session(frozenset({4}), 1080, 120, NEW_YORK), "2026-11-21T01:59:00", True),
        (Session(frozenset({4}), 1080, 120, NEW_YORK), "2026-11-21T02:00:00", False),
        (Session(frozenset({4}), 1080, 120, NEW_YORK), "2026-11-21T18:00:00", False),
        (Session(frozenset({6}), 1080, 120, NEW_YORK), "2026-11-23T01:00:00", True),
        (Session(frozenset({4}), 0, 0, NEW_YORK), "2026-11-20T12:00:00", True),
    ],
    ids=[
        "before it opens", "as it opens", "before it closes", "as it closes", "on a Saturday", "until midnight",
        "in the evening", "over midnight", "as the night ends", "on the next evening", "from Sunday to Monday",
        "a whole day",
    ],
)  # fmt: skip
def test_hours_are_those_of_the_zone(session: Session, text: str, expected: bool) -> None:
    """The first minute is in, the last is not; a session over midnight belongs to the day on which it opens."""
    assert expected == session.holds(moment(text))
    assert (None if expected else "hours") == verdict(alpaca(), guards(hours=session), wall=moment(text))


def test_hours_follow_summer_time() -> None:
    """09:30 in New York is 13:30 UTC in summer and 14:30 in winter."""
    session = Session(WEEK, 570, 960, NEW_YORK)
    utc = ZoneInfo("UTC")
    assert [True, False] == [session.holds(moment(f"2026-{day}T13:30:00", utc)) for day in ("07-01", "12-01")]
    assert datetime(2026, 7, 1, 13, 30, tzinfo=UTC).timestamp() == moment("2026-07-01T13:30:00", utc)


# Generated orders. What is expected is computed from the facts, not from what was written.
SYMBOLS = {"questrade": ("8049", "27426"), "tradier": ("AAPL", "MSFT"), "alpaca": ("AAPL", "MSFT")}
SIDES = {"questrade": ("Buy", "Sell"), "tradier": ("buy", "sell"), "alpaca": ("buy", "sell")}
TYPES = {"questrade": ("Limit", "Market"), "tradier": ("limit", "market"), "alpaca": ("limit", "market")}
MONEY = st.decimals("0.01", "2000", places=2)
PIECES = st.decimals("0.001", "50", places=3)


@pytest.mark.parametrize("sort", SORTS, ids=lambda sort: f"{sort.broker}, {sort.way}")
@given(data=st.data())
def test_an_order_passes_if_and_only_if_it_is_inside_of_every_guard(sort: Sort, data: st.DataObject) -> None:
    """In all three ways of writing: the guards say what arithmetic on the facts says."""
    symbol, side, kind = (data.draw(st.sampled_from(each[sort.broker])) for each in (SYMBOLS, SIDES, TYPES))
    quantity, price = data.draw(PIECES), data.draw(st.none() | MONEY)
    told: dict[str, Any] = {"symbol": symbol, "side": side, "type": kind, "quantity": str(quantity)}
    told["price"] = None if price is None else str(price)
    asked: dict[str, Any] = {}
    inside = True
    for name, value, known in (("symbols", symbol, SYMBOLS), ("sides", side, SIDES), ("types", kind, TYPES)):
        if (allowed := data.draw(st.none() | st.sets(st.sampled_from(known[sort.broker]), min_size=1))) is not None:
            asked[name] = frozenset(allowed)
            inside = inside and value in allowed
    if (most := data.draw(st.none() | PIECES)) is not None:
        asked["max_quantity"] = most
        inside = inside and quantity <= most
    if (worth := data.draw(st.none() | MONEY)) is not None:
        asked["max_notional"] = worth
        inside = inside and price is not None and kind.lower() == "limit" and quantity * price <= worth
    assert inside == (verdict(sort.call(told), Guards("mounts.here.guards", **asked)) is None)


SYMBOL, COUNT = st.sampled_from(["AAPL", "MSFT", "TSLA"]), st.integers(1, 20)


@pytest.mark.parametrize("way", ["form", "query"])
@given(legs=st.lists(st.tuples(SYMBOL, COUNT, st.integers(1, 90)), min_size=1, max_size=3))
def test_an_order_of_parts_passes_if_and_only_if_each_part_does(way: str, legs: list[tuple[str, int, int]]) -> None:
    """Tradier's orders that trigger others: numbered fields, with a symbol, a quantity and a price on each."""
    told = {"class": "otoco", "duration": "day"}
    for number, (symbol, quantity, price) in enumerate(legs):
        part = {"symbol": symbol, "quantity": quantity, "price": price, "side": "buy", "type": "limit"}
        told |= {f"{name}[{number}]": str(value) for name, value in part.items()}
    place = {"headers": FORM, "body": form(told)} if way == "form" else {"headers": (), "query": form(told)}
    call = Call(row("tradier", "order_place"), written(**place, captures=HERE))
    inside = all(symbol != "TSLA" and count <= 10 and count * price <= 500 for symbol, count, price in legs)
    asked = guards(symbols=["AAPL", "MSFT"], max_quantity="10", max_notional="500")
    assert inside == (verdict(call, asked) is None)


@given(legs=st.lists(st.tuples(st.sampled_from(["8049", "9292"]), COUNT), min_size=1, max_size=3))
def test_a_bracket_passes_if_and_only_if_each_component_does(legs: list[tuple[str, int]]) -> None:
    """Questrade's, with what all share on the whole."""
    parts = [{"symbolId": int(symbol), "quantity": count, "orderClass": "Primary"} for symbol, count in legs]
    call = Call(
        row("questrade", "bracket"),
        written({"action": "Buy", "orderType": "Limit", "limitPrice": 2, "components": parts}, captures=HERE),
    )
    inside = all(symbol == "8049" and count <= 10 for symbol, count in legs)
    assert inside == (verdict(call, guards(symbols=["8049"], max_quantity="10", max_notional="20")) is None)


def test_guards_know_what_they_ask_of_an_order() -> None:
    """Those that read one, each with its facts; the others read none. Days begin on Monday, as Python counts them."""
    asked = replace(EVERY_FACT, underlyings=frozenset({"X"}), accounts=frozenset({"1"}))
    assert {
        "symbols": ("symbol",), "underlyings": ("symbol",), "sides": ("side",), "types": ("type",),
        "max_quantity": ("quantity",), "max_notional": ("amount", "price"),
    } == dict(asked.facts)  # fmt: skip
    assert () == guards(orders_per_minute=1, accounts=["1"]).facts
    named = [datetime(2026, 11, 16 + day, tzinfo=UTC).strftime("%a").lower() for day in range(7)]
    assert named == list(DAYS)
