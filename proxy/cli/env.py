"""`bearerd env`: point a program here."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy.cli.envfiles import FORMATS, Access, variables
from proxy.cli.exits import Exit, Stop
from proxy.cli.invocation import Command, Invocation, ask_hidden, current, interactive

if TYPE_CHECKING:
    from proxy.config import Config
    from proxy.settings import Settings

KEY = "BEARERD_KEY"
DUMMY = "local"  # what programs send where `clients: none` lets everybody in


@click.command(cls=Command)
@click.argument("mount")
@click.option(
    "--format", "form", type=click.Choice(list(FORMATS)), default="sh", help="Shell, or the library it is for."
)
@click.option("--client", metavar="NAME", help="Make a new key for this client and use that.")
@click.option("--key-stdin", is_flag=True, help="Read the client key from stdin.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write a file, mode 0600.")
@click.option("--yes", is_flag=True, help="Replace the file if there is one.")
def env(mount: str, form: str, client: str | None, output: Path | None, *, key_stdin: bool, yes: bool) -> None:
    """Print what a program needs to call MOUNT through bearerd: variables, or the token file of a library.

    The client key comes from $BEARERD_KEY, from stdin (--key-stdin), or is made new (--client); no broker token is
    ever printed.
    """
    invocation = current()
    settings = invocation.settings()
    wanted = settings.config.mounts.get(mount)
    if wanted is None:
        raise Stop(f"there is no mount '{mount}'; known: {', '.join(settings.config.mounts) or 'none'}")
    chosen = FORMATS[form]
    if chosen.brokers and wanted.broker not in chosen.brokers:
        raise click.UsageError(f"{form} is a library for {', '.join(chosen.brokers)}; {mount} is {wanted.broker}.")
    output = output.expanduser() if output is not None else None  # as in --output=~/file, which shells leave alone
    if output is not None and output.exists() and not yes:
        raise Stop(f"{output} exists already; it is left as it is", fix="repeat the command with --yes")
    url = address(invocation, settings.config)
    key = client_key(invocation, settings, client, from_stdin=key_stdin)
    access = Access(url, f"{url}/{mount}", wanted.broker, key)
    if invocation.as_json:
        invocation.data({"mount": mount, "url": access.mount_url, "variables": variables(access)})
        return
    text = chosen.render(access)
    if output is not None:
        _write(output, text)
        invocation.say(f"Wrote {output} (mode 0600).")
        return
    click.echo(text, nl=False)
    if chosen.file and sys.stdout.isatty():
        invocation.say(f"# {form} looks for it in {chosen.file}; to write it: --output {chosen.file}")


def _write(path: Path, text: str) -> None:
    from proxy.store.files import write_private

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, text.encode(), replace=True)


def address(invocation: Invocation, config: "Config") -> str:
    """Where clients call: as configured, and for port 0 as the running server says. Raises `Stop`, `ServerGone`."""
    from proxy.cli.server import ask
    from proxy.config import Tcp

    tcp = [each for each in config.listen if isinstance(each, Tcp)]
    if not tcp:
        raise Stop("bearerd listens on a Unix socket only; these programs need `listen: 127.0.0.1:PORT`", Exit.CONFIG)
    first = tcp[0]
    if first.port == 0:
        return str(asyncio.run(ask(invocation, "status"))["url"])
    return f"http://{Tcp('127.0.0.1', first.port) if first.everywhere else first}"


def client_key(invocation: Invocation, settings: "Settings", client: str | None, *, from_stdin: bool) -> str:
    """A client key that could be one of ours, from the one place that has it."""
    from proxy.cli.server import operate
    from proxy.gate.clients import key_fault

    if settings.config.open_to_all:
        return DUMMY
    if from_stdin and client:
        raise click.UsageError("--key-stdin and --client: give the key in one way only.")
    if client:
        answer = asyncio.run(operate(invocation, settings, "clients-add", {"name": client}))
        if answer["warning"]:
            invocation.warn(f"! {answer['warning']}")
        return str(answer["key"])
    key = sys.stdin.read(4096).strip() if from_stdin else invocation.environ.get(KEY, "")
    if not key and not from_stdin and interactive():
        key = ask_hidden("Client key (not shown)")
    if not key:
        raise click.UsageError(f"No client key: set {KEY}, pipe it in (--key-stdin), or make one (--client NAME).")
    if fault := key_fault(key):
        raise Stop(f"that is none of bearerd's client keys: {fault}")
    return key
