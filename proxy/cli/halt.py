"""`bearerd halt` and `bearerd resume`: stop trading at once, and lift that again."""

import asyncio
import getpass
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

import click

from proxy.cli.completion import clients, mounts
from proxy.cli.exits import Exit
from proxy.cli.invocation import Command, Invocation, current

_LONGEST = 60  # characters of who it was


def _target(command: Callable[..., None]) -> Callable[..., None]:
    """The words that say what is halted."""
    for decorate in (
        click.option("--client", metavar="CLIENT", shell_complete=clients, help="Only calls of this client."),
        click.option("--scope", metavar="SCOPE", help="Only calls of this scope, such as trade."),
        click.argument("mount", required=False, shell_complete=mounts),
    ):
        command = decorate(command)
    return command


@click.command(cls=Command)
@_target
@click.option("--cancels-too", is_flag=True, help="Stop cancels and the closing of positions as well.")
@click.option("--reason", default="", metavar="TEXT", help="Shown to whoever is refused.")
def halt(mount: str | None, *, scope: str | None, client: str | None, cancels_too: bool, reason: str) -> None:
    """Refuse every call that changes something: on every mount, or on MOUNT.

    It counts at once, within a second on every server that shares the store, and until `bearerd resume`, whatever is
    restarted meanwhile. Reads go on, and so do calls that lower risk: cancels and the closing of positions. Calls whose
    first byte has left are not called back.

    Exit code 1 if the store fails: then it counts on this server only.
    """
    invocation = current()
    answer = _operate(
        invocation, "halt", mount=mount, scope=scope, client=client, cancels_too=cancels_too, reason=reason, by=whoami()
    )
    if invocation.as_json:
        invocation.data(answer)
    else:
        invocation.say(answer["halt"]["text"] if answer["new"] else f"It stands already. {answer['halt']['text']}")
        invocation.say(f"To lift it: {answer['halt']['resume']}")
    if answer["warning"]:
        invocation.warn(f"! {answer['warning']}")
        raise SystemExit(Exit.FAILURE)


@click.command(cls=Command)
@_target
@click.option("--all", "everything", is_flag=True, help="Every halt that there is, and a record that can't be read.")
@click.option("--reason", required=True, metavar="TEXT", help="Why: it is kept in the audit trail.")
def resume(mount: str | None, *, scope: str | None, client: str | None, everything: bool, reason: str) -> None:
    """Lift the halt that was made with the same MOUNT, --scope and --client; others stay."""
    if everything and (mount, scope, client) != (None, None, None):
        raise click.UsageError("--all lifts every halt; name nothing beside it.")
    if not reason.strip():
        raise click.UsageError("Say why, in --reason.")
    invocation = current()
    answer = _operate(
        invocation, "resume", mount=mount, scope=scope, client=client, all=everything, reason=reason, by=whoami()
    )
    if invocation.as_json:
        invocation.data(answer)
        return
    invocation.say(_resumed(answer))


def _resumed(answer: Mapping[str, Any]) -> str:
    lines = [f"Lifted. {halt['text']}" for halt in answer["lifted"]] or ["Lifted: the record could not be read."]
    lines += [f"! Still there. {halt['text']}" for halt in answer["halts"]]
    return "\n".join(lines)


def whoami() -> str:
    """Who types this, for others to read: `anna@desk`, and behind sudo the person who called it."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = f"uid {os.getuid()}"
    name = f"{user}@{socket.gethostname()}"
    return "".join(letter if letter.isprintable() else "?" for letter in name)[:_LONGEST]


def _operate(invocation: Invocation, command: str, **params: Any) -> dict[str, Any]:
    return asyncio.run(_carried_out(invocation, command, params))


async def _carried_out(invocation: Invocation, command: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """By the server if one runs: a mistake that somebody is just making in the file must not keep it from a halt."""
    from proxy.admin import ServerGone
    from proxy.cli.server import ask, operate

    try:
        return await ask(invocation, command, params)
    except ServerGone:
        return await operate(invocation, invocation.settings(), command, params)
