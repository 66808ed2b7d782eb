"""What kind of order a row carries, and where the order says what it is. Made of a definition, read by `orders.py`."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["place", "change", "lower"]
KINDS: tuple[Kind, ...] = ("place", "change", "lower")

Fact = Literal["symbol", "side", "type", "quantity", "amount", "price"]
FACTS: tuple[Fact, ...] = ("symbol", "side", "type", "quantity", "amount", "price")

Format = Literal["json", "form"]
FORMATS: tuple[Format, ...] = ("json", "form")

Naming = Literal["ticker", "number"]
NAMINGS: tuple[Naming, ...] = ("ticker", "number")


@dataclass(frozen=True, slots=True)
class OrderForm:
    """How an order is written.

    - `format`: a JSON object, or the fields of a form, which may stand in the query instead of the body;
    - `symbol` … `price`: the names that hold a fact, of which an order may use one. `{name}` is a capture of the path,
      `instrument.symbol` a member of a member (JSON).
      `price` is the limit price, `amount` the money that an order is about instead of a quantity;
    - `underlying`: the name that holds the underlying beside the symbol of an option, and the symbol of a leg without
      one of its own; if it is the symbol's name too, it holds the underlying in an order that has parts;
    - `naming`: symbols are tickers, and options 21 letters and digits at most with their root in front; or numbers,
      which tell nothing;
    - `parts`: members that hold a list of orders, which take from the whole what they do not say themselves (JSON);
    - `exits`: members that hold the prices at which the order closes itself again (JSON);
    - `indexed`: names may end in `[0]`, `[1]`, … and belong to that part (form);
    - `net`: the price is that of all parts together, so that it tells the amount of none of them;
    - `ratio`: the name in a part by which the whole's quantity is multiplied;
    - `limit_types`: the order types whose price binds; empty: of every one;
    - `buys`: the sides that buy;
    - `untold`: the facts that such an order never tells, so that a guard which asks for one closes the row.
    """

    name: str
    format: Format
    symbol: tuple[str, ...] = ()
    side: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    quantity: tuple[str, ...] = ()
    amount: tuple[str, ...] = ()
    price: tuple[str, ...] = ()
    underlying: str | None = None
    naming: Naming = "ticker"
    parts: tuple[str, ...] = ()
    exits: tuple[str, ...] = ()
    indexed: bool = False
    net: bool = False
    ratio: str | None = None
    limit_types: tuple[str, ...] = ()
    buys: tuple[str, ...] = ()
    untold: tuple[Fact, ...] = ()

    def names(self, fact: Fact) -> tuple[str, ...]:
        """Where the order says `fact`; empty if the definition knows no place."""
        found: tuple[str, ...] = getattr(self, fact)
        return found


@dataclass(frozen=True, slots=True)
class OrderRule:
    """A row that concerns orders.

    `place` opens a risk, `change` alters an order, `lower` cancels an order or closes a position: what lowers a risk
    outlives halts and all guards but the list of accounts.

    `forms` are the ways in which the order may be written: the value of the field `by` → its form. Without `by` there
    is one, under `""`, and with it `""` is for an order that leaves the field out. Empty: the definition does not say.
    """

    kind: Kind
    forms: tuple[tuple[str, OrderForm], ...] = ()
    by: str | None = None

    def form(self, choice: str) -> OrderForm | None:
        """The form for that value of `by`."""
        return dict(self.forms).get(choice)
