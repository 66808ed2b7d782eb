"""What the tests here rest on: the packages are as published, and one that leaves this machine would be caught."""

import base64
import contextlib
import hashlib
import sys
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests.clients.conftest import Opener
from tests.clients.conversation import Failed
from tests.clients.product import Demo
from tests.clients.trap import Trap

LOGIN_HOST = "CONNECT login.questrade.com:443"
WRONG_KEY = "brd_" + "0" * 49


QUESTRADE = ["questrade-api", "qtrade", "kwess", "qt-api"]
TRADIER = ["lumiwealth-tradier", "tradier-api-client", "uvatradier", "aiotradier", "tradier-python"]


@pytest.mark.parametrize("package", [*QUESTRADE, *TRADIER, "alpaca-py", "alpaca-trade-api"])
def test_a_package_is_as_it_was_installed(package: str, legacy: str) -> None:
    """Every file of it has the SHA-256 of the installation's own list: nobody has patched it."""
    legacy_packages = [str(path) for path in Path(legacy).parent.parent.glob("lib/*/site-packages")]
    (found,) = distributions(name=package, path=[*sys.path, *legacy_packages])
    listed = [path for path in found.files or [] if path.hash is not None]

    changed = [str(path) for path in listed if path.hash and path.hash.value != sha256(path.read_binary())]

    assert [] == changed
    assert any(path.suffix == ".py" for path in listed)


def sha256(content: bytes) -> str:
    """As RECORD files write it."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("of", "options"),
    [
        ("questrade_api.Questrade", {"refresh_token": WRONG_KEY}),
        ("qtrade.Questrade", {"access_code": WRONG_KEY}),
        ("qt_api.qt.Questrade", {"access_code": WRONG_KEY}),
    ],
)
def test_a_python_client_with_its_own_token_url_is_caught(
    of: str, options: dict[str, str], python_client: Opener, trap: Trap
) -> None:
    """urllib, requests and httpx all come to the trap, and get no further."""
    with pytest.raises(Failed):
        python_client("leaving").make(of, **options)

    assert [LOGIN_HOST] == trap.take()


def test_kwess_turns_to_the_login_host_when_its_first_call_fails(python_client: Opener, trap: Trap, demo: Demo) -> None:
    """The README warns of it: a key that is refused here is taken for a refresh token."""
    with pytest.raises(Failed):
        python_client("leaving").make("kwess.Trader", store_tokens=False, token=WRONG_KEY, api_server=demo.url)

    assert [LOGIN_HOST] == trap.take()


def test_the_npm_client_with_its_own_token_url_is_caught(node_client: Opener, trap: Trap) -> None:
    """So does fetch of Node.js."""
    client = node_client("leaving")
    client.make(WRONG_KEY)

    with pytest.raises(Failed):
        client.call("connect")

    assert [LOGIN_HOST] == trap.take()


LEAVING: Mapping[str, tuple[list[object], str]] = {
    "api.tradier.com": (["aiotradier.tradier_rest.TradierAPIAdapter", None, WRONG_KEY, False], "api_get_clock"),
    "sandbox.tradier.com": (["uvatradier.Account", "VA000001", WRONG_KEY, False], "get_user_profile"),
    "paper-api.alpaca.markets": (["alpaca.trading.client.TradingClient", "local", WRONG_KEY], "get_account"),
}


@pytest.mark.parametrize("host", LEAVING)
def test_a_python_client_with_its_own_address_is_caught(host: str, python_client: Opener, trap: Trap) -> None:
    """aiohttp heeds no proxy: it is stopped when it looks for the host."""
    client = python_client("leaving")
    arguments, method = LEAVING[host]
    client.make(*arguments)

    with contextlib.suppress(Failed):  # one of them only prints what went wrong
        client.call(method)

    assert {f"CONNECT {host}:443"} == set(trap.take())


LEAVING_NODE: Mapping[str, tuple[list[object], str, str]] = {
    "alpaca3": (["alpaca3:", {"keyId": "local", "secretKey": WRONG_KEY}], "getAccount", "api.alpaca.markets"),
    "alpaca4": (["alpaca4:Alpaca", {"keyId": "local", "secret": WRONG_KEY}], "trading.account.getAccount", "paper-api"),
    "tradier-client": (["tradier-client:", WRONG_KEY], "quote", ""),  # it speaks TLS to the trap
}


@pytest.mark.parametrize("package", LEAVING_NODE)
def test_an_npm_client_with_its_own_address_is_caught(package: str, node_client: Opener, trap: Trap) -> None:
    """axios of two ages, and fetch."""
    client = node_client("leaving")
    arguments, method, host = LEAVING_NODE[package]
    client.make(*arguments)

    with contextlib.suppress(Failed):  # one of them hands out nothing
        client.call(method)

    told = trap.take()
    assert told
    assert [] == [each for each in told if host not in each]
