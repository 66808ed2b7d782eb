"""One trading account."""

import pytest

from proxy.simulator.alpaca.account import Account
from proxy.simulator.alpaca.answers import Refused
from tests.simulator.alpaca.support import MARKET
from tests.simulator.support import NOON, fields


def test_an_account_has_every_documented_field(account: Account) -> None:
    """Amounts as texts; equity is cash and positions."""
    names = fields(
        "id account_number status currency buying_power regt_buying_power options_buying_power options_approved_level"
        " options_trading_level cash portfolio_value equity last_equity long_market_value short_market_value"
        " initial_margin maintenance_margin last_maintenance_margin sma multiplier shorting_enabled trading_blocked"
        " transfers_blocked account_blocked trade_suspended_by_user created_at"
    )
    record = account.record()

    assert names <= set(record)
    assert ("100000", "155265", "200000") == tuple(record[name] for name in ("cash", "equity", "buying_power"))


def test_an_order_changes_the_account(account: Account) -> None:
    """Cash goes, value comes."""
    account.book.place(MARKET, NOON)

    assert "99537.1" == account.record()["cash"]


def test_configurations_are_kept(account: Account) -> None:
    """They show in the account, too."""
    account.configure({"no_shorting": True, "max_margin_multiplier": "1"})

    assert (False, "1") == (account.record()["shorting_enabled"], account.record()["multiplier"])
    assert account.configurations["no_shorting"]


@pytest.mark.parametrize("change", [{"odd": True}, {"no_shorting": 1}, {"trade_confirm_email": []}], ids=str)
def test_a_setting_that_is_not_there_is_refused(account: Account, change: dict[str, object]) -> None:
    """422, and nothing changes."""
    before = dict(account.configurations)
    with pytest.raises(Refused, match="42210001"):
        account.configure(change)

    assert before == account.configurations


def test_closing_a_position_is_an_order(account: Account) -> None:
    """Of crypto by either name."""
    order = account.close("BTCUSD", {"percentage": "50"}, NOON)

    assert ("BTC/USD", "0.25", "sell") == (order["symbol"], order["qty"], order["side"])


def test_closing_everything_answers_with_an_item_each(account: Account) -> None:
    """Symbol, status and the order."""
    items = account.close_all(NOON)

    assert [("AAPL", 200), ("BTCUSD", 200)] == [(item["symbol"], item["status"]) for item in items]
    assert [] == account.positions.records()


def test_activities_come_newest_first_and_page_by_page(account: Account) -> None:
    """A fill for each order, and one dividend; the token is the last id."""
    account.book.place(MARKET, NOON)
    newest, oldest = account.activities([], {})

    assert ("FILL", "DIV") == (newest["activity_type"], oldest["activity_type"])
    assert [newest] == account.activities(["FILL"], {}) == account.activities([], {"page_size": "1"})
    assert [oldest] == account.activities([], {"page_token": str(newest["id"])})
    assert (
        [] == account.activities([], {"page_token": str(oldest["id"])}) == account.activities([], {"page_token": "x"})
    )
    assert [oldest, newest] == account.activities([], {"direction": "asc"})
    with pytest.raises(Refused, match="42210001"):
        account.activities([], {"page_size": "many"})


def test_history_has_a_point_each_step(account: Account) -> None:
    """A month of days if nothing is asked for; all lists are as long."""
    history = account.history({}, NOON)
    hours = account.history({"timeframe": "1H", "start": "2026-03-03T15:00:00Z"}, NOON)

    assert {31} == {len(history[name]) for name in ("timestamp", "equity", "profit_loss", "profit_loss_pct")}  # type: ignore[arg-type]
    assert ("1H", [NOON - 7200, NOON - 3600, NOON]) == (hours["timeframe"], hours["timestamp"])


@pytest.mark.parametrize("arguments", [{"timeframe": "1Y"}, {"start": "2027-01-01", "end": "2026-01-01"}], ids=str)
def test_a_history_that_makes_no_sense_is_refused(account: Account, arguments: dict[str, str]) -> None:
    """422."""
    with pytest.raises(Refused, match="42210001"):
        account.history(arguments, NOON)
