"""Money of a broker partner's customers: banks, transfers, journals, and portfolios that are kept in balance."""

from collections.abc import Iterator

from proxy.simulator.alpaca import assets, moments
from proxy.simulator.alpaca.answers import unprocessable
from proxy.simulator.alpaca.positions import amount, number
from proxy.simulator.alpaca.routes import Call, Route
from proxy.simulator.alpaca.shelf import Record, Shelf

_ACCOUNT = "/v1/accounts/{account_id}"
_REBALANCING = "/v1/rebalancing"
_WEIGHTS = [{"type": "cash", "symbol": None, "percent": "5"}, {"type": "asset", "symbol": "SPY", "percent": "95"}]


def rows() -> Iterator[tuple[str, Route]]:
    """The routes of everything that is kept, for one simulated Alpaca."""
    relations = Shelf(f"{_ACCOUNT}/ach_relationships", "ach_relationship_id", _relation)
    banks = Shelf(f"{_ACCOUNT}/recipient_banks", "bank_id", _bank)
    transfers = Shelf(f"{_ACCOUNT}/transfers", "transfer_id", _transfer)
    journals = Shelf("/v1/journals", "journal_id", _journal)
    portfolios = Shelf(f"{_REBALANCING}/portfolios", "portfolio_id", _portfolio)
    subscriptions = Shelf(f"{_REBALANCING}/subscriptions", "subscription_id", _subscription, wrapped="subscriptions")
    runs = Shelf(f"{_REBALANCING}/runs", "run_id", _run, wrapped="runs")
    for shelf in (relations, banks, transfers):
        yield from shelf.rows("GET", "POST", one=("DELETE",))
    yield from journals.rows("GET", "POST", one=("GET", "DELETE"))
    yield from portfolios.rows("GET", "POST", one=("GET", "PATCH", "DELETE"))
    for shelf in (subscriptions, runs):
        yield from shelf.rows("GET", "POST", one=("GET", "DELETE"))
    for kind in ("batch", "reverse_batch"):
        yield "POST", Route(f"{journals.path}/{kind}", "", lambda call: _batch(journals, call))


def _batch(journals: Shelf, call: Call) -> list[Record]:
    """One journal for each entry."""
    entries = call.document.get("entries")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise unprocessable("entries is required")
    shared = {name: value for name, value in call.document.items() if name != "entries"}
    return [{**journals.create(call, {**shared, **entry}), "error_message": ""} for entry in entries]


def _relation(call: Call, given: Record) -> Record:
    return {
        "account_id": call.account.id,
        "status": "APPROVED",
        "account_owner_name": "Ada Simulated",
        "bank_account_type": "CHECKING",
        "bank_account_number": "32131231abc",
        "bank_routing_number": "123103716",
        "nickname": "Bank of Simulation",
        **given,
    }


def _bank(call: Call, given: Record) -> Record:
    return {
        "account_id": call.account.id,
        "name": "Bank of Simulation",
        "status": "APPROVED",
        "country": "USA",
        "state_province": "CA",
        "postal_code": "94401",
        "city": "San Mateo",
        "street_address": "20 N San Mateo Dr",
        "account_number": "123456789",
        "bank_code": "123103716",
        "bank_code_type": "ABA",
        **given,
    }


def _transfer(call: Call, given: Record) -> Record:
    money = amount(number(given, "amount", "500"))
    return {
        "account_id": call.account.id,
        "relationship_id": assets.identifier("relationship"),
        "bank_id": None,
        "type": given.get("transfer_type", "ach"),
        "status": "QUEUED" if given else "COMPLETE",
        "currency": "USD",
        "amount": money,
        "instant_amount": "0",
        "requested_amount": money,
        "direction": "INCOMING",
        "expires_at": moments.written(call.now + 7 * moments.DAY),
        "reason": None,
        "fee": "0",
        "fee_payment_method": "user",
        **{name: value for name, value in given.items() if name not in ("amount", "transfer_type", "timing")},
    }


def _journal(call: Call, given: Record) -> Record:
    money = amount(number(given, "amount", given.get("net_amount", "51")))
    date = moments.day(call.now).isoformat()
    return {
        "entry_type": "JNLC",
        "from_account": call.account.id,
        "to_account": call.account.id,
        "symbol": "",
        "qty": None,
        "price": "0",
        "status": "queued" if given else "executed",
        "settle_date": date,
        "system_date": date,
        "net_amount": money,
        "description": "",
        "currency": "USD",
        **{name: value for name, value in given.items() if name != "amount"},
    }


def _portfolio(_: Call, given: Record) -> Record:
    return {
        "name": "Balanced",
        "description": "A balanced portfolio of stocks and cash",
        "status": "active",
        "cooldown_days": 7,
        "weights": _WEIGHTS,
        "rebalance_conditions": [],
        **given,
    }


def _subscription(call: Call, given: Record) -> Record:
    ids = {"account_id": call.account.id, "portfolio_id": assets.identifier("portfolio")}
    return {**ids, "last_rebalanced_at": None, **given}


def _run(call: Call, given: Record) -> Record:
    return {
        "account_id": call.account.id,
        "type": "full_rebalance",
        "amount": None,
        "portfolio_id": assets.identifier("portfolio"),
        "weights": _WEIGHTS,
        "initiated_from": "api",
        "completed_at": None,
        "canceled_at": None,
        "status": "QUEUED",
        "reason": None,
        "orders": [],
        "failed_orders": [],
        "skipped_orders": [],
        **given,
    }
