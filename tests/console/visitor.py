"""Somebody who looks at a console over real sockets, and what there is to see."""

import asyncio
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from typing import Any

from proxy.admin import NotPossible
from proxy.config import Address, Tcp
from proxy.console.callback import Outcome
from proxy.console.server import Console
from tests.console.shown import mount, status

TOKEN = "0pen-sesame"


@dataclass
class View:
    """A server's standing that a test sets."""

    shown: dict[str, Any] = field(default_factory=lambda: status(mount()))
    word: str = "ok"
    bug: bool = False
    begun: list[str] = field(default_factory=list)

    def status(self) -> dict[str, Any]:
        return self.shown

    def ready(self) -> tuple[str, list[str]]:
        return self.word, ["[+]store ok", "[+]grant questrade fresh"]

    def metrics(self) -> bytes:
        if self.bug:
            raise ValueError(TOKEN)
        return b"bearerd_in_flight 0.0\n"

    async def begin_login(self, grant: str) -> str:
        self.begun.append(grant)
        if grant != "questrade":
            raise NotPossible(f"there is no mount or grant '{grant}'")
        return "https://login.example/authorize?state=s"

    async def end_login(self, answer: str) -> Outcome:
        raise AssertionError(answer)


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int
    headers: Message
    body: str


class Browser:
    """Sends what it is told, with the right Host unless told otherwise."""

    def __init__(self, console: Console) -> None:
        self.console = console

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
        lines += [f"Content-Length: {len(form)}"] if form else []
        writer.write("\r\n".join([*lines, "", form]).encode())
        async with asyncio.timeout(5):
            raw = await reader.read()
        writer.close()
        head, _, body = raw.partition(b"\r\n\r\n")
        first, _, rest = head.partition(b"\r\n")
        return Reply(int(first.split()[1]), BytesParser().parsebytes(rest), body.decode())

    async def enter(self, token: str = TOKEN) -> tuple[str, str]:
        """Open the printed link. Returns the page's path and the cookie."""
        reply = await self.send(f"/?token={token}")
        return reply.headers["Location"], reply.headers["Set-Cookie"].partition(";")[0]


def console_at(address: Address, view: View, *, reusable: bool = False) -> Console:
    return Console(address, token=TOKEN, reusable=reusable, view=view, grace=0, allowed_hosts=["bearerd.internal:*"])
