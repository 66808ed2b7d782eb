"""The Unix socket by which the command line talks to a running server: real sockets on both sides."""

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy import __version__, admin
from proxy.admin import AdminSocket, CommandFailed, NotPossible, ServerGone, call, held, trusted
from proxy.config import ConfigInvalid, Mark, Problem
from proxy.store import StoreError, StoreLocked
from proxy.tokens.errands import LoginFailed

CANARY = "c4n4ry-t0ken"
FAULTS: dict[str, Exception] = {
    "not-possible": NotPossible("Nothing is mounted.", "bearerd init"),
    "login-failed": LoginFailed("Questrade refused this token."),
    "full": OSError(28, "No space left on device", "/state/audit"),
    "gone": OSError(5, "Input/output error"),
    "store": StoreError("The disk is full."),
    "locked": StoreLocked("It is in use by process 7", 7),
    "config": ConfigInvalid([Problem(Mark(9, 5), "mounts", "is empty")], "config.yaml"),
    "own": CommandFailed("bad-request", "The name is too long.", "choose a shorter one"),
    "bug": RuntimeError(CANARY),
}


class Commands:
    """Answers to commands, and what is needed to hold one up."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.finished = 0

    async def echo(self, params: dict[str, Any]) -> dict[str, Any]:
        return {"params": params}

    async def slow(self, _params: dict[str, Any]) -> dict[str, Any]:
        self.begun.set()
        await self.go_on.wait()
        self.finished += 1
        return {}

    async def fail(self, params: dict[str, Any]) -> dict[str, Any]:
        raise FAULTS[params["how"]]


@pytest.fixture(name="commands")
def _commands() -> Commands:
    return Commands()


@pytest.fixture(name="path")
def _path(state_dir: Path) -> Path:
    return state_dir / "admin.sock"


@pytest.fixture(name="server")
async def _server(path: Path, commands: Commands) -> AsyncIterator[AdminSocket]:
    server = AdminSocket(path, {"echo": commands.echo, "slow": commands.slow, "fail": commands.fail})
    await server.start()
    yield server
    commands.go_on.set()
    await server.stop()


async def raw(path: Path, request: bytes) -> bytes:
    """What the server says to these bytes, after which nothing more is sent."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(request)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_command_is_answered(server: AdminSocket, path: Path) -> None:
    """Params reach the command, and its answer reaches the caller."""
    params = {"mount": "questrade", "n": [1, None, "…"]}

    assert {"params": params} == await call(path, "echo", params, timeout=5)


async def test_calls_do_not_wait_for_each_other(server: AdminSocket, path: Path, commands: Commands) -> None:
    """While one command runs, others are answered."""
    async with asyncio.TaskGroup() as group:
        slow = group.create_task(call(path, "slow", {}, timeout=5))
        await commands.begun.wait()
        assert {"params": {}} == await call(path, "echo", {}, timeout=5)
        commands.go_on.set()

    assert {} == slow.result()


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("not-possible", ("not-possible", "Nothing is mounted.", "bearerd init")),
        ("login-failed", ("login-failed", "Questrade refused this token.", None)),
        ("store", ("store", "The disk is full.", None)),
        ("locked", ("store", "It is in use by process 7", None)),
        ("config", ("config", "config.yaml:9:5: error: mounts: is empty", None)),
        ("own", ("bad-request", "The name is too long.", "choose a shorter one")),
        ("full", ("not-possible", "/state/audit: No space left on device", None)),
        ("gone", ("not-possible", "Input/output error", None)),
        ("bug", ("internal", "bearerd failed at `fail`; its log says where.", None)),
    ],
)
async def test_a_failure_keeps_its_kind(
    server: AdminSocket, path: Path, how: str, expected: tuple[str, str, str | None]
) -> None:
    """Each kind of exception of a command arrives as that kind, and a bug without its text."""
    with pytest.raises(CommandFailed) as caught:
        await call(path, "fail", {"how": how}, timeout=5)

    assert expected == (caught.value.kind, str(caught.value), caught.value.fix)


@pytest.mark.parametrize(
    "request_line",
    [
        b"",
        b"\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b'{"command": "' + CANARY.encode() + b'"}\n',
        b'{"command": ["' + CANARY.encode() + b'"]}\n',
        b'{"command": "echo", "params": "' + CANARY.encode() + b'"}\n',
        b'{"params": {"' + CANARY.encode() + b'": 1}}\n',
        b'["' + CANARY.encode() + b'"]\n',
        b"[" * 5_000 + b"\n",
        b"\xff" + CANARY.encode() + b"\n",
        b'{"command": "echo", "params": {"x": "' + b"x" * admin.LARGEST + b'"}}\n',
    ],
)
async def test_a_bad_request_is_not_quoted(server: AdminSocket, path: Path, request_line: bytes) -> None:
    """What is no request is refused in fixed words."""
    answer = await raw(path, request_line)

    assert "bad-request" == json.loads(answer)["error"]["kind"]
    assert CANARY.encode() not in answer


async def test_the_largest_request_passes(server: AdminSocket, path: Path) -> None:
    """A line of exactly `LARGEST` bytes is taken."""
    head, tail = b'{"command": "echo", "params": {"x": "', b'"}}\n'
    answer = json.loads(await raw(path, head + b"x" * (admin.LARGEST - len(head) - len(tail)) + tail))

    assert "ok" in answer


async def test_one_request_a_connection(server: AdminSocket, path: Path) -> None:
    """A second line on a connection gets no answer."""
    answer = await raw(path, b'{"command": "echo"}\n' * 2)

    assert {"version": __version__, "ok": {"params": {}}} == json.loads(answer)
    assert 1 == answer.count(b"\n")


@pytest.mark.parametrize("protocol", [0, 2, "1", None])
async def test_another_protocol_is_not_carried_out(server: AdminSocket, path: Path, protocol: object) -> None:
    """A command of a bearerd that speaks another way: nothing happens, and it is told who we are."""
    request = {"protocol": protocol, "command": "echo", "params": {}}
    answer = json.loads(await raw(path, json.dumps(request).encode() + b"\n"))

    assert (__version__, "other-version") == (answer["version"], answer["error"]["kind"])
    assert "The server speaks version 1 of the admin protocol only." == answer["error"]["message"]


async def test_the_first_programs_named_no_protocol(server: AdminSocket, path: Path) -> None:
    """They spoke the first one."""
    assert "ok" in json.loads(await raw(path, b'{"command": "echo", "params": {}}\n'))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            {"version": "0.0.9", "error": {"kind": "bad-request", "message": "There is no such command.", "fix": None}},
            ("other-version", "The server is bearerd 0.0.9, this command is bearerd {}: There is no such command."),
        ),
        (
            {"error": {"kind": "internal", "message": "bearerd failed at `x`.", "fix": None}},
            ("other-version", "The server is an older bearerd, this command is bearerd {}: bearerd failed at `x`."),
        ),
        (
            {"version": "9.0.0", "error": {"kind": "other-version", "message": "Only 2.", "fix": None}},
            ("other-version", "The server is bearerd 9.0.0, this command is bearerd {}: Only 2."),
        ),
        (
            {"version": "9.0.0", "error": {"kind": "not-possible", "message": "Nothing is mounted.", "fix": None}},
            ("not-possible", "Nothing is mounted."),
        ),
        (
            {"version": __version__, "error": {"kind": "bad-request", "message": "No.", "fix": None}},
            ("bad-request", "No."),
        ),
    ],
    ids=["no such command", "of old", "newer", "understood", "same"],
)
async def test_a_server_of_another_version_is_said_to_be_one(
    path: Path, answer: dict[str, Any], expected: tuple[str, str]
) -> None:
    """Where it did not understand, both versions are named, and what to do; what it understood it may refuse."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(json.dumps(answer).encode() + b"\n")
        writer.close()
        await writer.wait_closed()
        served.set()

    served = asyncio.Event()
    server = await asyncio.start_unix_server(serve, path)
    with pytest.raises(CommandFailed) as caught:
        await call(path, "x", {}, timeout=5)
    await served.wait()
    server.close()

    assert (expected[0], expected[1].format(__version__)) == (caught.value.kind, str(caught.value))
    restart = "restart the server, so that both are of one version"
    assert (restart if expected[0] == "other-version" else None) == caught.value.fix


async def test_only_the_owner_may_touch_the_socket(server: AdminSocket, path: Path) -> None:
    """The socket is 0600."""
    assert 0o600 == mode(path)


@pytest.mark.parametrize(
    ("user", "own", "root_calls", "expected"),
    [
        (1000, 1000, False, True),
        (0, 1000, False, True),
        (1001, 1000, False, False),
        (1001, 0, False, False),
        (1001, 0, True, True),
        (1001, 1000, True, False),
        (None, 1000, False, True),
    ],
)
def test_who_may_be_at_the_other_end(user: int | None, own: int, root_calls: bool, expected: bool) -> None:
    """Our own user and root; for root as the caller, anybody's server."""
    assert expected is trusted(user, own=own, root_calls=root_calls)


async def test_the_system_tells_who_calls(path: Path) -> None:
    """Each end of a connection learns the user of the other."""
    found: list[int | None] = []

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.append(admin._peer(writer))
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    reader, writer = await asyncio.open_unix_connection(path)
    await reader.read()
    found.append(admin._peer(writer))
    writer.close()
    server.close()

    assert [os.geteuid()] * 2 == found


async def test_nobody_listens(path: Path) -> None:
    """Without a socket the caller learns that no server answers, and where it was looked for."""
    with pytest.raises(ServerGone, match=f"No bearerd answers at {path}"):
        await call(path, "echo", {}, timeout=5)


async def test_a_server_that_was_killed_leaves_a_socket_that_nobody_answers(path: Path) -> None:
    """A stale socket means that no server answers."""
    left_behind(path)

    with pytest.raises(ServerGone):
        await call(path, "echo", {}, timeout=5)


async def test_a_caller_does_not_wait_for_ever(server: AdminSocket, path: Path) -> None:
    """After its timeout the caller learns that no answer came."""
    with pytest.raises(ServerGone, match="did not answer within"):
        await call(path, "slow", {}, timeout=0.05)


@pytest.mark.parametrize("answer", [b"", b"{}\n", b"nonsense", b'{"error": {}}\n', b"[1]\n"])
async def test_half_an_answer_is_none(path: Path, answer: bytes) -> None:
    """If the server dies in mid-answer, the caller does not take the rest for one."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    with pytest.raises(ServerGone, match="ended before"):
        await call(path, "echo", {}, timeout=5)
    server.close()


async def test_a_command_outlives_its_caller(server: AdminSocket, path: Path, commands: Commands) -> None:
    """A login that has begun is not cut off because somebody pressed Ctrl-C."""
    with pytest.raises(ServerGone):
        await call(path, "slow", {}, timeout=0.05)
    await commands.begun.wait()
    commands.go_on.set()
    await server.stop()

    assert 1 == commands.finished


async def test_stop_waits_for_commands_and_removes_the_socket(
    server: AdminSocket, path: Path, commands: Commands
) -> None:
    """A command that runs is answered before the server is gone, and no new one gets in."""
    async with asyncio.TaskGroup() as group:
        slow = group.create_task(call(path, "slow", {}, timeout=5))
        await commands.begun.wait()
        stopped = group.create_task(server.stop())
        await gone(path)
        assert not stopped.done()
        commands.go_on.set()

    assert {} == slow.result()
    assert [] == names(path.parent)


async def test_stop_ends_commands_that_hang(path: Path, commands: Commands) -> None:
    """After the grace a command is cancelled, and its caller learns that no answer comes."""
    server = AdminSocket(path, {"slow": commands.slow}, grace=0.05)
    await server.start()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(asyncio.wait_for(raw(path, b'{"command": "slow"}\n'), 5))
        await commands.begun.wait()
        await server.stop()

    assert b"" == waiting.result()
    assert 0 == commands.finished


async def test_a_silent_caller_is_let_go(path: Path, commands: Commands) -> None:
    """Who connects and says nothing loses the connection."""
    server = AdminSocket(path, {"echo": commands.echo}, patience=0.05)
    await server.start()
    reader, writer = await asyncio.open_unix_connection(path)

    assert b"" == await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await server.stop()


async def test_a_stale_socket_is_replaced(path: Path, commands: Commands) -> None:
    """What a killed server left does not keep the next one from starting."""
    left_behind(path)
    server = AdminSocket(path, {"echo": commands.echo})
    await server.start()

    assert {"params": {}} == await call(path, "echo", {}, timeout=5)
    await server.stop()


async def test_a_server_that_answers_is_not_pushed_aside(server: AdminSocket, path: Path) -> None:
    """A second server on the same directory fails, and the first goes on."""
    with pytest.raises(OSError, match="another program listens"):
        await AdminSocket(path, {}).start()

    assert {"params": {}} == await call(path, "echo", {}, timeout=5)


async def test_a_deep_state_directory_works(state_dir: Path, commands: Commands) -> None:
    """A path that is too long for a socket's address is reached all the same, and is not left behind."""
    deep = state_dir / ("d" * 120)
    deep.mkdir()
    server = AdminSocket(deep / "admin.sock", {"echo": commands.echo})
    await server.start()

    assert {"params": {}} == await call(deep / "admin.sock", "echo", {}, timeout=5)
    with pytest.raises(OSError, match=f"another program listens on {deep}"):
        await AdminSocket(deep / "admin.sock", {}).start()
    assert 0o600 == mode(deep / "admin.sock")
    await server.stop()
    assert [] == names(deep)


async def test_stop_before_start_does_nothing(path: Path) -> None:
    """A server whose start failed can be stopped like any other."""
    await AdminSocket(path, {}).stop()

    assert [] == names(path.parent)


def left_behind(path: Path) -> None:
    """A socket as a killed server leaves it: there, and nobody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))


def mode(path: Path) -> int:
    """The permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def names(path: Path) -> list[str]:
    """What lies in a directory."""
    return [each.name for each in path.iterdir()]


async def gone(path: Path) -> None:
    """Return when no server takes commands at `path`."""
    try:
        while True:
            await call(path, "echo", {}, timeout=5)
    except ServerGone:
        pass


# -- held commands ----------------------------------------------------------------------------------------------------


class Lender:
    """A held command; `lent` counts the blocks that are open."""

    def __init__(self) -> None:
        self.lent = 0
        self.changed = asyncio.Event()

    @asynccontextmanager
    async def lend(self, params: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        if how := params.get("how"):
            raise FAULTS[how]
        self._count(1)
        try:
            yield {"params": params}
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        self.lent += change
        self.changed.set()

    async def becomes(self, lent: int) -> None:
        async with asyncio.timeout(5):
            while self.lent != lent:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture(name="lender")
def _lender() -> Lender:
    return Lender()


@pytest.fixture(name="lending")
async def _lending(path: Path, lender: Lender) -> AsyncIterator[AdminSocket]:
    server = AdminSocket(path, {}, {"lend": lender.lend})
    await server.start()
    yield server
    await server.stop()


async def test_a_held_command_lasts_as_long_as_its_caller(lending: AdminSocket, path: Path, lender: Lender) -> None:
    """Within the caller's block it is open; two callers do not disturb each other."""
    async with held(path, "lend", {"n": 1}, timeout=5) as (answer, _):
        assert {"params": {"n": 1}} == answer
        async with held(path, "lend", {}, timeout=5):
            assert 2 == lender.lent
        await lender.becomes(1)
    await lender.becomes(0)


async def test_a_held_command_ends_when_its_caller_vanishes(lending: AdminSocket, path: Path, lender: Lender) -> None:
    """A killed process says nothing any more: the system closes its connection."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b'{"command": "lend"}\n')
    assert b'{"ok"' in await reader.readline()
    await lender.becomes(1)

    writer.transport.abort()

    await lender.becomes(0)


async def test_a_stop_ends_held_commands_at_once(lending: AdminSocket, path: Path, lender: Lender) -> None:
    """Nobody waits for a caller that wants to stay; the caller learns that the server has gone."""
    async with held(path, "lend", {}, timeout=5) as (_, gone), asyncio.timeout(2):
        await lending.stop()
        await gone()

    assert 0 == lender.lent


@pytest.mark.parametrize("how", ["not-possible", "bug"])
async def test_a_held_command_that_fails_is_answered_like_any_other(
    lending: AdminSocket, path: Path, lender: Lender, how: str
) -> None:
    """The caller gets the reason, and holds nothing."""
    with pytest.raises(CommandFailed) as caught:
        async with held(path, "lend", {"how": how}, timeout=5):
            pytest.fail("there is nothing to hold")

    assert ("internal" if how == "bug" else how) == caught.value.kind
    assert CANARY not in str(caught.value)
    assert 0 == lender.lent


async def test_nobody_there_to_hold_with(path: Path) -> None:
    """As for any other call."""
    with pytest.raises(ServerGone):
        async with held(path, "lend", {}, timeout=5):
            pytest.fail("there is nobody")
