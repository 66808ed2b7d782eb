"""Whoever is told: a receiver that does what its script says, and a notice to tell."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.alerts.notice import Trouble
from proxy.clock import Now
from proxy.hooks import EVENTS, Hook, Webhook
from proxy.secret import Secret

SECRET = "whsec_" + "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass
class Received:
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def event(self) -> str:
        return str(self.document["event"])


@dataclass
class Receiver:
    """Answers each request with the next of `script`, the last of them for ever. `b""` hangs; `None` closes."""

    script: list[bytes | None] = field(default_factory=lambda: [OK])
    received: list[Received] = field(default_factory=list)
    host: str = ""
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *fields = head.strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in fields)}
            body = await reader.readexactly(int(headers["content-length"]))
            self.received.append(Received(line, headers, body))
            answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            if answer == b"":
                await self.let_go.wait()
            elif answer is not None:
                writer.write(answer)
                await writer.drain()
                if b"hang" in answer:
                    await self.let_go.wait()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @property
    def events(self) -> list[str]:
        return [each.event for each in self.received]

    async def until(self, count: int, seconds: float = 5) -> list[Received]:
        """The first so many requests, once they are there."""
        async with asyncio.timeout(seconds):
            while len(self.received) < count:  # noqa: ASYNC110  what is waited for happens elsewhere
                await asyncio.sleep(0.01)
        return self.received[:count]


@asynccontextmanager
async def receiving(*script: bytes | None, path: Path | None = None) -> AsyncIterator[Receiver]:
    """A receiver on a port of its own, or at a Unix socket."""
    receiver = Receiver(list(script) or [OK])
    if path is not None:
        server = await asyncio.start_unix_server(receiver.serve, path)
    else:
        server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
        receiver.host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield receiver
    finally:
        receiver.let_go.set()
        server.close()
        await server.wait_closed()


def status(line: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {line}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def webhook(host: str, path: str = "/hook?team=a%2Fb", **more: Any) -> Webhook:
    return Webhook(Secret(f"http://{host}{path}"), f"http://{host}", host.partition(":")[0], Secret(SECRET), **more)


def hook(way: Any, name: str = "ops", events: tuple[str, ...] = EVENTS, **more: Any) -> Hook:
    return Hook(name, way, frozenset(events), more.pop("repeat", 0.0), more.pop("timeout", 5.0))


class HandClock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = Now(1_800_000_000.0, 1000.0)

    def now(self) -> Now:
        return self.at

    def go(self, seconds: float) -> None:
        self.at = Now(self.at.wall + seconds, self.at.boot + seconds)


def trouble(event: str = "login-needed", subject: str = "questrade", version: str = "", **more: Any) -> Trouble:
    about = {"grant": subject, "mounts": ["questrade"], "environment": "live"}
    headline = f"{subject} (questrade, live) needs a login"
    return Trouble(
        event, subject, headline, 1_799_999_000.0, "the broker said no", "bearerd login", about, version, **more
    )
