"""`bearerd login` and `bearerd revoke`."""

import asyncio
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import click

from proxy.cli.exits import Stop
from proxy.cli.invocation import Command, ask_hidden, current, interactive
from proxy.spans import clock_time, span

TOKEN = "BEARERD_LOGIN_TOKEN"  # noqa: S105  the name of a variable
LARGEST = 8192


@click.command(cls=Command)
@click.argument("mount")
@click.option("--token-stdin", is_flag=True, help="Read the token from stdin.")
@click.option("--no-input", is_flag=True, help="Never ask.")
def login(mount: str, *, token_stdin: bool, no_input: bool) -> None:
    """Log MOUNT (or a grant) in with a refresh token from the broker's page.

    The token is asked for, or read from stdin (--token-stdin), from $BEARERD_LOGIN_TOKEN, or from the file that
    $BEARERD_LOGIN_TOKEN_FILE names; never from the command line, which other programs can see. It works once: what
    replaces it is kept, sealed. Until a login succeeds, the old one stays as it is.
    """
    from proxy.cli.server import mount_of, operate

    invocation = current()
    settings = invocation.settings()
    name = mount_of(settings, mount)
    wanted = settings.config.mounts[name]
    broker = settings.brokers[wanted.broker]
    page = broker.environments[wanted.environment].login_page
    token = read_token(
        invocation.environ,
        from_stdin=token_stdin,
        question=_question(broker.title, page) if interactive() and not no_input else None,
    )
    answer = asyncio.run(operate(invocation, settings, "login", {"mount": name, "token": token}, mount=name))
    if invocation.as_json:
        invocation.data(answer)
    else:
        click.echo(_success(answer))


@click.command(cls=Command)
@click.argument("mount")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--no-input", is_flag=True, help="Never ask; without --yes nothing is done.")
def revoke(mount: str, *, yes: bool, no_input: bool) -> None:
    """Give the authorization of MOUNT up: at the broker where that can be done, and here in any case."""
    from proxy.cli.server import mount_of, operate

    invocation = current()
    settings = invocation.settings()
    name = mount_of(settings, mount)
    grant = settings.config.grant_of(name)
    confirm(f"Programs that use {grant} stop working until a new login. Revoke it?", yes=yes, ask=not no_input)
    answer = asyncio.run(operate(invocation, settings, "revoke", {"mount": name}, mount=name))
    if invocation.as_json:
        invocation.data(answer)
    else:
        click.echo(f"The grant {answer['grant']} is revoked here: {answer['message']}.")


def confirm(question: str, *, yes: bool, ask: bool = True) -> None:
    """Go on if a person, or `--yes`, says so. Raises `Stop` or `click.Abort`."""
    if yes:
        return
    if not (ask and interactive()):
        raise Stop("nobody to ask; nothing was done", fix="repeat the command with --yes")
    click.confirm(question, abort=True, err=True)


def read_token(environ: MutableMapping[str, str], *, from_stdin: bool, question: str | None) -> str:
    """The token, from the one place that has it; `question` is put to a person if none has. Never from argv.

    Raises `click.UsageError` if two places have one or none has, and `Stop` if what is there is no token.
    """
    text, file = environ.pop(TOKEN, None), environ.get(f"{TOKEN}_FILE")
    given = [name for name, there in (("--token-stdin", from_stdin), (TOKEN, text), (f"{TOKEN}_FILE", file)) if there]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)}: give the token in one way only.")
    if from_stdin:
        text = sys.stdin.read(LARGEST)
    elif file:
        text = _from_file(Path(file))
    elif not text:
        if question is None:
            raise click.UsageError(f"No token: pipe it in with --token-stdin, or set {TOKEN}_FILE.")
        text = ask_hidden(question)
    token = text.removesuffix("\n").removesuffix("\r")
    if not token or len(token) >= LARGEST or not token.isascii() or not token.isprintable() or " " in token:
        raise Stop("that is no refresh token: it is empty, too long, or holds a space, a line break or the like")
    return token


def _from_file(path: Path) -> str:
    from proxy.store.files import read_provided

    return read_provided(path, LARGEST).decode("utf-8", "replace")


def _question(title: str, page: str | None) -> str:
    where = f" from {page}" if page else ""
    return f"Refresh token for {title}{where} (not shown)"


def _success(answer: Mapping[str, Any]) -> str:
    lines = [f"✓ {answer['grant']} is logged in at {answer['broker']} ({answer['environment']})."]
    now = answer["refreshed"]
    if now is not None and answer["next_renewal"] is not None:
        wait = span(answer["next_renewal"] - now)
        lines.append(f"  The access token refreshes in {wait}, by itself while bearerd runs.")
    if answer["dies"] is not None:
        lines.append(f"  Unused, the login lasts until {clock_time(answer['dies'])}.")
    if answer["reason"]:
        lines.append(f"  ! {answer['reason']}")
    return "\n".join(lines)
