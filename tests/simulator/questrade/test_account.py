"""The one account."""

from proxy.simulator.questrade import account, moments
from tests.simulator.support import NOON, fields

POSITION = fields(
    """
    symbol symbolId openQuantity closedQuantity currentMarketValue currentPrice averageEntryPrice dayPnl
    closedPnl openPnl totalCost isRealTime isUnderReorg
    """
)
BALANCE = {"currency", "cash", "marketValue", "totalEquity", "buyingPower", "maintenanceExcess", "isRealTime"}
ACTIVITY = fields(
    """
    tradeDate transactionDate settlementDate action symbol symbolId description currency quantity price
    grossAmount commission netAmount type
    """
)


def test_the_account_number_is_a_string_of_eight_digits() -> None:
    """Clients that read it as a number lose leading zeros elsewhere."""
    rows = account.ACCOUNTS["accounts"]
    assert isinstance(rows, list)

    assert [("26598145", "Margin", "Active")] == [(row["number"], row["type"], row["status"]) for row in rows]


def test_positions_and_balances_have_every_field_of_a_live_answer() -> None:
    """`dayPnl` too, which the documentation lacks; four arrays of balances with a row for each currency."""
    positions, balances = account.positions()["positions"], account.balances()
    assert isinstance(positions, list)

    assert [POSITION, POSITION] == [set(row) for row in positions]
    assert {
        "perCurrencyBalances",
        "combinedBalances",
        "sodPerCurrencyBalances",
        "sodCombinedBalances",
    } == balances.keys()
    for rows in balances.values():
        assert isinstance(rows, list)
        assert ["CAD", "USD"] == [row["currency"] for row in rows]
        assert [BALANCE, BALANCE] == [set(row) for row in rows]


def test_activities_lie_within_the_span() -> None:
    """One for each midnight; a span between two midnights has none."""
    start, end = moments.today(NOON)
    found = account.activities(start, end + 2 * moments.DAY)["activities"]
    assert isinstance(found, list)

    assert 3 == len(found)
    assert ACTIVITY == found[0].keys()
    assert "2026-03-03T00:00:00.000000-05:00" == found[0]["tradeDate"]
    assert {"activities": []} == account.activities(NOON, end)
