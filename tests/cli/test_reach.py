"""What is looked at on the network, over real connections."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

import pytest

from proxy.brokers import Origin
from proxy.cli import reach
from proxy.cli.examine import Finding
from proxy.cli.output import BAD, GOOD, NOTE
from proxy.clock import SystemClock
from proxy.settings import Settings, read
from tests.authority import Authority

BROKERS = """\
version: 1
clients: none
{more}
mounts:
  desk: {{broker: desk, environment: live, scopes: [read]}}
  other: {{broker: desk, environment: live, grant: desk, scopes: [read]}}
brokers:
  desk:
    title: Desk
    scopes: {{read: Read}}
    params: {{}}
    logins: {{token: {{kind: refresh-token}}}}
    environments:
      live: {{api_server: "https://127.0.0.1:{api}", token_url: "https://127.0.0.1:{token}/token", ca_file: "{ca}"}}
    dead_token: [{{status: 400}}]
    rows: [{{id: a, method: GET, path: /a, scope: read}}]
"""


@dataclass
class Peer:
    """Somebody who speaks TLS and answers a head with what a test says. `asked`: what came."""

    port: int = 0
    answer: bytes = b""
    asked: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def peer(directory: Path, answer: bytes = b"") -> AsyncIterator[tuple[Peer, Authority]]:
    found = Peer(answer=answer)
    authority = Authority(directory / "ca", "desk", now=SystemClock().now().wall)
    pair = authority.issue("server", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.asked.append(await reader.read(4096))
        writer.write(found.answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found, authority


async def looked(
    directory: Path, ca: Path, api: int = 1, token: int = 1, *, more: str = "", patience: float = reach.PATIENCE
) -> dict[str, Finding]:
    """What is found with the API and the token endpoint at these ports; at 1 nobody is."""

    def settings() -> Settings:
        file = directory / "config.yaml"
        file.write_text(BROKERS.format(api=api, token=token, ca=ca, more=more))
        return read(file, {"HOME": str(directory)})

    found = await reach.all_of(await asyncio.to_thread(settings), None, patience)
    return {each.what: each for each in found}


def answering(seconds: float) -> bytes:
    """An answer whose clock differs from ours by so much."""
    date = formatdate(SystemClock().now().wall + seconds, usegmt=True)
    return f"HTTP/1.1 404 Not Found\r\nDate: {date}\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("seconds", "mark", "text"),
    [(0.0, GOOD, "agree"), (3600.0, BAD, " s behind the"), (-7200.0, BAD, " s ahead of the"), (None, NOTE, "not say")],
    ids=["the same", "behind", "ahead", "untold"],
)
async def test_a_clock_that_differs_is_told(tmp_path: Path, seconds: float | None, mark: str, text: str) -> None:
    """By the `Date` of the token endpoint's answer; only its root is asked for, without anything of an account."""
    answer = b"HTTP/1.1 204 No Content\r\n\r\n" if seconds is None else answering(seconds)
    async with peer(tmp_path, answer) as (broker, authority):
        found = await looked(tmp_path, authority.file, token=broker.port)
    clock = found[f"clock against 127.0.0.1:{broker.port}"]
    assert (mark, True) == (clock.mark, text in clock.text), clock
    told = [int(word) for word in clock.text.split() if word.isdigit()]
    assert all(abs(each - abs(seconds or 0.0)) <= 30 for each in told), clock  # a `Date` has whole seconds
    expected = f"HEAD / HTTP/1.1\r\nHost: 127.0.0.1:{broker.port}\r\nConnection: close\r\n\r\n"
    assert [expected.encode()] == broker.asked


async def test_who_does_not_answer_is_reached_all_the_same(tmp_path: Path) -> None:
    """TLS is what counts; a token endpoint that is silent to `HEAD` only keeps its time to itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = Authority(tmp_path / "ca", "desk", now=SystemClock().now().wall)
    pair = authority.issue("server", "127.0.0.1")
    context.load_cert_chain(pair.certificate, pair.key)

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        found = await looked(tmp_path, authority.file, token=port, patience=0.5)
    assert [GOOD, NOTE] == [found[f"{what} 127.0.0.1:{port}"].mark for what in ("host", "clock against")]


async def test_an_api_is_sent_nothing(tmp_path: Path) -> None:
    """TLS is established, and that is all. Two mounts of one host are one finding."""
    async with peer(tmp_path) as (api, authority):
        found = await looked(tmp_path, authority.file, api.port)
        async with asyncio.timeout(2):
            while not api.asked:  # noqa: ASYNC110  the other end hears of our end a moment later
                await asyncio.sleep(0.01)
    host = found[f"host 127.0.0.1:{api.port}"]
    assert (GOOD, True) == (host.mark, host.text.endswith("(mounts: desk, other)")), host
    assert [b""] == api.asked


async def test_a_certificate_of_somebody_else_is_told(tmp_path: Path) -> None:
    """A proxy that opens TLS, or worse: nothing is said to it."""
    stranger = Authority(tmp_path / "other", "other", now=SystemClock().now().wall)
    async with peer(tmp_path) as (api, _):
        found = await looked(tmp_path, stranger.file, api.port)
    host = found[f"host 127.0.0.1:{api.port}"]
    assert (BAD, True) == (host.mark, "not trusted" in host.text), host
    assert "ca_file" in (host.fix or "")
    assert b"" == b"".join(api.asked)


async def test_a_proxy_that_refuses_is_told(tmp_path: Path) -> None:
    """The hosts are reached the way that calls go."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy, peer(tmp_path) as (api, authority):
        way = f"egress_proxy: http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        found = await looked(tmp_path, authority.file, api.port, more=way)
    assert {"the egress proxy refused the connection"} == {each.text.partition(" (")[0] for each in found.values()}
    assert all("egress_proxy" in (each.fix or "") for each in found.values())


def test_hosts_that_come_with_tokens_are_those_of_the_server(tmp_path: Path) -> None:
    """Questrade's API lives where the last token said; without a server only its token endpoint is known."""
    file = tmp_path / "config.yaml"
    mount = "mounts: {questrade: {broker: questrade, environment: live, scopes: [read_acc]}}"
    file.write_text(f"version: 1\nclients: none\n{mount}\n")
    found = read(file, {"HOME": str(tmp_path)})
    assert [Origin("login.questrade.com", 443)] == [each.route.origin for each in reach.hosts(found, {})]
    known = reach.hosts(found, {"questrade": "api05.iq.questrade.com"})
    assert [(Origin("api05.iq.questrade.com", 443), False), (Origin("login.questrade.com", 443), True)] == [
        (each.route.origin, each.asks) for each in known
    ]
