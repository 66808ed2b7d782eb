"""The product as it is delivered: commands in processes of their own, and callers that send exact bytes."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent
START = 20.0  # seconds that a command may take to say where it is, on a busy machine


async def eventually(seconds: float, pause: float = 0.01) -> AsyncIterator[float]:
    """Tries at something that will be so before long: how long it took so far, until the time is up."""
    began = time.monotonic()
    while (so_far := time.monotonic() - began) < seconds:
        yield so_far
        await asyncio.sleep(pause)


class Program:
    """`bearerd ARGUMENTS`, running. Its output goes to files, so that no pipe can fill."""

    def __init__(
        self, directory: Path, *arguments: str, environ: Mapping[str, str] | None = None, stdin: str = ""
    ) -> None:
        number = len(list(directory.glob("*.stdout")))
        self.stdout = directory / f"{number}.stdout"
        self.stderr = directory / f"{number}.stderr"
        (directory / f"{number}.stdin").write_text(stdin)
        with (
            self.stdout.open("wb") as stdout,
            self.stderr.open("wb") as stderr,
            (directory / f"{number}.stdin").open("rb") as source,
        ):
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "proxy", *arguments],
                stdin=source,
                stdout=stdout,
                stderr=stderr,
                cwd=directory,
                env={**os.environ, "PYTHONPATH": str(ROOT), **(environ or {})},
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        """Everything that it has printed so far, to stdout and to stderr."""
        return self.stdout.read_text(errors="replace") + self.stderr.read_text(errors="replace")

    async def until(self, text: str, *, times: int = 1, seconds: float = START) -> None:
        """Return when `text` stands in its output. AssertionError if it ends before, or takes too long."""
        async for _ in eventually(seconds):
            ended = self.process.poll() is not None
            if self.output.count(text) >= times:
                return
            assert not ended, f"it ended with {self.process.returncode}:\n{self.output}"
        pytest.fail(f"not within {seconds} s: {text!r} in\n{self.output}")

    async def document(self) -> dict[str, Any]:
        """The JSON of its first line on stdout."""
        await self.until('{"schema": 1')
        async for _ in eventually(START):
            line, ended, _ = self.stdout.read_bytes().partition(b"\n")
            if ended:
                found: dict[str, Any] = json.loads(line)
                return found
        pytest.fail(f"half a line: {self.output}")

    async def end(self, *, seconds: float = 30.0) -> int:
        """Its exit code, once it ends by itself."""
        return await asyncio.to_thread(self.process.wait, seconds)

    async def kill(self) -> None:
        """`kill -9`, and wait for it to be gone."""
        self.process.kill()
        await self.end()

    async def stop(self) -> int:
        """SIGTERM; its exit code. After 15 s it is killed and the test fails."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return await self.end(seconds=15)
        except subprocess.TimeoutExpired:
            await self.kill()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.stop()


async def run(
    directory: Path, *arguments: str, environ: Mapping[str, str] | None = None, stdin: str = ""
) -> tuple[int, str]:
    """One command to its end: exit code, and all that it printed."""
    program = Program(directory, *arguments, environ=environ, stdin=stdin)
    try:
        code = await program.end()
    finally:
        program.process.kill()
    return code, program.output


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. Header names are lower case; `raw` is what came, head and body."""

    status: int
    headers: dict[str, str]
    body: bytes
    raw: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def ours(self) -> str | None:
        """The name of bearerd's own refusal; None if the broker has answered."""
        _, found, name = self.headers.get("proxy-status", "").partition('details="')
        return name.rstrip('"') if found else None


class Wire:
    """One HTTP/1.1 connection that sends the very bytes it is given and never sends anything again."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 80
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, data: bytes) -> None:
        """Send; connects if there is no connection."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self.host, self.port)
        self._writer.write(data)
        await self._writer.drain()

    async def reply(self, *, method: str = "GET") -> Reply | None:
        """The next answer; None if the connection ended instead of one."""
        assert self._reader is not None
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            await self.close()
            return None
        lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        status = int(lines[0].split(" ")[1])
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif "chunked" in headers.get("transfer-encoding", ""):
            body = await self._chunks()
        else:
            body = await self._reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            await self.close()
        return Reply(status, headers, body, head + body)

    async def _chunks(self) -> bytes:
        assert self._reader is not None
        body = b""
        while size := int(await self._reader.readline(), 16):
            body += await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)
        return body

    async def call(
        self, method: str, target: str, key: str | None = None, body: object = None, **headers: str
    ) -> Reply | None:
        """One request, and its answer. A `body` goes as JSON; bytes go as they are."""
        await self.send(self.request(method, target, key, body, **headers))
        return await self.reply(method=method)

    def request(self, method: str, target: str, key: str | None = None, body: object = None, **headers: str) -> bytes:
        """The bytes of a request. Header names are written with `_` for `-`."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        if key is not None:
            lines.append(f"Authorization: Bearer {key}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + content

    async def close(self) -> None:
        """End the connection; the next `send` makes a new one."""
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def ask(url: str, method: str, target: str, key: str | None = None, body: object = None, **headers: str) -> Reply:
    """One call over a connection of its own."""
    wire = Wire(url)
    try:
        reply = await wire.call(method, target, key, body, **headers)
    finally:
        await wire.close()
    assert reply is not None, f"no answer to {method} {target}"
    return reply


async def state(control: str) -> dict[str, Any]:
    """The simulated Questrade's counters."""
    found: dict[str, Any] = (await ask(control, "GET", "/state")).document["questrade"]
    return found


async def command(control: str, path: str, **fields: object) -> None:
    """Tell the simulator to do something."""
    reply = await ask(control, "POST", path, body={"broker": "questrade", **fields})
    assert 200 == reply.status, reply.body


@contextlib.asynccontextmanager
async def demo(directory: Path, *arguments: str) -> AsyncIterator[dict[str, Any]]:
    """A running `bearerd demo`, as the document that it printed; ended by SIGTERM, which must work."""
    program = Program(directory, "demo", "--json", "--port", "0", *arguments)
    try:
        yield await program.document()
    finally:
        code = await program.stop()
    assert 0 == code, program.output
