"""questrade-api 1.0.3 (urllib): every property and method of its one class reads."""

import configparser
import json
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.clients.conftest import Opener
from tests.clients.conversation import Conversation, Read
from tests.clients.product import FILLED_ORDER, OPEN_ORDER, Demo
from tests.product import ACCOUNT

READS = {
    "time": Read(["time"], list),
    "accounts": Read([ACCOUNT], lambda got: [each["number"] for each in got["accounts"]]),
    "account_positions": Read(["AAPL", "TD.TO"], lambda got: [each["symbol"] for each in got["positions"]], [ACCOUNT]),
    "account_balances": Read(
        ["CAD", "USD"], lambda got: [each["currency"] for each in got["perCurrencyBalances"]], [ACCOUNT]
    ),
    "account_executions": Read(
        FILLED_ORDER,
        lambda got: got["executions"][0]["orderId"],
        [ACCOUNT],
        {"startTime": "2020-01-01T00:00:00-05:00", "endTime": "2100-01-01T00:00:00-05:00"},
    ),
    "account_orders": Read(
        [OPEN_ORDER, FILLED_ORDER],
        lambda got: [each["id"] for each in got["orders"]],
        [ACCOUNT],
        {"ids": f"{OPEN_ORDER}, {FILLED_ORDER}"},
    ),
    "account_order": Read([OPEN_ORDER], lambda got: [each["id"] for each in got["orders"]], [ACCOUNT, OPEN_ORDER]),
    # without times it asks for the last day, in microseconds and with the offset +00:00
    "account_activities": Read(True, lambda got: {each["action"] for each in got["activities"]} <= {"DIV"}, [ACCOUNT]),
    "symbol": Read("AAPL", lambda got: got["symbols"][0]["symbol"], [8049]),
    "symbols": Read(
        ["AAPL", "MSFT"], lambda got: [each["symbol"] for each in got["symbols"]], options={"ids": "8049, 27426"}
    ),
    "symbols_search": Read(
        ["AAPL"], lambda got: [each["symbol"] for each in got["symbols"]], options={"prefix": "AAP"}
    ),
    "symbol_options": Read("AAPL", lambda got: got["optionChain"][0]["chainPerRoot"][0]["optionRoot"], [8049]),
    "markets": Read(["TSX", "NASDAQ"], lambda got: [each["name"] for each in got["markets"]]),
    "markets_quote": Read(["AAPL"], lambda got: [each["symbol"] for each in got["quotes"]], [8049]),
    "markets_quotes": Read(
        ["AAPL", "MSFT"], lambda got: [each["symbol"] for each in got["quotes"]], options={"ids": "8049,27426"}
    ),
    "markets_options": Read(
        [24753669], lambda got: [each["symbolId"] for each in got["optionQuotes"]], options={"optionIds": [24753669]}
    ),
    "markets_strategies": Read(
        [1],
        lambda got: [each["variantId"] for each in got["strategyQuotes"]],
        options={
            "variants": [
                {
                    "variantId": 1,
                    "strategy": "Custom",
                    "legs": [{"symbolId": 27426, "action": "Buy", "ratio": 1000}],
                }
            ]
        },
    ),
    "markets_candles": Read(
        5,
        lambda got: len(got["candles"]),
        [8049],
        {"interval": "OneDay", "startTime": "2026-01-05T00:00:00-05:00", "endTime": "2026-01-10T00:00:00-05:00"},
    ),
}


def redirected(demo: Demo, home: Path) -> str:
    """A copy of the package's own configuration with one line changed, as its documentation tells."""
    spec = find_spec("questrade_api")
    assert spec is not None
    assert spec.origin is not None
    config = configparser.ConfigParser()
    config.read(Path(spec.origin).parent / "questrade.cfg")
    config["Auth"]["RefreshURL"] = demo.token_url + "{}"
    path = home / "local.cfg"
    with path.open("w") as file:
        config.write(file)
    return str(path)


@pytest.fixture(scope="session", params=["token file", "token endpoint"])
def client(request: pytest.FixtureRequest, demo: Demo, python_client: Opener) -> Conversation:
    """The client, with the file of `bearerd env`, and with nothing but its token URL changed."""
    client = python_client("questrade_api")
    if request.param == "token file":
        (client.home / "questrade.json").write_text(demo.token_file("questrade_api"))
        client.make("questrade_api.Questrade", token_path="questrade.json")
    else:
        config = redirected(demo, client.home)
        client.make("questrade_api.Questrade", config=config, token_path="tokens.json", refresh_token=demo.key)
    return client


@pytest.mark.parametrize("method", READS)
def test_a_read_method_works(client: Conversation, method: str) -> None:
    """The method answers with what the simulated broker holds."""
    assert READS[method].expected == client.read(method, READS[method])


def test_no_method_is_left_out(client: Conversation) -> None:
    """The table above has every public name of the class, in the version that the README names."""
    assert "1.0.3" == version("questrade-api")
    assert set(READS) == client.methods("questrade_api.Questrade")


def test_an_expired_token_file_is_renewed_at_the_emulated_endpoint(demo: Demo, python_client: Opener) -> None:
    """The client believes that its tokens have expired, asks our token endpoint, and goes on with the answer."""
    client = python_client("questrade_api")
    tokens = client.home / "tokens.json"
    old = {"access_token": "old", "token_type": "Bearer", "expires_in": 1800, "refresh_token": demo.key}
    tokens.write_text(json.dumps({**old, "api_server": "http://127.0.0.1:1/", "expires_at": "1"}))
    client.make("questrade_api.Questrade", config=redirected(demo, client.home), token_path="tokens.json")

    accounts = client.call("accounts")

    assert ACCOUNT == accounts["accounts"][0]["number"]
    written = json.loads(tokens.read_text())
    assert (demo.key, demo.key, f"{demo.url}/") == (
        written["access_token"],
        written["refresh_token"],
        written["api_server"],
    )


def test_a_refusal_is_json_that_the_client_can_hand_out(client: Conversation, demo: Demo) -> None:
    """It returns the body of an error as if it were data: code and message are in it, and nothing went upstream."""
    before = demo.calls

    answer = client.call("markets_options", stream=True, optionIds=[24753669])

    assert (40302, "guard-denied") == (answer["code"], answer["type"].rsplit("/", 1)[-1])
    assert before == demo.calls
