"""What connections have to show before they are let in: real handshakes, real processes of other users."""

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psutil
import pytest
from aiohttp import web

from proxy.clock import SystemClock
from proxy.config import Tcp
from proxy.listener import Listener, open_listener
from proxy.vestibule import (
    AT_A_TIME,
    REASONS,
    Crowd,
    Peers,
    Tls,
    Vestibule,
    VestibuleSite,
    group_number,
    peer_of,
    peers_of,
    reason_of,
)
from tests.authority import HERE, Authority
from tests.callers import eventually

NOBODY = 65534
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def handle(request: web.BaseRequest) -> web.Response:
    return web.Response(text="here")


class Doorway:
    """A vestibule with aiohttp's server behind it."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.crowd = Crowd(100)
        self.port = 0
        self.path = Path()

    @asynccontextmanager
    async def tcp(
        self, context: ssl.SSLContext, *, patience: float = 10.0, optional: bool = False
    ) -> AsyncIterator["Doorway"]:
        listening = socket.create_server(("127.0.0.1", 0))
        listening.settimeout(0)
        self.port = listening.getsockname()[1]
        tls = Tls(lambda: context, self.failed.append, optional=optional)
        async with self._open(listening, tls=tls, patience=patience):
            yield self

    @asynccontextmanager
    async def unix(self, path: Path, peers: Peers) -> AsyncIterator["Doorway"]:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(path))
        await asyncio.to_thread(path.chmod, 0o666)
        listening.settimeout(0)
        self.path = path
        async with self._open(listening, peers=peers, stranger=b"HTTP/1.1 403 Forbidden\r\n\r\n"):
            yield self

    @asynccontextmanager
    async def _open(self, listening: socket.socket, **settings: object) -> AsyncIterator[None]:
        runner = web.ServerRunner(web.Server(handle), handle_signals=False)
        await runner.setup()
        assert runner.server is not None
        vestibule = Vestibule(listening, runner.server, crowd=self.crowd, **settings)  # type: ignore[arg-type]
        await VestibuleSite(runner, vestibule, backlog=1000).start()
        try:
            yield
        finally:
            await runner.cleanup()
        assert 0 == self.crowd.waiting

    async def ask(self, context: ssl.SSLContext | None) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        try:
            writer.write(REQUEST)
            return await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()

    async def turns_away(self, context: ssl.SSLContext) -> bool:
        """Whether no answer comes back, in whichever way a client learns of that."""
        try:
            return await self.ask(context) == b""
        except (ssl.SSLError, ConnectionError):
            return True

    async def reason(self) -> str:
        """Why the next handshake has failed."""
        async for _ in eventually(5):
            if self.failed:
                break
        return self.failed.pop()


def serving(pair: "Authority") -> ssl.SSLContext:
    found = pair.issue("server", *HERE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(found.certificate, found.key)
    return context


@pytest.fixture(name="authority", scope="module")
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "ours", now=SystemClock().now().wall)


@pytest.fixture(name="served", scope="module")
def _served(authority: Authority) -> ssl.SSLContext:
    return serving(authority)


@contextmanager
def outdated() -> Iterator[None]:
    """Python warns of whoever allows old versions of TLS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_tls_is_spoken(served: ssl.SSLContext, authority: Authority, version: str) -> None:
    """By versions that are still good; who has come through the handshake is served as anybody."""
    client = authority.trusting()
    client.minimum_version = client.maximum_version = ssl.TLSVersion[version]
    async with Doorway().tcp(served) as door:
        assert (await door.ask(client)).endswith(b"here")
        assert [] == door.failed


async def test_old_versions_of_tls_are_refused(served: ssl.SSLContext, authority: Authority) -> None:
    """1.1 is not spoken, even by a client that takes weak ciphers."""
    client = authority.trusting()
    client.set_ciphers("ALL:@SECLEVEL=0")
    with outdated():
        client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_1
    async with Doorway().tcp(served) as door:
        assert await door.turns_away(client)
        assert "old-version" == await door.reason()


async def test_a_client_without_tls_gets_no_answer(served: ssl.SSLContext) -> None:
    """Whatever it sends is not read as a request."""
    async with Doorway().tcp(served) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(REQUEST)
        assert b"HTTP" not in await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert "no-tls" == await door.reason()


async def test_who_does_not_trust_us_is_counted(served: ssl.SSLContext) -> None:
    """A client that ends the handshake is no reason to complain loudly, and is known."""
    async with Doorway().tcp(served) as door:
        assert await door.turns_away(ssl.create_default_context())
        assert "gone" == await door.reason()  # asyncio's clients just leave
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.to_thread(_call, door.port)
        assert "distrusted" == await door.reason()


def _call(port: int) -> None:
    """As curl, Node.js or requests do, with what the system trusts."""
    with socket.create_connection(("127.0.0.1", port)) as line:
        ssl.create_default_context().wrap_socket(line, server_hostname="localhost").close()


async def test_a_handshake_is_not_waited_for_for_ever(served: ssl.SSLContext) -> None:
    """Whoever says nothing, or dribbles, is sent away when the time is up, and counts until then."""
    async with Doorway().tcp(served, patience=0.3) as door:
        silent = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(5)]
        silent[0][1].write(b"\x16\x03\x01")
        async for _ in eventually(5):
            if door.crowd.waiting == 5:
                break
        assert 5 == door.crowd.waiting
        for reader, writer in silent:
            assert b"" == await asyncio.wait_for(reader.read(), 5)
            writer.close()
        assert (0, 0) == (door.crowd.waiting, door.crowd.inside)
        assert "timeout" == await door.reason()


async def test_connections_without_a_handshake_fill_the_crowd(served: ssl.SSLContext, authority: Authority) -> None:
    """What is over the limit is closed at once, and room is there again when the others have gone."""
    async with Doorway().tcp(served) as door:
        door.crowd.limit = 2
        silent = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(2)]
        async for _ in eventually(5):
            if door.crowd.waiting == 2:
                break
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        assert b"" == await asyncio.wait_for(reader.read(), 5)
        for _, other in (*silent, (reader, writer)):
            other.close()
        async for _ in eventually(5):
            if door.crowd.waiting == 0:
                break
        assert (await door.ask(authority.trusting())).endswith(b"here")


async def test_a_crowd_of_silent_connections_costs_little(
    served: ssl.SSLContext, authority: Authority, figure: Callable[[object], None]
) -> None:
    """Who does come through the handshake is served as quickly as ever, and afterwards nothing is left."""
    process = psutil.Process()
    async with Doorway().tcp(served, patience=3.0) as door:
        door.crowd.limit = 1000
        assert (await door.ask(authority.trusting())).endswith(b"here")
        before, files = process.memory_info().rss, process.num_fds()
        silent = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(300)]
        for _, writer in silent:
            writer.write(b"\x16\x03\x01\x02\x00\x01")
        async for _ in eventually(5):
            if door.crowd.waiting >= 300:
                break
        grown = (process.memory_info().rss - before) / 1e6
        began = time.monotonic()
        assert (await door.ask(authority.trusting())).endswith(b"here")
        took = time.monotonic() - began
        await asyncio.gather(*(reader.read() for reader, _ in silent))
        for _, writer in silent:
            writer.close()
        async for _ in eventually(5):
            if process.num_fds() <= files:
                break
        figure(f"300 half-open handshakes: {grown:.0f} MB in both ends, an honest call took {took * 1000:.0f} ms")
        assert (300, 0, True) == (door.failed.count("timeout"), door.crowd.waiting, process.num_fds() <= files)
        assert grown < 64


async def test_a_flood_neither_passes_the_limit_nor_has_the_loop_alone(served: ssl.SSLContext) -> None:
    """Connections that are there already are accepted a few at a time, and what is over the limit is closed."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with Doorway().tcp(served) as door:
        door.crowd.limit = 40
        await asyncio.sleep(0.05)
        # Blocks the loop: all are there before the first is accepted (systems keep 128 at least).
        flood = [socket.create_connection(("127.0.0.1", door.port)) for _ in range(120)]
        async with asyncio.TaskGroup() as group:
            working = group.create_task(other())
            most = 0
            async for _ in eventually(10):
                most = max(most, door.crowd.waiting)
                for connection in flood[door.crowd.limit :]:
                    connection.setblocking(False)
                if all(_closed(connection) for connection in flood[door.crowd.limit :]):
                    break
            working.cancel()
        assert (40, True) == (most, turns >= 120 // AT_A_TIME)
        for connection in flood:
            connection.close()
        async for _ in eventually(5):
            if door.crowd.waiting == 0:
                break


def _closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_one_port_takes_both(served: ssl.SSLContext, authority: Authority, version: str) -> None:
    """Whoever begins with a handshake gets TLS, everybody else plain HTTP, byte for byte as it came."""
    client = authority.trusting()
    client.minimum_version = client.maximum_version = ssl.TLSVersion[version]
    async with Doorway().tcp(served, optional=True) as door:
        assert (await door.ask(client)).endswith(b"here")
        assert (await door.ask(None)).endswith(b"here")
        assert await door.turns_away(ssl.create_default_context())
        assert "gone" == await door.reason()
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        for number in range(len(REQUEST)):
            writer.write(REQUEST[number : number + 1])
            await asyncio.sleep(0)
        assert (await asyncio.wait_for(reader.read(), 5)).endswith(b"here")
        writer.close()
        assert [] == door.failed


async def test_the_first_byte_is_not_waited_for_for_ever(served: ssl.SSLContext) -> None:
    """Who says nothing is sent away when the time is up, and counts until then; a handshake has what is left of it."""
    async with Doorway().tcp(served, patience=0.4, optional=True) as door:
        began = time.monotonic()
        silent = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(5)]
        async for _ in eventually(5):
            if door.crowd.waiting == 5:
                break
        assert (5, 0) == (door.crowd.waiting, door.crowd.inside)
        await asyncio.sleep(0.3)
        silent[0][1].write(b"\x16")
        for reader, writer in silent:
            assert b"" == await asyncio.wait_for(reader.read(), 5)
            writer.close()
        assert time.monotonic() - began < 2 * 0.4
        assert (0, 0) == (door.crowd.waiting, door.crowd.inside)
        assert ("timeout", []) == (await door.reason(), door.failed)  # of the one that had begun


async def test_many_who_say_nothing_are_in_nobody_s_way(served: ssl.SSLContext, authority: Authority) -> None:
    """Where both are spoken: who says something is served meanwhile, either way, and nothing is left of them."""
    process = psutil.Process()
    async with Doorway().tcp(served, patience=1.0, optional=True) as door:
        door.crowd.limit = 303
        await door.ask(None)  # with its first connection uvloop takes a descriptor for itself
        files = process.num_fds()
        silent = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(300)]
        async for _ in eventually(5):
            if door.crowd.waiting == 300:
                break
        for context in (authority.trusting(), None):
            assert (await door.ask(context)).endswith(b"here")
        await asyncio.gather(*(reader.read() for reader, _ in silent))
        for _, writer in silent:
            writer.close()
        async for _ in eventually(5):
            if process.num_fds() <= files:
                break
        assert (0, [], True) == (door.crowd.waiting, door.failed, process.num_fds() <= files)


async def test_who_leaves_without_a_word_leaves_nothing_behind(served: ssl.SSLContext) -> None:
    """Health checks do: the port is open, that is all that they want to know. No handshake has failed."""
    process = psutil.Process()
    async with Doorway().tcp(served, optional=True) as door:
        files = process.num_fds()
        for at_once in (False, True):
            line = socket.create_connection(("127.0.0.1", door.port))
            if at_once:  # with a reset
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await asyncio.sleep(0.02)
            line.close()
        async for _ in eventually(5):
            if door.crowd.waiting == 0:
                break
        assert (0, [], True) == (door.crowd.waiting, door.failed, process.num_fds() <= files)


async def test_closing_ends_those_who_have_said_nothing(served: ssl.SSLContext) -> None:
    """Where both are spoken, too."""
    async with Doorway().tcp(served, optional=True) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        async for _ in eventually(5):
            if door.crowd.waiting:
                break
    assert b"" == await asyncio.wait_for(reader.read(), 5)
    writer.close()


async def test_closing_ends_handshakes_that_are_under_way(served: ssl.SSLContext) -> None:
    """A stop does not wait for them."""
    async with Doorway().tcp(served) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        async for _ in eventually(5):
            if door.crowd.waiting:
                break
    assert b"" == await asyncio.wait_for(reader.read(), 5)
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", door.port)


async def test_clients_show_a_certificate_of_their_authority(authority: Authority, tmp_path: Path) -> None:
    """None, one of another authority, and one that is over are all turned away in the handshake."""
    theirs = Authority(tmp_path / "theirs", "theirs", now=SystemClock().now().wall)
    context = serving(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    await asyncio.to_thread(context.load_verify_locations, theirs.file)
    now = SystemClock().now().wall
    shown = {
        "good": theirs.issue("bot", client=True),
        "stranger's": authority.issue("bot", client=True),
        "over": theirs.issue("late", client=True, begins=now - 3600, lives=60),
        "a server's": theirs.issue("server", *HERE),
    }
    async with Doorway().tcp(context) as door:
        assert (await door.ask(await asyncio.to_thread(authority.trusting, shown["good"]))).endswith(b"here")
        for name in ("stranger's", "over", "a server's"):
            assert await door.turns_away(await asyncio.to_thread(authority.trusting, shown[name])), name
            assert "bad-certificate" == await door.reason(), name
        assert await door.turns_away(authority.trusting())
        assert "no-certificate" == await door.reason()


def test_every_failure_has_a_name() -> None:
    """Metrics have a closed set of them."""
    errors: list[OSError] = [OSError(5, "x"), ConnectionResetError(), ssl.SSLEOFError(), ConnectionAbortedError("x")]
    assert ["other", "gone", "gone", "gone"] == [reason_of(error) for error in errors]
    assert "timeout" == reason_of(ConnectionAbortedError("SSL handshake is taking longer than 10 seconds"))
    assert set(REASONS) >= {reason_of(error) for error in errors}


# -- Unix sockets -----------------------------------------------------------------------------------------------------

CALL = """
import os, socket, sys
user, *groups = map(int, sys.argv[2:])
if user:  # only now: the interpreter may be where nobody else gets to
    os.setgroups(groups[1:])
    os.setgid(groups[0])
    os.setuid(user)
with socket.socket(socket.AF_UNIX) as caller:
    caller.connect(sys.argv[1])
    caller.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
    while part := caller.recv(4096):
        sys.stdout.write(part.decode())
"""


async def called_as(path: Path, user: int, *groups: int) -> str:
    """What a process of that user, in those groups, is answered."""
    command = [sys.executable, "-IS", "-c", CALL, path, user, *groups]
    done = await asyncio.to_thread(
        subprocess.run, list(map(str, command)), capture_output=True, text=True, timeout=20, check=True
    )
    return done.stdout.splitlines()[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can call as somebody else")
async def test_processes_of_other_users_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    """By the system's word on whose process it is: user, first group or any other. Who may not is told so."""
    path = Path(f"/dev/shm/brd-test-{os.getpid()}.sock")  # noqa: S108  where anybody gets to
    try:
        async with Doorway().unix(path, Peers(frozenset({1234}), frozenset({4321}))):
            assert "HTTP/1.1 200 OK" == await called_as(path, 0)
            assert "HTTP/1.1 200 OK" == await called_as(path, 1234, NOBODY)
            assert "HTTP/1.1 200 OK" == await called_as(path, NOBODY, 4321)
            assert "HTTP/1.1 200 OK" == await called_as(path, NOBODY, NOBODY, 7, 4321)
            assert "HTTP/1.1 403 Forbidden" == await called_as(path, NOBODY, NOBODY, 7)
    finally:
        await asyncio.to_thread(path.unlink)
    assert any("a process of another user was refused" in line and "65534" in line for line in caplog.messages)


def test_we_and_root_may_always_call() -> None:
    """Nobody else, unless user or group is named."""
    nobody, named = Peers(), Peers(frozenset({7}), frozenset({8}))
    assert nobody.admit(0, frozenset())
    assert nobody.admit(os.geteuid(), frozenset())
    assert [False, True, True, False] == [
        nobody.admit(77777, frozenset({8})),
        named.admit(7, frozenset()),
        named.admit(77777, frozenset({9, 8})),
        named.admit(77777, frozenset({7})),
    ]


def test_users_and_groups_are_known_by_name_or_number() -> None:
    """A name that nobody has is an error: it would silently let nobody in."""
    assert Peers(frozenset({0, 1234}), frozenset({4321})) == peers_of(["root", "1234"], ["4321"])
    assert 5 == group_number("5")
    with pytest.raises(LookupError, match="there is no user 'no-such-user'"):
        peers_of(["no-such-user"], [])
    with pytest.raises(LookupError, match="there is no group 'no-such-group'"):
        peers_of([], ["no-such-group"])


def test_the_system_tells_who_calls() -> None:
    """User and all groups of the process at the other end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert (os.geteuid(), frozenset({os.getegid(), *os.getgroups()})) == peer_of(ours)


async def test_a_plain_listener_needs_no_vestibule() -> None:
    """The way of most calls stays the library's own."""

    async def here(_listener: Listener, _request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="here")

    listener = await open_listener(Tcp("127.0.0.1", 0), here, grace=0.1)
    assert isinstance(listener.bound, Tcp)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.bound.port)
    writer.write(REQUEST)
    assert (await reader.read()).endswith(b"here")
    writer.close()
    await listener.close()
