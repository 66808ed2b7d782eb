"""`bearerd serve`: from the configuration to SIGTERM."""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy import aiohttpload, eventloop, notify
from proxy.cli.exits import Exit, Stop
from proxy.cli.invocation import Command, Invocation, current
from proxy.cli.output import BAD, GOOD, Style, table
from proxy.hardening import harden

if TYPE_CHECKING:
    from proxy.activation import Activated
    from proxy.app import App
    from proxy.settings import Settings
    from proxy.workers.crew import Crew

LISTEN_FDS = "LISTEN_FDS"
CONSOLE_TOKEN = "BEARERD_CONSOLE_TOKEN"  # noqa: S105  the name of a variable
CLOSING = 30.0  # seconds that a stop may take beside its delay and grace: tokens, records, log


@click.command(cls=Command)
@click.option("--listen", metavar="ADDRESS", help="Where clients call, instead of the file's `listen`.")
@click.option("--port", type=click.IntRange(0, 65535), help="The same on 127.0.0.1; 0 takes a free port.")
@click.option("--console", metavar="ADDRESS", help="Where you look, instead of the file's `console`; off for none.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="The least that is logged.")
@click.option("--log-format", type=click.Choice(["auto", "json", "console"]), help="How it is logged.")
@click.option("--watch", is_flag=True, help="Reload when the file has changed, for development.")
@click.option("--supervisor", hidden=True)  # its version
@click.option("--crew", type=int, hidden=True)  # the file of a link: a supervisor has started us, to keep custody
def serve(  # noqa: PLR0917  as click calls it
    listen: str | None,
    port: int | None,
    console: str | None,
    log_level: str | None,
    log_format: str | None,
    watch: bool,  # noqa: FBT001
    supervisor: str | None,
    crew: int | None,
) -> None:
    """Serve until SIGTERM or Ctrl-C, which end calls in flight first; a second Ctrl-C ends at once.

    SIGHUP reads the configuration again, as `bearerd reload` does. Messages and logs go to stderr, and wait for nobody:
    what is not read is lost, and counted.
    """
    gc.disable()  # until all is imported and started: a twentieth of the time to the first answer
    from proxy import logs

    if listen is not None and port is not None:
        raise click.UsageError("--listen and --port say the same; give one of them.")
    invocation = current()
    address = listen if port is None else f"127.0.0.1:{port}"
    level = log_level or ("debug" if invocation.verbose else None)
    flags = {"listen": address, "console": console, "log.level": level, "log.format": log_format}
    overrides = {key: text for key, text in flags.items() if text is not None}
    harden()
    manager = notify.Notifier.of(invocation.environ)
    early = Early(interrupt=crew is None)
    path = invocation.config_file().absolute()

    def reread() -> "Settings":
        from proxy.settings import read

        return read(path, invocation.environ, overrides)

    settings = reread()
    log = settings.config.log
    logs.setup(log.format, log.level, sys.stderr, color=Style.of(invocation, sys.stderr).colored)
    logs.claim_stderr()
    logs.catch_uncaught()
    activated = given_sockets(invocation.environ) if crew is None else None
    if settings.config.workers > 1 and activated:
        raise Stop(
            "a server with workers takes no sockets of a service manager", fix="systemctl disable bearerd.socket"
        )
    if settings.config.workers > 1 and crew is None:
        from proxy.cli.supervise import supervise

        raise SystemExit(supervise(invocation, path, overrides, settings.config, manager, watch=watch))
    make, stopping = loop_of(settings), asyncio.Event()
    server = Server(
        invocation,
        reread,
        console_token(invocation.environ),
        stopping,
        manager=manager,
        activated=activated,
        crew=led(crew, supervisor, stopping),
        watch=watch,
    )
    eventloop.run(server.run(settings, early), make)


def given_sockets(environ: MutableMapping[str, str]) -> "Activated | None":
    """Those that a service manager has opened for us. `OSError` if they do not listen."""
    if LISTEN_FDS not in environ:
        return None
    from proxy.activation import Activated

    return Activated.of(environ)


def loop_of(settings: "Settings") -> "eventloop.Factory":
    """What makes the event loop that is configured. `ConfigInvalid` if there is none of that name here."""
    config = settings.config
    try:
        return eventloop.factory(config.engine.loop)
    except eventloop.NoSuchLoop as missing:
        problem = config.problem(("engine", "loop"), str(missing), "write auto, or install uvloop")
        raise config.invalid(problem) from None


class Server:
    """A custody, and the app on it, from opening to closing. `run()` raises what opening and starting raise.

    `reread` reads the configuration anew, `manager` hears how it stands (with a crew, over its supervisor), `activated`
    are sockets of the service manager's, `watch`: whether the file is looked at for changes.
    """

    def __init__(
        self,
        invocation: Invocation,
        reread: Callable[[], "Settings"],
        token: str | None,
        stopping: asyncio.Event,
        *,
        manager: notify.Manager,
        activated: "Activated | None" = None,
        crew: "Crew | None" = None,
        watch: bool = False,
    ) -> None:
        self._invocation = invocation
        self._reread = reread
        self._token = token
        self._stopping = stopping
        self._manager = crew or manager
        self._crew = crew
        self._watch = watch
        self._activated = activated

    async def run(self, settings: "Settings", early: "Early") -> None:
        aiohttpload.load()
        from proxy.app import App
        from proxy.cli.reloads import Reloads
        from proxy.custody import Custody

        signals = Signals(self._stopping, interrupt=self._crew is None)
        custody = await Custody.open(settings.config, self._invocation.source(settings.config))
        try:
            app = App(
                settings,
                custody,
                self._reread,
                console_token=self._token,
                console_reusable=self._token is not None,
                crew=self._crew,
                manager=self._manager,
                activated=self._activated,
            )
            reloads = Reloads(app.reload)
            signals.install(reloads.ask)
            if early.reload:
                reloads.ask()
            beside = [notify.keep_telling(self._manager, lambda: app.standing), reloads.run()]
            if self._watch:
                beside.append(reloads.watch(Path(settings.config.name), settings.stamp))
            await self._serve(app, beside)
        finally:
            await custody.close()

    async def _serve(self, app: "App", beside: Sequence[Coroutine[Any, Any, None]]) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in beside]
            try:
                await app.start()
                for address in self._activated.addresses if self._activated else ():
                    self._invocation.warn(f"warning: the service manager listens at {address}, and `listen` does not")
                announce(self._invocation, app)
                self._manager.tell(**notify.ready(app.standing))
                gc.enable()
                gc.freeze()
                await self._stopping.wait()
                shutdown = app.settings.config.shutdown
                self._manager.tell(**notify.stopping(shutdown.drain_delay + shutdown.grace + CLOSING))
            finally:
                await app.stop()
                for task in tasks:
                    task.cancel()


def led(crew: int | None, supervisor: str | None, stopping: asyncio.Event) -> "Crew | None":
    """The workers that this process is to lead, if a supervisor has started it. It stops when that has gone.

    It ends at once if that is of another version: it must not touch the store.
    """
    if crew is None:
        return None
    from proxy.workers import vintage
    from proxy.workers.crew import Crew

    if supervisor is not None and vintage.differs(supervisor):
        raise SystemExit(vintage.OTHER)

    return Crew(socket.socket(fileno=crew), stopping.set)


class Early:
    """Signals until `Signals` takes over: process 1 of a container would not hear SIGTERM, any other would die of
    SIGHUP.

    `reload`: one was asked for, perhaps after the configuration was read.
    """

    def __init__(self, *, interrupt: bool) -> None:
        self.reload = False
        signal.signal(signal.SIGTERM, lambda *_: os._exit(Exit.OK))  # no door is open; what matters is on disk
        signal.signal(signal.SIGHUP, self._hang)
        if not interrupt:  # a terminal sends it to all; the supervisor decides
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _hang(self, *_: object) -> None:
        self.reload = True


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
