"""`bearerd demo`: the whole product in one command."""

import asyncio
import os
import signal
import time
import urllib.request
from pathlib import Path

import pytest

from proxy.cli.demo import CLIENT, TRADER, configuration
from proxy.simulator import serve
from tests.cli.support import Person
from tests.cli.test_simulate import under_way
from tests.product import ACCOUNT, Reply, send, state

KEYS = {
    "schema", "pid", "url", "console", "client_key", "trader_key", "config", "store", "ca_file", "control", "accounts",
    "mounts",
}  # fmt: skip
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
    assert {"questrade": [ACCOUNT]} == found["accounts"]
    assert store.is_file()
    assert Path(found["config"]).is_file()
    assert Path(found["ca_file"]).is_file()
    for address in mount.values():
        answer = call("GET", address + "/v1/accounts", found["client_key"])
        assert (200, ACCOUNT) == (answer.status, answer.document["accounts"][0]["number"])
    orders = f"{mount['url']}/v1/accounts/{ACCOUNT}/orders"
    refused = call("POST", orders, found["client_key"], ORDER)
    assert (403, 40301) == (refused.status, refused.document["code"])
    assert 200 == call("POST", orders, found["trader_key"], ORDER).status

    os.kill(found["pid"], signal.SIGKILL)
    assert 200 == after_restart(mount["url"] + "/v1/accounts", found["client_key"]).status
    counts = state(found["control"])
    assert (1, 0, 1) == (counts["token_posts"], counts["reused_refresh_tokens"], counts["orders"])
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
    assert opens()
    assert 0 == demo.stop(signal.SIGINT)
    assert Path(found["store"]).is_file()


def test_a_person_sees_a_first_answer_and_how_to_repeat_it(person: Person, temporary: str) -> None:
    """The answer of /questrade/v1/accounts comes after the curl command that fetches it."""
    demo = person.start("demo", "--port", "0", TMPDIR=temporary)
    demo.until("serves until Ctrl-C")
    text = demo.out

    assert text.index("$ curl -H") < text.index(f'"number": "{ACCOUNT}"')
    assert "/questrade/v1/accounts" in text
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


async def test_only_the_client_s_key_decides(tmp_path: Path) -> None:
    """The mount allows all scopes; the client has those without orders, the trader all."""
    running = await serve.start(directory=tmp_path)
    made = await asyncio.to_thread(configuration, 1, 2, {"questrade": 3}, running)
    await running.stop()

    assert ["read_acc", "read_md", "trade"] == made["mounts"]["questrade"]["scopes"]
    assert ["read_acc", "read_md"] == made["clients"][CLIENT]["questrade"]
    assert ["read_acc", "read_md", "trade"] == made["clients"][TRADER]["questrade"]
    assert "127.0.0.1:1" == made["listen"]
