"""What all clients of Tradier meet in the demo."""

from typing import Any

from tests.clients.product import Demo

ACCOUNT = "VA000001"
ORDER = "class=equity&symbol=AAPL&side=buy&quantity=1&type=limit&price=100&duration=day"


def words(demo: Demo) -> dict[str, object]:
    """`$EXPIRY`: when the next options of AAPL expire; `$ORDER`: an order that is open."""
    found: Any = demo.ask("tradier", "/v1/markets/options/expirations?symbol=AAPL")["expirations"]["date"]
    order: Any = demo.ask("tradier", f"/v1/accounts/{ACCOUNT}/orders?{ORDER}", "POST")["order"]
    return {"EXPIRY": found[0], "ORDER": order["id"]}
