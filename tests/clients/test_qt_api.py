"""qt-api 0.2.5 (httpx, pydantic). It places no orders."""

import os
from importlib.metadata import version

import pytest
import yaml

from tests.clients.conftest import Opener
from tests.clients.conversation import Conversation, Read, bare
from tests.clients.product import FILLED_ORDER, Demo
from tests.product import ACCOUNT

READS = {
    "get_symbols_quote": Read([8049, 27426], lambda got: [each["symbolId"] for each in got], [["AAPL", "MSFT"]]),
    "get_account": Read([ACCOUNT], lambda got: [each["number"] for each in got]),
    "get_activities": Read(
        ["DIV"] * 5, lambda got: [each["action"] for each in got], [ACCOUNT, "2026-01-05", "2026-01-09"]
    ),
    "get_positions": Read(["AAPL", "TD.TO"], lambda got: [each["symbol"] for each in got], [ACCOUNT]),
    "get_executions": Read(FILLED_ORDER, lambda got: got[0]["orderId"], [ACCOUNT, "2020-01-01", "2100-01-01"]),
    # today's, if no times are given
    "get_executions, bare": Read(True, lambda got: {each["orderId"] for each in got} <= {FILLED_ORDER}, [ACCOUNT]),
    "get_balances": Read(
        ["CAD", "USD"], lambda got: [each["currency"] for each in got["perCurrencyBalances"]], [ACCOUNT]
    ),
    "get_time": Read(["time"], list),
    # a function beside the class, which reads 30 days at a time
    "qt_api.utils.get_acct_activities": Read(
        {"DIV"}, lambda got: {each["action"] for each in got}, [ACCOUNT, 2], {"verbose": False}
    ),
}
NOT_READS = {"refresh_access_token": "asks the token endpoint"}


@pytest.fixture(scope="session", params=["token file", "token endpoint"])
def client(request: pytest.FixtureRequest, demo: Demo, python_client: Opener) -> Conversation:
    """The client, with the file of `bearerd env`, and with nothing but its token URL changed."""
    client = python_client("qt_api")
    if request.param == "token file":
        (client.home / ".qt_api").mkdir()
        (client.home / ".qt_api" / "creds_local.yaml").write_text(demo.token_file("qt-api"))
        client.make("qt_api.qt.Questrade", acct_flag="local")
    else:
        client.assign("qt_api.qt.TOKEN_URL", demo.token_url)
        client.make("qt_api.qt.Questrade", access_code=demo.key, acct_flag="local")
    return client


@pytest.mark.parametrize("method", READS)
def test_a_read_method_works(client: Conversation, method: str) -> None:
    """The method answers with what the simulated broker holds."""
    assert READS[method].expected == client.read(method, READS[method])


def test_no_method_is_left_out(client: Conversation) -> None:
    """Every public name of the class is read above or said to be something else, in the version of the README."""
    called = {bare(method) for method in READS}
    assert "0.2.5" == version("qt-api")
    assert {*called, *NOT_READS} == client.methods("qt_api.qt.Questrade") | {"qt_api.utils.get_acct_activities"}


def test_an_old_token_file_is_renewed_at_the_emulated_endpoint(demo: Demo, python_client: Opener) -> None:
    """The client judges by the age of its file: it asks our token endpoint, writes the answer and goes on."""
    client = python_client("qt_api")
    client.assign("qt_api.qt.TOKEN_URL", demo.token_url)
    client.make("qt_api.qt.Questrade", access_code=demo.key, acct_flag="local")
    file = client.home / ".qt_api" / "creds_local.yaml"
    os.utime(file, (0, 0))

    assert ACCOUNT == client.call("get_account")[0]["number"]

    assert 0 < file.stat().st_mtime
    assert (demo.key, f"{demo.url}/") == tuple(
        yaml.safe_load(file.read_text())[name] for name in ("refresh_token", "api_server")
    )
