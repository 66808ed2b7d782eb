"""Clients that insist on TLS, unmodified, with all checks on: `bearerd run` leads them to it and lets them trust it."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from proxy import localca
from proxy.clock import SystemClock
from tests.clients.alpaca import ORDER, new_id
from tests.clients.conftest import NODE_TALK
from tests.clients.conversation import Conversation
from tests.clients.product import Demo
from tests.clients.trap import Trap
from tests.product import ACCOUNT, Done, command, run

CONTRACT = "AAPL260116C00230000"
# Sockets of npm 3: what they listen to, and how they subscribe.
SOCKETS: Mapping[str, tuple[Sequence[str], Sequence[Sequence[object]]]] = {
    "client.data_stream_v2": (
        ["onStockTrade", "onStockQuote"],
        [["subscribeForTrades", ["AAPL"]], ["subscribeForQuotes", ["AAPL"]]],
    ),
    "client.crypto_stream_v1beta3": (["onCryptoTrade"], [["subscribeForTrades", ["BTC/USD"]]]),
    "client.option_stream": (["onOptionTrade"], [["subscribeForTrades", [CONTRACT]]]),
    "client.news_stream": (["onNews"], [["subscribeForNews", ["*"]]]),
    "client.trade_ws": (["onOrderUpdate"], [["subscribe", ["trade_updates"]]]),
}
ENOUGH = 20  # messages of each kind
Runner = Callable[..., Conversation]


@pytest.fixture(name="other")
def _other(tmp_path: Path) -> Path:
    """The root of another authority of the same kind, as somebody else on this machine may have one."""
    made = localca.make(tmp_path / "other" / localca.FILE, (), SystemClock().now().wall)
    file = tmp_path / "other.pem"
    file.write_bytes(made.pem)
    return file


@pytest.fixture(name="lively")
def _lively(demo: Demo) -> Iterator[Demo]:
    """The demo, with thirty messages a second of each thing."""
    command(demo.report["control"], "/stream", "alpaca", rate=30)
    yield demo
    command(demo.report["control"], "/stream", "alpaca", rate=1)


@pytest.fixture(name="within")
def _within(demo: Demo, trap: Trap) -> Callable[..., Done]:
    """`within("curl", …)`: a program under `bearerd run`, to its end."""

    def start(*program: str, **environ: str) -> Done:
        arguments = ("-c", demo.report["config"], "run", "--client", "demo", "--", *program)
        return run(demo.home, *arguments, environ={**trap.environ, **environ})

    return start


def test_every_socket_of_npm_3_is_served(lively: Demo, run_by_bearerd: Runner, node: str) -> None:
    """No code is changed: it makes its data sockets wss:// itself, and hears every message in its order."""
    client = run_by_bearerd("trader", node, NODE_TALK)
    client.make("alpaca3:", {})
    for name, (events, subscribe) in SOCKETS.items():
        client.listen(name, events, subscribe)
    assert [True] == client.heard("client.trade_ws", "onConnect")

    placed = client.call("createOrder", {**ORDER, "client_order_id": new_id()})

    for name, (events, _) in SOCKETS.items():
        if name != "client.trade_ws":
            for event in events:
                messages = client.heard(name, event, ENOUGH)
                assert len(messages) >= ENOUGH, (name, event, client.heard(name, "onError", 0))
                numbers = [message["ID"] for message in messages if "ID" in message and event != "onNews"]
                assert numbers == [*range(numbers[0], numbers[0] + len(numbers))] if numbers else True
        assert ([True], []) == (client.heard(name, "onConnect", 0), client.heard(name, "onError", 0))
    client.call("cancelOrder", placed["id"])
    updates: list[Any] = client.heard("client.trade_ws", "onOrderUpdate", 2)
    assert [("new", placed["id"]), ("canceled", placed["id"])] == [
        (update["event"], update["order"]["id"]) for update in updates
    ]


def test_who_does_not_trust_the_authority_is_not_served(run_by_bearerd: Runner, node: str, other: Path) -> None:
    """So the checks are on, and it is our root that lets npm 3 in: not without it, and not with another one."""
    files = ("", str(other))
    clients = [run_by_bearerd("demo", "/usr/bin/env", f"NODE_EXTRA_CA_CERTS={file}", node, NODE_TALK) for file in files]
    for client in clients:
        client.make("alpaca3:", {})
        client.listen("client.data_stream_v2", *SOCKETS["client.data_stream_v2"])

        errors = client.heard("client.data_stream_v2", "onError")

        assert "certificate" in errors[0]
        assert [] == client.heard("client.data_stream_v2", "onConnect", 0)


PYTHON = """
import asyncio, json, os, sys, urllib.request
import aiohttp, httpx, requests, websocket
from websockets.sync.client import connect

base, stream = sys.argv[1], os.environ["APCA_API_STREAM_URL"] + "/v2/iex"
url, head = base + "/questrade/v1/accounts", {"Authorization": "Bearer " + os.environ["BEARERD_KEY"]}
auth = json.dumps({"action": "auth", "key": "local", "secret": os.environ["BEARERD_KEY"]})

async def by_aiohttp():
    async with aiohttp.ClientSession() as session, session.get(url, headers=head) as answer:
        return await answer.json()

def by_websockets():
    with connect(stream, proxy=None) as socket:
        return socket.recv(), socket.send(auth), socket.recv()

def by_websocket_client():
    socket = websocket.create_connection(stream)
    found = socket.recv(), socket.send(auth), socket.recv()
    socket.close()
    return found

ways = {
    "urllib": lambda: json.load(urllib.request.urlopen(urllib.request.Request(url, headers=head))),
    "requests": lambda: requests.get(url, headers=head).json(),
    "httpx": lambda: httpx.get(url, headers=head).json(),
    "aiohttp": lambda: asyncio.run(by_aiohttp()),
    "websockets": by_websockets,
    "websocket-client": by_websocket_client,
}
for name, way in ways.items():
    try:
        print(name, json.dumps(way()))
    except Exception as error:
        print(name, "failed:", error)
"""
WAYS = ["urllib", "requests", "httpx", "aiohttp", "websockets", "websocket-client"]


def said(done: Done) -> dict[str, str]:
    assert 0 == done.code, done.err
    return {name: text for name, _, text in (line.partition(" ") for line in done.out.splitlines())}


def test_python_s_clients_verify_and_are_served(demo: Demo, within: Callable[..., Done]) -> None:
    """Six of them, calls and sockets, with nothing but the variables that `bearerd run` sets."""
    found = said(within(sys.executable, "-c", PYTHON, demo.report["url_tls"]))

    assert WAYS == list(found)
    for name in WAYS[:4]:
        assert ACCOUNT == json.loads(found[name])["accounts"][0]["number"], name
    for name in WAYS[4:]:
        welcome, _, answer = json.loads(found[name])
        assert ([{"T": "success", "msg": "connected"}], [{"T": "success", "msg": "authenticated"}]) == (
            json.loads(welcome), json.loads(answer),
        )  # fmt: skip


def test_python_s_clients_trust_nobody_else(demo: Demo, within: Callable[..., Done], other: Path) -> None:
    """With another authority's file in the same variables all of them refuse."""
    wrong = [f"{name}={other}" for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")]

    found = said(within("/usr/bin/env", *wrong, sys.executable, "-c", PYTHON, demo.report["url_tls"]))

    assert WAYS == list(found)
    assert all("certificate verify failed" in text for text in found.values()), found


def test_curl_verifies_and_is_served(
    demo: Demo, within: Callable[..., Done], program: Callable[[str], str], other: Path
) -> None:
    """At the TLS address and at a port that takes both; not with another authority. What a person trusts already is
    kept: their own file is joined with ours."""
    root, secure = demo.at("questrade", root=True), demo.report["url_tls"]
    curl = [program("curl"), "--disable", "-sS", "--max-time", "20", "-w", "%{http_code} "]
    urls = [f"{secure}/questrade/v1/time", f"{root}/v1/time", f"{root.replace('http:', 'https:')}/v1/time"]
    each = [part for url in urls for part in ("-o", "/dev/null", url)]
    script = 'cat "$SSL_CERT_FILE"; exec "$@" -H "Authorization: Bearer $BEARERD_KEY"'

    done = within("/bin/sh", "-c", script, "sh", *curl, *each, SSL_CERT_FILE=str(other))

    certificates, _, codes = done.out.rpartition("-----\n")
    assert (0, "200 200 200 ") == (done.code, codes), done.err
    assert (2, True) == (certificates.count("BEGIN CERTIFICATE"), certificates.startswith(other.read_text()))
    assert 60 == within(*curl, "--cacert", str(other), urls[0]).code


QUESTRADE = """
import json, os, urllib.request
from websockets.sync.client import connect

head = {"Authorization": "Bearer " + os.environ["QUESTRADE_ACCESS_TOKEN"]}
ask = urllib.request.Request(os.environ["QUESTRADE_API_SERVER"] + "v1/notifications?mode=WebSocket", headers=head)
port = json.load(urllib.request.urlopen(ask))["streamPort"]
for scheme in ("wss", "ws"):
    with connect(f"{scheme}://127.0.0.1:{port}/", proxy=None) as socket:
        socket.send(os.environ["QUESTRADE_ACCESS_TOKEN"])
        print(scheme, socket.recv())
"""


def test_a_stream_port_of_questrade_takes_wss_and_ws(within: Callable[..., Done]) -> None:
    """Its clients build `wss://HOST:PORT` of the port in the answer: verified TLS, and plain, at the same port."""
    found = said(within(sys.executable, "-c", QUESTRADE))

    assert {"wss": {"success": True}, "ws": {"success": True}} == {
        scheme: json.loads(text) for scheme, text in found.items()
    }
