"""`bearerd simulate`: brokers to practise against."""

import asyncio
import contextlib
import json
import signal
import sys
import tempfile
from pathlib import Path

import click

from proxy.cli.invocation import Command, Invocation, current


@click.command(cls=Command)
@click.option("--port", type=click.IntRange(0, 65000), default=0, help="The first port; 0 takes free ones.")
@click.option("--expires-in", type=click.IntRange(1, 86400), default=1800, help="Life of an access token, in seconds.")
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path), help="Where certificates go.")
@click.option("--rate-limits", is_flag=True, help="Enforce the broker's rate limits.")
def simulate(port: int, expires_in: int, directory: Path | None, *, rate_limits: bool) -> None:
    """Simulate Questrade over HTTPS with a throw-away certificate authority, until SIGTERM or Ctrl-C.

    With --json one line on stdout says where everything is, with a first refresh token; it is worth something only
    here. The control address switches faults on: GET /faults lists them.
    """
    asyncio.run(_run(current(), directory, port, expires_in, rate_limits=rate_limits))


async def _run(
    invocation: Invocation, directory: Path | None, port: int, expires_in: int, *, rate_limits: bool
) -> None:
    stopping = asyncio.Event()
    stop_on_signals(stopping)  # before there is anything to clean up
    from proxy.simulator import serve
    from proxy.simulator.questrade.options import Options

    options = Options(expires_in=expires_in, enforce_rate_limits=rate_limits)
    with contextlib.ExitStack() as stack:
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bearerd-simulate-")))
        running = await serve.start(directory=directory, port=port, options=options)
        try:
            if not stopping.is_set():
                _print(invocation, running.description())
            await stopping.wait()
        finally:
            await running.stop()


def _print(invocation: Invocation, description: dict[str, object]) -> None:
    if invocation.as_json:
        invocation.data(description)
        return
    environment = json.dumps({"simulator": description["environment"]})
    click.echo(f"control        {description['control']}")
    click.echo(f"token URL      {description['token_url']}")
    click.echo(f"refresh token  {description['refresh_token']}")
    click.echo(f"CA             {description['ca_file']}")
    click.echo(f"\nFor a configuration:\nbrokers:\n  questrade:\n    environments: {environment}")
    sys.stdout.flush()
    invocation.say("\nThe simulator runs until Ctrl-C.")


def stop_on_signals(stopping: asyncio.Event) -> None:
    """SIGTERM, SIGINT, and the SIGHUP of a terminal that is closed, unless nohup keeps that off, set `stopping`."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stopping.set)
