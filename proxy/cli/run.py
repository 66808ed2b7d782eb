"""`bearerd run`: a program with its SDKs pointed here, and a client key that ends with it."""

import asyncio
import secrets
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from proxy.cli import foreground
from proxy.cli.completion import clients as complete_clients
from proxy.cli.completion import mounts as complete_mounts
from proxy.cli.env import check_names, here, trust_of, verifiable
from proxy.cli.environment import DUMMY, Mounted, chosen, mounted, variables
from proxy.cli.exits import Exit, Stop
from proxy.cli.invocation import Command, current

if TYPE_CHECKING:
    from proxy.config import Config
    from proxy.settings import Settings

PATIENCE = 5.0  # seconds for the server to answer
PAUSE = 0.5  # seconds between attempts to find a server again


@click.command(cls=Command, context_settings={"allow_interspersed_args": False})
@click.option(
    "--client",
    metavar="NAME",
    shell_complete=complete_clients,
    help="Whose rights it has. Needed if there are several clients.",
)
@click.option(
    "--mount",
    "named",
    metavar="MOUNT",
    shell_complete=complete_mounts,
    multiple=True,
    help="Where a broker has several; repeatable.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="[--] CMD [ARG]...")
def run(client: str | None, named: tuple[str, ...], command: tuple[str, ...]) -> None:
    """Run CMD with the variables that SDKs read pointed at bearerd, and with a client key that ends with it.

    Real credentials are taken out of its environment. It has the terminal and gets every signal; its exit code is
    the one of this command: 128 + n if signal n ended it, 127 if there is no such program, 126 if it can't be run.
    `bearerd env` prints the variables. With --mount it gets those of that mount's broker. Where bearerd serves TLS with
    a local CA, the program is told to trust that too, beside all that it trusts already.
    """
    invocation = current()
    settings = invocation.settings()
    check_names(settings, named)
    with Loan(_socket(settings.config), client) as loan:
        if not loan.url.startswith("http"):
            raise Stop("bearerd listens on a Unix socket only; SDKs need `listen: 127.0.0.1:PORT`", Exit.CONFIG)
        secure = verifiable(settings.config, loan.url, loan.secure_url)
        mounts = _reachable(mounted(settings, loan.url, loan.roots, secure), loan, named)
        found = variables(loan.url, chosen(mounts, named), key=loan.key, client=loan.client)
        environ = found.over(_without_ours(invocation.environ, settings))
        environ |= trust_of(settings.config, secure, invocation)
        environ["BEARERD_CONFIG"] = str(invocation.config_file().absolute())  # for a bearerd that is called within
        raise click.exceptions.Exit(_in_our_place(command, environ))


def _in_our_place(command: tuple[str, ...], environ: Mapping[str, str]) -> int:
    try:
        return foreground.run(command, environ)
    except OSError as error:
        click.echo(f"error: {command[0] or 'CMD'}: {error.strerror or 'cannot be run'}", err=True)
        return foreground.NOT_FOUND if isinstance(error, FileNotFoundError) else foreground.NOT_RUNNABLE


def _reachable(mounts: list[Mounted], loan: "Loan", named: tuple[str, ...]) -> list[Mounted]:
    """The mounts that the client has rights on. Raises `Stop` if one that was named is not among them."""
    lacking = [name for name in named if name not in loan.mounts]
    found = [mount for mount in mounts if mount.name in loan.mounts]
    if lacking or not found:
        where = lacking[0] if lacking else "any mount"
        raise Stop(f"the client '{loan.client}' has no rights on {where}", fix=f"see `clients.{loan.client}:`")
    return found


def _without_ours(environ: Mapping[str, str], settings: "Settings") -> dict[str, str]:
    """`environ` without our own secrets. Overrides that hold none stay: a bearerd within finds the same server."""
    from proxy.config.keys import PREFIX, Kind, kind_at, path_of

    source = settings.config.key
    own = source.removeprefix("env:") if source.startswith("env:") else None

    def stays(name: str) -> bool:
        if name in (own, f"{own}_FILE"):
            return False
        path = path_of(name) if name.startswith(PREFIX) else None
        harmless = path is not None and path != ("key",) and kind_at(path) is not Kind.SECRET
        return harmless or not name.startswith(PREFIX)

    return {name: text for name, text in environ.items() if stays(name)}


def _socket(config: "Config") -> Path:
    from proxy.custody import socket_path

    return socket_path(config)


class Loan:
    """A client key that the running server takes as long as we hold the connection to it.

    A server that was started again gets to know the key again. Raises what `admin.held` raises when the block begins.
    """

    def __init__(self, socket: Path, client: str | None) -> None:
        from proxy.gate.clients import digest, new_key

        key = new_key(secrets.token_bytes).reveal()
        self._socket = socket
        self._wish = {"client": client, "digest": digest(key)}
        self._key = key
        self._answer: Future[dict[str, Any]] = Future()
        self._thread = threading.Thread(target=self._run, name="loan", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._answer.result()
        except BaseException:
            self._thread.join()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    @property
    def key(self) -> str:
        """What the program is to call with: a dummy if the server asks for no key."""
        return self._key if self._answer.result()["key_needed"] else DUMMY

    @property
    def client(self) -> str:
        return str(self._answer.result()["client"])

    @property
    def url(self) -> str:
        return here(str(self._answer.result()["url"]))

    @property
    def secure_url(self) -> str | None:
        """With TLS, if that is spoken."""
        found = self._answer.result()["secure_url"]
        return None if found is None else here(str(found))

    @property
    def roots(self) -> Mapping[str, str]:
        """Mount → address of its own port."""
        return {mount: here(url) for mount, url in self._answer.result()["roots"].items()}

    @property
    def mounts(self) -> frozenset[str]:
        """The mounts on which the client has rights."""
        return frozenset(self._answer.result()["mounts"])

    def _run(self) -> None:
        foreground.block()
        try:
            asyncio.run(self._keep())
        except BaseException as error:
            if self._answer.done():
                raise
            self._answer.set_exception(error)  # somebody waits for it

    async def _keep(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            borrowing = group.create_task(self._borrow())
            waiting = group.create_task(self._ended.wait())
            await asyncio.wait((borrowing, waiting), return_when=asyncio.FIRST_COMPLETED)
            borrowing.cancel()
            waiting.cancel()

    async def _borrow(self) -> None:
        """Hold the key's connection, over and over; return if the very first attempt fails."""
        from proxy.admin import CommandFailed, ServerGone, held

        while True:
            try:
                async with held(self._socket, "lend", self._wish, timeout=PATIENCE) as (answer, gone):
                    if not self._answer.done():
                        self._answer.set_result(answer)
                    await gone()
            except (ServerGone, CommandFailed) as error:
                if not self._answer.done():
                    self._answer.set_exception(error)
                    return
            await asyncio.sleep(PAUSE)
