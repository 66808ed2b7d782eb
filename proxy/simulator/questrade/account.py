"""What is owned here: one account with two positions, balances in two currencies, a little history."""

from proxy.simulator.questrade import moments
from proxy.simulator.questrade.market import SYMBOLS, Symbol

NUMBER = "26598145"
USER = 3_000_124
_CURRENCIES = (("CAD", 100_150.25, 8310.0), ("USD", 50_000.0, 23_647.0))  # currency, cash, value of securities
_CAD_FOR_USD = 1.37

ACCOUNTS = {
    "accounts": [
        {
            "type": "Margin",
            "number": NUMBER,
            "status": "Active",
            "isPrimary": True,
            "isBilling": True,
            "clientAccountType": "Individual",
        }
    ],
    "userId": USER,
}


def positions() -> dict[str, object]:
    return {"positions": [_position(SYMBOLS[8049], 100, 210.5), _position(SYMBOLS[38526], 100, 79.4)]}


def _position(symbol: Symbol, quantity: int, entry: float) -> dict[str, object]:
    return {
        "symbol": symbol.name,
        "symbolId": symbol.id,
        "openQuantity": quantity,
        "closedQuantity": 0,
        "currentMarketValue": round(symbol.price * quantity, 2),
        "currentPrice": symbol.price,
        "averageEntryPrice": entry,
        "dayPnl": round(symbol.price * 0.002 * quantity, 2),
        "closedPnl": 0,
        "openPnl": round((symbol.price - entry) * quantity, 2),
        "totalCost": entry * quantity,
        "isRealTime": True,
        "isUnderReorg": False,
    }


def balances() -> dict[str, object]:
    each = [_balance(currency, cash, value) for currency, cash, value in _CURRENCIES]
    (_, cad_cash, cad_value), (_, usd_cash, usd_value) = _CURRENCIES
    cash, value = cad_cash + usd_cash * _CAD_FOR_USD, cad_value + usd_value * _CAD_FOR_USD
    combined = [_balance("CAD", cash, value), _balance("USD", cash / _CAD_FOR_USD, value / _CAD_FOR_USD)]
    return {
        "perCurrencyBalances": each,
        "combinedBalances": combined,
        "sodPerCurrencyBalances": each,
        "sodCombinedBalances": combined,
    }


def _balance(currency: str, cash: float, value: float) -> dict[str, object]:
    return {
        "currency": currency,
        "cash": round(cash, 2),
        "marketValue": round(value, 2),
        "totalEquity": round(cash + value, 2),
        "buyingPower": round(cash * 3.33, 2),
        "maintenanceExcess": round(cash, 2),
        "isRealTime": True,
    }


def activities(start: float, end: float) -> dict[str, object]:
    """One dividend on each Eastern midnight of the span (Unix seconds)."""
    days = (moments.midnight(start, number) for number in range(int((end - start) // moments.DAY) + 2))
    return {"activities": [_dividend(moments.written(day)) for day in days if start <= day <= end]}


def _dividend(day: str) -> dict[str, object]:
    return {
        "tradeDate": day,
        "transactionDate": day,
        "settlementDate": day,
        "action": "DIV",
        "symbol": "AAPL",
        "symbolId": 8049,
        "description": "APPLE INC CASH DIV ON 100 SHS",
        "currency": "USD",
        "quantity": 0,
        "price": 0,
        "grossAmount": 0,
        "commission": 0,
        "netAmount": 0.77,
        "type": "Dividends",
    }
