"""alpaca-py 0.44.0 (requests), BrokerClient: its key pair comes as HTTP Basic."""

import json
from collections.abc import Mapping

import pytest

from tests.clients.alpaca import check_that_none_is_left_out, new_id
from tests.clients.conftest import Opener
from tests.clients.conversation import Conversation, Failed, Read, at
from tests.clients.product import Demo

TRADING, BROKER = "alpaca.trading.requests", "alpaca.broker.requests"
READS: Mapping[str, Mapping[str, Read]] = {
    "client": {
        "list_accounts": Read(["551000001", "551000002"], at("*/account_number")),
        "get_account_by_id": Read("551000001", at("account_number"), ["$ACCOUNT"]),
        "get_trade_account_by_id": Read("551000001", at("account_number"), ["$ACCOUNT"]),
        "get_trade_configuration_for_account": Read("entry", at("dtbp_check"), ["$ACCOUNT"]),
        "get_cip_data_for_account_by_id": Read(None, at(""), ["$ACCOUNT"]),
        "get_account_activities": Read(
            ["DIV"], at("*/activity_type"), [{"new": f"{BROKER}.GetAccountActivitiesRequest", "account_id": "$ACCOUNT"}]
        ),
        "get_ach_relationships_for_account": Read(["APPROVED"], at("*/status"), ["$ACCOUNT"]),
        "get_banks_for_account": Read(["Bank of Simulation"], at("*/name"), ["$ACCOUNT"]),
        "get_transfers_for_account": Read(["INCOMING"], at("*/direction"), ["$ACCOUNT"]),
        "get_all_accounts_positions": Read(2, at("positions/#")),
        "get_all_positions_for_account": Read(["AAPL", "BTCUSD"], at("*/symbol"), ["$ACCOUNT"]),
        "get_open_position_for_account": Read("AAPL", at("symbol"), ["$ACCOUNT", "AAPL"]),
        "get_all_assets": Read(["AAPL", "MSFT", "TSLA", "AMZN", "SPY", "BRK.B"], at("*/symbol")),
        "get_asset": Read("AAPL", at("symbol"), ["AAPL"]),
        "get_calendar": Read(
            ["2026-01-05", "2026-01-06", "2026-01-07"],
            at("*/date"),
            [{"new": f"{TRADING}.GetCalendarRequest", "start": {"date": "2026-01-05"}, "end": {"date": "2026-01-07"}}],
        ),
        "get_clock": Read(4, at("#")),
        "get_corporate_announcements": Read(
            ["AAPL"],
            at("*/initiating_symbol"),
            [
                {
                    "new": f"{TRADING}.GetCorporateAnnouncementsRequest",
                    "ca_types": ["dividend"],
                    "since": {"date": "2026-01-01"},
                    "until": {"date": "2026-02-01"},
                }
            ],
        ),
        "get_corporate_announcement_by_id": Read("AAPL", at("initiating_symbol"), ["$ANNOUNCEMENT"]),
        "get_journals": Read("executed", at("0/status")),
        "get_journal_by_id": Read("executed", at("status"), ["$JOURNAL"]),
        "get_order_for_account_by_client_id": Read("AAPL", at("symbol"), ["$ACCOUNT", "$MINE"]),
        "get_order_for_account_by_id": Read("AAPL", at("symbol"), ["$ACCOUNT", "$ORDER"]),
        "get_orders_for_account": Read("AAPL", at("0/symbol"), ["$ACCOUNT"]),
        "get_portfolio_history_for_account": Read("1D", at("timeframe"), ["$ACCOUNT"]),
        "get_all_portfolios": Read(["Balanced"], at("*/name")),
        "get_portfolio_by_id": Read("Balanced", at("name"), ["$PORTFOLIO"]),
        "get_all_runs": Read("QUEUED", at("0/status")),
        "get_run_by_id": Read("QUEUED", at("status"), ["$RUN"]),
        "get_all_subscriptions": Read(1, at("#")),
        "get_subscription_by_id": Read(5, at("#"), ["$SUBSCRIPTION"]),
        "get_trade_documents_for_account": Read(["account_statement"], at("*/type"), ["$ACCOUNT"]),
        "get_trade_document_for_account_by_id": Read("account_statement", at("type"), ["$ACCOUNT", "$DOCUMENT"]),
        "get_watchlists_for_account": Read("Primary Watchlist", at("0/name"), ["$ACCOUNT"]),
        "get_watchlist_for_account_by_id": Read("Primary Watchlist", at("name"), ["$ACCOUNT", "$WATCHLIST"]),
        "get": Read(2, at("#"), ["/accounts"]),
        "download_trade_document_for_account_by_id": Read(None, at(""), ["$ACCOUNT", "$DOCUMENT", "doc.pdf"]),
    },
}
CLASSES = {"client": "alpaca.broker.client.BrokerClient"}
NOT_READS: Mapping[str, Mapping[str, str]] = {
    "client": {
        "delete": "what the others call",
        "patch": "what the others call",
        "post": "what the others call",
        "put": "what the others call",
        "response_wrapper": "sends nothing",
        "submit_order_for_account": "places an order",
        "close_position_for_account": "places an order",
        "close_all_positions_for_account": "places orders",
        "replace_order_for_account_by_id": "changes an order",
        "cancel_order_for_account_by_id": "cancels orders",
        "cancel_orders_for_account": "cancels orders",
        "exercise_options_position_for_account_by_id": "exercises an option",
        "create_account": "opens or changes an account",
        "update_account": "opens or changes an account",
        "close_account": "opens or changes an account",
        "delete_account": "opens or changes an account",
        "update_trade_configuration_for_account": "opens or changes an account",
        "create_transfer_for_account": "moves money",
        "cancel_transfer_for_account": "moves money",
        "create_journal": "moves money",
        "create_batch_journal": "moves money",
        "create_reverse_batch_journal": "moves money",
        "cancel_journal_by_id": "moves money",
        "create_bank_for_account": "changes banks",
        "delete_bank_for_account": "changes banks",
        "create_ach_relationship_for_account": "changes banks",
        "delete_ach_relationship_for_account": "changes banks",
        "upload_cip_data_for_account_by_id": "sends documents",
        "upload_documents_to_account": "sends documents",
        "create_portfolio": "changes rebalancing",
        "update_portfolio_by_id": "changes rebalancing",
        "inactivate_portfolio_by_id": "changes rebalancing",
        "create_subscription": "changes rebalancing",
        "unsubscribe_account": "changes rebalancing",
        "create_manual_run": "changes rebalancing",
        "cancel_run_by_id": "changes rebalancing",
        "create_watchlist_for_account": "changes a watchlist",
        "update_watchlist_for_account_by_id": "changes a watchlist",
        "add_asset_to_watchlist_for_account_by_id": "changes a watchlist",
        "remove_asset_from_watchlist_for_account_by_id": "changes a watchlist",
        "delete_watchlist_from_account_by_id": "changes a watchlist",
        "get_account_status_events": "a stream without an end",
        "get_journal_events": "a stream without an end",
        "get_non_trading_activity_events": "a stream without an end",
        "get_trade_events": "a stream without an end",
        "get_transfer_events": "a stream without an end",
    }
}
KEPT = {
    "WATCHLIST": "get_watchlists_for_account",
    "DOCUMENT": "get_trade_documents_for_account",
    "JOURNAL": "get_journals",
    "PORTFOLIO": "get_all_portfolios",
    "RUN": "get_all_runs",
    "SUBSCRIPTION": "get_all_subscriptions",
}


def order(mine: str) -> dict[str, object]:
    fields = {"symbol": "AAPL", "qty": 1, "limit_price": 100, "side": "buy", "time_in_force": "day"}
    return {"new": f"{BROKER}.LimitOrderRequest", **fields, "client_order_id": mine}


def opened(client: Conversation, demo: Demo, key: str) -> Conversation:
    """Pointed at the mount by `url_override`; its words are the first of what the broker has."""
    client.words = {"ACCOUNT": demo.account("alpaca", 1), "MINE": new_id()}
    client.make(CLASSES["client"], "local", key, url_override=demo.at("alpaca-broker"))
    for word, method in KEPT.items():
        account = ["$ACCOUNT"] if method.endswith("_for_account") else []
        client.words[word] = client.call(method, *account)[0]["id"]
    since, until = {"date": "2026-01-01"}, {"date": "2026-02-01"}
    dividends = {"new": f"{TRADING}.GetCorporateAnnouncementsRequest", "ca_types": ["dividend"]}
    found = client.call("get_corporate_announcements", {**dividends, "since": since, "until": until})
    client.words["ANNOUNCEMENT"] = found[0]["id"]
    return client


@pytest.fixture(scope="session")
def client(demo: Demo, python_client: Opener) -> Conversation:
    """With the key that may do everything but orders, and an order that somebody else has placed."""
    client = opened(python_client("alpaca_py"), demo, demo.key)
    client.make(CLASSES["client"], "local", demo.trader_key, url_override=demo.at("alpaca-broker"), on="trader")
    placed = client.call("submit_order_for_account", "$ACCOUNT", order("$MINE"), on="trader")
    client.words["ORDER"] = placed["id"]
    return client


ROWS = [(on, method) for on, reads in READS.items() for method in reads]


@pytest.mark.parametrize(("on", "method"), ROWS)
def test_a_read_method_works(client: Conversation, on: str, method: str) -> None:
    """The method answers with what the simulated broker holds."""
    assert READS[on][method].expected == client.read(method, READS[on][method], on)


@pytest.mark.parametrize("method", ["get_account_status_events", "get_trade_events", "get_non_trading_activity_events"])
def test_events_are_read(client: Conversation, method: str) -> None:
    """A stream that its caller gives an end: the client's own reader takes the events, and sees the end."""
    found = client.call(method, {"new": f"{BROKER}.GetEventsRequest", "since_id": 0, "until_id": 1})

    assert [1] == [json.loads(data)["event_id"] for data in found]


def test_no_method_is_left_out(client: Conversation) -> None:
    """Every public method of its classes is read above or said to be something else, in the version of the README."""
    check_that_none_is_left_out(client, CLASSES, READS, NOT_READS)


def test_an_order_is_refused_without_its_scope(client: Conversation, demo: Demo) -> None:
    """The client's error holds our code and sentence, and the broker hears nothing."""
    placed, reached = demo.placed("alpaca"), demo.reached("alpaca")

    with pytest.raises(Failed, match=r'"code": ?40301'):
        client.call("submit_order_for_account", "$ACCOUNT", order(new_id()))

    assert (placed, reached) == (demo.placed("alpaca"), demo.reached("alpaca"))


def test_with_its_scope_an_order_is_placed_exactly_once(client: Conversation, demo: Demo) -> None:
    """Placed, then cancelled."""
    placed, reached = demo.placed("alpaca"), demo.reached("alpaca")

    answer = client.call("submit_order_for_account", "$ACCOUNT", order(new_id()), on="trader")

    assert "AAPL" == answer["symbol"]
    assert (placed + 1, reached + 1) == (demo.placed("alpaca"), demo.reached("alpaca"))
    client.call("cancel_order_for_account_by_id", "$ACCOUNT", answer["id"], on="trader")
