"""The command line's way into a running server: a Unix socket, one JSON line in, one JSON line out.

The socket is 0600 in the 0700 state directory, and both ends ask the system whose process the other one is: a token to
log in with travels here. A command that has begun runs to its end even if nobody waits for its answer any more.

    → {"protocol": 1, "command": "login", "params": {"mount": "questrade", "token": …}}
    ← {"ok": {…}, "version": "0.1.0"}
      or {"error": {"kind": "login-failed", "message": …, "fix": null}, "version": "0.1.0"}

Both ends may be of different versions of bearerd, while a server runs that was started before an upgrade. Of another
`protocol` nothing is carried out; of the same one, a command that the server lacks is refused, and the refusal names
both versions.

What a held command gives lasts as long as the caller keeps the connection open: it ends with the caller, however
that one ends.
"""

import asyncio
import contextlib
import errno
import json
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Literal

from proxy import __version__, logs
from proxy.audit.caller import caller
from proxy.config import ConfigInvalid
from proxy.store import StoreError

Kind = Literal["login-failed", "not-possible", "store", "config", "bad-request", "internal", "other-version"]
Command = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
Holding = Callable[[dict[str, Any]], AbstractAsyncContextManager[dict[str, Any]]]

PROTOCOL = 1
LARGEST = 64 * 1024  # bytes of a request
PATIENCE = 60.0
GRACE = 5.0
_LONGEST_PATH = 103  # bytes of a socket's path: 108 on Linux, 104 on macOS, with a zero at the end
_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group

log = logs.get("admin")


class ServerGone(Exception):
    """No server answers at the socket. The text says so for a person."""


class NotPossible(Exception):
    """A command that makes no sense as things stand. `fix` is what would help."""

    def __init__(self, message: str, fix: str | None = None) -> None:
        super().__init__(message)
        self.fix = fix


class CommandFailed(Exception):
    """The server said no. The text is one sentence for a person; `fix` is what would help."""

    def __init__(self, kind: Kind, message: str, fix: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.fix = fix


class AdminSocket:
    """Serves `commands`, each from its params to its answer, to our own user and to root.

    `holding` are held commands: the block of such a one is left when its caller has gone, and when we stop.

    A command fails by raising `NotPossible`, `LoginFailed`, `StoreError`, `ConfigInvalid` or `CommandFailed`, whose
    texts are shown; of any other exception the operator learns no more than that the log has it. `patience` and `grace`
    are in seconds: for a request to arrive and its answer to be taken, and for commands that run when `stop` is called.
    """

    def __init__(
        self,
        path: Path,
        commands: Mapping[str, Command],
        holding: Mapping[str, Holding] | None = None,
        *,
        patience: float = PATIENCE,
        grace: float = GRACE,
    ) -> None:
        self.path = path
        self._commands = commands
        self._holding = dict(holding or {})
        self._patience = patience
        self._grace = grace
        self._running: set[asyncio.Task[None]] = set()
        self._held: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. A socket that a killed server left is replaced; `OSError` if anybody answers there."""
        listening = await asyncio.to_thread(_listen, self.path)
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=LARGEST)

    async def stop(self) -> None:
        """Take no more commands, let those that run finish within the grace, then end them; held ones end at once."""
        if self._server is None:
            return
        # While we still listen, nobody takes the name for a stale one: it is certainly ours to remove.
        await asyncio.to_thread(self.path.unlink, missing_ok=True)
        self._server.close()
        for task in self._held:
            task.cancel()
        running = set(self._running)
        if running:
            _, late = await asyncio.wait(running, timeout=self._grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a coroutine runs in a task
        self._running.add(task)
        try:
            await self._exchange(reader, writer)
        except (OSError, TimeoutError):
            log.debug("an operator's program went away")
        finally:
            self._running.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not trusted(_peer(writer), own=os.geteuid()):
            log.warning("another user's process called the admin socket")
            return
        caller.set(f"uid {_peer(writer)}")
        async with asyncio.timeout(self._patience):
            answer = await self._read(reader)
        if not isinstance(answer, dict):
            if answer[0] in self._holding:
                await self._hold(*answer, reader, writer)
                return
            answer = await self._run(*answer)
        await self._answer(writer, answer)

    async def _answer(self, writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
        async with asyncio.timeout(self._patience):
            writer.write(json.dumps({**answer, "version": __version__}).encode() + b"\n")
            await writer.drain()

    async def _hold(
        self, command: str, params: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer from within the command's block, and leave that once the caller has hung up."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a coroutine runs in a task
        async with contextlib.AsyncExitStack() as stack:
            try:
                answer = {"ok": await stack.enter_async_context(self._holding[command](params))}
            except Exception as error:  # noqa: BLE001  whatever it is, the other end is waiting for a line
                await self._answer(writer, _failure(command, error))
                return
            self._held.add(task)
            stack.callback(self._held.discard, task)
            await self._answer(writer, answer)
            while await reader.read(LARGEST):
                pass  # nothing that is said now counts

    async def _read(self, reader: asyncio.StreamReader) -> tuple[str, dict[str, Any]] | dict[str, Any]:
        """The command and its params, or at once the answer that they deserve. What came is never quoted."""
        try:
            request = json.loads(await reader.readline())
            command, params, protocol = request["command"], request.get("params", {}), request.get("protocol", PROTOCOL)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return _error("bad-request", f"The request is no JSON object in one line of at most {LARGEST} bytes.")
        if protocol != PROTOCOL:
            return _error("other-version", f"The server speaks version {PROTOCOL} of the admin protocol only.")
        known = {*self._commands, *self._holding}
        if not isinstance(command, str) or command not in known or not isinstance(params, dict):
            return _error("bad-request", f"There is no such command; there are {', '.join(sorted(known))}.")
        return command, params

    async def _run(self, command: str, params: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"ok": await self._commands[command](params)}
        except Exception as error:  # noqa: BLE001  whatever it is, the other end is waiting for a line
            return _failure(command, error)


def _failure(command: str, error: Exception) -> dict[str, Any]:
    # Late: it brings aiohttp, and the command line needs only `call`.
    from proxy.tokens.errands import LoginFailed

    match error:
        case CommandFailed():
            return _error(error.kind, error.message, error.fix)
        case NotPossible():
            return _error("not-possible", str(error), error.fix)
        case LoginFailed():
            return _error("login-failed", str(error))
        case StoreError():
            return _error("store", str(error), getattr(error, "fix", None))
        case ConfigInvalid():
            return _error("config", str(error))
        case OSError(strerror=str(reason), filename=None):
            return _error("not-possible", reason)
        case OSError(strerror=str(reason), filename=place):
            return _error("not-possible", f"{place}: {reason}")
        case _:
            log.error("a command failed", command=command, exc_info=error)
            return _error("internal", f"bearerd failed at `{command}`; its log says where.")


def _error(kind: Kind, message: str, fix: str | None = None) -> dict[str, Any]:
    return {"error": {"kind": kind, "message": message, "fix": fix}}


async def call(path: Path, command: str, params: dict[str, Any], *, timeout: float) -> dict[str, Any]:  # noqa: ASYNC109
    """What the server at `path` answers within `timeout` seconds. Raises `ServerGone` or `CommandFailed`."""
    async with held(path, command, params, timeout=timeout) as (answer, _):
        return answer


@contextlib.asynccontextmanager
async def held(
    path: Path,
    command: str,
    params: dict[str, Any],
    *,
    timeout: float,  # noqa: ASYNC109
) -> AsyncIterator[tuple[dict[str, Any], Callable[[], Awaitable[object]]]]:
    """The answer, and a function that returns when the server has hung up. We hang up at the end of the block.

    Raises `ServerGone` or `CommandFailed` as `call` does.
    """
    async with contextlib.AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await _connect(path)
                stack.callback(writer.close)
                request = {"protocol": PROTOCOL, "command": command, "params": params}
                writer.write(json.dumps(request).encode() + b"\n")
                await writer.drain()
                answer = await _line(reader)
        except TimeoutError:
            raise ServerGone(f"The server at {path} did not answer within {timeout:g} s.") from None
        except OSError as error:
            raise ServerGone(f"No bearerd answers at {path} ({error.strerror or type(error).__name__}).") from None
        yield _read_answer(answer, path), reader.read


async def _line(reader: asyncio.StreamReader) -> bytes:
    """One line of any length; what there is of it if the server ends before."""
    found = b""
    while not found.endswith(b"\n") and (more := await reader.read(LARGEST)):
        found += more
    return found


def _read_answer(answer: bytes, path: Path) -> dict[str, Any]:
    try:
        answered = json.loads(answer)
        if "ok" in answered:
            return dict(answered["ok"])
        error = answered["error"]
        failed = CommandFailed(error["kind"], error["message"], error["fix"])
    except (ValueError, LookupError, TypeError):
        raise ServerGone(f"The server at {path} ended before it had answered.") from None
    raise _across_versions(failed, answered.get("version"))


def _across_versions(failed: CommandFailed, version: object) -> CommandFailed:
    """The same, or that the two ends do not fit each other, if that is why the server did not understand."""
    if version == __version__ or failed.kind not in ("bad-request", "internal", "other-version"):
        return failed
    theirs = f"bearerd {version}" if isinstance(version, str) else "an older bearerd"
    message = f"The server is {theirs}, this command is bearerd {__version__}: {failed.message}"
    return CommandFailed("other-version", message, "restart the server, so that both are of one version")


async def _connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    with _short(path) as name:
        reader, writer = await asyncio.open_unix_connection(name)
    if not trusted(_peer(writer), own=os.geteuid(), root_calls=True):
        writer.close()
        raise PermissionError(errno.EPERM, "it belongs to another user")
    return reader, writer


def trusted(user: int | None, *, own: int, root_calls: bool = False) -> bool:
    """Whether a process of `user` may be at the other end: it is ours or root's, or we are root and call it.

    None: the system does not tell (macOS); the modes of socket and directory are then what keeps others out.
    """
    return user in (None, own, 0) or (root_calls and own == 0)


def _peer(writer: asyncio.StreamWriter) -> int | None:
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    found = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(found)[1])


def _listen(path: Path) -> socket.socket:
    from proxy.sockets import bind_unix

    with _short(path) as name:
        try:
            return bind_unix(Path(name))
        except OSError as error:
            raise OSError(error.errno, str(error.strerror).replace(name, str(path))) from None


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """`path`, or another name of it that fits into a socket's address. `OSError` if the system has none."""
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield str(path)
        return
    if sys.platform != "linux":
        raise OSError(errno.ENAMETOOLONG, f"{path} is too long for a Unix socket; use a store in a shorter path")
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
