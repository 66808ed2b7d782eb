"""`bearerd audit`: who did what. Reads the files of the trail, with and without a running server."""

import asyncio
import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.completion import clients, mounts
from proxy.cli.exits import Exit, Stop
from proxy.cli.invocation import Group, Invocation, current
from proxy.cli.output import BAD, GOOD, NOTE, Style, table
from proxy.spans import span

if TYPE_CHECKING:
    from proxy.audit.reading import Fields, Wanted

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LOOK = 0.3  # seconds between looks with --follow
_HEAD = ("", "TIME", "WHO", "WHAT", "STATUS", "OUTCOME", "ACCOUNT", "REQUEST")


@click.group(cls=Group)
def audit() -> None:
    """Who did what: one record for every call, every order and every operator's act."""


@audit.command()
@click.option("-f", "--follow", is_flag=True, help="Go on printing what is added.")
@click.option("-n", "--lines", default=20, show_default=True, help="How many records to begin with.")
def tail(*, follow: bool, lines: int) -> None:
    """Print the newest records."""
    from proxy.audit.reading import last, newest

    invocation = current()
    directory = _trail(invocation)
    shown = newest(directory, lines)
    _show(invocation, shown)
    if follow:
        # From what was shown on: what is written meanwhile would be missed if the end were looked up again.
        asyncio.run(_follow(invocation, directory, shown[-1]["seq"] if shown else last(directory)))


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say what is looked for."""
    for decorate in (
        click.option("--acts", is_flag=True, help="Only what an operator did."),
        click.option("--refused", is_flag=True, help="Only calls that bearerd refused."),
        click.option("--orders", is_flag=True, help="Only calls that change something."),
        click.option("--until", metavar="TIME", help="Only what is older."),
        click.option(
            "--since", metavar="TIME", help="Only from then on: 2026-11-22, '2026-11-22 09:30', or 2h, 3d ago."
        ),
        click.option("--request", metavar="ID", help="Only the call with this request id."),
        click.option("--account", metavar="END", help="Only calls of the account whose number ends so."),
        click.option("--outcome", metavar="WORD", help="Only with this outcome: broker, halted, unknown, …"),
        click.option("--mount", metavar="MOUNT", shell_complete=mounts, help="Only calls of this mount."),
        click.option("--client", metavar="CLIENT", shell_complete=clients, help="Only calls of this client."),
    ):
        command = decorate(command)
    return command


@audit.command()
@_filters
def search(**filters: Any) -> None:
    """Print the records that fit. An order whose outcome nobody wrote down has the outcome `unknown`."""
    invocation = current()
    wanted = _wanted(filters)
    _show(invocation, (fields for fields in _joined(_trail(invocation)) if wanted.fits(fields)))


@audit.command()
@_filters
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
def export(*, form: str, **filters: Any) -> None:
    """Print records for other programs.

    As JSON lines they stand as in the trail, intent and outcome of an order apart. As CSV an order is one line.
    """
    from proxy.audit.export import to_csv
    from proxy.audit.reading import lines

    invocation = current()
    wanted = _wanted(filters)
    directory = _trail(invocation)
    if form == "csv":
        for text in to_csv(fields for fields in _joined(directory) if wanted.fits(fields)):
            click.echo(text, nl=False)
        return
    asked = any(value not in (None, False) for value in filters.values())
    for line, fields in _both(lines(directory)):
        if not asked or wanted.fits(fields):
            click.echo(line, nl=False)


@audit.command()
def verify() -> None:
    """Hold every record against its chain, and the end of the trail against what the store has noted.

    Needs the master key. Exit code 1 if anything was changed, removed, inserted or cut; file and line are named.
    """
    from proxy.cli.auditverify import plain, rendered, verified

    invocation = current()
    results = asyncio.run(verified(invocation, invocation.settings()))
    if invocation.as_json:
        invocation.data({"trails": [plain(name, found) for name, found in results]})
    else:
        style = Style.of(invocation, sys.stdout)
        for name, found in results:
            click.echo("\n".join(rendered(name, found, style)), color=style.colored)
    raise SystemExit(Exit.FAILURE if any(found.faults for _, found in results) else Exit.OK)


# -- reading ----------------------------------------------------------------------------------------------------------


def _root(invocation: Invocation) -> Path:
    from proxy.custody import audit_path

    return audit_path(invocation.server_config())


def _trail(invocation: Invocation) -> Path:
    """The trail that is written to. `Stop` if there is none."""
    from proxy.audit.reading import directories

    root = _root(invocation)
    found = directories(root)
    if not found:
        raise Stop(f"there is no audit trail at {root}", fix="bearerd serve")
    return found[-1]


def _joined(directory: Path) -> "Iterator[Fields]":
    from proxy.audit.reading import joined, records

    return joined(records(directory))


def _both(found: Iterator[bytes]) -> "Iterator[tuple[bytes, Fields]]":
    import json

    for line in found:
        try:
            yield line, json.loads(line)
        except ValueError:
            continue


async def _follow(invocation: Invocation, directory: Path, known: int) -> None:
    """Print what comes after the record `known`, for as long as one looks."""
    from proxy.audit.reading import records, size

    seen = (0, 0)
    while True:
        now = await asyncio.to_thread(size, directory)
        if now != seen:
            seen = now
            new = await asyncio.to_thread(lambda: list(records(directory, known + 1)))  # noqa: B023  awaited at once
            if new:
                known = new[-1]["seq"]
                _show(invocation, new, heading=False)
                sys.stdout.flush()
        await asyncio.sleep(_LOOK)


def _wanted(filters: dict[str, Any]) -> "Wanted":
    from proxy.audit.reading import Wanted
    from proxy.clock import SystemClock

    now = SystemClock().now().wall
    times = {name: _time(filters[name], now) if filters[name] else None for name in ("since", "until")}
    return Wanted(**filters | times)


def _time(text: str, now: float) -> float:
    """A moment as Unix time. `UsageError` if it is none."""
    if found := re.fullmatch(r"([0-9]{1,6})([smhd])", text):
        return now - int(found[1]) * _UNITS[found[2]]
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        raise click.UsageError("Write a time as 2026-11-22, '2026-11-22 09:30', or 90m, 2h, 3d ago.") from None


# -- showing ----------------------------------------------------------------------------------------------------------


def _show(invocation: Invocation, found: "Iterator[Fields] | list[Fields]", *, heading: bool = True) -> None:
    if invocation.as_json:
        import json

        for fields in found:
            click.echo(json.dumps({"schema": 1} | fields))
        return
    rows = [_cells(fields) for fields in found]
    if not rows:
        if heading:
            invocation.say("No record fits.")
        return
    style = Style.of(invocation, sys.stdout)
    click.echo(table([_HEAD, *rows] if heading else rows, style), color=style.colored)


def _cells(fields: "Fields") -> tuple[str, ...]:
    shown = datetime.fromtimestamp(fields["time"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    kind = fields["kind"]
    if kind in ("call", "intent", "outcome", "ended"):
        outcome = str(fields.get("outcome", kind))
        mark = (
            GOOD if outcome in ("broker", "here", "intent", "ended") else BAD if outcome.endswith("unknown") else NOTE
        )
        place = f"/{fields['mount']}{fields.get('row', '')}" if "mount" in fields else ""
        what = " ".join(filter(None, (str(fields.get("method", "")), place, _carried(fields))))
        who, status = str(fields.get("client", "-")), str(fields.get("status", fields.get("close", "")))
    else:
        mark, who, status = (
            GOOD if kind in ("act", "started", "stopped", "opened") else NOTE,
            fields.get("who", "-"),
            "",
        )
        about = ", ".join(f"{name} {value}" for name, value in fields.get("about", {}).items())
        what = f"{fields['act']} {about}".strip() if kind == "act" else _told(fields)
        outcome = str(fields.get("outcome", kind))
    cells = (mark, shown, who, what, status, outcome, str(fields.get("account", "")), str(fields.get("id", "")))
    # What an operator wrote as a reason must not move the cursor.
    return tuple("".join(letter if letter.isprintable() else "?" for letter in cell) for cell in cells)


def _carried(fields: "Fields") -> str:
    """What went over a stream that is over, and how long it was open."""
    if fields["kind"] != "ended":
        return ""
    passed = (
        f"{fields['up']} up, {fields['down']} down" if fields["up"] or fields["down"] else f"{fields['down_bytes']} B"
    )
    return f"({passed} in {span(fields['ms'] / 1000)})"


def _told(fields: "Fields") -> str:
    match fields["kind"]:
        case "gap":
            return f"{fields['lost']} records lost: {fields['reason']}"
        case "strangers":
            return f"{fields['count']} more calls without a known client"
        case "retired":
            return f"old files removed, up to record {fields['until']}"
        case kind:
            return (
                f"bearerd {kind}" if kind in ("started", "stopped") else f"a new file, by bearerd {fields['version']}"
            )
