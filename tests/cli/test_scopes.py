"""`bearerd scopes`: the same answers as the gate's, with the lines of the configuration."""

import json

import pytest

from tests.cli.support import Person, invoke
from tests.product import ACCOUNT


def test_a_call_within_the_scopes_is_allowed(person: Person) -> None:
    """Exit code 0, and the list that allows it, with its line."""
    path = str(person.write_config())
    result = invoke("scopes", "check", "GET", "/questrade/v1/accounts", "-c", path)

    assert 0 == result.exit_code
    assert f"ALLOWED  needs scope read_acc; mount questrade has read_acc, read_md ({path}:10)\n" == result.stdout


def test_an_order_is_denied_by_both_lists(person: Person) -> None:
    """Exit code 1, and both places where `trade` is missing."""
    path = str(person.write_config())
    order = ["POST", f"/questrade/v1/accounts/{ACCOUNT}/orders"]
    result = invoke("scopes", "check", *order, "--client", "notebook", "-c", path)

    assert 1 == result.exit_code
    assert "DENIED  needs scope trade; mount questrade has read_acc, read_md" in result.stdout
    assert f"client notebook has read_md ({path}:12)" in result.stdout


def test_a_client_may_have_less_than_its_mount(person: Person) -> None:
    """What the mount allows is denied to a client that lacks it."""
    path = str(person.write_config())
    result = invoke("scopes", "check", "GET", "/questrade/v1/accounts", "--client", "notebook", "--json", "-c", path)

    found = json.loads(result.stdout)
    assert (False, "read_acc", "/v1/accounts") == (found["allowed"], found["scope"], found["row"])


@pytest.mark.parametrize(
    ("method", "path", "reason"),
    [
        ("HEAD", "/questrade/v1/accounts", "HEAD is not allowed here, only GET"),
        ("GET", "/questrade/v1/nothing", "no row for this path"),
        ("GET", "/tradier/v1/accounts", "there is no such mount; known: questrade"),
        ("GET", "/questrade/v1/../accounts", "`..` segment"),
    ],
)
def test_what_no_row_takes_is_denied(method: str, path: str, reason: str, person: Person) -> None:
    """The reason is the gate's own."""
    result = invoke("scopes", "check", method, path, "-c", str(person.write_config()))

    assert 1 == result.exit_code
    assert reason in result.stdout


def test_the_emulated_token_endpoint_is_allowed(person: Person) -> None:
    """bearerd answers it itself."""
    path = str(person.write_config())
    result = invoke("scopes", "check", "GET", "/questrade/oauth2/token?grant_type=refresh_token", "-c", path)

    assert 0 == result.exit_code
    assert "nothing is sent" in result.stdout


def test_an_unknown_client_is_named(person: Person) -> None:
    """With those that there are."""
    result = invoke("scopes", "check", "GET", "/questrade/v1/time", "--client", "bot", "-c", str(person.write_config()))

    assert 1 == result.exit_code
    assert "there is no client 'bot' under `clients:`; known: notebook" in result.stderr


def test_the_list_has_every_row_below_its_scope(person: Person) -> None:
    """Scopes that the mount has are marked; orders are listed below the one that it lacks."""
    shown = invoke("scopes", "list", "questrade", "-c", str(person.write_config())).stdout

    assert "✓ read_acc: " in shown
    assert "/v1/accounts/{account}/positions" in shown.partition("✓ read_md: ")[0]
    assert "DELETE" in shown.partition("✗ trade: ")[2]


def test_the_list_as_data(person: Person) -> None:
    """Each row with its scope and whether it passes."""
    path = str(person.write_config())
    found = json.loads(invoke("scopes", "list", "questrade", "--client", "notebook", "--json", "-c", path).stdout)

    allowed = {row["id"]: row["allowed"] for row in found["rows"]}
    assert ["read_md"] == found["scopes"]
    assert (True, False, False) == (allowed["candles"], allowed["accounts"], allowed["order_new"])


def test_the_list_of_an_unknown_mount(person: Person) -> None:
    """A failure that names the mounts."""
    result = invoke("scopes", "list", "alpaca", "-c", str(person.write_config()))

    assert 1 == result.exit_code
    assert "known: questrade" in result.stderr


ALPACA = """\
version: 1
mounts:
  alpaca: {broker: alpaca, environment: paper, scopes: ["account:read", trading]}
  alpaca-data: {broker: alpaca, environment: paper, api: data, grant: alpaca, scopes: [data]}
  tradier: {broker: tradier, environment: live, scopes: [market, read]}
  partner: {broker: alpaca, environment: sandbox, api: broker, scopes: ["broker:oauth"]}
grants: {alpaca: {login: keys}, partner: {login: broker-basic}}
clients: {bot: {alpaca: ["account:read"], alpaca-data: [data]}}
"""


@pytest.fixture
def alpaca(person: Person) -> str:
    """A configuration with several APIs of one broker."""
    person.config.write_text(ALPACA)
    return str(person.config)


@pytest.mark.parametrize(
    ("method", "path", "code", "said"),
    [
        ("GET", "/alpaca/v2/orders:by_client_order_id", 0, "needs scope account:read"),
        ("GET", "/alpaca/v2/assets/BTC%2FUSD", 0, "needs scope account:read"),
        ("POST", "/alpaca/v2/wallets/transfers", 1, "no scope opens it: the broker documents none for it"),
        ("GET", "/alpaca/v2/stocks/bars", 1, "no row for this path"),
        ("GET", "/alpaca-data/v2/stocks/bars", 0, "needs scope data; mount alpaca-data has data"),
        ("GET", "/alpaca/stream", 0, "it opens a WebSocket"),
        ("GET", "/tradier/v1/beta/markets/fundamentals/ratios", 0, "needs scope market"),
    ],
)
def test_a_mount_is_judged_by_the_rows_of_its_own_api(
    method: str, path: str, code: int, said: str, alpaca: str
) -> None:
    """A call of another API is no call here; what no scope opens says so."""
    result = invoke("scopes", "check", method, path, "-c", alpaca)

    assert code == result.exit_code
    assert said in result.stdout


def test_the_list_shows_what_is_never_allowed(alpaca: str) -> None:
    """Last, below a line of its own; and only the scopes of the mount's own API."""
    shown = invoke("scopes", "list", "alpaca", "-c", alpaca).stdout

    scopes, _, denied = shown.partition("no scope opens it: the broker documents none for it")
    assert 7 == len(denied.strip().splitlines())
    assert "/v2/tokenization/mint" in denied
    assert ("✓ trading: " in scopes, "✗ account:write: " in scopes, "data: " in scopes) == (True, True, False)
    assert "WebSocket" in scopes


def test_the_list_says_what_becomes_of_a_call(alpaca: str) -> None:
    """Another path at the broker, a secret that is put in."""
    assert 7 == invoke("scopes", "list", "tradier", "-c", alpaca).stdout.count("sent as /beta/…")
    assert 2 == invoke("scopes", "list", "partner", "-c", alpaca).stdout.count("client_secret is filled in here")


def test_denied_rows_are_data_too(alpaca: str) -> None:
    """Without a scope, and not allowed."""
    found = json.loads(invoke("scopes", "list", "alpaca", "--client", "bot", "--json", "-c", alpaca).stdout)

    assert ("trading", ["account:read"]) == (found["api"], found["scopes"])
    assert {(None, False)} == {(row["scope"], row["allowed"]) for row in found["rows"] if row["denied"]}


def guarded(person: Person, guards: str) -> str:
    """A configuration whose mount may trade, within these guards."""
    path = person.write_config()
    text = path.read_text("utf-8").replace("[read_acc, read_md]", f"[read_acc, trade]\n    guards: {guards}")
    path.write_text(text.replace("[read_md]", "[read_acc]"), "utf-8")
    return str(path)


def test_the_list_says_what_a_call_does_to_orders(person: Person) -> None:
    """Place, change, lower; and what changes something else."""
    path = guarded(person, "{max_quantity: 5}")
    lines = invoke("scopes", "list", "questrade", "-c", path).stdout.splitlines()
    texts = ["places an order", "changes an order", "lowers a risk"]
    assert [3, 1, 1] == [sum(line.endswith(text) for line in lines) for text in texts]

    rows = json.loads(invoke("scopes", "list", "questrade", "--json", "-c", path).stdout)["rows"]
    kinds = {row["id"]: row["order"] for row in rows if row["mutating"] or row["id"] == "orders"}
    expected = {"order_new": "place", "order_replace": "change", "order_cancel": "lower", "orders": None}
    assert expected.items() <= kinds.items()


def test_a_check_asks_the_guards_that_need_no_body(person: Person) -> None:
    """An account that is not on the list is denied, and an order is left to its guards."""
    path = guarded(person, f"{{accounts: ['{ACCOUNT}'], max_quantity: 5}}")

    denied = invoke("scopes", "check", "GET", "/questrade/v1/accounts/11111111/balances", "-c", path)
    assert (1, True) == (denied.exit_code, "names an account that is not allowed" in denied.stdout)
    allowed = invoke("scopes", "check", "GET", f"/questrade/v1/accounts/{ACCOUNT}/balances", "-c", path)
    assert 0 == allowed.exit_code
    order = invoke("scopes", "check", "POST", f"/questrade/v1/accounts/{ACCOUNT}/orders", "-c", path)
    assert (0, True) == (order.exit_code, "mounts.questrade.guards will judge the order itself" in order.stdout)
    cancel = invoke("scopes", "check", "DELETE", f"/questrade/v1/accounts/{ACCOUNT}/orders/1", "-c", path)
    assert (0, False) == (cancel.exit_code, "judge the order" in cancel.stdout)
