"""A broker of one's own, end to end: no code of ours knows it, its definition and its simulator are files."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.settings import read
from proxy.tokens.errands import LoginFailed
from tests.cli.support import invoke
from tests.ownhouse import EXAMPLE, EXAMPLE_SIMULATOR, NOON, ROOT, OwnHouse, described, own_house

HASH = "0123456789ABCDEF" * 4
ORDERS = f"/schwab/trader/v1/accounts/{HASH}/orders"
READING = {"schwab": ["account.read"], "schwab-data": ["market"]}
TRADING = {"schwab": ["account.read", "trade"], "schwab-data": ["market"]}
SAMPLES = {
    "account": HASH, "order": "17", "transaction": "18", "symbol": "$SPX", "index": "$DJI", "market": "equity",
    "cusip": "037833100",
}  # fmt: skip
ORDER = json.dumps({"orderType": "MARKET", "orderLegCollection": [{"instruction": "BUY", "quantity": 1}]}).encode()
DAY = 86_400


def _rows() -> list[tuple[str, str, str, str]]:
    """Mount, method, path and scope of every row of the example."""
    apis = described(EXAMPLE)["brokers"]["schwab"]["apis"]
    mounts = {"trader": "schwab", "marketdata": "schwab-data"}
    return [
        (mounts[api], row["method"], re.sub(r"\{(\w+)\}", lambda found: SAMPLES[found[1]], row["path"]), row["scope"])
        for api, part in apis.items()
        for row in part["rows"]
    ]


@pytest.fixture
async def reading(tmp_path: Path) -> AsyncIterator[OwnHouse]:
    """Logged in, and may read."""
    async with own_house(tmp_path, described(EXAMPLE), EXAMPLE_SIMULATOR.read_text(), READING) as house:
        await house.log_in("schwab")
        yield house


@pytest.fixture
async def trading(tmp_path: Path) -> AsyncIterator[OwnHouse]:
    """Logged in, and may trade."""
    async with own_house(tmp_path, described(EXAMPLE), EXAMPLE_SIMULATOR.read_text(), TRADING) as house:
        await house.log_in("schwab")
        yield house


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    """As it is, with the file of its secret beside it, it can be served."""
    file, secret = tmp_path / "config.yaml", tmp_path / "schwab.secret"
    file.write_text(EXAMPLE.read_text())
    secret.touch(0o600)
    secret.write_text("the-secret\n")
    settings = read(file, {"HOME": str(tmp_path)})
    grant = settings.grants["schwab"]

    assert ["trader", "marketdata"] == [settings.api_of(mount).name for mount in ("schwab", "schwab-data")]
    assert ("oauth", (), "https://127.0.0.1:8182") == (grant.login.name, grant.scopes, grant.redirect_uri)
    assert grant.client_secret is not None
    assert "the-secret" == grant.client_secret.reveal()


def test_the_command_line_knows_the_example(tmp_path: Path) -> None:
    """It can be checked, listed and asked, like a broker that comes with bearerd."""
    file, secret = tmp_path / "config.yaml", tmp_path / "schwab.secret"
    file.write_text(EXAMPLE.read_text())
    secret.touch(0o600)
    secret.write_text("the-secret\n")
    checked, listed, asked = (
        invoke(*arguments, "--config", str(file))
        for arguments in (
            ("config", "check"),
            ("scopes", "list", "schwab"),
            ("scopes", "check", "POST", ORDERS, "--client", "notebook"),
        )
    )

    assert "is good: 2 mounts" in checked.stderr
    assert "POST    /trader/v1/accounts/{account}/orders          places an order" in listed.stdout
    assert asked.stdout.startswith("DENIED  needs scope trade; mount schwab has account.read")


def test_no_code_knows_the_example() -> None:
    """Adding it took 0 lines of Python, in the product and in its simulators."""
    files = sorted((ROOT / "proxy").rglob("*.py"))

    assert [] == [
        f"{file.name}:{number}"
        for file in files
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if "schwab" in line.lower() and "examples/schwab" not in line
    ]


async def test_a_login_by_pasted_address_serves_both_apis(reading: OwnHouse) -> None:
    """One login, two mounts: each call goes to its own API with the same credential."""
    accounts = await reading.call("GET", "/schwab/trader/v1/accounts")
    quotes = await reading.call("GET", "/schwab-data/marketdata/v1/quotes?symbols=AAPL%2C%24SPX")

    assert (200, "12345678") == (accounts.status, accounts.document[0]["securitiesAccount"]["accountNumber"])
    assert (200, "AAPL") == (quotes.status, quotes.document["AAPL"]["symbol"])
    assert "/marketdata/v1/quotes?symbols=AAPL%2C%24SPX" == reading.broker.received[-1].target
    assert (1, 1) == (reading.seen("token_posts"), reading.seen("generation"))
    for mount in ("schwab", "schwab-data"):
        shown = {key: reading.grant(mount)[key] for key in ("grant", "login", "state", "granted", "missing")}
        assert {"grant": "schwab", "login": "oauth", "state": "fresh", "granted": ["api"], "missing": []} == shown


async def test_calls_of_the_other_api_are_refused(reading: OwnHouse) -> None:
    """Though both live on one host: a mount is one API."""
    assert (403, "scope-denied") == (await reading.call("GET", "/schwab/marketdata/v1/quotes")).problem
    assert (403, "scope-denied") == (await reading.call("GET", "/schwab-data/trader/v1/accounts")).problem
    assert {} == reading.seen("calls")


async def test_an_address_cannot_be_pasted_twice(reading: OwnHouse) -> None:
    """The second time it is refused, and the grant is as it was."""
    begun = await reading.app.operations.login_begin("schwab")
    address = reading.broker.approve(begun["authorize_url"])
    await reading.app.operations.login_complete("schwab", address)
    with pytest.raises(LoginFailed, match="used already"):
        await reading.app.operations.login_complete("schwab", address)

    assert 200 == (await reading.call("GET", "/schwab/trader/v1/accounts")).status


async def test_a_person_has_time_though_a_code_has_not(reading: OwnHouse) -> None:
    """Minutes may pass on the broker's page; after it the code is good for 30 s, and a late one changes nothing."""
    operations = reading.app.operations
    begun = await operations.login_begin("schwab")
    reading.clock.passed += 300
    assert (
        2 == (await operations.login_complete("schwab", reading.broker.approve(begun["authorize_url"])))["generation"]
    )
    begun = await operations.login_begin("schwab")
    address = reading.broker.approve(begun["authorize_url"])
    reading.clock.passed += 31
    with pytest.raises(LoginFailed, match="A code works once, for 30 s: log in again"):
        await operations.login_complete("schwab", address)

    assert ("fresh", 2) == (reading.grant("schwab")["state"], reading.grant("schwab")["generation"])


async def test_a_dead_access_token_is_rotated_once(reading: OwnHouse) -> None:
    """The read that met it is answered all the same; the next rotation uses the new refresh token."""
    for _ in range(3):
        reading.broker.expire()
        reading.clock.passed += 1
        assert 200 == (await reading.call("GET", "/schwab/trader/v1/accounts")).status

    assert (3, 0, 4) == tuple(reading.seen(key) for key in ("rotations", "reused_refresh_tokens", "generation"))


async def test_orders_need_the_trade_scope(reading: OwnHouse) -> None:
    """Without it nothing reaches the broker."""
    for method, target in (("POST", ORDERS), ("PUT", f"{ORDERS}/17"), ("DELETE", f"{ORDERS}/17")):
        reply = await reading.call(
            method, target, "Content-Type: application/json", body=ORDER if method != "DELETE" else None
        )
        assert (403, "scope-denied") == reply.problem

    assert ({}, 0) == (reading.seen("calls"), reading.seen("orders"))


async def test_an_order_is_placed_once(trading: OwnHouse) -> None:
    """With the scope it passes, body and all; the address of the new order is one of ours."""
    reply = await trading.call("POST", ORDERS, "Content-Type: application/json", body=ORDER)

    assert 201 == reply.status
    assert f"{trading.app.doors.url}{ORDERS}/1" == reply.one("Location")
    assert (1, ORDER) == (trading.seen("orders"), trading.broker.received[-1].body)


async def test_an_order_that_meets_a_dead_token_is_not_repeated(trading: OwnHouse) -> None:
    """The definition does not say that a 401 proves that nothing was done: the program decides."""
    trading.broker.expire()
    trading.clock.passed += 1
    reply = await trading.call("POST", ORDERS, "Content-Type: application/json", body=ORDER)

    assert (401, 0, 1) == (reply.status, trading.seen("orders"), trading.seen("rotations"))
    assert 1 == trading.seen("calls")[f"POST {ORDERS.removeprefix('/schwab')}"]


async def test_every_row_of_the_example_reaches_its_sample(trading: OwnHouse) -> None:
    """Definition and simulator agree, row by row."""
    for mount, method, path, _ in _rows():
        body = ORDER if method in ("POST", "PUT") else None
        reply = await trading.call(method, f"/{mount}{path}", "Content-Type: application/json", body=body)
        assert reply.status in (200, 201), (method, path, reply.status)

    assert len(_rows()) == sum(trading.seen("calls").values())


async def test_every_row_of_the_example_needs_its_scope(tmp_path: Path) -> None:
    """With each other scope of the mount allowed, the row is refused."""
    others = {"schwab": ["trade"], "schwab-data": ["market"]}
    async with own_house(tmp_path, described(EXAMPLE), EXAMPLE_SIMULATOR.read_text(), others) as house:
        for mount, method, path, _ in [row for row in _rows() if row[3] == "account.read"]:
            assert (403, "scope-denied") == (await house.call(method, f"/{mount}{path}")).problem

        assert {} == house.seen("calls")


async def test_a_login_lasts_seven_days_whatever_is_rotated(reading: OwnHouse) -> None:
    """Calls are served to the end, each after a rotation; `status` warns, and a new login goes on from there."""
    warned: list[tuple[int, str]] = []
    for hour in (*range(4, 6 * 24, 4), *range(6 * 24, 7 * 24)):
        reading.clock.passed = hour * 3600.0
        assert 200 == (await reading.call("GET", "/schwab/trader/v1/accounts")).status, hour
        await reading.settled("schwab")
        if warning := reading.grant("schwab")["warning"]:
            warned.append((7 * 24 - hour, warning))
    assert NOON + 7 * DAY == reading.grant("schwab")["ends"]
    reading.clock.passed = 7 * DAY + 1800.0
    ended = await reading.call("GET", "/schwab/trader/v1/accounts")

    assert list(range(14, 0, -1)) == [left for left, _ in warned]  # from a twelfth of the life on
    assert "the login ends in 14 h, at 2026-03-10 17:00 UTC; before that: bearerd login schwab" == warned[0][1]
    assert (503, "login-needed") == ended.problem
    assert (59, 0) == (reading.seen("rotations"), reading.seen("reused_refresh_tokens"))
    await reading.log_in("schwab")
    assert 200 == (await reading.call("GET", "/schwab/trader/v1/accounts")).status


async def test_a_token_answer_cannot_move_the_api(tmp_path: Path) -> None:
    """The definition does not let answers name the API's address: the member is ignored."""
    simulator = EXAMPLE_SIMULATOR.read_text().replace(
        "{scope: api,", '{api_server: "https://evil.example/", scope: api,'
    )
    assert "evil" in simulator
    async with own_house(tmp_path, described(EXAMPLE), simulator, READING) as house:
        await house.log_in("schwab")

        assert 200 == (await house.call("GET", "/schwab/trader/v1/accounts")).status


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 201),
        ({"quantity": 3}, 403),
        ({"instrument": {"symbol": "TSLA", "assetType": "EQUITY"}}, 403),
        ({"instrument": {"symbol": "AAPL  270115C00200000", "assetType": "OPTION"}}, 403),
        ({"instrument": {"Symbol": "TSLA"}}, 403),
    ],
    ids=["inside", "too many", "another symbol", "its option", "another spelling"],
)
async def test_its_orders_can_be_guarded(changes: dict[str, object], status: int, tmp_path: Path) -> None:
    """By what its definition says of them: here the symbol is a member of a member of a part."""
    config = described(EXAMPLE)
    config["mounts"]["schwab"]["guards"] = {"symbols": ["AAPL"], "max_quantity": 2, "max_notional": 200}
    leg = {"instruction": "BUY", "quantity": 2, "instrument": {"symbol": "AAPL", "assetType": "EQUITY"}} | changes
    order = {"orderType": "LIMIT", "price": "100", "orderStrategyType": "SINGLE", "orderLegCollection": [leg]}
    async with own_house(tmp_path, config, EXAMPLE_SIMULATOR.read_text(), TRADING) as home:
        await home.log_in("schwab")
        body = json.dumps(order).encode()
        assert status == (await home.call("POST", ORDERS, "Content-Type: application/json", body=body)).status
        assert (status == 201) == home.seen("orders")
