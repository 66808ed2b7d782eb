"""`bearerd simulate`: brokers to practise against."""

import asyncio
import contextlib
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy import eventloop
from proxy.cli.invocation import Command, Invocation, current

if TYPE_CHECKING:
    from proxy.simulator.serve import Kind

File = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Wish:
    """What to simulate, and how. `files` describe brokers that are not built in."""

    brokers: tuple[str, ...]
    files: tuple[Path, ...]
    directory: Path | None
    port: int
    expires_in: int | None
    callback: str | None
    rate_limits: bool
    slow: float | None


@click.command(cls=Command)
@click.option(
    "--broker", "brokers", multiple=True, metavar="NAME", help="Only this broker; again for another. Default: all."
)
@click.option("--file", "files", multiple=True, type=File, help="A YAML file that describes a plain OAuth 2 broker.")
@click.option("--port", type=click.IntRange(0, 65000), default=0, help="The first port; 0 takes free ones.")
@click.option(
    "--expires-in", type=click.IntRange(1, 86400), help="Life of access tokens, in seconds. Default: as live."
)
@click.option("--callback", metavar="URL", help="The redirect address that is registered for logins in a browser.")
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path), help="Where certificates go.")
@click.option("--rate-limits", is_flag=True, help="Enforce the brokers' rate limits.")
@click.option("--slow", type=click.FloatRange(0, 60), help="Seconds that token-slow and api-slow take. Default: 3.")
def simulate(**wanted: Any) -> None:
    """Simulate brokers over HTTPS with a throw-away certificate authority, until SIGTERM or Ctrl-C.

    With --json one line on stdout says where everything is, with the secrets that logins need; they are worth something
    only here. The control address switches faults on (GET /faults lists them) and says how fast streams are (/stream).
    """
    eventloop.run(_run(current(), Wish(**wanted)), eventloop.factory())


async def _run(invocation: Invocation, wish: Wish) -> None:
    stopping = asyncio.Event()
    stop_on_signals(stopping)  # before there is anything to clean up
    from proxy.simulator import serve

    more = await asyncio.to_thread(_described, wish.files)
    # Whoever brings a broker of their own wants that one.
    names = dict.fromkeys([*(wish.brokers or ([] if more else serve.BROKERS)), *more])
    _check(names, [*serve.BROKERS, *more])
    changes = {
        "expires_in": wish.expires_in,
        "callback": wish.callback,
        "enforce_rate_limits": wish.rate_limits or None,
        "slow": wish.slow,
    }
    options = serve.knobs(names, more=more, **changes)
    with contextlib.ExitStack() as stack:
        directory = wish.directory
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bearerd-simulate-")))
        running = await serve.start([*names], directory=directory, port=wish.port, options=options, more=more)
        try:
            if not stopping.is_set():
                _print(invocation, running.description())
            await stopping.wait()
        finally:
            await running.stop()


def _described(files: Sequence[Path]) -> dict[str, "Kind"]:
    """The brokers of `files`, by name. `ConfigInvalid` for a file that is not right. Blocks."""
    if not files:
        return {}
    from proxy.simulator.plain.broker import Plain, options_for
    from proxy.simulator.plain.reading import read_setup
    from proxy.simulator.serve import Kind

    setups = map(read_setup, files)
    return {setup.name: Kind(partial(Plain, setup), partial(options_for, setup)) for setup in setups}


def _check(names: dict[str, None], known: Sequence[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.BadParameter(f"brokers to simulate: {', '.join(known)}", param_hint="--broker")


def _print(invocation: Invocation, description: dict[str, Any]) -> None:
    if invocation.as_json:
        invocation.data(description)
        return
    click.echo(f"control  {description['control']}")
    click.echo(f"CA       {description['ca_file']}")
    for name, broker in description["brokers"].items():
        click.echo(f"\n{name}")
        for login, needs in broker["logins"].items():
            for what, value in needs.items():
                click.echo(f"  {login:18}  {what:13}  {value}")
    click.echo("\nFor a configuration:\nbrokers:")
    for name, broker in description["brokers"].items():
        environment = json.dumps({"simulator": broker["environment"]})
        click.echo(f"  {name}:\n    environments: {environment}")
    sys.stdout.flush()
    invocation.say("\nThe simulators run until Ctrl-C.")


def stop_on_signals(stopping: asyncio.Event) -> None:
    """SIGTERM, SIGINT, and the SIGHUP of a terminal that is closed, unless nohup keeps that off, set `stopping`."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stopping.set)
