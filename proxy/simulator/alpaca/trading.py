"""The calls of the Trading API."""

import datetime as dt
from collections.abc import Callable, Iterator

from proxy.simulator.alpaca import assets, events, moments, samples
from proxy.simulator.alpaca.answers import Reply, unprocessable
from proxy.simulator.alpaca.positions import number
from proxy.simulator.alpaca.routes import DENIED, Call, Handler, Route, Routes

READ, WRITE, TRADE = "account:read", "account:write", "trading"
_NO_CONTENT = Reply(status=204)
_MULTI = 207  # DELETE of all orders or positions

# Calls that no client makes often: a sample answers them.
_SAMPLED = {
    f"{READ} GET": (
        "/v1/locates",
        "/v1/locates/quotes",
        "/v1/locates/{locate_id}",
        "/v2/perpetuals/account_vitals",
        "/v2/perpetuals/leverage",
        "/v2/perpetuals/wallets",
        "/v2/perpetuals/wallets/fees/estimate",
        "/v2/perpetuals/wallets/transfers",
        "/v2/perpetuals/wallets/transfers/{transfer_id}",
        "/v2/perpetuals/wallets/whitelists",
        "/v2/tokenization/requests",
        "/v2/tokenization/requests/{tokenization_request_id}",
        "/v2/tokenization/requests:by_client_request_id",
        "/v2/wallets",
        "/v2/wallets/fees/estimate",
        "/v2/wallets/transfers",
        "/v2/wallets/transfers/{transfer_id}",
        "/v2/wallets/whitelists",
        "/v2/assets/fixed_income/us_corporates",
        "/v2/assets/fixed_income/us_treasuries",
    ),
    f"{TRADE} POST": ("/v1/locates", "/v2/perpetuals/leverage"),
    f"{DENIED} POST": (
        "/v2/perpetuals/wallets/transfers",
        "/v2/perpetuals/wallets/whitelists",
        "/v2/tokenization/mint",
        "/v2/wallets/transfers",
        "/v2/wallets/whitelists",
    ),
    f"{DENIED} DELETE": (
        "/v2/perpetuals/wallets/whitelists/{whitelisted_address_id}",
        "/v2/wallets/whitelists/{whitelisted_address_id}",
    ),
}


def routes() -> Routes:
    """All calls of a trading host."""
    return Routes([*_accounts(), *_markets(), *orders("/v2"), *positions("/v2"), *_watchlists(), *_sampled()])


def _accounts() -> Iterator[tuple[str, Route]]:
    yield "GET", Route("/v2/account", READ, lambda call: call.account.record())
    for path in ("/v2/account/activities", "/v2/account/activities/{activity_type}"):
        yield "GET", Route(path, READ, activities)
    configurations = "/v2/account/configurations"
    yield "GET", Route(configurations, READ, lambda call: call.account.configurations)
    yield "PATCH", Route(configurations, WRITE, lambda call: call.account.configure(call.document))
    yield "GET", Route("/v2/account/portfolio/history", READ, history)
    yield "GET", Route("/v2beta1/events/activities", READ, events.stream(events.activity))
    yield "GET", Route("/v2/events/trades", READ, events.of_orders(_own_orders))  # seen in the Go client only


def _markets() -> Iterator[tuple[str, Route]]:
    one = "{symbol_or_asset_id}"
    rows: dict[str, Handler] = {
        "/v2/assets": listed_assets,
        f"/v2/assets/{one}": lambda call: asset(call.captures["symbol_or_asset_id"], call.now),
        "/v2/calendar": calendar,
        "/v2/clock": lambda call: moments.clock(call.now),
        "/v3/calendar/{market}": market_calendar,
        "/v3/clock": lambda call: moments.clocks(call.now),
        "/v2/corporate_actions/announcements": announcements,
        "/v2/corporate_actions/announcements/{id}": lambda call: samples.announcement(call.now),
        "/v2/options/contracts": contracts,
        "/v2/options/contracts/{symbol_or_id}": lambda call: assets.contract(
            call.captures["symbol_or_id"], call.now
        ).record(),
    }
    for path, answer in rows.items():
        yield "GET", Route(path, READ, answer)


def orders(base: str) -> Iterator[tuple[str, Route]]:
    """The calls about orders below `base`; those of the Broker API have the same answers."""
    every, one = f"{base}/orders", f"{base}/orders/{{order_id}}"
    yield "GET", Route(every, READ, _orders)
    yield "POST", _change(every, lambda call: call.account.book.place(call.document, call.now))
    yield "DELETE", _change(every, lambda call: Reply(call.account.book.cancel_all(call.now), _MULTI))
    yield "GET", Route(one, READ, lambda call: call.account.book.get(call.captures["order_id"]))
    yield "PATCH", _change(one, _replace)
    yield "DELETE", _change(one, _cancel)
    yield "GET", Route(f"{every}:by_client_order_id", READ, _by_client_id)


def positions(base: str) -> Iterator[tuple[str, Route]]:
    """The calls about positions below `base`."""
    every, one = f"{base}/positions", f"{base}/positions/{{symbol_or_asset_id}}"
    yield "GET", Route(every, READ, lambda call: call.account.positions.records())
    yield "DELETE", _change(every, lambda call: Reply(call.account.close_all(call.now), _MULTI))
    yield "GET", Route(one, READ, lambda call: call.account.positions.get(_asset(call)))
    yield "DELETE", _change(one, _close)
    for action in ("exercise", "do-not-exercise"):
        path = f"{base}/positions/{{symbol_or_contract_id}}/{action}"
        yield "POST", _change(path, _exercise)


def _watchlists() -> Iterator[tuple[str, Route]]:
    every = "/v2/watchlists"
    yield "GET", Route(every, READ, lambda call: call.account.watchlists.short())
    yield "POST", Route(every, WRITE, lambda call: call.account.watchlists.create(call.document, call.now))
    for path in (f"{every}/{{watchlist_id}}", f"{every}:by_name"):
        yield "GET", Route(path, READ, lambda call: call.account.watchlists.get(watchlist(call)))
        for method, answer in watchlist_changes.items():
            yield method, Route(path, WRITE, answer)
    yield "DELETE", Route(f"{every}/{{watchlist_id}}/{{symbol}}", WRITE, remove_from_watchlist)
    yield "DELETE", Route(f"{every}:by_name/{{symbol}}", WRITE, remove_from_watchlist)  # seen in the C# client only


def _sampled() -> Iterator[tuple[str, Route]]:
    for key, paths in _SAMPLED.items():
        scope, method = key.split()
        for path in paths:
            yield method, Route(path, scope, samples.handler(method, path))


def _change(path: str, answer: Handler) -> Route:
    return Route(path, TRADE, answer, orders=True)


def activities(call: Call) -> object:
    kind = call.captures.get("activity_type")
    return call.account.activities([kind] if kind else call.listed("activity_types"), call.arguments)


def history(call: Call) -> object:
    return call.account.history(call.arguments, call.now)


def listed_assets(call: Call) -> object:
    return assets.listed(*(call.arguments.get(name) for name in ("asset_class", "status", "exchange")))


def asset(name: str, now: float) -> object:
    return assets.find(name, now).record()


def calendar(call: Call) -> list[dict[str, object]]:
    first, last = (call.arguments.get(name) for name in ("start", "end"))
    today = moments.day(call.now)
    return moments.calendar(
        moments.read_day(first) if first else today - dt.timedelta(days=365),
        moments.read_day(last) if last else today + dt.timedelta(days=365),
    )


def market_calendar(call: Call) -> object:
    """The newer form, by market."""
    return {"market": {"mic": call.captures["market"], "timezone": "America/New_York"}, "calendar": calendar(call)}


def announcements(call: Call) -> object:
    for name in ("ca_types", "since", "until"):
        call.needed(name)
    return [samples.announcement(call.now)]


def contracts(call: Call) -> object:
    """By underlying, side, strike and date; `page_token` is the number of the next one."""
    wanted = call.listed("underlying_symbols")
    lowest = number(call.arguments, "strike_price_gte", 0.0)
    highest = number(call.arguments, "strike_price_lte", 1e9)
    first, last = (call.arguments.get(f"expiration_date_{end}") for end in ("gte", "lte"))
    found = [
        each.record()
        for each in assets.contracts(call.now)
        if (not wanted or each.underlying.symbol in wanted)
        and call.arguments.get("type") in (None, "", each.right)
        and lowest <= each.strike <= highest
        and (not first or each.expires >= moments.read_day(first))
        and (not last or each.expires <= moments.read_day(last))
    ]
    start = call.number("page_token", 0, 10_000, least=0)
    end = start + call.number("limit", 100, 10_000)
    return {"option_contracts": found[start:end], "next_page_token": str(end) if end < len(found) else None}


def watchlist(call: Call) -> str:
    """The id of the list that a call is about, by id or by name."""
    number = call.captures.get("watchlist_id")
    return number or call.account.watchlists.named(call.needed("name"))


def remove_from_watchlist(call: Call) -> object:
    return call.account.watchlists.remove(watchlist(call), call.captures["symbol"], call.now)


def _delete_watchlist(call: Call) -> object:
    call.account.watchlists.delete(watchlist(call))
    return _NO_CONTENT


watchlist_changes: dict[str, Callable[[Call], object]] = {
    "POST": lambda call: call.account.watchlists.add(watchlist(call), call.document, call.now),
    "PUT": lambda call: call.account.watchlists.update(watchlist(call), call.document, call.now),
    "DELETE": _delete_watchlist,
}


def _orders(call: Call) -> object:
    return call.account.book.listed(call.arguments, call.listed("symbols"), call.number("limit", 50, 500))


def _replace(call: Call) -> object:
    return call.account.book.replace(call.captures["order_id"], call.document, call.now)


def _cancel(call: Call) -> object:
    call.account.book.cancel(call.captures["order_id"], call.now)
    return _NO_CONTENT


def _by_client_id(call: Call) -> object:
    return call.account.book.by_client_id(call.needed("client_order_id"))


def _asset(call: Call) -> assets.Asset:
    return assets.find(call.captures["symbol_or_asset_id"], call.now)


def _close(call: Call) -> object:
    return call.account.close(call.captures["symbol_or_asset_id"], call.arguments, call.now)


def _exercise(call: Call) -> object:
    contract = assets.contract(call.captures["symbol_or_contract_id"], call.now).asset()
    if call.account.positions.owned(contract) <= 0:
        raise unprocessable("no position to exercise")
    return Reply()


def _own_orders(call: Call) -> events.OfOrders:
    return events.OfOrders(call.account.book.updates, call.account.id)
