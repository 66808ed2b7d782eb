"""`bearerd demo`: the whole product in one command."""

import asyncio
import json
import os
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.demo import CLIENT, TRADER, configuration
from proxy.simulator import serve
from tests.cli.support import ACCOUNT, Person, line_of

KEYS = {
    "schema", "pid", "url", "console", "client_key", "trader_key", "config", "store", "ca_file", "control", "accounts",
    "mounts",
}  # fmt: skip
ORDER = {
    "symbolId": 8049, "quantity": 10, "limitPrice": 100.5, "timeInForce": "GoodTillCanceled", "action": "Buy",
    "orderType": "Limit", "isAllOrNone": False, "isAnonymous": False, "primaryRoute": "AUTO", "secondaryRoute": "AUTO",
}  # fmt: skip


def call(url: str, key: str = "", body: object = None) -> tuple[int, Any]:
    """A GET, or a POST of `body`, as any program makes it."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    data = None if body is None else json.dumps(body).encode()
    try:
        request = urllib.request.Request(url, data, headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def after_restart(url: str, key: str) -> tuple[int, Any]:
    """The first answer of a server that is coming back."""
    end = time.monotonic() + 15
    while True:
        try:
            return call(url, key)
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
    found = line_of(demo)
    mount, store = found["mounts"]["questrade"], Path(found["store"])

    assert KEYS == found.keys()
    assert {"questrade": [ACCOUNT]} == found["accounts"]
    assert store.is_file()
    assert Path(found["config"]).is_file()
    assert Path(found["ca_file"]).is_file()
    for address in mount.values():
        status, answer = call(address + "/v1/accounts", found["client_key"])
        assert (200, ACCOUNT) == (status, answer["accounts"][0]["number"])
    orders = f"{mount['url']}/v1/accounts/{ACCOUNT}/orders"
    assert (403, 40301) == ((got := call(orders, found["client_key"], ORDER))[0], got[1]["code"])
    assert 200 == call(orders, found["trader_key"], ORDER)[0]

    os.kill(found["pid"], signal.SIGKILL)
    assert 200 == after_restart(mount["url"] + "/v1/accounts", found["client_key"])[0]
    state = call(found["control"] + "/state")[1]["questrade"]
    assert (1, 0, 1) == (state["token_posts"], state["reused_refresh_tokens"], state["orders"])
    status = person.run("status", "--json", "-c", found["config"]).document
    assert found["pid"] != status["pid"]
    assert found["url"] == status["url"]

    began = time.monotonic()
    demo.terminate()
    assert 0 == demo.wait(10)
    assert time.monotonic() - began < 10
    assert demo.stdout is not None
    assert "" == demo.stdout.read()
    assert [] == list(Path(temporary).iterdir())
    with pytest.raises(OSError, match="refused"):
        call(found["url"])


def test_the_console_of_the_demo_opens_again_and_again(person: Person, temporary: str) -> None:
    """The token of the printed address is good for more than one browser, and after a restart too."""
    demo = person.start("demo", "--json", "--port", "0", "--keep", TMPDIR=temporary)
    found = line_of(demo)

    def opens() -> bool:
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with browser.open(found["console"], timeout=5) as page:
            return page.status == 200 and b"questrade" in page.read()

    assert opens()
    assert opens()
    os.kill(found["pid"], signal.SIGKILL)
    assert 200 == after_restart(found["mounts"]["questrade"]["url"] + "/v1/accounts", found["client_key"])[0]
    assert opens()
    demo.send_signal(signal.SIGINT)
    assert 0 == demo.wait(10)
    assert Path(found["store"]).is_file()


def test_a_person_sees_a_first_answer_and_how_to_repeat_it(person: Person, temporary: str) -> None:
    """The answer of /questrade/v1/accounts comes after the curl command that fetches it."""
    demo = person.start("demo", "--port", "0", TMPDIR=temporary)
    assert demo.stdout is not None
    lines: list[str] = []
    while "serves until Ctrl-C" not in "".join(lines):
        line = demo.stdout.readline()
        assert line, person.said
        lines.append(line)
    text = "".join(lines)

    assert text.index("$ curl -H") < text.index(f'"number": "{ACCOUNT}"')
    assert "/questrade/v1/accounts" in text
    demo.terminate()
    assert 0 == demo.wait(10)


async def test_only_the_client_s_key_decides(tmp_path: Path) -> None:
    """The mount allows all scopes; the client has those without orders, the trader all."""
    running = await serve.start(directory=tmp_path)
    made = await asyncio.to_thread(configuration, 1, 2, {"questrade": 3}, running)
    await running.stop()

    assert ["read_acc", "read_md", "trade"] == made["mounts"]["questrade"]["scopes"]
    assert ["read_acc", "read_md"] == made["clients"][CLIENT]["questrade"]
    assert ["read_acc", "read_md", "trade"] == made["clients"][TRADER]["questrade"]
    assert "127.0.0.1:1" == made["listen"]
