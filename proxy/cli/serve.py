"""`bearerd serve`: from the configuration to SIGTERM."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy.cli.exits import Exit, Stop
from proxy.cli.invocation import Command, Invocation, current
from proxy.cli.output import BAD, GOOD, Style, table

if TYPE_CHECKING:
    from proxy.app import App
    from proxy.settings import Settings

CONSOLE_TOKEN = "BEARERD_CONSOLE_TOKEN"  # noqa: S105  the name of a variable
KEPT = "the configuration was not loaded; the old one stays"
FILES = 32_768  # open at a time: twice the connections that `limits.connections` admits, and some
_PR_SET_DUMPABLE = 4


@click.command(cls=Command)
@click.option("--listen", metavar="ADDRESS", help="Where clients call, instead of the file's `listen`.")
@click.option("--port", type=click.IntRange(0, 65535), help="The same on 127.0.0.1; 0 takes a free port.")
@click.option("--console", metavar="ADDRESS", help="Where you look, instead of the file's `console`; off for none.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="The least that is logged.")
@click.option("--log-format", type=click.Choice(["auto", "json", "console"]), help="How it is logged.")
def serve(
    listen: str | None, port: int | None, console: str | None, log_level: str | None, log_format: str | None
) -> None:
    """Serve until SIGTERM or Ctrl-C, which end calls in flight first; a second Ctrl-C ends at once.

    SIGHUP reads the configuration again. Messages and logs go to stderr.
    """
    gc.disable()  # until all is imported and started: a twentieth of the time to the first answer
    from proxy import logs

    if listen is not None and port is not None:
        raise click.UsageError("--listen and --port say the same; give one of them.")
    invocation = current()
    flags = {
        "listen": listen if port is None else f"127.0.0.1:{port}",
        "console": console,
        "log.level": log_level or ("debug" if invocation.verbose else None),
        "log.format": log_format,
    }
    overrides = {key: text for key, text in flags.items() if text is not None}
    harden()
    token = console_token(invocation.environ)
    path = invocation.config_file().absolute()

    def reread() -> "Settings":
        from proxy.settings import read

        return read(path, invocation.environ, overrides)

    settings = reread()
    log = settings.config.log
    logs.setup(log.format, log.level, sys.stderr, color=Style.of(invocation, sys.stderr).colored)
    logs.catch_uncaught()
    _end_at_once_while_starting()
    asyncio.run(run(invocation, settings, reread, token))


async def run(
    invocation: Invocation, settings: "Settings", reread: Callable[[], "Settings"], token: str | None
) -> None:
    """Open the custody, serve, and put everything away again. Raises what opening and starting raise."""
    from proxy.app import App
    from proxy.custody import Custody

    stopping = asyncio.Event()
    signals = Signals(stopping)
    custody = await Custody.open(settings.config, invocation.source(settings.config))
    try:
        app = App(settings, custody, reread, console_token=token, console_reusable=token is not None)
        async with asyncio.TaskGroup() as group:
            signals.install(lambda: group.create_task(_reload(app)))
            try:
                await app.start()
                announce(invocation, app)
                gc.enable()
                gc.freeze()
                await stopping.wait()
            finally:
                await app.stop()
    finally:
        await custody.close()


def _end_at_once_while_starting() -> None:
    """Until `Signals` takes over: process 1 of a container would not hear SIGTERM, any other would die of SIGHUP."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(Exit.OK))  # no door is open; what matters is on disk
    signal.signal(signal.SIGHUP, lambda *_: None)  # the configuration is about to be read


class Signals:
    """SIGTERM and SIGINT ask for a stop, the second SIGINT ends at once, SIGHUP reloads."""

    def __init__(self, stopping: asyncio.Event) -> None:
        self._stopping = stopping

    def install(self, reload: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        loop.add_signal_handler(signal.SIGHUP, reload)

    def _interrupt(self) -> None:
        if self._stopping.is_set():
            # What matters is on disk already: the journal stands any kill.
            os._exit(128 + signal.SIGINT)
        self._stopping.set()


async def _reload(app: "App") -> None:
    from proxy import logs
    from proxy.admin import NotPossible
    from proxy.audit.caller import caller
    from proxy.config import ConfigInvalid
    from proxy.store import StoreError

    caller.set("signal")
    try:
        await app.reload()
    except (ConfigInvalid, NotPossible, StoreError, OSError) as error:
        logs.get("serve").error(KEPT, reason=str(error))
    except Exception as error:  # noqa: BLE001  a reload that fails must not end the server
        logs.get("serve").error(KEPT, reason=f"bearerd failed ({type(error).__name__})")


def announce(invocation: Invocation, app: "App") -> None:
    """Say where everything is and what is still to do."""
    status = app.operations.status()
    style = Style.of(invocation, sys.stderr)
    invocation.say(f"bearerd {status['version']} serves {', '.join(status['urls'])}")
    if app.console_url:
        invocation.say(f"Console: {app.console_url}")
    rows = [
        (
            GOOD if mount["usable"] else BAD,
            mount["name"],
            mount["environment"],
            ", ".join(mount["scopes"]),
            " · ".join(filter(None, [mount["state"], mount["reason"]])),
        )
        for mount in status["mounts"]
    ]
    if rows:
        invocation.say(table(rows, style))
    for line in dict.fromkeys(_advice(status)):
        invocation.say(line)


def _advice(status: dict[str, object]) -> Iterator[str]:
    mounts, warnings = status["mounts"], status["warnings"]
    assert isinstance(mounts, list)  # noqa: S101  for the type checker
    assert isinstance(warnings, list)  # noqa: S101
    if not mounts:
        yield "No mount is configured: add one under `mounts:`."
    for mount in mounts:
        if mount["fix"]:
            yield f"To do: {mount['fix']}"
    yield from (f"warning: {warning}" for warning in warnings)


def console_token(environ: MutableMapping[str, str]) -> str | None:
    """A token that opens the console as often as one likes, from `BEARERD_CONSOLE_TOKEN_FILE`; None: one is made."""
    from proxy.store.files import read_provided

    file = environ.pop(f"{CONSOLE_TOKEN}_FILE", None)
    if not file:
        return None
    token = read_provided(Path(file)).decode("ascii", "replace").strip()
    if len(token) < 20 or not token.replace("-", "").replace("_", "").isalnum():  # noqa: PLR2004
        raise Stop(f"{file} holds no token: at least 20 letters, digits, - and _", Exit.FAILURE)
    return token


def harden() -> None:
    """No core dump, no debugger of another process, no file that others can read: tokens are in memory.

    And as many open files as the system grants: a call needs two, and most shells begin with 1,024.
    """
    import resource

    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if resource.RLIM_INFINITY != soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
