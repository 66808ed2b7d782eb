"""What badly written clients send: refused here, and the broker never hears of it."""

import pytest

from tests.clients.product import OPEN_ORDER, Demo
from tests.product import ACCOUNT

WRONG = {
    # questradeapi 0.0.10
    "activities, misspelled": ("GET", f"/v1/accoutns/{ACCOUNT}/activities"),
    "order, in the singular": ("DELETE", f"/v1/accounts/{ACCOUNT}/order/{OPEN_ORDER}"),
    # kwess 0.2.8
    "strategy quotes by GET": ("GET", "/v1/markets/quotes/strategies?variants=variantId"),
    # many
    "several ids in the path": ("GET", "/v1/markets/quotes/8049,27426"),
    "several symbols in the path": ("GET", "/v1/symbols/8049,27426"),
    "no version": ("GET", "/accounts"),
    "another version": ("GET", "/v2/accounts"),
    "another case": ("GET", "/v1/Accounts"),
    "a method that reads nothing": ("HEAD", "/v1/accounts"),
    "a POST to a list": ("POST", "/v1/accounts"),
    "an order without a number": ("GET", f"/v1/accounts/{ACCOUNT}/orders/latest"),
    "an account that is a word": ("GET", "/v1/accounts/margin/positions"),
    "options by GET": ("GET", "/v1/markets/quotes/options?optionIds=24753669"),
    "the app's page": ("GET", "/APIAccess/UserApps.aspx"),
    "the login host's other endpoint": ("POST", "/oauth2/revoke"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("key", ["client", "trader"])
def test_a_wrong_call_ends_here(demo: Demo, name: str, key: str) -> None:
    """403 `scope-denied` whatever the client may do, and 0 requests upstream."""
    method, target = WRONG[name]
    calls, orders = demo.calls, demo.orders

    reply = demo.call(method, target, key=demo.key if key == "client" else demo.trader_key)

    assert 403 == reply.status
    if method != "HEAD":
        assert 40301 == reply.document["code"]
    assert "scope-denied" in reply.headers["proxy-status"]
    assert (calls, orders) == (demo.calls, demo.orders)


@pytest.mark.parametrize(
    "target",
    [
        "/v1//accounts",
        "/v1/../v1/accounts",
        "///v1/accounts",
        "/v1/markets/quotes/8049%2C27426",
        f"/v1/accounts/{ACCOUNT}%2Forders",
        "/v1/accounts;x=1",
    ],
)
def test_a_doubtful_path_ends_here(demo: Demo, target: str) -> None:
    """Dots, encoded bytes, and empty segments but the one right after the mount are refused, and sent nowhere."""
    calls = demo.calls

    reply = demo.call("GET", target)

    assert 4 == reply.status // 100
    assert reply.document["code"] in {40001, 40301}
    assert calls == demo.calls


def test_a_path_glued_to_the_mount_names_no_mount(demo: Demo) -> None:
    """Clients that join without a slash call `/questradev1/…`: 404, and the mounts are listed."""
    reply = demo.call("GET", "v1/accounts")

    assert (404, 40401) == (reply.status, reply.document["code"])
    assert "/questrade" in reply.document["message"] + reply.document["detail"]
