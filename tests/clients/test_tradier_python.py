"""tradier-python 0.1.3 (requests, pydantic): it drops the path of its address, so it gets the port of the mount."""

from collections.abc import Mapping
from importlib.metadata import version

import pytest

from tests.clients.conftest import Opener
from tests.clients.conversation import Conversation, Failed, Read, at, bare
from tests.clients.product import Demo
from tests.clients.tradier import ACCOUNT, words

READS: Mapping[str, Mapping[str, Read]] = {
    "client": {
        "get_profile": Read(ACCOUNT, at("account/0/account_number")),
        "get_positions": Read(["AAPL", "AMZN"], at("*/symbol")),
        "get_gain_loss": Read(["GE", "AAPL180921C00190000"], at("*/symbol")),
        "get_orders": Read("AAPL", at("0/symbol")),
        "get_order": Read("AAPL", at("symbol"), ["$ORDER"]),
        "get_quotes": Read(["AAPL", "MSFT"], at("*/symbol"), ["AAPL,MSFT,NOPE"]),
        "get_option_chains": Read("AAPL", at("0/root_symbol"), ["AAPL", "$EXPIRY"]),
        "get_option_strikes": Read(188.0, at("0"), ["AAPL", "$EXPIRY"]),
        "get_option_expirations": Read(4, at("#"), ["AAPL"]),
        "lookup_option_symbols": Read(["AAPL"], at("*/rootSymbol"), ["AAPL"]),
        "get_historical_quotes": Read(
            [208.83, 209.04, 209.25], at("*/open"), ["AAPL", "daily", "2026-01-05", "2026-01-07"]
        ),
        "get_time_and_sales": Read(
            2, at("#"), ["AAPL"], {"interval": "15min", "start": "2026-01-05 09:30", "end": "2026-01-05 10:30"}
        ),
        "get_etb_list": Read("AAPL", at("0/symbol")),
        "get_clock": Read(6, at("#")),
        "search_companies": Read(["AAPL", "AMZN", "GOOGL", "TSLA"], at("*/symbol"), ["A"]),
        "lookup_symbol": Read(["AAPL", "AMZN", "GOOGL", "TSLA"], at("*/symbol"), ["A"]),
        "get, balances": Read(ACCOUNT, at("balances/account_number"), ["/v1/accounts/VA000001/balances", {}]),
        "get, history": Read(
            ["option", "trade", "ach"], at("history/event/*/type"), ["/v1/accounts/VA000001/history", {}]
        ),
        "get, calendar": Read(
            "2026-01-01", at("calendar/days/day/0/date"), ["/v1/markets/calendar", {"month": 1, "year": 2026}]
        ),
    },
}
CLASSES = {"client": "tradier_python.TradierAPI"}
NOT_READS: Mapping[str, Mapping[str, str]] = {
    "client": {
        "cancel_order": "cancels an order",
        "modify_order": "changes an order",
        "order": "places an order",
        "order_equity": "places an order",
        "order_multi_leg_option": "places an order",
        "order_option": "places an order",
        "delete": "what others call",
        "post": "what others call",
        "put": "what others call",
        "request": "what others call",
    }
}
BROKEN: Mapping[str, Mapping[str, str]] = {
    "client": {
        "get_balances": "wants `cash` and `pdt` of a margin account",
        "get_history": "wants call or put for OPTEXP",
        "get_calendar": "wants hours of days that the market is closed",
    }
}


def opened(client: Conversation, demo: Demo, key: str) -> Conversation:
    """Pointed at the mount's own port: it joins addresses so that a path in them is lost."""
    client.words = words(demo)
    client.make(CLASSES["client"], token=key, default_account_id=ACCOUNT, endpoint=demo.at("tradier", root=True) + "/")
    return client


@pytest.fixture(scope="session")
def client(demo: Demo, python_client: Opener) -> Conversation:
    """With the key that may do everything but orders, and an order that somebody else has placed."""
    return opened(python_client("tradier_python"), demo, demo.key)


ROWS = [(on, method) for on, reads in READS.items() for method in reads]


@pytest.mark.parametrize(("on", "method"), ROWS)
def test_a_read_method_works(client: Conversation, on: str, method: str) -> None:
    """The method answers with what the simulated broker holds."""
    assert READS[on][method].expected == client.read(method, READS[on][method], on)


def test_no_method_is_left_out(client: Conversation) -> None:
    """Every public method of its classes is read above or said to be something else, in the version of the README."""
    assert "0.1.3" == version("tradier-python")
    for on, of in CLASSES.items():
        others = {*NOT_READS.get(on, ()), *BROKEN.get(on, ())}
        assert {bare(method) for method in READS.get(on, {})} == client.methods(of, inherited=True) - others, on
        assert others <= client.methods(of, inherited=True), on


@pytest.mark.parametrize("method", BROKEN["client"])
def test_a_broken_method_fails_over_the_broker_s_own_answer(client: Conversation, demo: Demo, method: str) -> None:
    """Its models ask for more than the documented answer has; the same calls by `get` are in the table above."""
    reached = demo.reached("tradier")

    with pytest.raises(Failed, match="ValidationError"):
        client.call(method, *([1, 2026] if method == "get_calendar" else []))

    assert reached + 1 == demo.reached("tradier")


def test_below_a_path_it_gets_nowhere(demo: Demo, python_client: Opener) -> None:
    """With the mount's address on the common port the name of the mount is lost: 404, not a call of another mount."""
    client = python_client("tradier_python")
    client.make(CLASSES["client"], token=demo.key, default_account_id=ACCOUNT, endpoint=demo.at("tradier") + "/")

    with pytest.raises(Failed, match="404"):
        client.call("get_profile")


def test_an_order_is_refused_without_the_scope_trade(client: Conversation, demo: Demo) -> None:
    """The client raises for 403, the reason reaches its caller, and the broker hears nothing."""
    placed, reached = demo.placed("tradier"), demo.reached("tradier")

    with pytest.raises(Failed) as refused:
        client.call("order_equity", "AAPL", "buy", 1, "limit", "day", 100)

    assert "40301" in f"{refused.value}{refused.value.answer}"
    assert (placed, reached) == (demo.placed("tradier"), demo.reached("tradier"))


def test_with_the_scope_trade_an_order_is_placed_exactly_once(demo: Demo, python_client: Opener) -> None:
    """One call, one order; the package then fails over the number of the order, which it wants to be text."""
    client = opened(python_client("tradier_python"), demo, demo.trader_key)
    placed, reached = demo.placed("tradier"), demo.reached("tradier")

    with pytest.raises(Failed, match=r"order\.id"):
        client.call("order_equity", "AAPL", "buy", 1, "limit", "day", 100)

    assert (placed + 1, reached + 1) == (demo.placed("tradier"), demo.reached("tradier"))
