"""`bearerd demo`: the whole product in one command."""

import os
import signal
import ssl
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import Person
from tests.cli.test_simulate import under_way
from tests.product import ACCOUNT, Reply, command, demo, send, send_bytes, state

KEYS = {
    "schema", "pid", "url", "url_tls", "console", "client_key", "trader_key", "config", "store", "ca_file", "control",
    "accounts", "mounts",
}  # fmt: skip
MOUNTS = [
    "questrade", "tradier", "tradier-stream", "tradier-ws", "alpaca", "alpaca-data", "alpaca-broker", "alpaca-stream",
]  # fmt: skip
READS = {
    "questrade": "/v1/accounts",
    "tradier": "/v1/user/profile",
    "alpaca": "/v2/account",
    "alpaca-data": "/v2/stocks/AAPL/quotes/latest",
    "alpaca-broker": "/v1/accounts",
}
ORDER = {
    "symbolId": 8049, "quantity": 10, "limitPrice": 100.5, "timeInForce": "GoodTillCanceled", "action": "Buy",
    "orderType": "Limit", "isAllOrNone": False, "isAnonymous": False, "primaryRoute": "AUTO", "secondaryRoute": "AUTO",
}  # fmt: skip


def call(method: str, url: str, key: str, body: object = None) -> Reply:
    """A call with a client key, as any program makes it."""
    return send(method, url, body, Authorization=f"Bearer {key}")


def after_restart(url: str, key: str) -> Reply:
    """The first answer of a server that is coming back."""
    end = time.monotonic() + 15
    while True:
        try:
            return call("GET", url, key)
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.fixture(scope="module")
def shared_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """One demo for the tests that spoil nothing in it."""
    with demo(tmp_path_factory.mktemp("home")) as found:
        yield found


@pytest.fixture
def temporary(person: Person) -> str:
    folder = person.home / "tmp"
    folder.mkdir()
    return str(folder)


def test_the_demo_keeps_its_promises(person: Person, temporary: str) -> None:
    """One JSON line; both keys; root and mount; a kill is survived on the same ports; SIGTERM cleans everything up."""
    demo = person.start("demo", "--json", "--port", "0", TMPDIR=temporary)
    found = demo.document()
    mount, store = found["mounts"]["questrade"], Path(found["store"])

    assert KEYS == found.keys()
    assert ["questrade", "tradier", "alpaca"] == list(found["accounts"])
    assert ([ACCOUNT], ["VA000001"]) == (found["accounts"]["questrade"], found["accounts"]["tradier"])
    assert MOUNTS == list(found["mounts"])
    assert {"questrade", "tradier", "alpaca", "alpaca-data"} == {
        name for name in MOUNTS if "root_url" in found["mounts"][name]
    }
    assert store.is_file()
    assert Path(found["config"]).is_file()
    assert Path(found["ca_file"]).is_file()
    for name, path in READS.items():
        for address in found["mounts"][name].values():
            assert 200 == call("GET", address + path, found["client_key"]).status, (name, address)
    trust = ssl.create_default_context(cafile=found["ca_file"])
    for address in (f"{found['url_tls']}/questrade", mount["root_url"].replace("http:", "https:")):
        head = {"Authorization": f"Bearer {found['client_key']}"}
        request = urllib.request.Request(f"{address}/v1/time", headers=head)  # noqa: S310
        with urllib.request.urlopen(request, context=trust, timeout=10) as answer:  # noqa: S310
            assert 200 == answer.status
    orders = f"{mount['url']}/v1/accounts/{ACCOUNT}/orders"
    refused = call("POST", orders, found["client_key"], ORDER)
    assert (403, 40301) == (refused.status, refused.document["code"])
    assert 200 == call("POST", orders, found["trader_key"], ORDER).status

    os.kill(found["pid"], signal.SIGKILL)
    assert 200 == after_restart(mount["url"] + "/v1/accounts", found["client_key"]).status
    for name, path in READS.items():
        assert 200 == call("GET", found["mounts"][name]["url"] + path, found["client_key"]).status
    counts = {broker: state(found["control"], broker) for broker in found["accounts"]}
    assert (1, 0, 1) == tuple(counts["questrade"][name] for name in ("token_posts", "reused_refresh_tokens", "orders"))
    assert {"questrade": 1, "tradier": 1, "alpaca": 2} == {name: each["token_posts"] for name, each in counts.items()}
    assert {0} == {each["authorizations"][kind] for each in counts.values() for kind in ("stale", "foreign", "none")}
    status = person.run("status", "--json", "-c", found["config"]).document
    assert found["pid"] != status["pid"]
    assert found["url"] == status["url"]

    assert 0 == demo.stop()
    assert 1 == demo.out.count("\n")
    assert [] == list(Path(temporary).iterdir())
    with pytest.raises(OSError, match="refused"):
        send("GET", found["url"])


def test_the_console_of_the_demo_opens_again_and_again(person: Person, temporary: str) -> None:
    """The token of the printed address is good for more than one browser, and after a restart too."""
    demo = person.start("demo", "--json", "--port", "0", "--keep", TMPDIR=temporary)
    found = demo.document()

    def opens() -> bool:
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with browser.open(found["console"], timeout=5) as page:
            return page.status == 200 and b"questrade" in page.read()

    assert opens()
    assert opens()
    os.kill(found["pid"], signal.SIGKILL)
    assert 200 == after_restart(found["mounts"]["questrade"]["url"] + "/v1/accounts", found["client_key"]).status
    after_restart(found["console"].partition("?")[0] + "livez", "")  # the console opens a moment later
    assert opens()
    assert 0 == demo.stop(signal.SIGINT)
    assert Path(found["store"]).is_file()


@pytest.mark.parametrize(
    ("mount", "path", "form"),
    [
        (
            "tradier",
            "/v1/accounts/VA000001/orders",
            b"class=equity&symbol=F&side=buy&quantity=1&type=market&duration=day",
        ),
        (
            "alpaca",
            "/v2/orders",
            b'{"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}',
        ),
    ],
)
def test_only_the_trader_s_key_places_orders(shared_demo: dict[str, Any], mount: str, path: str, form: bytes) -> None:
    """Exactly once; the client's key is refused with 403, and the broker never hears of it."""
    url, broker = shared_demo["mounts"][mount]["url"] + path, mount
    kind = "application/json" if form.startswith(b"{") else "application/x-www-form-urlencoded"
    before = state(shared_demo["control"], broker)["orders"]
    tried = [
        send_bytes("POST", url, form, Authorization=f"Bearer {shared_demo[key]}", **{"Content-Type": kind})
        for key in ("client_key", "trader_key")
    ]

    assert [(403, "scope-denied"), (200, None)] == [(reply.status, reply.ours) for reply in tried]
    assert before + 1 == state(shared_demo["control"], broker)["orders"]


def test_an_expired_token_is_renewed_without_anybody(shared_demo: dict[str, Any]) -> None:
    """Tradier's refresh, as a partner has it: the call goes through."""
    command(shared_demo["control"], "/expire", "tradier")

    url = shared_demo["mounts"]["tradier"]["url"] + READS["tradier"]
    assert 200 == call("GET", url, shared_demo["client_key"]).status
    assert 1 == state(shared_demo["control"], "tradier")["rotations"]


def test_a_person_sees_a_first_answer_and_how_to_repeat_it(person: Person, temporary: str) -> None:
    """Of each broker; an answer comes after the curl command that fetches it."""
    demo = person.start("demo", "--port", "0", TMPDIR=temporary)
    demo.until("serves until Ctrl-C")
    text = demo.out

    assert text.index("$ curl -H") < text.index(f'"number": "{ACCOUNT}"')
    for wanted in ("/questrade/v1/accounts", "/tradier/v1/user/profile", "/alpaca/v2/clock", "George Costanza"):
        assert wanted in text
    assert 0 == demo.stop()


@pytest.mark.parametrize("file", ["bearerd-demo-*", "bearerd-demo-*/ca/ca.pem", "bearerd-demo-*/store.db"])
def test_a_stop_during_the_start_leaves_nothing_behind(person: Person, file: str) -> None:
    """Neither files, even if a thread is just making some, nor a server; a closed terminal counts as a stop."""
    demo = person.start("demo", "--port", "0", TMPDIR=str(person.home))
    under_way(demo, person, file)

    assert 0 == demo.stop(signal.SIGHUP)
    assert [] == list(person.home.glob("bearerd-demo-*"))


def test_a_closed_terminal_takes_the_server_with_it(person: Person, temporary: str) -> None:
    """SIGHUP ends the demo as SIGTERM does: no server goes on without its simulator."""
    demo = person.start("demo", "--json", "--port", "0", TMPDIR=temporary)
    url = demo.document()["url"]

    assert 0 == demo.stop(signal.SIGHUP)
    with pytest.raises(OSError, match="refused"):
        call("GET", url, "")
    assert [] == list(Path(temporary).iterdir())
