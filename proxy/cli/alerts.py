"""`bearerd alerts`: who is told when something goes wrong, and whether that works."""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.exits import Exit
from proxy.cli.invocation import Command, Group, Invocation, current
from proxy.cli.output import BAD, GOOD, NOTE, Style, table
from proxy.spans import ago, span

if TYPE_CHECKING:
    from proxy.settings import Settings


@click.group(cls=Group)
def alerts() -> None:
    """Webhooks and commands that are told when something goes wrong."""


@alerts.command("list")
def list_() -> None:
    """Print the hooks of the configuration, what each is told, and how that goes."""
    from proxy.admin import ServerGone
    from proxy.cli.server import ask

    invocation = current()
    try:
        found = asyncio.run(ask(invocation, "status"))
        hooks, now = found["alerts"], found["now"]
    except ServerGone:
        hooks, now = list(_configured(invocation.settings())), 0.0
    if invocation.as_json:
        invocation.data({"alerts": hooks})
    elif hooks:
        click.echo("\n".join(render(hooks, now, Style.of(invocation, sys.stdout))))
    else:
        invocation.say("Nobody is told anything. To change that: add a hook under `alerts:`, then: bearerd reload")


def _configured(settings: "Settings") -> Iterator[dict[str, Any]]:
    from proxy.alerts.alerts import nothing, shown

    return (shown(hook) | nothing() for hook in settings.hooks.values())


def render(hooks: list[dict[str, Any]], now: float, style: Style) -> Iterator[str]:
    """Hooks as lines for a person."""
    yield overview(hooks, now, style)
    for hook in hooks:
        repeat = f"; what still goes wrong again every {span(hook['repeat'])}" if hook["repeat"] else ""
        yield f"  {hook['name']} is told of: {', '.join(hook['events'])}{repeat}"


def overview(hooks: list[dict[str, Any]], now: float, style: Style) -> str:
    """A line a hook: where it leads, what waits for it, and how the last try went."""
    rows = [(_mark(hook), hook["name"], hook["kind"], hook["to"], _tells(hook), _goes(hook, now)) for hook in hooks]
    return table([("", "HOOK", "KIND", "TO", "WAITING", "LAST"), *rows], style)


def _mark(hook: Mapping[str, Any]) -> str:
    return BAD if hook["failing_since"] is not None else GOOD if hook["delivered"] else NOTE


def _tells(hook: Mapping[str, Any]) -> str:
    lost = hook["given_up"] + hook["dropped"]
    return f"{hook['waiting']}, {lost} lost" if lost else str(hook["waiting"])


def _goes(hook: Mapping[str, Any], now: float) -> str:
    last = hook["last"]
    return "nothing yet" if last is None else f"{last['event']} {ago(last['at'], now)}: {last['said']}"


@alerts.command(cls=Command)
@click.argument("hook", required=False)
def test(hook: str | None) -> None:
    """Send a test event to HOOK, or to every hook, once, and say what came back.

    Exit code 1 if one of them failed.
    """
    invocation = current()
    done = _tried(invocation, hook)
    if invocation.as_json:
        invocation.data({"tests": done})
    else:
        style = Style.of(invocation, sys.stdout)
        for each in done:
            mark = GOOD if each["ok"] else BAD
            click.echo(f"{style.paint(mark, mark)} {each['hook']} ({each['to']}): {each['said']}, {each['ms']} ms")
            if each["output"]:
                click.echo(f"  {each['output']}")
    if not all(each["ok"] for each in done):
        raise SystemExit(Exit.FAILURE)


def _tried(invocation: Invocation, hook: str | None) -> list[dict[str, Any]]:
    """By the server if one runs, which goes by the configuration that is loaded; else from here."""
    from proxy.admin import ServerGone
    from proxy.cli.server import ask

    try:
        found: list[dict[str, Any]] = asyncio.run(ask(invocation, "alerts-test", {"hook": hook}))["tests"]
    except ServerGone:
        from proxy.alerts.alerts import chosen
        from proxy.alerts.teller import try_all

        hooks = chosen(invocation.settings().hooks, hook)
        found = asyncio.run(try_all(hooks))
    return found
