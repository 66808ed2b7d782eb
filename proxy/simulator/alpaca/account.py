"""One trading account, on paper, live or a customer's: all that the trading calls read and write."""

from collections.abc import Mapping

from proxy.simulator.alpaca import assets, moments
from proxy.simulator.alpaca.answers import unprocessable
from proxy.simulator.alpaca.orders import OrderBook
from proxy.simulator.alpaca.positions import Positions, amount
from proxy.simulator.alpaca.updates import Updates
from proxy.simulator.alpaca.watchlists import Watchlists

Record = dict[str, object]

_CONFIGURATIONS: Mapping[str, tuple[object, ...]] = {  # what each may be, the first being what it is at first
    "disable_overnight_trading": (False, True),
    "fractional_trading": (True, False),
    "max_margin_multiplier": ("2", "1", "4"),
    "max_options_trading_level": (None, 0, 1, 2, 3),
    "no_shorting": (False, True),
    "ptp_no_exception_entry": (False, True),
    "suspend_trade": (False, True),
    "trade_confirm_email": ("all", "none"),
    "dtbp_check": ("entry", "both", "exit"),
    "pdt_check": ("entry", "both", "exit"),
}
_STEPS = {"1Min": 60.0, "5Min": 300.0, "15Min": 900.0, "1H": 3600.0, "1D": moments.DAY}
_MAX_POINTS = 1000


class Account:
    """`number` is what people call it. Times are Unix seconds. `updates`: where those of its orders are kept."""

    def __init__(self, number: str, opened: float, updates: Updates | None = None) -> None:
        self.number = number
        self.id = assets.identifier(f"account {number}")
        self.opened = opened
        self.positions = Positions.usual()
        self.book = OrderBook(self.positions, updates, self.id)
        self.watchlists = Watchlists(self.id, opened)
        self.configurations: Record = {name: values[0] for name, values in _CONFIGURATIONS.items()}

    def record(self) -> Record:
        """`GET /v2/account`. Amounts are texts."""
        held = self.positions
        long, short, cash = held.long_value, held.short_value, held.cash
        equity = cash + long + short
        return {
            "id": self.id,
            "account_number": self.number,
            "status": "ACTIVE",
            "crypto_status": "ACTIVE",
            "currency": "USD",
            "buying_power": amount(held.buying_power),
            "regt_buying_power": amount(held.buying_power),
            "options_buying_power": amount(max(0.0, cash)),
            "non_marginable_buying_power": amount(max(0.0, cash)),
            "options_approved_level": 2,
            "options_trading_level": 2,
            "cash": amount(cash),
            "accrued_fees": "0",
            "portfolio_value": amount(equity),
            "equity": amount(equity),
            "last_equity": amount(equity * 0.995),
            "long_market_value": amount(long),
            "short_market_value": amount(short),
            "position_market_value": amount(long + short),
            "initial_margin": amount((long - short) / 2),
            "maintenance_margin": amount((long - short) * 0.3),
            "last_maintenance_margin": amount((long - short) * 0.3),
            "sma": "0",
            "multiplier": self.configurations["max_margin_multiplier"],
            "shorting_enabled": not self.configurations["no_shorting"],
            **dict.fromkeys(("trading_blocked", "transfers_blocked", "account_blocked"), False),
            "trade_suspended_by_user": self.configurations["suspend_trade"],
            "created_at": moments.written(self.opened),
            "balance_asof": moments.day(self.opened).isoformat(),
            "intraday_adjustments": "0",
            "pending_reg_taf_fees": "0",
        }

    def configure(self, request: Mapping[str, object]) -> Record:
        """`PATCH /v2/account/configurations`. Refused with 422 for a name or value that there is not."""
        for name, value in request.items():
            allowed = _CONFIGURATIONS.get(name)
            if allowed is None or not any(value == each and type(value) is type(each) for each in allowed):
                raise unprocessable(f"invalid {name[:40]}")
        self.configurations |= request
        return self.configurations

    def close(self, name: str, arguments: Mapping[str, str], now: float) -> Record:
        """`DELETE /v2/positions/{symbol}`: the order that closes it."""
        asset = assets.find(name, now)
        order = self.positions.to_close(asset, arguments.get("qty"), arguments.get("percentage"))
        return self.book.place(order, now)

    def close_all(self, now: float) -> list[Record]:
        """`DELETE /v2/positions`: one item for each position."""
        symbols = [str(record["symbol"]) for record in self.positions.records()]
        orders = [(symbol, self.close(symbol, {}, now)) for symbol in symbols]
        return [{"symbol": symbol, "order_id": order["id"], "status": 200, "body": order} for symbol, order in orders]

    def activities(self, kinds: list[str], arguments: Mapping[str, str]) -> list[Record]:
        """Fills of orders and one dividend, newest first; `page_token` is the id of the last one seen."""
        found = [self._dividend(), *(self._fill(order) for order in self.book.fills())]
        if kinds:
            found = [each for each in found if each["activity_type"] in kinds]
        if arguments.get("direction") != "asc":
            found.reverse()
        ids = [each["id"] for each in found]
        token = arguments.get("page_token")
        if token:
            found = found[ids.index(token) + 1 :] if token in ids else []
        size = arguments.get("page_size") or "100"
        if not (size.isascii() and size.isdigit()):
            raise unprocessable("invalid page_size")
        return found[: int(size)]

    def history(self, arguments: Mapping[str, str], now: float) -> Record:
        """`GET /v2/account/portfolio/history`: one point a step, of a month if nothing is asked for."""
        frame = arguments.get("timeframe") or "1D"
        if frame not in _STEPS:
            raise unprocessable("invalid timeframe")
        end = moments.read(arguments["end"]) if arguments.get("end") else now
        start = moments.read(arguments["start"]) if arguments.get("start") else end - 30 * moments.DAY
        if start > end:
            raise unprocessable("start must not be after end")
        points = min(int((end - start) // _STEPS[frame]) + 1, _MAX_POINTS)
        equity = float(str(self.record()["equity"]))
        values = [round(equity * (1 + 0.0001 * point), 2) for point in range(points)]
        return {
            "timestamp": [int(start + point * _STEPS[frame]) for point in range(points)],
            "equity": values,
            "profit_loss": [round(value - values[0], 2) for value in values],
            "profit_loss_pct": [round(value / values[0] - 1, 6) for value in values],
            "base_value": values[0],
            "base_value_asof": moments.day(start).isoformat(),
            "timeframe": frame,
            "cashflow": {},
        }

    def _dividend(self) -> Record:
        date = moments.day(self.opened)
        return {
            "id": f"{date:%Y%m%d}000000000::{assets.identifier('dividend')}",
            "account_id": self.id,
            "activity_type": "DIV",
            "date": date.isoformat(),
            "net_amount": "24",
            "description": "Cash dividend",
            "status": "executed",
            "symbol": "AAPL",
            "qty": "100",
            "per_share_amount": "0.24",
        }

    def _fill(self, order: Record) -> Record:
        moment = moments.day(moments.read(str(order["filled_at"])))
        return {
            "id": f"{moment:%Y%m%d}120000000::{order['id']}",
            "account_id": self.id,
            "activity_type": "FILL",
            "transaction_time": order["filled_at"],
            "type": "fill",
            "price": order["filled_avg_price"],
            "qty": order["filled_qty"],
            "side": order["side"],
            "symbol": order["symbol"],
            "leaves_qty": "0",
            "order_id": order["id"],
            "cum_qty": order["filled_qty"],
            "order_status": "filled",
        }
