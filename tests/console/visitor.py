"""Somebody who looks at a console over real sockets, and what there is to see."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from typing import Any
from urllib.parse import urlencode

from proxy.admin import NotPossible
from proxy.clock import SystemClock
from proxy.config import Address, Tcp
from proxy.console.callback import Outcome
from proxy.console.recent import Recent, Wanted
from proxy.console.server import Console
from proxy.console.session import Pass
from proxy.history import History
from proxy.metrics import Metrics
from tests.console.shown import NOW, mount, status

TOKEN = "0pen-sesame"


KEY = "brd_" + "k" * 40


@dataclass
class View:
    """A server's standing that a test sets. `acted`: what was asked of it; `problem`: what it says to that."""

    shown: dict[str, Any] = field(default_factory=lambda: status(mount()))
    word: str = "ok"
    bug: bool = False
    acted: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    problem: Exception | None = None
    slow: asyncio.Event | None = None
    found: Recent = field(default_factory=Recent)
    asks: dict[str, Any] = field(default_factory=dict)
    begins: dict[str, Any] = field(default_factory=lambda: {"authorize_url": "https://login.example/authorize?state=s"})
    past: History = field(default_factory=lambda: History(SystemClock(), Metrics(), mounts=list))

    def status(self) -> dict[str, Any]:
        return self.shown

    def ready(self) -> tuple[str, list[str]]:
        return self.word, ["[+]store ok", "[+]grant questrade fresh"]

    def serves(self) -> bool:
        return self.word != "draining" and any(each["usable"] for each in self.shown["mounts"])

    def metrics(self) -> bytes:
        if self.bug:
            raise ValueError(TOKEN)
        return b"bearerd_in_flight 0.0\n"

    async def act(self, command: str, wish: Mapping[str, Any]) -> dict[str, Any]:
        """What an `App` answers, as far as pages show it."""
        if self.problem is not None:
            raise self.problem
        if command != "clients-list":
            self.acted.append((command, dict(wish)))
        if self.slow is not None:
            await self.slow.wait()
            self.acted.append(("ended", {}))
        return self.begins if command == "login-begin" else _answer(self.status(), command, wish)

    def asked(self, grant: str) -> dict[str, Any]:
        if grant.partition("/")[0] not in {each["grant"] for each in self.status()["mounts"]}:
            raise NotPossible(f"there is no mount or grant '{grant}'")
        asked = {"kind": "refresh-token", "title": "Questrade", "asks": ["refresh token"], "login_page": None}
        return asked | self.asks | {"grant": grant}

    async def recent(self, wanted: Wanted, count: int) -> Recent:  # noqa: ARG002
        return self.found

    def history(self) -> History:
        return self.past

    async def end_login(self, answer: str) -> Outcome:
        raise AssertionError(answer)


def _answer(shown: dict[str, Any], command: str, wish: Mapping[str, Any]) -> dict[str, Any]:
    name = wish.get("name")
    match command:
        case "login":
            return mount() | {"grant": wish["mount"]}
        case "revoke":
            return {"grant": wish["mount"], "broker_told": True, "message": "the broker was told"}
        case "clients-add":
            return {"client": name, "number": 2, "key": KEY, "expires": None, "warning": None}
        case "clients-rotate":
            return {"client": name, "number": 3, "key": KEY, "expires": None, "replaced": {"number": 1, "expires": NOW}}
        case "clients-remove":
            return {"client": name, "removed": 1}
        case "clients-list":
            keys = [
                {"number": 1, "created": NOW - 86400, "expires": None, "replaced": None, "expired": False}
                | {"last_use": NOW - 12, "grants": [], "lent": False}
            ]
            found = [each for each in shown["clients"] if each["name"] == name]
            if not found:
                raise NotPossible(f"there is no client '{name}', neither in the configuration nor with a key")
            return {"clients": [found[0] | {"listed": keys, "next": None}]}
        case "halt":
            text = f"Halted: since now by {wish['by']}: {wish['reason']}."
            return {"halt": {"text": text}, "new": True, "stored": True, "warning": None}
        case "resume":
            return {"lifted": [{}], "halts": []}
        case _:
            return {"changed": ["mounts"]}


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int
    headers: Message
    body: str


@dataclass(frozen=True)
class Place:
    """Where a console is that another process has."""

    address: Address


class Browser:
    """Sends what it is told, with the right Host unless told otherwise. `console` may also be a `Place`."""

    def __init__(self, console: Any) -> None:
        self.console: Any = console

    async def send(
        self,
        target: str,
        *,
        method: str = "GET",
        host: str | None = "",
        version: str = "1.1",
        form: str = "",
        **headers: str,
    ) -> Reply:
        address = self.console.address
        if isinstance(address, Tcp):
            reader, writer = await asyncio.open_connection(address.host, address.port)
        else:
            reader, writer = await asyncio.open_unix_connection(address.path)
        lines = [f"{method} {target} HTTP/{version}"]
        if host is not None:
            lines.append(f"Host: {host or address}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in ({"Connection": "close"} | headers).items()]
        kind = "" if "Content_Type" in headers else "Content-Type: application/x-www-form-urlencoded"
        lines += [f"Content-Length: {len(form)}", *filter(None, [kind])] if form else []
        try:
            writer.write("\r\n".join([*lines, "", form]).encode())
            async with asyncio.timeout(5):
                raw = await reader.read()
        finally:
            writer.close()
        head, _, body = raw.partition(b"\r\n\r\n")
        first, _, rest = head.partition(b"\r\n")
        return Reply(int(first.split()[1]), BytesParser().parsebytes(rest), body.decode())

    async def enter(self, token: str = TOKEN) -> tuple[str, str]:
        """Open the printed link. Returns the page's path and the cookie."""
        reply = await self.send(f"/?token={token}")
        return reply.headers["Location"], reply.headers["Set-Cookie"].partition(";")[0]

    async def log_in(self, token: str = TOKEN) -> "Inside":
        """Open the printed link, and the page behind it."""
        home, cookie = await self.enter(token)
        (csrf,) = set(re.findall(r'name="csrf" value="([\w-]{40,})"', (await self.send(home, Cookie=cookie)).body))
        return Inside(self, home, cookie, csrf)


@dataclass(frozen=True)
class Inside:
    """A browser that is logged in: it sends its cookie, and the form token of its page with each form."""

    browser: Browser
    home: str
    cookie: str
    csrf: str

    async def get(self, place: str, **headers: str) -> Reply:
        """What lies under a path of the console, whole or below its home."""
        target = place if place.startswith("/") else self.home + place
        return await self.browser.send(target, Cookie=self.cookie, **headers)

    async def post(self, act: str, form: Mapping[str, str], **headers: str) -> Reply:
        """A form, as the page itself sends it."""
        own = {"Origin": f"http://{self.browser.console.address}", "Sec_Fetch_Site": "same-origin"}
        text = urlencode({"csrf": self.csrf, **form})
        return await self.browser.send(
            f"{self.home}do/{act}", method="POST", form=text, Cookie=self.cookie, **(own | headers)
        )


def console_at(address: Address, view: View, *, reusable: bool = False) -> Console:
    admits = Pass(TOKEN, reusable=reusable)
    return Console(address, admits=admits, view=view, grace=0, allowed_hosts=["bearerd.internal:*"])
