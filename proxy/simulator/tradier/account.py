"""What is owned here: one margin account with up to two positions, and a little history."""

from proxy.simulator.tradier.answers import several

NUMBER = "VA000001"
CASH = 6363.86  # and buying power of options
BUYING_POWER = 12_727.72  # of stocks

Record = dict[str, object]

_POSITIONS: list[object] = [
    {"cost_basis": cost, "date_acquired": "2018-08-08T14:41:11.405Z", "id": number, "quantity": held, "symbol": symbol}
    for number, symbol, held, cost in ((130_089, "AAPL", 10.0, 2070.1), (130_090, "AMZN", 1.0, 1870.7))
]
HELD = {"AAPL": 10.0, "AMZN": 1.0}

PROFILE: Record = {
    "profile": {
        "account": {
            "account_number": NUMBER,
            "classification": "individual",
            "date_created": "2016-08-01T21:08:55.000Z",
            "day_trader": False,
            "option_level": 6,
            "status": "active",
            "type": "margin",
            "last_update_date": "2016-08-01T21:08:55.000Z",
        },
        "id": "id-gcostanza",
        "name": "George Costanza",
    }
}


def balances() -> Record:
    return {
        "balances": {
            "option_short_value": 0,
            "total_equity": 17_798.36,
            "account_number": NUMBER,
            "account_type": "margin",
            "close_pl": -4813.0,
            "current_requirement": 2557.0,
            "equity": 0,
            "long_market_value": 11_434.5,
            "market_value": 11_434.5,
            "open_pl": 546.9,
            "option_long_value": 8877.5,
            "option_requirement": 0,
            "pending_orders_count": 0,
            "short_market_value": 0,
            "stock_long_value": 2557.0,
            "total_cash": CASH,
            "uncleared_funds": 0,
            "pending_cash": 0,
            "margin": {
                "fed_call": 0,
                "maintenance_call": 0,
                "option_buying_power": CASH,
                "stock_buying_power": BUYING_POWER,
                "stock_short_value": 0,
                "sweep": 0,
            },
        }
    }


def positions(count: int) -> Record:
    """The first `count` of them."""
    return several("positions", "position", _POSITIONS[:count])


def history(page: int, limit: int) -> Record:
    """The newest events first."""
    return several("history", "event", _page(_EVENTS, page, limit))


def gain_loss(page: int, limit: int) -> Record:
    return several("gainloss", "closed_position", _page(_CLOSED, page, limit))


def by_user(answer: Record) -> Record:
    """What the older paths below `/v1/user` answer: the same, account by account."""
    return {"accounts": {"account": {"account_number": NUMBER, **answer}}}


def _page(items: list[object], page: int, limit: int) -> list[object]:
    return items[(page - 1) * limit : page * limit]


_EVENTS: list[object] = [
    {
        "amount": -3000.0,
        "date": "2018-05-23T00:00:00Z",
        "type": "option",
        "option": {"option_type": "OPTEXP", "description": "Expired", "quantity": -10.0},
    },
    {
        "amount": 99.95,
        "date": "2018-05-21T00:00:00Z",
        "type": "trade",
        "trade": {
            "commission": 0.0,
            "description": "AMZN",
            "price": 99.95,
            "quantity": -1.0,
            "symbol": "AMZN",
            "trade_type": "Equity",
        },
    },
    {"amount": 3000.0, "date": "2018-05-18T00:00:00Z", "type": "ach", "ach": {"description": "ACH", "quantity": 0.0}},
]
_CLOSED: list[object] = [
    {
        "close_date": "2018-10-31T00:00:00.000Z",
        "cost": 12.7,
        "gain_loss": -2.64,
        "gain_loss_percent": -20.7874,
        "open_date": "2018-06-19T00:00:00.000Z",
        "proceeds": 10.06,
        "quantity": 1.0,
        "symbol": "GE",
        "term": 134,
    },
    {
        "close_date": "2018-09-21T00:00:00.000Z",
        "cost": 408.2,
        "gain_loss": 31.8,
        "gain_loss_percent": 7.7903,
        "open_date": "2018-09-20T00:00:00.000Z",
        "proceeds": 440.0,
        "quantity": 2.0,
        "symbol": "AAPL180921C00190000",
        "term": 1,
    },
]
