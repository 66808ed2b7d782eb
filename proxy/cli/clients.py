"""`bearerd clients`: keys for programs and people. What each may reach stands in the configuration."""

import asyncio
import re
import sys
from typing import Any

import click

from proxy.cli.exits import Stop
from proxy.cli.invocation import Group, Invocation, current
from proxy.cli.login import confirm
from proxy.cli.output import GOOD, NOTE, Style, table
from proxy.cli.status import rights_text


@click.group(cls=Group)
def clients() -> None:
    """Make, list and remove client keys. They count at once, with or without a running server."""


@clients.command()
@click.argument("name")
@click.option(
    "--grant",
    "grants",
    multiple=True,
    metavar="GRANT/PERSON",
    help="Bind the key to one person's grant; once for each broker.",
)
def add(name: str, *, grants: tuple[str, ...]) -> None:
    """Make a key for the client NAME and print it, this once. Its older keys stay valid.

    With --grant the key stands for one user of an application: on mounts of GRANT it uses the grant of that PERSON, who
    is logged in by `bearerd login GRANT/PERSON`, and other mounts refuse it.
    """
    from proxy.config.model import NAME_PATTERN

    if not re.fullmatch(NAME_PATTERN, name):
        raise click.UsageError("A client's name has lower-case letters, digits and hyphens, as in notebook or bot-2.")
    invocation = current()
    answer = _operate(invocation, "clients-add", name=name, grants=list(grants))
    if answer["warning"]:
        invocation.warn(f"! {answer['warning']}")
    if invocation.as_json:
        invocation.data(answer)
    else:
        invocation.say(f"The key of {name}; it is shown only now:")
        click.echo(answer["key"])


@clients.command("list")
def list_() -> None:
    """List clients, how many keys each has, and what it may reach."""
    invocation = current()
    answer = _operate(invocation, "clients-list")
    if invocation.as_json:
        invocation.data(answer)
        return
    rows = [
        (
            GOOD if client["keys"] and client["in_config"] else NOTE,
            client["name"],
            f"{client['keys']} ({client['bound']} bound)" if client["bound"] else str(client["keys"]),
            rights_text(client["rights"]),
        )
        for client in answer["clients"]
    ]
    if not rows:
        invocation.say("No clients. To make one: add it under `clients:`, then: bearerd clients add NAME")
        return
    style = Style.of(invocation, sys.stdout)
    click.echo(table([("", "CLIENT", "KEYS", "RIGHTS"), *rows], style), color=style.colored)


@clients.command()
@click.argument("name")
@click.option("--grant", metavar="GRANT/PERSON", help="Only keys that are bound to this person's grant.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--no-input", is_flag=True, help="Never ask; without --yes nothing is done.")
def remove(name: str, *, grant: str | None, yes: bool, no_input: bool) -> None:
    """Delete all keys of the client NAME: they are refused from then on."""
    invocation = current()
    which = f"a key of {name} that is bound to {grant}" if grant else f"a key of {name}"
    confirm(f"Programs that use {which} are refused from then on. Remove them all?", yes=yes, ask=not no_input)
    answer = _operate(invocation, "clients-remove", name=name, grant=grant)
    if not answer["removed"]:
        bound = f" that is bound to {grant}" if grant else ""
        raise Stop(f"the client '{name}' has no key{bound}", fix="bearerd clients list")
    if invocation.as_json:
        invocation.data(answer)
    else:
        invocation.say(f"Removed {answer['removed']} key{'s' * (answer['removed'] != 1)} of {name}.")


def _operate(invocation: Invocation, command: str, **params: Any) -> dict[str, Any]:
    from proxy.cli.server import operate

    return asyncio.run(operate(invocation, invocation.settings(), command, params))
