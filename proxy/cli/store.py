"""`bearerd store`: how the store stands, its tables, backups, and moving it elsewhere."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.exits import Stop
from proxy.cli.invocation import Group, current
from proxy.cli.output import Style

if TYPE_CHECKING:
    from proxy.config import Config

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group(cls=Group)
def store() -> None:
    """The store: how it stands, its tables, backups, and moving it elsewhere."""


@store.command()
def status() -> None:
    """Show where the store is and what it holds, quarantine, journal, and who has the lock.

    With and without a running server. Exit code 5 if the master key does not fit, 1 if something else is wrong.
    """
    from proxy.cli.storefacts import exit_code, facts, render

    invocation = current()
    found = asyncio.run(facts(invocation, invocation.settings().config))
    if invocation.as_json:
        invocation.data(found)
    else:
        style = Style.of(invocation, sys.stdout)
        click.echo("\n".join(render(found, style)), color=style.colored)
    raise SystemExit(exit_code(found))


@store.command()
def migrate() -> None:
    """Make the tables of a database, or bring them up to date. A SQLite store does that itself."""
    from proxy.cli.storefacts import migrated

    invocation = current()
    config = invocation.settings().config
    done = asyncio.run(migrated(config))
    if invocation.as_json:
        invocation.data({"store": config.store, "applied": done})
    else:
        invocation.say(f"Applied: {', '.join(done)}." if done else "The tables are up to date.")


@store.command()
@click.option("--to", metavar="STORE", help="Where to, in the form of the setting `store`.")
@click.option("--to-password-file", type=_FILE, metavar="FILE", help="Holds the password of that database.")
@click.option("--cancel", is_flag=True, help="Do not finish a copy that was interrupted; use the old store again.")
def copy(to: str | None, to_password_file: Path | None, *, cancel: bool) -> None:
    """Move the store, say from a file to a database. Every server that uses it must be stopped.

    All records keep their generations. They are compared at both ends; then the old store refuses to be served, for of
    two stores with the same tokens only one may redeem. If it is interrupted, the same command goes on.
    """
    from proxy.cli import storemoves

    if cancel == (to is not None):
        raise click.UsageError("Give one of --to and --cancel.")
    invocation = current()
    config = invocation.settings().config
    if to is None:
        undone = asyncio.run(storemoves.cancel(invocation, config))
        if invocation.as_json:
            invocation.data({"store": config.store, "cancelled": undone})
        else:
            invocation.say("The store is in use again." if undone else "The store is in use; no copy was under way.")
        return
    where = _place(to)
    done = asyncio.run(storemoves.copy(invocation, config, where, to_password_file))
    settings = _new_settings(config, where, to_password_file)
    if invocation.as_json:
        invocation.data({"store": where, "records": done.rows, "commits": done.commits, "settings": settings})
        return
    invocation.say(f"{done.rows} records are at {where}, and are the same as before. The old store is out of use.")
    invocation.say(f"To do, in {config.name}: " + ", ".join(f"`{key}: {value}`" for key, value in settings.items()))


@store.command()
@click.argument("file", type=_FILE)
@click.option("--replace", is_flag=True, help="Put it in the place of FILE, if there is one.")
def backup(file: Path, *, replace: bool) -> None:
    """Write everything that the store holds to FILE, sealed with the master key. A server may go on running.

    Keep the master key elsewhere: without it a backup is worth nothing, and with it the file is the tokens.
    """
    from proxy.cli.storemoves import back_up

    invocation = current()
    done = asyncio.run(back_up(invocation, invocation.settings().config, file.absolute(), replace=replace))
    if invocation.as_json:
        invocation.data({"file": str(file), "records": done.rows, "commits": done.commits, "key": done.header.key_id})
    else:
        invocation.say(f"{done.rows} records are in {file}. It opens with the master key {done.header.key_id}.")


@store.command()
@click.argument("file", type=_FILE)
def restore(file: Path) -> None:
    """Bring the store back from the backup FILE. There must be none yet, or an empty one; the server must be stopped.

    Everything comes back quarantined: its refresh tokens may have been redeemed since, and a second redemption can lock
    an account out. Access tokens that still live are served. Then log in again, or, if nothing else has used the tokens
    since the backup was made: bearerd adopt --all
    """
    from proxy.cli import storemoves

    invocation = current()
    config = invocation.settings().config
    done = asyncio.run(storemoves.restore(invocation, config, file.absolute()))
    if invocation.as_json:
        invocation.data({"store": config.store, "records": done.rows, "made": done.header.made})
        return
    invocation.say(f"{done.rows} records are in {config.store}. None of their refresh tokens is redeemed yet.")
    invocation.say("Next: bearerd login MOUNT, or, if nothing else has used the tokens since: bearerd adopt --all")


def _place(text: str) -> str:
    """A setting `store` that a person typed, with a path that counts from here. Raises `Stop`."""
    from proxy.config.address import Wrong
    from proxy.config.database import database
    from proxy.dsn import is_database

    kind, _, path = text.partition(":")
    if kind == "sqlite" and path:
        return f"sqlite:{Path(path).expanduser().absolute()}"
    try:
        if is_database(text):
            return database(text)
    except Wrong as wrong:
        raise Stop(f"--to {wrong}") from None
    raise click.UsageError("Write --to sqlite:PATH, or --to postgresql://USER@HOST/DATABASE.")


def _new_settings(config: "Config", to: str, password_file: Path | None) -> dict[str, Any]:
    """What to write into the configuration. The journal stays where it is, and its directory goes on being used."""
    found = {"store": to}
    if password_file is not None:
        found["store_password_file"] = str(password_file.absolute())
    if not to.startswith("sqlite:") and config.state is None:
        found["state"] = str(config.state_dir)
    return found
