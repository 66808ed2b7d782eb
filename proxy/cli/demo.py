"""`bearerd demo`: simulated brokers in this process, bearerd in front of them in one of its own."""

import asyncio
import shutil
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import click

from proxy import eventloop
from proxy.cli.child import Child
from proxy.cli.invocation import Command, Invocation, current
from proxy.cli.opening import set_up, show
from proxy.cli.ports import HOST, reserve, reserve_near
from proxy.cli.simulate import stop_on_signals
from proxy.cli.stage import ROOTS, Plan

PORT = 8080


@click.command(cls=Command)
@click.option("--port", type=click.IntRange(0, 65000), help="First port; 0 takes free ones. Default: 8080, if free.")
@click.option("--keep", is_flag=True, help="Leave configuration and store behind.")
@click.option(
    "--expires-in", type=click.IntRange(1, 86400), help="Life of access tokens, in seconds. Default: as live."
)
@click.option("--tls", is_flag=True, help="Serve clients over TLS everywhere, and not only at url_tls.")
@click.option("--rate-limits", is_flag=True, help="Enforce the brokers' rate limits, and pace calls by them.")
def demo(port: int | None, expires_in: int | None, *, keep: bool, tls: bool, rate_limits: bool) -> None:
    """The whole product, offline: simulated brokers, and bearerd in front of them, logged in.

    With --json one line on stdout says where everything is, once everything is ready. Runs until SIGTERM or Ctrl-C.
    """
    work = _run(current(), port, expires_in, keep=keep, tls=tls, rate_limits=rate_limits)
    eventloop.run(work, eventloop.factory())


async def _run(
    invocation: Invocation, port: int | None, expires_in: int | None, *, keep: bool, tls: bool, rate_limits: bool
) -> None:
    stopping = asyncio.Event()
    stop_on_signals(stopping)
    async with asyncio.TaskGroup() as group:
        work = group.create_task(_work(invocation, port, expires_in, keep=keep, tls=tls, rate_limits=rate_limits))
        await stopping.wait()
        work.cancel()


async def _work(
    invocation: Invocation, port: int | None, expires_in: int | None, *, keep: bool, tls: bool, rate_limits: bool
) -> None:
    """Build everything up, print where it is, hold bearerd up; when cancelled, put everything away."""
    from proxy.simulator import serve

    async with AsyncExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="bearerd-demo-"))
        stack.callback(_leave, invocation, directory, keep=keep)
        # A thread that was making files when we were cancelled goes on; the directory goes after it.
        stack.push_async_callback(asyncio.get_running_loop().shutdown_default_executor)
        needed = 2 + len(ROOTS) + 1
        ports, held = reserve_near(needed, PORT) if port is None else reserve(needed, port)
        stack.callback(held.close)
        # The console's own callback is the one that is registered with the brokers.
        callback = f"http://{HOST}:{ports[1]}/callback"
        options = serve.knobs(expires_in=expires_in, callback=callback, enforce_rate_limits=rate_limits or None)
        running = await serve.start([*options], directory=directory / "ca", options=options)
        stack.push_async_callback(running.stop)
        plan = await asyncio.to_thread(Plan.make, directory, ports, running, tls=tls)
        child = Child(["serve", "-q", "-c", str(plan.config)], plan.environ, invocation.say)
        stack.push_async_callback(child.stop)
        await child.start()
        await child.until(plan.answers)
        report = await set_up(plan, running, child.pid)
        if invocation.as_json:
            invocation.data(report)
        else:
            await show(report)
        await child.keep_up()


def _leave(invocation: Invocation, directory: Path, *, keep: bool) -> None:
    if keep:
        invocation.say(f"Configuration and store are in {directory}")
    else:
        shutil.rmtree(directory, ignore_errors=True)
