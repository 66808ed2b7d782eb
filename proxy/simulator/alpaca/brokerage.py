"""The calls of the Broker API."""

from collections.abc import Iterator
from functools import partial

from proxy.simulator.alpaca import assets, events, funding, moments, samples, trading
from proxy.simulator.alpaca.answers import Reply
from proxy.simulator.alpaca.customers import Customers
from proxy.simulator.alpaca.events import change
from proxy.simulator.alpaca.partner import Partner
from proxy.simulator.alpaca.positions import Positions, amount
from proxy.simulator.alpaca.routes import Call, Handler, Route, Routes

Record = dict[str, object]
_ACCOUNT, _TRADING = "/v1/accounts/{account_id}", "/v1/trading/accounts/{account_id}"
_PDF = b"%PDF-1.4\n%simulated\n%%EOF\n"

# Calls that a sample answers.
_SAMPLED = {
    "GET": (
        "/v1/accounts/ira_excess_contributions",
        "/v1/accounts/options/approvals",
        f"{_ACCOUNT}/onfido/sdk/tokens",
        f"{_ACCOUNT}/tokenization/requests",
        f"{_ACCOUNT}/tokenization/requests/{{tokenization_request_id}}",
        f"{_ACCOUNT}/tokenization/requests:by_client_request_id",
        f"{_ACCOUNT}/tokenization/requests:by_issuer_request_id",
        f"{_ACCOUNT}/wallets",
        f"{_ACCOUNT}/wallets/transfers",
        f"{_ACCOUNT}/wallets/transfers/{{transfer_id}}",
        f"{_ACCOUNT}/wallets/whitelists",
        "/v1/assets/entry-requirements",
        "/v1/assets/fixed_income/us_corporates",
        "/v1/assets/fixed_income/us_treasuries",
        "/v1/cash_interest/apr_tiers",
        "/v1/country-info",
        "/v1/documents/{document_id}",
        "/v1/fpsl/analytics/{account_id}/loans",
        "/v1/fpsl/loans",
        "/v1/fpsl/tiers",
        "/v1/instant_funding",
        "/v1/instant_funding/limits",
        "/v1/instant_funding/limits/accounts",
        "/v1/instant_funding/reports",
        "/v1/instant_funding/settlements",
        "/v1/instant_funding/settlements/{settlement_id}",
        "/v1/instant_funding/{instant_funding_id}",
        "/v1/ipos",
        "/v1/ipos/{offering_reference}",
        "/v1/jit/settlements",
        "/v1/jit/settlements/{settlement_id}",
        "/v1/reporting/eod/aggregate_positions",
        "/v1/reporting/eod/cash_interest",
        "/v1/reporting/eod/positions",
        "/v1/transfers/jit/ledgers",
        "/v1/transfers/jit/limits",
        "/v1/transfers/jit/reports",
        "/v1/transfers/jit/{ledger_id}/balances",
        "/v1/wallets/fees/estimate",
        "/v1beta/accounts/{account_id}/funding_wallet",
        "/v1beta/accounts/{account_id}/funding_wallet/funding_details",
        "/v1beta/accounts/{account_id}/funding_wallet/recipient_bank",
        "/v1beta/accounts/{account_id}/funding_wallet/transfers",
        "/v1beta/accounts/{account_id}/funding_wallet/transfers/{transfer_id}",
        "/v1beta1/logos/{symbol}",
        "/v2beta1/accounts/{account_id}/events/activities/{event_id}",
    ),
    "POST": (
        f"{_ACCOUNT}/cip",
        f"{_ACCOUNT}/documents/upload",
        f"{_ACCOUNT}/options/approval",
        f"{_ACCOUNT}/tokenization/callback/mint",
        f"{_ACCOUNT}/tokenization/callback/redeem",
        f"{_ACCOUNT}/tokenization/mint",
        f"{_ACCOUNT}/wallets/transfers",
        f"{_ACCOUNT}/wallets/whitelists",
        "/v1/instant_funding",
        "/v1/instant_funding/settlements",
        "/v1/jit/settlements",
        f"{_TRADING}/orders/estimation",
        "/v1beta/accounts/funding_wallet",
        "/v1beta/accounts/{account_id}/funding_wallet",
        "/v1beta/accounts/{account_id}/funding_wallet/recipient_bank",
        "/v1beta/accounts/{account_id}/funding_wallet/withdrawal",
        "/v1beta/demo/banking/funding",
    ),
    "PATCH": (f"{_ACCOUNT}/onfido/sdk",),
    "DELETE": (
        f"{_ACCOUNT}/wallets/whitelists/{{whitelisted_address_id}}",
        "/v1/instant_funding/{instant_funding_id}",
        "/v1beta/accounts/{account_id}/funding_wallet/recipient_bank",
    ),
}


def routes(customers: Customers, partner: Partner) -> Routes:
    """All calls of the broker host."""
    sampled = [
        (method, Route(path, "", samples.handler(method, path))) for method, paths in _SAMPLED.items() for path in paths
    ]
    made = [*_accounts(customers), *_trading(), *_reference(), *_events(customers)]
    return Routes([*made, *funding.rows(), *partner.rows(), *sampled])


def _accounts(customers: Customers) -> Iterator[tuple[str, Route]]:
    def closed(call: Call) -> Reply:
        customers.close(call.account)
        return Reply(status=204)

    def positions(call: Call) -> Record:
        held = {number: account.positions.records() for number, account in customers.accounts.items()}
        return {"as_of": moments.written(call.now), "positions": held}

    def changed(call: Call) -> Record:
        return customers.change(call.account, call.document)

    every = "/v1/accounts"
    yield _get(every, lambda call: customers.listed(call.arguments.get("query", "")))
    yield "POST", Route(every, "", lambda call: customers.create(call.document, call.now))
    yield _get(f"{every}/activities", trading.activities)
    yield _get(f"{every}/activities/{{activity_type}}", trading.activities)
    yield _get(f"{every}/positions", positions)
    yield _get(_ACCOUNT, lambda call: customers.profile(call.account))
    yield "PATCH", Route(_ACCOUNT, "", changed)
    yield "DELETE", Route(_ACCOUNT, "", closed)
    yield "POST", Route(f"{_ACCOUNT}/actions/close", "", closed)
    yield _get(f"{_ACCOUNT}/cip", _cip)
    yield _get(f"{_ACCOUNT}/documents", lambda call: [_document(call)])
    yield _get(f"{_ACCOUNT}/documents/{{document_id}}", _document)  # seen in the Python client only
    for path in ("documents/w8ben/{document_id}/download", "documents/{document_id}/download"):
        yield _get(f"{_ACCOUNT}/{path}", lambda _: Reply(_PDF, headers={"Content-Type": "application/pdf"}))


def _trading() -> Iterator[tuple[str, Route]]:
    base = _TRADING
    yield from trading.orders(base)
    yield from trading.positions(base)
    configurations = f"{base}/account/configurations"
    yield _get(f"{base}/account", _trade_account)
    yield _get(configurations, lambda call: call.account.configurations)  # seen in the Python client only
    yield "PATCH", Route(configurations, "", lambda call: call.account.configure(call.document))
    yield _get(f"{base}/account/portfolio/history", trading.history)
    yield _get(f"{base}/limits", lambda call: {"daily_net_limit": "50000", "used": "0", "id": call.account.id})
    lists, one = f"{base}/watchlists", f"{base}/watchlists/{{watchlist_id}}"
    yield _get(lists, lambda call: call.account.watchlists.short())
    yield "POST", Route(lists, "", lambda call: call.account.watchlists.create(call.document, call.now))
    yield _get(one, lambda call: call.account.watchlists.get(trading.watchlist(call)))
    for method, answer in trading.watchlist_changes.items():
        yield method, Route(one, "", answer)
    yield "DELETE", Route(f"{one}/{{symbol}}", "", trading.remove_from_watchlist)


def _reference() -> Iterator[tuple[str, Route]]:
    rows: dict[str, Handler] = {
        "/v1/assets": trading.listed_assets,
        "/v1/assets/{symbol_or_asset_id}": lambda call: trading.asset(call.captures["symbol_or_asset_id"], call.now),
        "/v1/calendar": trading.calendar,
        "/v1/clock": lambda call: moments.clock(call.now),
        "/v2/calendar/{market}": trading.market_calendar,
        "/v2/clock": lambda call: moments.clocks(call.now),
        "/v1/corporate_actions/announcements": trading.announcements,
        "/v1/corporate_actions/announcements/{id}": lambda call: samples.announcement(call.now),
        "/v1/options/contracts": trading.contracts,
        "/v1/options/contracts/{symbol_or_id}": lambda call: assets.contract(
            call.captures["symbol_or_id"], call.now
        ).record(),
    }
    for path, answer in rows.items():
        yield _get(path, answer)


def _events(customers: Customers) -> Iterator[tuple[str, Route]]:
    stream, journal = events.stream, change("journal", "queued", "executed")
    trades = partial(events.of_orders, lambda _: events.OfOrders(customers.updates))
    yield _get("/v1/events/accounts/status", stream(change("account", "APPROVED", "ACTIVE"), numbered=True))
    yield _get("/v1/events/journals/status", stream(journal, numbered=True))
    yield _get("/v1/events/nta", stream(change("activity", "queued", "executed"), numbered=True))
    # Only for older partners, says Alpaca, and a client still calls it.
    yield _get("/v1/events/trades", trades(numbered=True))
    yield _get("/v1/events/transfers/status", stream(change("transfer", "QUEUED", "COMPLETE"), numbered=True))
    yield _get("/v2/events/admin-actions", stream(change("action", "none", "liquidation")))
    yield _get("/v2/events/funding/status", stream(change("transfer", "QUEUED", "COMPLETE")))
    yield _get("/v2/events/ipos", stream(change("offering", "announced", "priced")))
    yield _get("/v2/events/journals/status", stream(journal))
    yield _get("/v2/events/system", stream(change("maintenance", "planned", "done")))
    yield _get("/v2/events/trades", trades())
    yield _get("/v2beta1/events/trades", trades())
    yield _get("/v2beta1/events/activities", stream(events.activity))


def _get(path: str, answer: Handler) -> tuple[str, Route]:
    return "GET", Route(path, "", answer)


def _trade_account(call: Call) -> Record:
    """The record of a trading account, with what the Broker API adds."""
    record, held = call.account.record(), Positions.usual()
    cash = amount(held.cash)
    return record | {
        **dict.fromkeys(("cash_withdrawable", "cash_transferable", "last_cash"), cash),
        "previous_close": moments.written(call.now - moments.DAY),
        "last_long_market_value": amount(held.long_value),
        "last_short_market_value": "0",
        "last_initial_margin": record["initial_margin"],
        "last_regt_buying_power": record["regt_buying_power"],
        "last_daytrading_buying_power": "0",
        "last_daytrade_count": 0,
        "last_buying_power": record["buying_power"],
        "clearing_broker": "ALPACA_APCA",
    }


def _cip(call: Call) -> Record:
    moment = moments.written(call.account.opened)
    return {
        "id": assets.identifier("cip"),
        "account_id": call.account.id,
        "provider_name": ["alloy"],
        "created_at": moment,
        "updated_at": moment,
        "kyc": {"id": "CPY-001", "applicant_name": "Simulated", "approval_status": "approved"},
    }


def _document(call: Call) -> Record:
    return {
        "id": call.captures.get("document_id", assets.identifier("document")),
        "name": "",
        "type": "account_statement",
        "sub_type": "",
        "date": moments.day(call.now).isoformat(),
    }
