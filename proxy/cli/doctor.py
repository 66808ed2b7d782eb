"""`bearerd doctor`: what could keep bearerd from working here, and what to do about each of it."""

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from proxy.cli.exits import Exit
from proxy.cli.invocation import Command, Invocation, current
from proxy.cli.output import BAD, NOTE, Style, table

if TYPE_CHECKING:
    from proxy.cli.examine import Finding
    from proxy.settings import Settings


@click.command(cls=Command)
@click.option("--offline", is_flag=True, help="Look at this machine only: ask no broker's host for anything.")
def doctor(*, offline: bool) -> None:
    """Look at permissions, clock, names, TLS, ports, the store and the server; say what to do. Changes nothing.

    Exit code 1 if something keeps bearerd from working, 3 if the configuration is invalid.
    """
    invocation = current()
    settings = invocation.settings()
    found = asyncio.run(_look(invocation, settings, offline=offline))
    bad = sum(finding.mark == BAD for finding in found)
    if invocation.as_json:
        invocation.data({"ok": not bad, "findings": [finding.document() for finding in found]})
    else:
        _show(invocation, found, bad)
    raise SystemExit(Exit.FAILURE if bad else Exit.OK)


async def _look(invocation: Invocation, settings: "Settings", *, offline: bool) -> "list[Finding]":
    from proxy.cli import examine, reach

    found, status = await examine.all_of(invocation, settings)
    return found if offline else [*found, *await reach.all_of(settings, status)]


def _show(invocation: Invocation, found: "list[Finding]", bad: int) -> None:
    from proxy.cli.examine import said

    style = Style.of(invocation, sys.stdout)
    rows = [(finding.mark, finding.what, said(finding.text)) for finding in found]
    for finding, line in zip(found, table(rows, style).splitlines(), strict=True):
        click.echo(line, color=style.colored)
        if finding.fix:
            click.echo(f"    To fix: {said(finding.fix)}")
    notes = sum(finding.mark == NOTE for finding in found)
    words = [f"{bad} to mend" if bad else "nothing to mend", f"{notes} to know" if notes else ""]
    invocation.say(f"{len(found)} things looked at: {', '.join(filter(None, words))}.")
