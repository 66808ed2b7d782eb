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
def add(name: str) -> None:
    """Make a key for the client NAME and print it, this once. Its older keys stay valid."""
    from proxy.config.model import NAME_PATTERN

    if not re.fullmatch(NAME_PATTERN, name):
        raise click.UsageError("A client's name has lower-case letters, digits and hyphens, as in notebook or bot-2.")
    invocation = current()
    answer = _operate(invocation, "clients-add", name=name)
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
            str(client["keys"]),
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
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--no-input", is_flag=True, help="Never ask; without --yes nothing is done.")
def remove(name: str, *, yes: bool, no_input: bool) -> None:
    """Delete all keys of the client NAME: they are refused from then on."""
    invocation = current()
    confirm(f"Programs that use a key of {name} are refused from then on. Remove them all?", yes=yes, ask=not no_input)
    answer = _operate(invocation, "clients-remove", name=name)
    if not answer["removed"]:
        raise Stop(f"the client '{name}' has no key", fix="bearerd clients list")
    if invocation.as_json:
        invocation.data(answer)
    else:
        invocation.say(f"Removed {answer['removed']} key{'s' * (answer['removed'] != 1)} of {name}.")


def _operate(invocation: Invocation, command: str, **params: str) -> dict[str, Any]:
    from proxy.cli.server import operate

    return asyncio.run(operate(invocation, invocation.settings(), command, params))
