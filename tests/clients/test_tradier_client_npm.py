"""tradier-client 1.0.1 (npm, axios): it only reads, and says nothing of what goes wrong."""

import json
from collections.abc import Iterator, Mapping

import pytest

from tests.clients.conftest import HERE, NODE_TALK
from tests.clients.conversation import Conversation, Read, at, bare
from tests.clients.product import Demo
from tests.clients.tradier import words
from tests.clients.trap import Trap

READS: Mapping[str, Mapping[str, Read]] = {
    "client": {
        "quote": Read("AAPL", at("quote/symbol"), ["AAPL"]),
        "optionchain": Read("AAPL", at("option/0/root_symbol"), ["AAPL", "$EXPIRY"]),
        "optionstrikes": Read(188, at("strike/0"), ["AAPL", "$EXPIRY"]),
        "optionexpirations": Read(4, at("date/#"), ["AAPL"]),
        "historical": Read(1, at("#"), ["AAPL"]),
        "intradaystatus": Read(6, at("clock/#")),
        "marketcalendar": Read(3, at("calendar/#")),
    },
}
# What it makes of some answers is nothing: it looks for a field `data` in them. The path that the broker gets.
FUNDAMENTALS = "/beta/markets/fundamentals"
BROKEN = {
    "companysearch": "/v1/markets/search",
    "getCompanyInfo": f"{FUNDAMENTALS}/company",
    "getCorporateCalendar": f"{FUNDAMENTALS}/calendars",
    "getDividendInfo": f"{FUNDAMENTALS}/dividends",
    "getCorporateActions": f"{FUNDAMENTALS}/corporate_actions",
    "getRatios": f"{FUNDAMENTALS}/ratios",
    "getCorporateFinancials": f"{FUNDAMENTALS}/financials",
    "getPriceStats": f"{FUNDAMENTALS}/statistics",
}
NOT_READS = {"_throw": "raises"}
# Without times it asks for the running session, which there is only on some days.
SOMETIMES = "timesales"


@pytest.fixture(scope="session")
def client(demo: Demo, node: str, trap: Trap, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Conversation]:
    """Pointed at the mount by its two addresses.

    Its axios 0.16 heeds `http_proxy` and not `no_proxy`: only what goes to its own hosts, by HTTPS, meets the trap.
    """
    environ = {name: url for name, url in trap.environ.items() if name.lower() not in ("http_proxy", "all_proxy")}
    client = Conversation.open([node, NODE_TALK], tmp_path_factory.mktemp("tradier"), environ)
    client.words = words(demo)
    client.make("tradier-client:", demo.key)
    client.assign("_host", demo.at("tradier") + "/v1/")
    client.assign("_hostBeta", demo.at("tradier") + "/beta/")
    yield client
    client.close()


ROWS = [(on, method) for on, reads in READS.items() for method in reads]


@pytest.mark.parametrize(("on", "method"), ROWS)
def test_a_read_method_works(client: Conversation, on: str, method: str) -> None:
    """The method answers with what the simulated broker holds."""
    assert READS[on][method].expected == client.read(method, READS[on][method], on)


@pytest.mark.parametrize("method", [*BROKEN, SOMETIMES])
def test_a_method_that_hands_out_nothing_reaches_the_broker(client: Conversation, demo: Demo, method: str) -> None:
    """The call got through and was answered; what the package makes of it is its own affair."""
    path = BROKEN.get(method, "/v1/markets/timesales")
    before = demo.calls_of("tradier", "GET", path)

    found = client.call(method, "AAPL")

    assert found is None or method == SOMETIMES
    assert before + 1 == demo.calls_of("tradier", "GET", path)


def test_no_method_is_left_out(client: Conversation) -> None:
    """Every method is named above, in the version of the README."""
    assert "1.0.1" == json.loads((HERE / "node_modules/tradier-client/package.json").read_text())["version"]
    assert {*map(bare, READS["client"]), *BROKEN, *NOT_READS, SOMETIMES} == client.methods("client")
