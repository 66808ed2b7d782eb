"""Options of the simulated Tradier."""

import datetime as dt
from typing import Any

from proxy.simulator.tradier import options_market
from proxy.simulator.tradier.options_market import Contract
from tests.simulator.support import NOON

DAY = dt.date(2019, 5, 17)
CALL = Contract("AAPL", DAY, "call", 200.0, 208.21)


def test_a_contract_has_its_occ_name() -> None:
    """Root, date, kind, and the strike in thousandths."""
    assert "AAPL190517C00200000" == CALL.symbol
    assert "F190517P00010500" == Contract("F", DAY, "put", 10.5, 10.42).symbol


def test_bid_and_ask_lie_around_the_price() -> None:
    """Which is never below its inner value."""
    assert CALL.bid < CALL.last < CALL.ask
    assert CALL.last >= 8.21


def test_strikes_lie_around_the_price_of_the_stock() -> None:
    """Eleven of them, fewer only where a strike would not be positive."""
    found = options_market.strikes(208.21)

    assert 11 == len(found)
    assert found == sorted(set(found))
    assert found[0] < 208.21 < found[-1]
    assert min(options_market.strikes(0.4)) > 0


def test_a_quote_names_its_stock_and_has_greeks_on_request() -> None:
    """The fields of a stock's quote, and those of a contract."""
    plain = options_market.quote(CALL, NOON, greeks=False)
    full: Any = options_market.quote(CALL, NOON, greeks=True)

    assert ("AAPL", 200.0, "call", "2019-05-17") == tuple(
        plain[name] for name in ("underlying", "strike", "option_type", "expiration_date")
    )
    assert "greeks" not in plain
    assert "2026-03-03 12:00:00" == full["greeks"]["updated_at"]


def test_there_are_four_expirations() -> None:
    """Calls and puts of each."""
    found = list(options_market.all_of("AAPL", 208.21, dt.date(2026, 3, 3)))

    assert (4, 88) == (len({each.expiration for each in found}), len({each.symbol for each in found}))
