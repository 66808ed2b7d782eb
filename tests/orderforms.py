"""The order rows of the brokers that come with bearerd, and calls of them as a client could write them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from proxy.brokers import builtin
from proxy.gate.guards import Call
from proxy.gate.orders import Written
from proxy.gate.rows import Row

JSON = ((b"Content-Type", b"application/json"),)
FORM = ((b"Content-Type", b"application/x-www-form-urlencoded"),)

QUESTRADE = {"symbolId": 8049, "quantity": 10, "action": "Buy", "orderType": "Limit", "limitPrice": 100.5}
TRADIER = {"class": "equity", "symbol": "AAPL", "side": "buy", "quantity": "10", "type": "limit", "price": "100.5"}
ALPACA = {"symbol": "AAPL", "qty": "10", "side": "buy", "type": "limit", "limit_price": "100.5"}
OPTION = "AAPL270115C00200000"


def row(broker: str, name: str) -> Row:
    """A row of a built-in broker, by its id."""
    return next(row for api in builtin(broker).apis.values() for row in api.table.rows if row.id == name)


def written(
    body: object = b"",
    *,
    query: bytes | None = None,
    headers: Sequence[tuple[bytes, bytes]] = JSON,
    captures: Mapping[str, bytes] | None = None,
) -> Written:
    """A call as it comes in. A body that is no bytes is written as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Written(tuple((captures or {}).items()), query, content, headers)


def form(fields: Mapping[str, Any]) -> bytes:
    """The fields as most clients encode them."""
    return urlencode({name: value for name, value in fields.items() if value is not None}).encode()


@dataclass(frozen=True, slots=True)
class Sort:
    """One way to place an order: a row, its fields for `quantity` of something at `price`, and how they are written."""

    broker: str
    row_id: str
    way: str
    fields: Mapping[str, Any]
    names: Mapping[str, str]
    captures: Mapping[str, bytes] = field(default_factory=dict)

    def call(self, changes: Mapping[str, Any] | None = None) -> Call:
        """The call, with other values for facts: `{"quantity": "3"}`."""
        told = dict(self.fields) | {self.names[fact]: value for fact, value in (changes or {}).items()}
        told = {name: value for name, value in told.items() if value is not None}
        match self.way:
            case "json":
                found = written(told, captures=self.captures)
            case "form":
                found = written(form(told), headers=FORM, captures=self.captures)
            case _:
                found = written(query=form(told), headers=(), captures=self.captures)
        return Call(row(self.broker, self.row_id), found)


_TRADIER = {"symbol": "symbol", "side": "side", "type": "type", "quantity": "quantity", "price": "price"}
SORTS = (
    Sort(
        "questrade", "order_new", "json", QUESTRADE,
        {"symbol": "symbolId", "side": "action", "type": "orderType", "quantity": "quantity", "price": "limitPrice"},
        {"account": b"26598145"},
    ),
    Sort("tradier", "order_place", "form", TRADIER, _TRADIER, {"account": b"VA000001"}),
    Sort("tradier", "order_place", "query", TRADIER, _TRADIER, {"account": b"VA000001"}),
    Sort(
        "alpaca", "orders_post", "json", ALPACA,
        {"symbol": "symbol", "side": "side", "type": "type", "quantity": "qty", "price": "limit_price",
         "amount": "notional"},
    ),
)  # fmt: skip
