"""`bearerd clients`: keys for programs and people. What each may reach stands in the configuration."""

import asyncio
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click

from proxy.cli.completion import clients as complete_clients
from proxy.cli.exits import Stop
from proxy.cli.invocation import Group, Invocation, current
from proxy.cli.login import confirm
from proxy.cli.output import BAD, GOOD, NOTE, Style, table
from proxy.cli.status import rights_text
from proxy.clock import SystemClock
from proxy.expiry import HOW, end_of, seconds_of, told_from
from proxy.spans import ago, clock_time, span

NUMBER = click.IntRange(1, (1 << 53) - 1)


@click.group(cls=Group)
def clients() -> None:
    """Make, list, replace and remove client keys. That counts at once, with or without a running server."""


def _expiry(expires: str | None) -> dict[str, float]:
    """`--expires` as what the server is asked for: it knows what time it is."""
    if expires is None:
        return {}
    if (length := seconds_of(expires)) is not None:
        return {"lasts": length}
    if (moment := end_of(expires, SystemClock().now().wall)) is not None:
        return {"expires": moment}
    raise click.UsageError(f"--expires: {HOW}.")


@clients.command()
@click.argument("name", shell_complete=complete_clients)
@click.option(
    "--grant",
    "grants",
    multiple=True,
    metavar="GRANT/PERSON",
    help="Bind the key to one person's grant; once for each broker.",
)
@click.option("--expires", metavar="90d|DATE", help="When it ends: 90d, 24h, 30m or 2027-06-30. Default: never.")
def add(name: str, *, grants: tuple[str, ...], expires: str | None) -> None:
    """Make a key for the client NAME and print it, this once. Its older keys stay valid.

    With --grant the key stands for one user of an application: on mounts of GRANT it uses the grant of that PERSON, who
    is logged in by `bearerd login GRANT/PERSON`, and other mounts refuse it.
    """
    from proxy.config.model import NAME_PATTERN

    if not re.fullmatch(NAME_PATTERN, name):
        raise click.UsageError("A client's name has lower-case letters, digits and hyphens, as in notebook or bot-2.")
    invocation = current()
    answer = _operate(invocation, "clients-add", name=name, grants=list(grants), **_expiry(expires))
    if answer["warning"]:
        invocation.warn(f"! {answer['warning']}")
    if invocation.as_json:
        invocation.data(answer)
    else:
        ends = f", good until {clock_time(answer['expires'])}" if answer["expires"] else ""
        invocation.say(f"Key {answer['number']} of {name}{ends}; it is shown only now:")
        click.echo(answer["key"])


@clients.command()
@click.argument("name", shell_complete=complete_clients)
@click.option("--key", "number", type=NUMBER, metavar="N", help="Which key; needed if the client has several.")
@click.option("--overlap", default="24h", show_default=True, metavar="TIME", help="How long the old key stays good.")
@click.option("--expires", metavar="90d|DATE", help="When the new key ends. Default: it lives as long as the old one.")
def rotate(name: str, *, number: int | None, overlap: str, expires: str | None) -> None:
    """Make a new key in the place of an older one of the client NAME and print it, this once.

    The old key stays good for the overlap, so that programs can change over without a pause. Nothing is asked, so a
    script can do it.
    """
    seconds = seconds_of(overlap)
    if seconds is None:
        raise click.UsageError("--overlap: write a length of time as in 24h, 30m or 0s.")
    invocation = current()
    params = {"name": name, "number": number, "overlap": seconds, **_expiry(expires)}
    answer = _operate(invocation, "clients-rotate", **params)
    if invocation.as_json:
        invocation.data(answer)
        return
    old = answer["replaced"]
    ends = f", good until {clock_time(answer['expires'])}" if answer["expires"] else ""
    invocation.say(f"Key {old['number']} of {name} is refused from {clock_time(old['expires'])} on.")
    invocation.say(f"Key {answer['number']}{ends}, which takes its place; it is shown only now:")
    click.echo(answer["key"])


@clients.command("list")
@click.argument("name", required=False, shell_complete=complete_clients)
@click.option("--grant", metavar="GRANT/PERSON", help="With NAME: only keys that are bound to this person's grant.")
def list_(name: str | None, *, grant: str | None) -> None:
    """List clients, their keys, and what each may reach; with NAME all keys of one client."""
    if grant is not None and name is None:
        raise click.UsageError("--grant needs the NAME of a client.")
    invocation = current()
    answer = _operate(invocation, "clients-list", name=name, grant=grant)
    while name is not None and (following := answer["clients"][0]["next"]) is not None:
        more = _operate(invocation, "clients-list", name=name, grant=grant, after=following)["clients"][0]
        answer["clients"][0]["listed"] += more["listed"]
        answer["clients"][0]["next"] = more["next"]
    if invocation.as_json:
        invocation.data(answer)
        return
    if not answer["clients"]:
        invocation.say("No clients. To make one: add it under `clients:`, then: bearerd clients add NAME")
        return
    style = Style.of(invocation, sys.stdout)
    now = SystemClock().now().wall
    click.echo("\n".join(_rendered(answer["clients"], style, now)), color=style.colored)


def _rendered(found: list[dict[str, Any]], style: Style, now: float) -> Iterator[str]:
    heading = ("", "CLIENT", "KEYS", "LAST USED", "RIGHTS")
    yield table([heading, *(_client_row(client, now) for client in found)], style)
    rows = [_key_row(client["name"], key, now) for client in found for key in client["listed"]]
    if rows:
        yield ""
        yield table([("", "KEY", "CREATED", "EXPIRES", "LAST USED", "FOR"), *rows], style)
    for client in found:
        hidden = client["keys"] - len(client["listed"])
        if len(found) > 1 and hidden > 0:
            yield f"  {hidden} more keys of {client['name']}: bearerd clients list {client['name']}"


def _client_row(client: Mapping[str, Any], now: float) -> tuple[str, ...]:
    keys = f"{client['keys']} ({client['bound']} bound)" if client["bound"] else str(client["keys"])
    mark = GOOD if client["keys"] and client["in_config"] else NOTE
    return mark, client["name"], keys, ago(client["last_use"], now), rights_text(client["rights"])


def _key_row(client: str, key: Mapping[str, Any], now: float) -> tuple[str, ...]:
    if key["lent"]:
        return GOOD, f"{client} (lent by bearerd run)", clock_time(key["created"]), "with its program", *_use(key, now)
    mark, ends = GOOD, "never"
    if key["expires"] is not None:
        ends = f"expired {ago(key['expires'], now)}" if key["expired"] else f"in {span(key['expires'] - now)}"
        mark = BAD if key["expired"] else GOOD if now < told_from(key["created"], key["expires"]) else NOTE
    if key["replaced"] is not None:
        ends += ", replaced"
    return mark, f"{client} {key['number']}", clock_time(key["created"]), ends, *_use(key, now)


def _use(key: Mapping[str, Any], now: float) -> tuple[str, str]:
    return ago(key["last_use"], now), ", ".join(key["grants"]) or "everybody's"


@clients.command()
@click.argument("name", shell_complete=complete_clients)
@click.option("--key", "number", type=NUMBER, metavar="N", help="Only this key.")
@click.option("--grant", metavar="GRANT/PERSON", help="Only keys that are bound to this person's grant.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--no-input", is_flag=True, help="Never ask; without --yes nothing is done.")
def remove(name: str, *, number: int | None, grant: str | None, yes: bool, no_input: bool) -> None:
    """Delete all keys of the client NAME, or some of them: they are refused from then on."""
    invocation = current()
    which = f"key {number} of {name}" if number is not None else f"a key of {name}"
    which += f" that is bound to {grant}" if grant else ""
    them = "it" if number is not None else "them all"
    confirm(f"Programs that use {which} are refused from then on. Remove {them}?", yes=yes, ask=not no_input)
    answer = _operate(invocation, "clients-remove", name=name, grant=grant, number=number)
    if not answer["removed"]:
        bound = f" that is bound to {grant}" if grant else ""
        what = "no key" if number is None else f"no key {number}"
        raise Stop(f"the client '{name}' has {what}{bound}", fix="bearerd clients list")
    if invocation.as_json:
        invocation.data(answer)
    else:
        invocation.say(f"Removed {answer['removed']} key{'s' * (answer['removed'] != 1)} of {name}.")


def _operate(invocation: Invocation, command: str, **params: Any) -> dict[str, Any]:
    from proxy.cli.server import operate

    return asyncio.run(operate(invocation, invocation.settings(), command, params))
