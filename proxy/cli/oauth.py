"""`bearerd oauth`: what a broker partner does about the OAuth applications of its own users."""

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from proxy.cli.completion import mounts
from proxy.cli.exits import Stop
from proxy.cli.invocation import Group, Invocation, ask_hidden, current, interactive

LARGEST = 4096  # bytes of a token's id
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)


@click.group(cls=Group)
def oauth() -> None:
    """OAuth applications of a broker partner's users (Alpaca's Broker API).

    MOUNT is a mount of the broker's API, and its own login vouches for the partner. The secret of an application stands
    under `grants.NAME.apps` in the configuration, and is never typed.
    """


@oauth.command()
@click.argument("mount", shell_complete=mounts)
@click.argument("client_id")
@click.option("--response-type", type=click.Choice(["code", "token"]), help="What the application's flow asks for.")
@click.option("--redirect-uri", help="The redirect URI of the flow.")
@click.option("--scope", help="The scopes of the flow.")
def client(
    mount: str, client_id: str, *, response_type: str | None, redirect_uri: str | None, scope: str | None
) -> None:
    """Look the application CLIENT_ID up."""
    invocation = current()
    asked = {"client_id": client_id, "response_type": response_type, "redirect_uri": redirect_uri, "scope": scope}
    answer = _operate(invocation, mount, "client", asked)
    if invocation.as_json:
        invocation.data({"client": answer})
        return
    width = max(map(len, answer), default=0)
    for name, value in answer.items():
        click.echo(f"{_plain(name).ljust(width)}  {_plain(value)}")


def _flow_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of `token` and `authorize`."""
    for option in (
        click.option("--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
                     help="Write the answer there (mode 0600), and do not print it."),
        click.option("--scope", help="The scopes to grant; without it the configuration's, or general."),
        click.option("--redirect-uri", help="The redirect URI; without it the configuration's."),
        click.option("--account", required=True, metavar="UUID", help="The user's account."),
        click.option("--client-id", required=True, metavar="ID", help="The application."),
        click.argument("mount", shell_complete=mounts),
    ):  # fmt: skip
        command = option(command)
    return command


@oauth.command()
@_flow_options
def token(mount: str, *, output: Path | None, **asked: str | None) -> None:
    """Issue an OAuth token for a user's account. It is shown this once."""
    _issue(mount, "token", output, asked)


@oauth.command()
@_flow_options
def authorize(mount: str, *, output: Path | None, **asked: str | None) -> None:
    """Authorize an application for a user's account: the answer is a code that the application exchanges."""
    _issue(mount, "authorize", output, asked)


@oauth.command()
@click.argument("mount", shell_complete=mounts)
@click.option("--token-stdin", is_flag=True, help="Read the token's id from stdin.")
@click.option("--no-input", is_flag=True, help="Never ask.")
def revoke(mount: str, *, token_stdin: bool, no_input: bool) -> None:
    """Revoke a token. Its id is asked for, or read from stdin; it may be the token, so it is no argument."""
    invocation = current()
    if token_stdin:
        text = sys.stdin.read(LARGEST)
    elif interactive() and not no_input:
        text = ask_hidden("Id of the token (not shown)")
    else:
        raise click.UsageError("No token id: pipe it in with --token-stdin.")
    token_id = text.removesuffix("\n").removesuffix("\r")
    if not token_id or len(token_id) >= LARGEST or not token_id.isascii() or not token_id.isprintable():
        raise Stop("that is no token id: it is empty, too long, or holds a line break or the like")
    _operate(invocation, mount, "revoke", {"token_id": token_id})
    if invocation.as_json:
        invocation.data({"revoked": True})
    else:
        invocation.say("The token is revoked.")


def _issue(mount: str, call: str, output: Path | None, asked: Mapping[str, str | None]) -> None:
    invocation = current()
    if not _UUID.fullmatch(asked["account"] or ""):
        raise click.UsageError("--account takes the UUID of a user's account.")
    home = output.absolute().parent if output is not None else None
    if home is not None and not (home.is_dir() and os.access(home, os.W_OK)):
        # Before anything is issued: what cannot be kept would be lost.
        raise Stop(f"{output} cannot be written; nothing was asked for")
    answer = _operate(invocation, mount, call, asked)
    if output is not None:
        from proxy.store.files import write_private

        write_private(output.absolute(), json.dumps(answer).encode() + b"\n", replace=True)
        invocation.say(f"Written to {output}.")
    elif invocation.as_json:
        invocation.data({call: answer})
    else:
        name = "access_token" if call == "token" else "code"
        scope = _plain(answer.get("scope") or "not said")
        invocation.say(f"The {'token' if call == 'token' else 'code'}, scope {scope}; it is shown only now:")
        click.echo(_plain(answer[name]))


def _operate(invocation: Invocation, mount: str, call: str, asked: Mapping[str, str | None]) -> dict[str, Any]:
    from proxy.cli.server import mount_of, operate

    settings = invocation.settings()
    name = mount if mount in settings.config.mounts else mount_of(settings, mount)
    given = {key: value for key, value in asked.items() if value is not None}
    found = asyncio.run(operate(invocation, settings, "oauth", {"call": call, "mount": name, **given}, mount=name))
    return dict(found["answer"] or {})


def _plain(value: object) -> str:
    """A value of the broker's document on one line of a terminal."""
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    text = value if isinstance(value, str) else json.dumps(value)
    return "".join(char if char.isprintable() else "?" for char in text)
