"""Every call of Tradier's, and that there is no other."""

import re

import pytest

from proxy.brokers import builtin
from proxy.simulator.tradier.calls import Calls
from proxy.simulator.tradier.options import Options
from proxy.simulator.tradier.orders import OrderBook
from tests.simulator.tradier.support import ACCOUNT, LIMIT, App

# What stands in for a variable part of a path, and what a call needs besides.
PARTS = {"account": "VA000001", "order": "{order}", "watchlist": "default", "symbol": "f"}
NEEDS = {
    "symbols": "AAPL,F", "symbol": "AAPL", "expiration": "2026-03-06", "underlying": "F", "q": "app",
}  # fmt: skip
DELETES = ("watchlist_remove", "order_cancel", "watchlist_delete")  # in an order in which each finds its thing


def _rows() -> list[tuple[str, str, str]]:
    """Rows of the definition as the broker is sent them."""
    table = builtin("tradier").api("rest").table
    rows = [row for row in table.rows if row.id not in DELETES]
    rows += [row for name in DELETES for row in table.rows if row.id == name]
    return [(row.method, row.sent(row.path.encode()).decode(), row.scope) for row in rows]


def _plain(template: str) -> str:
    return re.sub(r"\{\w+\}", "{}", template)


def test_the_calls_are_those_of_the_definition() -> None:
    """Method, path and scope of each; the simulator knows no other and lacks none."""
    calls = Calls(OrderBook(), Options()).templates

    assert {(method, _plain(path), scope) for method, path, scope in _rows()} == {
        (method, _plain(template), scope) for method, template, scope in calls
    }


async def test_every_row_of_the_definition_is_answered(app: App) -> None:
    """200 and JSON, with the parameters that it needs in the query or in the form."""
    order = str((await app.place()).document["order"]["id"])
    answered: dict[str, tuple[int, bool]] = {}
    for method, template, _ in dict.fromkeys(_rows()):
        path = re.sub(r"\{(\w+)\}", lambda match: PARTS[match[1]], template).replace("{order}", order)
        form = {**NEEDS, **LIMIT, "name": f"list {len(answered)}"}
        if method == "GET":
            reply = await app.get(f"{path}?" + "&".join(f"{name}={value}" for name, value in NEEDS.items()))
        else:
            reply = await app.call(method, path, {} if method == "DELETE" else form)
        answered[f"{method} {template}"] = (reply.status, bool(reply.document))

    assert {(200, True)} == set(answered.values()), answered
    assert len(answered) == 44


@pytest.mark.parametrize("path", ["balances", "positions", "orders", "history", "gainloss"])
async def test_the_older_paths_answer_account_by_account(app: App, path: str) -> None:
    """The same as the newer ones, one level down."""
    newer = (await app.get(f"{ACCOUNT}/{path}")).document
    older = (await app.get(f"/v1/user/{path}")).document

    assert {"account_number": "VA000001", **newer} == older["accounts"]["account"]


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/v1/markets/history", "symbol"),
        ("/v1/markets/history?symbol=F&start=soon", "start"),
        ("/v1/markets/calendar?month=13", "month"),
        ("/v1/markets/calendar?year=99999999", "year"),
        (f"{ACCOUNT}/history?page=0", "page"),
        (f"{ACCOUNT}/orders/x", "id"),
        ("/v1/markets/timesales?symbol=F&interval=2min", "interval"),
    ],
)
async def test_a_bad_argument_is_named_in_plain_text(app: App, target: str, text: str) -> None:
    """400, `Invalid parameter, NAME: …`."""
    reply = await app.get(target)

    assert (400, True) == (reply.status, reply.body.startswith(f"Invalid parameter, {text}: ".encode()))


async def test_expirations_come_plain_or_in_full(app: App) -> None:
    """Dates alone, unless more is asked for; nothing for a symbol without options."""
    plain = (await app.get("/v1/markets/options/expirations?symbol=AAPL")).document["expirations"]
    full = (await app.get("/v1/markets/options/expirations?symbol=AAPL&strikes=true")).document["expirations"]

    assert ["2026-03-06", "2026-03-13", "2026-03-20", "2026-03-27"] == plain["date"]
    assert plain["date"] == [each["date"] for each in full["expiration"]]
    assert 11 == len(full["expiration"][0]["strikes"]["strike"])
    assert {"expirations": None} == (await app.get("/v1/markets/options/expirations?symbol=NONE")).document


async def test_a_chain_is_of_one_expiration(app: App) -> None:
    """Calls and puts, with greeks on request; `null` for another day."""
    chain = (await app.get("/v1/markets/options/chains?symbol=AAPL&expiration=2026-03-06&greeks=true")).document
    (day,) = {each["expiration_date"] for each in chain["options"]["option"]}

    assert ("2026-03-06", 22) == (day, len(chain["options"]["option"]))
    assert "delta" in chain["options"]["option"][0]["greeks"]
    other = await app.get("/v1/markets/options/chains?symbol=AAPL&expiration=2026-03-07")
    assert {"options": None} == other.document


async def test_on_a_day_off_timesales_are_of_the_last_trading_day(app: App) -> None:
    """Unless another day is asked for."""
    app.clock.time += 5 * 86_400
    await app.redeem()
    series = (await app.get("/v1/markets/timesales?symbol=AAPL")).document["series"]

    assert "2026-03-06T09:30:00" == series["data"][0]["time"]
    assert {"series": None} == (await app.get("/v1/markets/timesales?symbol=AAPL&start=2026-03-08")).document


async def test_session_answers_lead_to_this_simulator(app: App) -> None:
    """The form of the documentation; every session has an id of its own."""
    found = [(await app.call("POST", f"/v1/{kind}/events/session", {})).document for kind in ("markets", "accounts")]

    host = app.tradier.links().api_servers[1].removesuffix("/")
    urls = [f"{host}/v1/markets/events", f"{host}/v1/accounts/events"]
    assert urls == [each["stream"]["url"] for each in found]
    assert 2 == len({each["stream"]["sessionid"] for each in found})
