"""`bearerd serve`: from the configuration to SIGTERM."""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy import aiohttpload, eventloop
from proxy.cli.exits import Exit, Stop
from proxy.cli.invocation import Command, Invocation, current
from proxy.cli.output import BAD, GOOD, Style, table
from proxy.hardening import harden

if TYPE_CHECKING:
    from proxy.app import App
    from proxy.settings import Settings
    from proxy.workers.crew import Crew

CONSOLE_TOKEN = "BEARERD_CONSOLE_TOKEN"  # noqa: S105  the name of a variable
KEPT = "the configuration was not loaded; the old one stays"


@click.command(cls=Command)
@click.option("--listen", metavar="ADDRESS", help="Where clients call, instead of the file's `listen`.")
@click.option("--port", type=click.IntRange(0, 65535), help="The same on 127.0.0.1; 0 takes a free port.")
@click.option("--console", metavar="ADDRESS", help="Where you look, instead of the file's `console`; off for none.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="The least that is logged.")
@click.option("--log-format", type=click.Choice(["auto", "json", "console"]), help="How it is logged.")
@click.option("--crew", type=int, hidden=True)  # the file of a link: a supervisor has started us, to keep custody
def serve(  # noqa: PLR0917  as click calls it
    listen: str | None,
    port: int | None,
    console: str | None,
    log_level: str | None,
    log_format: str | None,
    crew: int | None,
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
    path = invocation.config_file().absolute()

    def reread() -> "Settings":
        from proxy.settings import read

        return read(path, invocation.environ, overrides)

    settings = reread()
    log = settings.config.log
    logs.setup(log.format, log.level, sys.stderr, color=Style.of(invocation, sys.stderr).colored)
    logs.catch_uncaught()
    if settings.config.workers > 1 and crew is None:
        from proxy.cli.supervise import supervise

        raise SystemExit(supervise(invocation, path, overrides, settings.config))
    token = console_token(invocation.environ)
    _end_at_once_while_starting(interrupt=crew is None)
    make = loop_of(settings)
    eventloop.run(run(invocation, settings, reread, token, crew), make)


def loop_of(settings: "Settings") -> "eventloop.Factory":
    """What makes the event loop that is configured. `ConfigInvalid` if there is none of that name here."""
    config = settings.config
    try:
        return eventloop.factory(config.engine.loop)
    except eventloop.NoSuchLoop as missing:
        problem = config.problem(("engine", "loop"), str(missing), "write auto, or install uvloop")
        raise config.invalid(problem) from None


async def run(
    invocation: Invocation,
    settings: "Settings",
    reread: Callable[[], "Settings"],
    token: str | None,
    crew: int | None = None,
) -> None:
    """Open the custody, serve, and put everything away again. Raises what opening and starting raise."""
    aiohttpload.load()
    from proxy.app import App
    from proxy.custody import Custody

    stopping = asyncio.Event()
    signals = Signals(stopping, interrupt=crew is None)
    custody = await Custody.open(settings.config, invocation.source(settings.config))
    try:
        reusable, led_by = token is not None, led(crew, stopping)
        app = App(settings, custody, reread, console_token=token, console_reusable=reusable, crew=led_by)
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


def led(crew: int | None, stopping: asyncio.Event) -> "Crew | None":
    """The workers that this process is to lead, if a supervisor has started it. It stops when that has gone."""
    if crew is None:
        return None
    from proxy.workers.crew import Crew

    return Crew(socket.socket(fileno=crew), stopping.set)


def _end_at_once_while_starting(*, interrupt: bool) -> None:
    """Until `Signals` takes over: process 1 of a container would not hear SIGTERM, any other would die of SIGHUP."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(Exit.OK))  # no door is open; what matters is on disk
    signal.signal(signal.SIGHUP, lambda *_: None)  # the configuration is about to be read
    if not interrupt:  # a terminal sends it to all; the supervisor decides
        signal.signal(signal.SIGINT, signal.SIG_IGN)


class Signals:
    """SIGTERM and SIGINT ask for a stop, the second SIGINT ends at once, SIGHUP reloads.

    `interrupt` False: SIGINT is somebody else's.
    """

    def __init__(self, stopping: asyncio.Event, *, interrupt: bool = True) -> None:
        self._stopping = stopping
        self._interrupts = interrupt

    def install(self, reload: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        if self._interrupts:
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
