"""`bearerd env`: point a program here."""

import asyncio
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy.cli.completion import clients as complete_clients
from proxy.cli.completion import mounts as complete_mounts
from proxy.cli.envfiles import FORMATS, Access
from proxy.cli.environment import DUMMY, Mounted, chosen, mounted, variables
from proxy.cli.exits import Exit, Stop
from proxy.cli.invocation import Command, Invocation, ask_hidden, current, interactive

if TYPE_CHECKING:
    from proxy.config import Config, Tcp
    from proxy.settings import Settings

KEY = "BEARERD_KEY"


@click.command(cls=Command)
@click.argument("mounts", metavar="[MOUNT]...", nargs=-1, shell_complete=complete_mounts)
@click.option(
    "--format", "form", type=click.Choice(list(FORMATS)), default="sh", help="Shell, or the library it is for."
)
@click.option(
    "--client", metavar="NAME", shell_complete=complete_clients, help="Make a new key for this client and use that."
)
@click.option("--key-stdin", is_flag=True, help="Read the client key from stdin.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write a file, mode 0600.")
@click.option("--yes", is_flag=True, help="Replace the file if there is one.")
def env(
    mounts: tuple[str, ...], form: str, client: str | None, output: Path | None, *, key_stdin: bool, yes: bool
) -> None:
    """Print what a program needs to call through bearerd: the variables that SDKs read, or the token file of a library.

    Without MOUNT for all brokers; with it for the brokers of these mounts, and for these where a broker has several.
    The client key comes from $BEARERD_KEY, from stdin (--key-stdin), or is made new (--client); no broker token is
    ever printed. `bearerd run -- CMD` does the same for one program, with a key that ends with it.
    """
    invocation = current()
    settings = invocation.settings()
    check_names(settings, mounts)
    output = output.expanduser() if output is not None else None  # as in --output=~/file, which shells leave alone
    if output is not None and output.exists() and not yes:
        raise Stop(f"{output} exists already; it is left as it is", fix="repeat the command with --yes")
    url, roots, secure = places(invocation, settings.config)
    secure = verifiable(settings.config, url, secure)
    found = chosen(mounted(settings, url, roots, secure), mounts)
    one = _fitting(form, found)
    trust = trust_of(settings.config, secure, invocation) if FORMATS[form].variables else {}
    key = client_key(invocation, settings, client, from_stdin=key_stdin)
    forget = {mount.broker for mount in found}
    described = variables(url, found, key=key, client=client or DUMMY, forget=forget)
    access = Access(replace(described, values={**described.values, **trust}), one.url, key)
    if invocation.as_json:
        values, unset = dict(access.variables.values), list(access.variables.unset)
        places_of = {"mount": one.name, "url": one.url, "mounts": [mount.name for mount in found]}
        invocation.data(places_of | {"variables": values, "unset": unset})
    else:
        _give(invocation, form, FORMATS[form].render(access), output)


def _give(invocation: Invocation, form: str, text: str, output: Path | None) -> None:
    if output is not None:
        _write(output, text)
        invocation.say(f"Wrote {output} (mode 0600).")
        return
    click.echo(text, nl=False)
    file = FORMATS[form].file
    if file and sys.stdout.isatty():
        invocation.say(f"# {form} looks for it in {file}; to write it: --output {file}")


def check_names(settings: "Settings", names: Iterable[str]) -> None:
    """Raise `Stop` for the first that is no mount, and if there is none at all."""
    known = settings.config.mounts
    for name in names:
        if name not in known:
            raise Stop(f"there is no mount '{name}'; known: {', '.join(known) or 'none'}")
    if not known:
        raise Stop("the configuration has no mount to call", Exit.CONFIG, "add one under `mounts:`")


def _fitting(form: str, found: list[Mounted]) -> Mounted:
    """The mount that a token file is for."""
    wanted = FORMATS[form].brokers
    for mount in found:
        if not wanted or mount.broker in wanted:
            return mount
    mounts = ", ".join(f"{mount.name} is {mount.broker}" for mount in found)
    raise click.UsageError(f"{form} is a library for {', '.join(wanted)}; {mounts}.")


def _write(path: Path, text: str) -> None:
    from proxy.store.files import write_private

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, text.encode(), replace=True)


def verifiable(config: "Config", url: str, secure: str | None) -> str | None:
    """The address with TLS, if a program that is started here can verify it, or has no other."""
    from proxy.cli.trust import trusted

    return secure if secure is None or secure == url or config.tls.local_ca or trusted(secure) else None


def trust_of(config: "Config", secure: str | None, invocation: Invocation) -> dict[str, str]:
    """The variables by which a program trusts what is called with TLS; none if it needs none."""
    from proxy.cli.trust import trusting

    if secure is None or not config.tls.local_ca:
        return {}
    return trusting(config, invocation.environ, invocation.warn)


def places(invocation: Invocation, config: "Config") -> tuple[str, dict[str, str], str | None]:
    """Where clients call, mount → address for mounts with a port of their own, and where clients call with TLS.

    As configured; where that leaves a port open, as the running server says. Raises `Stop`, `ServerGone`.
    """
    from proxy.cli.server import ask
    from proxy.config import Tcp

    tcp = [each for each in config.listen if isinstance(each, Tcp)]
    if not tcp:
        raise Stop("bearerd listens on a Unix socket only; these programs need `listen: 127.0.0.1:PORT`", Exit.CONFIG)
    first, encrypted = tcp[0], next(filter(config.encrypts, tcp), None)
    ports = {name: mount.port for name, mount in config.mounts.items() if mount.port is not None}
    if 0 in (first.port, encrypted and encrypted.port, *ports.values()):
        status = asyncio.run(ask(invocation, "status"))
        roots = {mount["name"]: here(mount["root_url"]) for mount in status["mounts"] if mount["root_url"] is not None}
        return here(status["url"]), roots, status["secure_url"] and here(status["secure_url"])
    plain: Callable[[Tcp], str] = lambda address: here(f"http://{address}")  # noqa: E731  as `_writer` gives one
    secure = _writer(config)
    port_speaks = plain if not config.tls.on or config.plain_too(first) else secure
    return (
        secure(first) if config.encrypts(first) else plain(first),
        {name: port_speaks(Tcp(first.host, port)) for name, port in ports.items()},
        secure(encrypted) if encrypted is not None else None,
    )


def _writer(config: "Config") -> "Callable[[Tcp], str]":
    """How clients write an address with TLS: under a name that the certificate is for. Raises `Stop`."""
    if not config.tls.on:
        return lambda address: f"https://{address}"
    from proxy.certificates import place
    from proxy.inforce import Unfit, hosts_in

    try:
        hosts = hosts_in(config)
    except Unfit as unfit:
        raise Stop(str(unfit), Exit.CONFIG) from None
    return lambda address: f"https://{place(address, hosts)}"


def here(url: str) -> str:
    """How programs on this machine write the address of a server that listens everywhere."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


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
