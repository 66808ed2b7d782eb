"""kwess 0.2.8 (requests). It places no orders; in file mode it prints errors and leaves."""

from importlib.metadata import version

import pytest

from tests.clients.conftest import Opener
from tests.clients.conversation import Conversation, Failed, Read, bare
from tests.clients.product import FILLED_ORDER, OPEN_ORDER, Demo
from tests.product import ACCOUNT

MARGIN = {"accounttype": "margin"}
YESTERDAY = {"days ago": 1}
WEEK = [{"time": "2026-01-05T00:00:00"}, {"time": "2026-01-10T00:00:00"}]
SIX_WEEKS = [{"time": "2026-01-01T00:00:00"}, {"time": "2026-02-15T00:00:00"}]
VARIANTS = [{"variantId": 1, "strategy": "Custom", "legs": [{"symbolId": 27426, "action": "Buy", "ratio": 1000}]}]

READS = {
    "get_accounts": Read([ACCOUNT], lambda got: [each["number"] for each in got]),
    "find_account_number": Read(ACCOUNT, str, ["margin"]),
    # more than 30 days: it asks twice
    "get_account_activities": Read([29, 15], lambda got: [len(part["activities"]) for part in got], SIX_WEEKS, MARGIN),
    "get_account_orders": Read(
        True,
        lambda got: {OPEN_ORDER, FILLED_ORDER} <= {each["id"] for each in got[0]["orders"]},
        [YESTERDAY],
        MARGIN,
    ),
    "get_account_orders_by_ids": Read(
        [OPEN_ORDER, FILLED_ORDER],
        lambda got: [each["id"] for each in got["orders"]],
        [f"{OPEN_ORDER},{FILLED_ORDER}"],
        MARGIN,
    ),
    "get_account_executions": Read(FILLED_ORDER, lambda got: got[0]["executions"][0]["orderId"], [YESTERDAY], MARGIN),
    "get_account_balances": Read(
        ["CAD", "USD"], lambda got: [each["currency"] for each in got["perCurrencyBalances"]], options=MARGIN
    ),
    "get_account_positions": Read(
        ["AAPL", "TD.TO"], lambda got: [each["symbol"] for each in got["positions"]], options=MARGIN
    ),
    "get_server_time": Read(["time"], lambda got: list(got[1])),
    # midnight of UTC is in the evening before, in Toronto: six days are touched
    "get_market_candles": Read(
        [6], lambda got: [len(part["candles"]) for part in got], WEEK, {"sid": 8049, "interval": "OneDay"}
    ),
    "get_market_quotes_options": Read(
        [24753669], lambda got: [each["symbolId"] for each in got["optionQuotes"]], [[24753669]]
    ),
    "get_market_quotes": Read(["AAPL", "MSFT"], lambda got: [each["symbol"] for each in got["quotes"]], ["8049,27426"]),
    "get_market_quotes, one": Read(["AAPL"], lambda got: [each["symbol"] for each in got["quotes"]], [8049]),
    "get_markets": Read(["TSX", "NASDAQ"], lambda got: [each["name"] for each in got["markets"]]),
    "get_symbol_options": Read("AAPL", lambda got: got["optionChain"][0]["chainPerRoot"][0]["optionRoot"], [8049]),
    "search_symbols": Read(["AAPL"], lambda got: [each["symbol"] for each in got["symbols"]], ["AAP"]),
    "get_symbols_by_ids": Read(
        ["AAPL", "MSFT"], lambda got: [each["symbol"] for each in got["symbols"]], ["8049,27426"]
    ),
    "get_symbols_by_ids, one": Read(["AAPL"], lambda got: [each["symbol"] for each in got["symbols"]], [8049]),
    "get_symbols_by_names": Read(
        [8049, 27426], lambda got: [each["symbolId"] for each in got["symbols"]], ["AAPL,MSFT"]
    ),
}
NOT_READS = {
    "get_market_quotes_strategies": "sends GET where Questrade takes POST: refused, below",
    "get_new_refresh_token": "asks Questrade's login host, whose address is fixed",
    "get_access_token": "hands out what it was given",
    "get_refresh_token": "hands out what it was given",
    "get_all": "a decorator that was left in the class",
    "build_datetime_string": "text",
    "object_to_qdstr": "text",
    "values_to_dobj": "text; raises AttributeError in this version",
    "values_to_qdstr": "text; raises AttributeError in this version",
}


@pytest.fixture(scope="session", params=["token file", "arguments"])
def client(request: pytest.FixtureRequest, demo: Demo, python_client: Opener) -> Conversation:
    """The client, with the file of `bearerd env`, and with the key and the address in its constructor."""
    client = python_client("kwess")
    if request.param == "token file":
        (client.home / "accessToken.json").write_text(demo.token_file("kwess"))
        client.make("kwess.Trader")
    else:
        client.make("kwess.Trader", store_tokens=False, token=demo.key, api_server=demo.url)
    return client


@pytest.mark.parametrize("method", READS)
def test_a_read_method_works(client: Conversation, method: str) -> None:
    """The method answers with what the simulated broker holds."""
    assert READS[method].expected == client.read(method, READS[method])


def test_no_method_is_left_out(client: Conversation) -> None:
    """Every public name of the class is read above or said to be something else, in the version of the README."""
    called = {bare(method) for method in READS}
    assert "0.2.8" == version("kwess")
    assert {*called, *NOT_READS} == client.methods("kwess.Trader")


def test_a_get_of_strategy_quotes_is_refused(client: Conversation, demo: Demo) -> None:
    """The one call that it sends with the wrong method ends here with 403."""
    calls = demo.calls

    with pytest.raises(Failed) as refused:
        client.call("get_market_quotes_strategies", VARIANTS)

    assert "403 Client Error: Forbidden" in refused.value.text + refused.value.printed
    assert calls == demo.calls


def test_an_address_with_a_slash_at_its_end_works(demo: Demo, python_client: Opener) -> None:
    """Then it calls `/questrade//v1/…`; that slash is the mount's own."""
    client = python_client("kwess")

    client.make("kwess.Trader", store_tokens=False, token=demo.key, api_server=f"{demo.url}/")

    assert ["TSX", "NASDAQ"] == [each["name"] for each in client.call("get_markets")["markets"]]
