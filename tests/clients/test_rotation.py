"""The token pair changes under the clients while they work."""

import time
from collections.abc import Sequence

from tests.clients.conftest import Opener
from tests.clients.conversation import Conversation
from tests.clients.product import Demo
from tests.product import ACCOUNT

SECONDS = 3.0
SETTLED = 20  # calls with the new pair: more than are out at any time
Calls = Sequence[tuple[str, Sequence[object]]]


def clients(demo: Demo, python: Opener, node: Opener) -> dict[str, tuple[Conversation, Calls]]:
    """Each client, ready to work, and what it does over and over."""
    one, two, three, four = (python(name) for name in ("questrade_api", "qtrade", "kwess", "qt_api"))
    (one.home / "questrade.json").write_text(demo.token_file("questrade_api"))
    one.make("questrade_api.Questrade", token_path="questrade.json")
    (two.home / "access_token.yml").write_text(demo.token_file("qtrade"))
    two.make("qtrade.Questrade", token_yaml="access_token.yml")
    three.make("kwess.Trader", store_tokens=False, token=demo.key, api_server=demo.url)
    four.assign("qt_api.qt.TOKEN_URL", demo.token_url)
    four.make("qt_api.qt.Questrade", access_code=demo.key, acct_flag="local")
    five = node("questrade")
    five.make({"accessToken": demo.key})
    five.assign("apiUrl", f"{demo.url}/v1")
    five.keep("account", "getPrimaryAccount")
    return {
        "questrade-api": (one, [("time", []), ("accounts", []), ("account_positions", [ACCOUNT])]),
        # a POST that only reads is among them
        "qtrade": (two, [("get_account_id", []), ("get_quote", ["AAPL"]), ("get_option_quotes", [None, [24753669]])]),
        "kwess": (three, [("get_server_time", []), ("get_market_quotes_options", [[24753669]])]),
        "qt-api": (four, [("get_account", []), ("get_balances", [ACCOUNT])]),
        "questrade": (five, [("account.getBalances", []), ("client.getAccounts", [])]),
    }


def meet(demo: Demo, fault: str, end: float) -> bool:
    """Make one fault, and wait until it has been met: a new pair, and calls that work with it.

    A call is repeated once only, so that the next fault has to wait for this one's last repetition.
    """
    start = demo.state()["generation"]
    demo.control(fault)
    goal: int | None = None
    while time.monotonic() < end:
        state = demo.state()
        current = state["authorizations"]["current"]
        if goal is None and state["generation"] > start:
            goal = current + SETTLED
        if goal is not None and current >= goal:
            return True
        time.sleep(0.02)
    return False


def test_no_client_notices_that_tokens_rotate(demo: Demo, python_client: Opener, node_client: Opener) -> None:
    """Five clients loop over reads while the token dies and the API server moves: not one call fails."""
    working = clients(demo, python_client, node_client)
    before = demo.state()
    for client, calls in working.values():
        client.begin_loop(calls, SECONDS)
    end = time.monotonic() + SECONDS
    met = 0
    while meet(demo, "/expire" if met % 2 else "/move-api-server", end):
        met += 1

    results = {name: client.end_loop() for name, (client, _) in working.items()}

    after = demo.state()
    assert {name: [] for name in working} == {name: failures for name, (_, failures) in results.items()}
    assert all(made > 0 for made, _ in results.values()), results
    assert met >= 2  # both kinds, on the slowest machine
    # five clients, one renewal a fault; the last fault may have come as they finished
    assert met <= after["rotations"] - before["rotations"] <= met + 1
    assert before["reused_refresh_tokens"] == after["reused_refresh_tokens"]
    # only tokens of the broker itself ever went there
    assert (0, 0) == (after["authorizations"]["foreign"], after["authorizations"]["none"])
