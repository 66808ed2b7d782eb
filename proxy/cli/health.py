"""`bearerd healthcheck` and `bearerd wait`: is the server there, is it ready?"""

import asyncio
import http.client
import math
import time
from typing import TYPE_CHECKING

import click

from proxy.cli.exits import Exit, Stop
from proxy.cli.invocation import Command, current

if TYPE_CHECKING:
    from proxy.config import Config

PROBE = 3.0  # seconds for one answer
PAUSE = 0.1


@click.command(cls=Command)
def healthcheck() -> None:
    """Exit 0 if the server answers on its console, else 1: for a container's HEALTHCHECK. Prints one word."""
    invocation = current()
    word = probe(invocation.server_config(), "/livez")
    if invocation.as_json:
        invocation.data({"live": word is not None})
    else:
        click.echo("ok" if word is not None else "unreachable")
    raise SystemExit(Exit.FAILURE if word is None else Exit.OK)


@click.command(cls=Command)
@click.option("--timeout", "seconds", type=click.FloatRange(0), default=60.0, help="Seconds to wait at most.")
@click.option("--ready", is_flag=True, help="Until it can serve calls, and not only until it answers.")
def wait(seconds: float, *, ready: bool) -> None:
    """Wait until the server answers, or with --ready until it can serve.

    If the time is up: exit code 6 if nothing answers, 4 if a login is needed, else 1.
    """
    if math.isnan(seconds):
        raise click.BadParameter("not a number of seconds", param_hint="--timeout")
    invocation = current()
    word = _wait(invocation.server_config(), seconds, ready=ready)
    if invocation.as_json:
        invocation.data({"ready": word})
    else:
        invocation.say(word)


def _wait(config: "Config", seconds: float, *, ready: bool) -> str:
    end = time.monotonic() + seconds
    while True:
        word = probe(config, "/readyz" if ready else "/livez")
        if word is not None and (not ready or word in ("ok", "degraded")):
            return word
        if time.monotonic() >= end:
            break
        time.sleep(PAUSE)
    if word is None:
        raise Stop(f"nothing answered within {seconds:g} s", Exit.UNREACHABLE, "bearerd serve")
    if word == "needs-login":
        raise Stop("the server runs, but a grant needs a person", Exit.LOGIN, "bearerd status (says which, and what)")
    raise Stop(f"the server runs, but is not ready: {word}", fix="bearerd status (says why)")


def probe(config: "Config", path: str) -> str | None:
    """The first word of what the console answers at `path`; None if nobody does. Blocks.

    Where the console is off, speaks TLS, or its port is known to the server only, the admin socket is asked.
    """
    from proxy.config import Tcp

    address = next((each for each in config.console if isinstance(each, Tcp) and each.port), None)
    # Where the console speaks TLS, its certificate need not be for the name by which this machine calls itself.
    if address is None or (config.tls.on and not address.loopback):
        return asyncio.run(_ask(config))
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    connection = http.client.HTTPConnection(host, address.port, timeout=PROBE)
    try:
        connection.request("GET", path)
        words = connection.getresponse().read(1024).decode("utf-8", "replace").split()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return words[0] if words else ""


async def _ask(config: "Config") -> str | None:
    from proxy.admin import ServerGone, call
    from proxy.custody import socket_path

    try:
        answer = await call(socket_path(config), "ready", {}, timeout=PROBE)
    except ServerGone:
        return None
    return str(answer["ready"])
