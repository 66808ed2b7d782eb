"""curl, in every form that the README names."""

import base64
import json
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.clients.product import LIMIT_ORDER, Demo
from tests.clients.trap import Trap
from tests.product import ACCOUNT, ROOT

Curl = Callable[..., "Answer"]


class Answer:
    """What curl printed with `-i`."""

    def __init__(self, printed: str) -> None:
        head, _, self.body = printed.partition("\n\n")
        first, *lines = head.split("\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@pytest.fixture
def curl(program: Callable[[str], str], tmp_path: Path, trap: Trap) -> Curl:
    """`curl("-H", …, url)`, without a configuration file and with a trap around it."""
    command = [program("curl"), "--disable", "-sS", "-i", "--max-time", "20"]

    def run(*arguments: str) -> Answer:
        environ = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", **trap.environ}
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, env=environ, check=False)
        assert (0, "") == (done.returncode, done.stderr)
        return Answer(done.stdout)

    return run


def forms(key: str) -> Mapping[str, list[str]]:
    """Every way in which a client key may come."""
    basic = base64.b64encode(f"me:{key}".encode()).decode()
    return {
        "Bearer": ["-H", f"Authorization: Bearer {key}"],
        "oauth2-bearer": ["--oauth2-bearer", key],
        "Basic, as password": ["-u", f"me:{key}"],
        "Basic, as user": ["-u", f"{key}:"],
        "Basic, by hand": ["-H", f"Authorization: Basic {basic}"],
        "X-Api-Key": ["-H", f"X-Api-Key: {key}"],
        "APCA pair": ["-H", "APCA-API-KEY-ID: me", "-H", f"APCA-API-SECRET-KEY: {key}"],
    }


@pytest.mark.parametrize("form", forms("key"))
def test_a_key_is_taken_in_each_form(curl: Curl, demo: Demo, form: str) -> None:
    """The accounts come back, whichever way the key is sent."""
    answer = curl(*forms(demo.key)[form], f"{demo.url}/v1/accounts")

    assert (200, ACCOUNT) == (answer.status, answer.document["accounts"][0]["number"])
    assert "proxy-status" not in answer.headers


@pytest.mark.parametrize("form", forms("key"))
def test_a_wrong_key_is_refused_in_each_form(curl: Curl, demo: Demo, form: str) -> None:
    """401 with our own code, and nothing goes upstream."""
    calls = demo.calls

    answer = curl(*forms("brd_" + "0" * 49)[form], f"{demo.url}/v1/accounts")

    assert (401, 40101) == (answer.status, answer.document["code"])
    assert answer.headers["proxy-status"].startswith("bearerd; ")
    assert calls == demo.calls


@pytest.mark.parametrize("path", ["{url}/v1/time", "{url}//v1/time", "{root_url}/v1/time", "{root_url}//v1/time"])
def test_a_mount_answers_below_its_name_and_at_its_own_port(curl: Curl, demo: Demo, path: str) -> None:
    """With one slash or two, since some clients join addresses carelessly."""
    answer = curl("-H", f"Authorization: Bearer {demo.key}", path.format(url=demo.url, root_url=demo.root_url))

    assert (200, ["time"]) == (answer.status, list(answer.document))


def readme_commands() -> list[str]:
    """The curl commands of the README's shell blocks that call an API address."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").split("\n")
    return [line for line in lines if line.startswith("curl ") and "/v1/" in line]


def test_the_readme_has_commands_to_run() -> None:
    """So that the next test does not pass because there is nothing to do."""
    assert readme_commands()


@pytest.mark.parametrize("command", readme_commands())
def test_the_commands_of_the_readme_work(curl: Curl, demo: Demo, command: str) -> None:
    """As printed, but for the key and the port."""
    written = command.replace("$KEY", demo.key).replace("http://127.0.0.1:8080", demo.report["url"])

    answer = curl(*shlex.split(written)[1:])

    assert (200, ACCOUNT) == (answer.status, answer.document["accounts"][0]["number"])


@pytest.mark.parametrize("method", ["-G", "--request POST --url-query", "--data"])
def test_the_emulated_token_endpoint_takes_every_way_of_asking(curl: Curl, demo: Demo, method: str) -> None:
    """GET with a query, POST with a query and an empty body, POST with a form: the key comes back in five fields."""
    url = f"{demo.url}/oauth2/token"
    form = f"grant_type=refresh_token&refresh_token={demo.key}"
    how = {
        "-G": ["-G", "-d", form, url],
        "--request POST --url-query": ["-X", "POST", "-H", "Content-Length: 0", f"{url}?{form}"],
        "--data": ["-d", form, url],
    }

    answer = curl(*how[method])

    expected = {
        "access_token": demo.key,
        "refresh_token": demo.key,
        "api_server": f"{demo.url}/",
        "expires_in": 1800,
        "token_type": "Bearer",
    }
    assert (200, expected) == (answer.status, answer.document)


def test_a_foreign_token_is_never_echoed(curl: Curl, demo: Demo) -> None:
    """Somebody's real refresh token, sent here by mistake, is refused, goes nowhere and does not come back."""
    token = "hWPtZ2vC1fR6mQ9sXk3aLd7eNb5uYj8g0"
    posts = demo.state()["token_posts"]

    answer = curl("-d", f"grant_type=refresh_token&refresh_token={token}", f"{demo.url}/oauth2/token")

    assert (401, 40101) == (answer.status, answer.document["code"])
    assert token not in answer.body
    assert posts == demo.state()["token_posts"]


def test_orders_wait_for_the_scope_trade(curl: Curl, demo: Demo, tmp_path: Path) -> None:
    """403 as problem+json, with what to do; then, with `trade` added and after `bearerd reload`, one order."""
    file = tmp_path / "order.json"
    file.write_text(json.dumps(LIMIT_ORDER))
    order = [
        "-H",
        f"Authorization: Bearer {demo.key}",
        "--json",
        f"@{file}",
        f"{demo.url}/v1/accounts/{ACCOUNT}/orders",
    ]
    orders, calls = demo.orders, demo.calls

    refused = curl(*order)

    assert (403, "application/problem+json") == (refused.status, refused.headers["content-type"])
    assert (40301, 403) == (refused.document["code"], refused.document["status"])
    assert "details=" in refused.headers["proxy-status"]
    assert "scope-denied" in refused.headers["proxy-status"]
    assert "trade" in refused.document["fix"]
    assert (orders, calls) == (demo.orders, demo.calls)

    with demo.allowing("trade"):
        placed = curl(*order)

    assert (200, "Accepted") == (placed.status, placed.document["orders"][0]["state"])
    assert orders + 1 == demo.orders


def test_another_client_may_place_orders_at_once(curl: Curl, demo: Demo, tmp_path: Path) -> None:
    """Rights are a client's own: the trader's key needs no change."""
    file = tmp_path / "order.json"
    file.write_text(json.dumps(LIMIT_ORDER))
    orders = demo.orders

    placed = curl("-u", f"bot:{demo.trader_key}", "--json", f"@{file}", f"{demo.root_url}/v1/accounts/{ACCOUNT}/orders")

    assert 200 == placed.status
    assert orders + 1 == demo.orders
