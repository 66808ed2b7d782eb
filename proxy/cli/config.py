"""`bearerd config` and `bearerd reload`."""

import asyncio
import json
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.exits import Exit
from proxy.cli.invocation import Command, Group, current
from proxy.clock import SystemClock

if TYPE_CHECKING:
    from proxy.config import Config


@click.group(cls=Group)
def config() -> None:
    """Check and show the configuration, or its schema for editors."""


@config.command()
def check() -> None:
    """Report every mistake, with line and column. Exit code 3 if there is one."""
    from proxy.config import ConfigInvalid, Problem

    invocation = current()

    def data(problem: Problem) -> dict[str, Any]:
        mark = problem.mark
        return {
            "source": problem.source,
            "line": mark.line if mark else None,
            "column": mark.column if mark else None,
            "path": problem.path,
            "message": problem.message,
            "fix": problem.fix,
        }

    try:
        settings = invocation.settings()
        check_certificates(settings.config)
    except ConfigInvalid as invalid:
        if not invocation.as_json:
            raise
        invocation.data({"ok": False, "file": invalid.name, "problems": [data(each) for each in invalid.problems]})
        raise SystemExit(Exit.CONFIG) from None
    if invocation.as_json:
        invocation.data({"ok": True, "file": settings.config.name, "problems": []})
    else:
        invocation.say(f"{settings.config.name} is good: {_count(len(settings.config.mounts), 'mount')}.")


def check_certificates(config: "Config") -> None:
    """Raise `ConfigInvalid` if a file of `tls` cannot be used."""
    if not config.tls.on:
        return
    from proxy.inforce import Local, Unfit, load

    try:
        load(config.tls, SystemClock().now().wall, expired=False, local=Local.of(config))
    except Unfit as unfit:
        raise config.invalid(config.problem(("tls", unfit.key), unfit.message, unfit.fix)) from None


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


@config.command()
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
def show(*, origin: bool) -> None:
    """Print all values in force, defaults too. Secrets are shown as ***."""
    invocation = current()
    found = invocation.settings().config
    if not invocation.as_json:
        click.echo(found.to_yaml(origin=origin), nl=False)
        return
    values = found.effective()
    origins = {".".join(path): found.origin(path) for path in _paths(values)}
    invocation.data({"config": values} | ({"origin": origins} if origin else {}))


def _paths(values: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    paths = []
    for key, value in values.items():
        here = (*above, key)
        paths += _paths(value, here) if isinstance(value, dict) and value else [here]
    return paths


@config.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from proxy.config import schema as schema_of

    click.echo(json.dumps(schema_of(), indent=2))


@click.command(cls=Command)
@click.option("--dry-run", is_flag=True, help="Only say what would change, and whether it could.")
def reload(*, dry_run: bool) -> None:
    """Make the running server read its configuration again: all of it, or nothing, and then it says why.

    What has changed is told key by key. What only a restart can change is refused, with its name and line.
    """
    from proxy.admin import CommandFailed
    from proxy.cli.exits import explain
    from proxy.cli.server import ask

    invocation = current()
    try:
        answer = asyncio.run(ask(invocation, "reload", {"dry_run": dry_run}))
    except CommandFailed as failed:
        if not invocation.as_json:
            raise
        invocation.data({"loaded": False, "kind": failed.kind, "message": failed.message, "fix": failed.fix})
        raise SystemExit(explain(failed)[0]) from None
    if invocation.as_json:
        invocation.data({"loaded": not dry_run} | answer)
        return
    lines = answer["changes"]
    verb = "Would change" if dry_run else "Loaded. Changed"
    invocation.say(f"{verb}:" if lines else f"{verb}: nothing.")
    for line in lines:
        invocation.say(f"  {line}")
