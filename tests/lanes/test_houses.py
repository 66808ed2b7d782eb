"""The whole product with and without the express lane, before a simulated broker: the same, whatever is done to it.

Over TLS with certificates that name the client, at a Unix socket, at a mount's own port; while an operator changes
things; while the broker has faults; and when it stops.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from proxy.admission import Door
from proxy.app import App
from proxy.config import Tcp
from proxy.express import Express
from tests.authority import HERE, Authority
from tests.house import ACCOUNT, House, house
from tests.lab import CountingLane
from tests.test_tls import NOW, TLS
from tests.wire import Wire

ACCOUNTS = "/questrade/v1/accounts"
SCOPES = "[read_acc, read_md, trade]"
ENGINE = ("version: 1", "version: 1\nengine: {{express: {express}}}")
FAULTS = (
    "api-401-1017", "api-403-1016", "api-429", "api-500", "api-truncated", "user-agent-block", "maintenance",
    "api-drop", "api-close", "api-early", "api-drop-before-answer", "api-close-before-answer", "api-close-after-head",
    "api-gateway-502", "api-gateway-504",
)  # fmt: skip
_VARIES = (
    (re.compile(r"(?i)(\r\nDate: )[^\r]*"), r"\1*"), (re.compile(r"\b[0-9a-f]{16}\b"), "*"),
    (re.compile(r"127\.0\.0\.1:\d+"), "HERE"), (re.compile(r"(?i)(X-RateLimit-\w+: )\d+"), r"\1*"),
)  # fmt: skip
_TIMES = re.compile(
    r"_(?:bucket|sum|created)\b|seconds(?!_count)|rate_remaining|loop_lag|audit_|grant_state|journal|store_up"
)


_MADE: dict[Path, tuple[Authority, Authority]] = {}


class CountingApp(App):
    """Knows the express lanes at its doors."""

    @property
    def taken(self) -> int:
        """Calls that they have taken."""
        return sum(lane.taken for lane in self.__dict__.get("lanes", []))

    def _lane_at(self, door: Door) -> Express | None:
        lane = super()._lane_at(door)
        if lane is None:
            return None
        counting = CountingLane(self.gateway, door, self.clock)
        self.__dict__.setdefault("lanes", []).append(counting)
        return counting


@dataclass
class Guest:
    """Somebody who calls, and writes down what comes."""

    house: House
    directory: Path
    lines: list[str] = field(default_factory=list)
    metrics: Counter[str] = field(default_factory=Counter)

    @property
    def taken(self) -> int:
        assert isinstance(self.house.app, CountingApp)
        return self.house.app.taken

    def head(
        self,
        method: str,
        target: str,
        *headers: str,
        key: str | None = None,
        host: str | None = None,
        body: bytes = b"",
    ) -> bytes:
        bearer = f"Authorization: Bearer {self.house.key if key is None else key}"
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host or f'127.0.0.1:{self.house.port}'}", bearer, *headers]
        lines += [f"Content-Length: {len(body)}"] if body else []
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body

    async def ask(self, wire: Wire, method: str, target: str, *headers: str, **more: Any) -> None:
        """One call on this connection."""
        with suppress(ConnectionError, RuntimeError):
            await wire.send(self.head(method, target, *headers, **more))
        await self.hear(wire, method, target)

    async def hear(self, wire: Wire, method: str, what: str) -> None:
        try:
            head = await asyncio.wait_for(wire.reader.readuntil(b"\r\n\r\n"), 8)
            wire_head = head.decode("latin-1")
            length = re.search(r"(?i)\r\ncontent-length: (\d+)", wire_head)
            if method == "HEAD" or length is None:
                body = b""
                while "chunked" in wire_head and (chunk := await wire.chunk()):
                    body += chunk
            else:
                body = await asyncio.wait_for(wire.reader.readexactly(int(length[1])), 8)
        except TimeoutError:
            self.note(f"{method} {what}: nothing comes")
            return
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            self.note(f"{method} {what}: cut off", getattr(error, "partial", b"").decode("latin-1"))
            return
        self.note(f"{method} {what}", wire_head + body.decode("latin-1"))

    def note(self, what: str, text: str = "") -> None:
        for pattern, instead in _VARIES:
            text = pattern.sub(instead, text)
        self.lines.append(f"{what} → {text!r}")

    async def connect(self, port: int | None = None, **options: Any) -> Wire:
        return Wire(*await asyncio.open_connection("127.0.0.1", port or self.house.port, **options))

    def look_back(self) -> None:
        for text in self.house.app.rendered_metrics().decode().splitlines():
            if not text.startswith("#") and not _TIMES.search(text):
                name, _, value = text.rpartition(" ")
                self.metrics[name] += int(float(value))
        state = self.house.simulator.state()
        self.note(
            "the broker",
            json.dumps({name: state[name] for name in ("token_posts", "calls", "authorizations", "orders")}),
        )


@asynccontextmanager
async def received(directory: Path, *changes: tuple[str, str], express: bool) -> AsyncIterator[Guest]:
    engine = (ENGINE[0], ENGINE[1].format(express=str(express).lower()))
    async with house(directory, engine, *changes, kind=CountingApp) as home:
        yield Guest(home, directory)


async def compared(
    directory: Path, play: Callable[[Guest], Awaitable[None]], *changes: tuple[str, str]
) -> tuple[list[str], int]:
    """The differences between the two lanes in a play, and how many calls the express lane has taken."""
    guests = []
    for express in (False, True):
        below = directory / str(express)
        below.mkdir(mode=0o700)
        if changes == CERTIFICATES:
            _authorities(below)
        told = [(old, new.replace("DIRECTORY", str(below))) for old, new in changes]
        async with received(below, *told, express=express) as guest:
            await play(guest)
            guest.look_back()
        guests.append(guest)
    one, other = guests
    found = [f"- {line}" for line in one.lines if line not in other.lines]
    found += [f"+ {line}" for line in other.lines if line not in one.lines]
    found += [f"metrics - {count} times {name}" for name, count in (one.metrics - other.metrics).items()]
    found += [f"metrics + {count} times {name}" for name, count in (other.metrics - one.metrics).items()]
    found += ["in another order"] * (not found and one.lines != other.lines)
    return found, other.taken


async def operate(guest: Guest) -> None:
    """Keys, halts, reloads, logins and tokens, each between two calls on one connection."""
    home, operations = guest.house, guest.house.app.operations
    wire = await guest.connect()

    async def look(what: str, **more: Any) -> None:
        guest.note(what)
        for target in (ACCOUNTS, f"{ACCOUNT}/balances", "/questrade/v1/markets/quotes/8049"):
            await guest.ask(wire, "GET", target, **more)
            await guest.ask(wire, "GET", target, **more)

    async def reload(*change: tuple[str, str]) -> None:
        await home.rewrite(*change)
        await home.app.reload()

    await look("at first")
    halt = operations.commands()["halt"]
    await halt({"by": "anna", "reason": "look", "cancels_too": True})
    await look("halted")
    await operations.commands()["resume"]({"all": True, "by": "anna", "reason": "seen"})
    await look("resumed")
    first = home.key
    await operations.clients_remove("bot")
    await look("without a key")
    home.key = (await operations.clients_add("bot"))["key"]
    await look("with another key")
    await look("with the first key", key=first)
    await reload((f"bot: {{questrade: {SCOPES}}}", "bot: {questrade: [read_acc]}"))
    await look("without quotes")
    await reload(
        ("bot: {questrade: [read_acc]}", f"bot: {{questrade: {SCOPES}}}"),
        ("version: 1\n", "version: 1\nuser_agent: desk/1\n"),
    )
    await look("as another agent")
    guarded = f"scopes: {SCOPES}, guards: {{accounts: ['51802337']}}}}"
    await reload((f"scopes: {SCOPES}}}\nclients", f"{guarded}\nclients"))
    await look("on another account only")
    await reload((guarded, f"scopes: {SCOPES}}}"))
    await operations.login("questrade", home.simulator.new_refresh_token())
    await look("logged in again")
    home.simulator.expire()
    await look("with a token that has expired early")
    home.simulator.move_api_server()
    await look("moved")
    wire.close()


async def suffer(guest: Guest) -> None:
    """Each fault of the broker, once and then twice in a row."""
    for name in FAULTS:
        for times in (1, 2):
            wire = await guest.connect()
            await guest.ask(wire, "GET", ACCOUNTS)
            guest.house.simulator.faults.add(name, times)
            await guest.ask(wire, "GET", f"{ACCOUNTS}?{name}")
            guest.house.simulator.faults.add("none")
            await guest.ask(wire, "GET", ACCOUNTS)
            wire.close()


async def come_by_every_door(guest: Guest) -> None:
    """A Unix socket, and a mount's own port, beside the usual one."""
    path = str(guest.directory / "s.sock")
    unix = Wire(*await asyncio.open_unix_connection(path))
    roots = [listener for listener, mount in guest.house.app.doors.all() if mount]
    bound = roots[0].bound
    assert isinstance(bound, Tcp)
    root, usual = await guest.connect(bound.port), await guest.connect()
    for _ in range(3):
        await guest.ask(unix, "GET", ACCOUNTS, host="anything.example")
        await guest.ask(unix, "HEAD", ACCOUNTS, host="localhost")
        await guest.ask(root, "GET", "/v1/accounts", host=f"127.0.0.1:{bound.port}")
        await guest.ask(root, "GET", ACCOUNTS, host=f"127.0.0.1:{bound.port}")
        await guest.ask(usual, "GET", ACCOUNTS, host=f"localhost:{guest.house.port}")
        await guest.ask(usual, "GET", "/v1/accounts")
        await guest.ask(usual, "GET", ACCOUNTS, host=f"127.0.0.1:{bound.port}")
        await guest.ask(usual, "GET", ACCOUNTS)
    for wire in (unix, root, usual):
        wire.close()


async def show_certificates(guest: Guest) -> None:
    """The key of the one whom the certificate names, and somebody else's; several at once; left in the middle."""
    ours, theirs = _authorities(guest.directory)
    keys = {"bot": guest.house.key, "other": (await guest.house.app.operations.clients_add("other"))["key"]}
    contexts = {
        name: await asyncio.to_thread(ours.trusting, theirs.issue(name, client=True)) for name in ("bot", "other")
    }
    for name, context in contexts.items():
        wire = await guest.connect(ssl=context, server_hostname="127.0.0.1")
        for key in [*keys.values(), *keys.values()]:
            guest.note(f"{name}'s certificate")
            await guest.ask(wire, "GET", ACCOUNTS, key=key)
            await guest.ask(wire, "HEAD", ACCOUNTS, key=key)
        two = guest.head("GET", f"{ACCOUNTS}?a") + guest.head("GET", f"{ACCOUNTS}?b")
        await wire.send(two)
        await guest.hear(wire, "GET", "one of two")
        await guest.hear(wire, "GET", "the other")
        await wire.send(two[:50])
        await asyncio.sleep(0.01)
        await wire.send(two[50:-9])
        await guest.hear(wire, "GET", "one in pieces")
        wire.close()
    wire = await guest.connect(ssl=contexts["other"], server_hostname="127.0.0.1")
    await guest.ask(wire, "GET", ACCOUNTS, key=keys["other"])
    guest.house.simulator.faults.add("api-slow")
    await wire.send(guest.head("GET", ACCOUNTS, key=keys["other"]) * 2)
    await asyncio.sleep(0.05)
    wire.reset()
    await asyncio.sleep(0.4)
    guest.house.simulator.faults.add("none")
    guest.note("in flight", str(guest.house.app.gateway.serving.in_flight))


def _authorities(directory: Path) -> tuple[Authority, Authority]:
    """Of the server's certificate and of the clients'. They are made once."""
    if directory not in _MADE:
        _MADE[directory] = tuple(Authority(directory / "tls", name, now=NOW) for name in ("ours", "theirs"))  # type: ignore[assignment]
        _MADE[directory][0].issue("server", *HERE)
    return _MADE[directory]


async def stop(guest: Guest) -> None:
    """Calls under way get their answers, idle connections end."""
    wires = [await guest.connect() for _ in range(3)]
    for wire in wires:
        await guest.ask(wire, "GET", ACCOUNTS)
    guest.house.simulator.faults.add("api-slow", 2)
    for wire in wires[:2]:
        await wire.send(guest.head("GET", f"{ACCOUNTS}?slow"))
    await asyncio.sleep(0.1)
    stopped = asyncio.ensure_future(guest.house.app.stop())
    for wire in wires:
        await guest.hear(wire, "GET", "while it stops")
    await stopped
    guest.note("in flight", str(guest.house.app.gateway.serving.in_flight))
    for wire in wires:
        wire.close()


DOORS = (
    ("listen: 127.0.0.1:0", 'listen: [127.0.0.1:0, "unix:DIRECTORY/s.sock"]'),
    (f"scopes: {SCOPES}}}\nclients", f"scopes: {SCOPES}, port: 0}}\nclients"),
)
CERTIFICATES = (
    ("clients:\n", f"{TLS}, client_ca_file: tls/theirs.pem, client_certificate: named}}\nclients:\n"),
    ("  bot: ", "  other: {questrade: [read_acc]}\n  bot: "),
)
SHORT = ("operated", "certificates")
PLAYS: dict[str, tuple[Callable[[Guest], Awaitable[None]], tuple[tuple[str, str], ...]]] = {
    "operated": (operate, ()), "faults": (suffer, ()), "doors": (come_by_every_door, DOORS), "stopped": (stop, ()),
    "certificates": (show_certificates, CERTIFICATES),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [name if name in SHORT else pytest.param(name, marks=pytest.mark.soak) for name in PLAYS]
)
async def test_the_product_does_the_same_in_both_lanes(
    name: str, state_dir: Path, figure: Callable[[object], None]
) -> None:
    """Answers, what the broker has counted, and metrics."""
    play, changes = PLAYS[name]
    faults, taken = await compared(state_dir, play, *changes)
    figure(f"{taken} calls taken")
    assert [] == faults, "\n".join(faults)
    assert taken > 1
