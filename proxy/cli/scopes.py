"""`bearerd scopes`: what may pass, and why something may not. It decides with the functions that the server uses."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.completion import clients, mounts
from proxy.cli.exits import Exit, Stop
from proxy.cli.invocation import Group, current
from proxy.cli.output import BAD, GOOD, Style, home_short, table

if TYPE_CHECKING:
    from proxy.config import Config
    from proxy.gate.clients import Client
    from proxy.gate.rows import Row
    from proxy.gate.scopes import Match
    from proxy.gate.target import Target
    from proxy.settings import Settings


NO_SCOPE = "no scope opens it: the broker documents none for it"
# What calls of each kind do, which decides what a halt and the guards leave open.
_ORDERS = {"place": "places an order", "change": "changes an order", "lower": "lowers a risk"}


@click.group(cls=Group)
def scopes() -> None:
    """What a mount's scopes allow, and why a call is refused."""


@scopes.command("list")
@click.argument("mount", shell_complete=mounts)
@click.option("--client", metavar="NAME", shell_complete=clients, help="As this client sees it.")
def list_(mount: str, client: str | None) -> None:
    """List every kind of call of MOUNT's API, by scope, and whether it is allowed."""
    invocation = current()
    settings = invocation.settings()
    wanted = settings.config.mounts.get(mount)
    if wanted is None:
        raise Stop(f"there is no mount '{mount}'; known: {', '.join(settings.config.mounts) or 'none'}")
    caller = client_called(settings.config, client)
    api = settings.api_of(mount)
    offered = {name: text for name, text in settings.brokers[wanted.broker].scopes.items() if name in api.scopes}
    given = [scope for scope in offered if not _lacking(caller, mount, wanted.scopes, scope)]
    rows = api.table.rows
    if invocation.as_json:
        data = [_row_data(row, allowed=row.scope in given) for row in rows]
        invocation.data({"mount": mount, "api": api.name, "client": client, "scopes": given, "rows": data})
        return
    style = Style.of(invocation, sys.stdout)
    for scope, meaning in offered.items():
        mark = GOOD if scope in given else BAD
        click.echo(f"{style.paint(mark, mark)} {scope}: {meaning}", color=style.colored)
        click.echo(table([_listed(row) for row in rows if row.scope == scope], style))
    if denied := [_listed(row) for row in rows if row.deny]:
        click.echo(f"{style.paint(BAD, BAD)} {NO_SCOPE}", color=style.colored)
        click.echo(table(denied, style))


def _listed(row: "Row") -> tuple[str, ...]:
    notes = [f"{name}={value}" for name, value in row.when_query]
    changes = _ORDERS[row.order.kind] if row.order else "changes something"
    notes += [changes] * row.mutating + ["stream"] * row.streaming + ["WebSocket"] * row.websocket
    notes += [f"sent as {row.sent_prefix[1]}/…"] if row.sent_prefix else []
    notes += [f"{name} is filled in here" for name in row.fills]
    return " ", row.method, row.path, ", ".join(notes)


def _row_data(row: "Row", *, allowed: bool) -> dict[str, Any]:
    return {
        "id": row.id,
        "method": row.method,
        "path": row.path,
        "scope": row.scope or None,
        "allowed": allowed,
        "denied": row.deny,
        "mutating": row.mutating,
        "order": row.order.kind if row.order else None,
        "streaming": row.streaming,
        "websocket": row.websocket,
        "query": dict(row.when_query),
    }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate would say. `reason` is for a person."""

    allowed: bool
    reason: str
    mount: str | None = None
    scope: str | None = None
    row: str | None = None


@scopes.command()
@click.argument("method")
@click.argument("path")
@click.option(
    "--client", metavar="NAME", shell_complete=clients, help="As this client; without it, as the mount alone allows."
)
def check(method: str, path: str, client: str | None) -> None:
    """Say whether METHOD PATH would pass, and why. PATH starts with the mount: /questrade/v1/accounts

    Exit code 0 if it would, 1 if not. Nothing is sent.
    """
    invocation = current()
    settings = invocation.settings()
    verdict = judge(settings, method, path, client_called(settings.config, client))
    if invocation.as_json:
        names = ("allowed", "reason", "mount", "scope", "row")
        invocation.data({name: getattr(verdict, name) for name in names} | {"client": client})
    else:
        style = Style.of(invocation, sys.stdout)
        word = style.paint("ALLOWED", GOOD) if verdict.allowed else style.paint("DENIED", BAD)
        click.echo(f"{word}  {verdict.reason}", color=style.colored)
    raise SystemExit(Exit.OK if verdict.allowed else Exit.FAILURE)


def judge(settings: "Settings", method: str, path: str, client: "Client | None") -> Verdict:
    """Put one call to the gate, as far as it can be decided without a body. `client` None: any."""
    from proxy import emulation
    from proxy.errors import Refusal
    from proxy.gate import target
    from proxy.gate.scopes import Denied

    try:
        wanted = target.parse(path.encode("utf-8", "surrogateescape"))
    except Refusal as refusal:
        return Verdict(allowed=False, reason=refusal.detail)
    mount = settings.config.mounts.get(wanted.mount)
    if mount is None:
        return Verdict(
            allowed=False, reason=f"there is no such mount; known: {', '.join(settings.config.mounts) or 'none'}"
        )
    broker = settings.brokers[mount.broker]
    if emulation.concerns(broker, method, wanted):
        reason = "bearerd answers this itself, with the client key; nothing is sent"
        return Verdict(allowed=True, reason=reason, mount=wanted.mount, row=emulation.ROW)
    match = settings.api_of(wanted.mount).table.match(method, wanted)
    if isinstance(match, Denied):
        return Verdict(allowed=False, reason=match.reason, mount=wanted.mount)
    row = match.row
    if row.deny:
        return Verdict(allowed=False, reason=NO_SCOPE, mount=wanted.mount, row=row.path)
    lacking = _lacking(client, wanted.mount, mount.scopes, row.scope)
    reason = _why(settings.config, wanted.mount, row.scope, client)
    if not lacking and (refused := _guarded(settings.config, client, match, wanted)):
        return Verdict(allowed=False, reason=refused, mount=wanted.mount, scope=row.scope, row=row.path)
    if row.order and row.order.kind != "lower" and (places := _guards(settings.config, client, wanted.mount)):
        reason += f"; {' and '.join(places)} will judge the order itself"
    if row.body_without:
        reason += f"; its JSON body must not hold {', '.join(row.body_without)}"
    if row.websocket:
        reason += "; it opens a WebSocket"
    return Verdict(not lacking, reason, wanted.mount, row.scope, row.path)


def _guards(config: "Config", client: "Client | None", mount: str) -> list[str]:
    from proxy.guarding import book_of

    return [each.where for each in book_of(config).of(mount, client.name if client else "")]


def _guarded(config: "Config", client: "Client | None", match: "Match", wanted: "Target") -> str | None:
    """Why the list of accounts refuses the call. What is in a body, and what time it is, is not asked here."""
    from dataclasses import replace

    from proxy.errors import Refusal
    from proxy.gate.guards import Call, Tempo, check
    from proxy.gate.orders import Written
    from proxy.guarding import book_of

    asked = book_of(config).of(wanted.mount, client.name if client else "")
    row = replace(match.row, order=None, accounts=match.row.accounts if match.row.method == "GET" else ())
    try:
        check(asked, Call(row, Written(match.captures, wanted.query, b"", ())), Tempo(), wall=0.0, boot=0.0)
    except Refusal as refusal:
        return f"{refusal.detail} ({refusal.fix})"
    return None


def _why(config: "Config", mount: str, scope: str, client: "Client | None") -> str:
    """Both lists that count, and where they stand: `needs scope trade; mount questrade has … (config.yaml:12)`."""
    parts = [f"needs scope {scope}"]
    where = config.origin(("mounts", mount, "scopes"))
    parts.append(f"mount {mount} has {_scopes(config.mounts[mount].scopes)} ({home_short(where)})")
    if client is not None and client.rights is not None:
        held = client.rights.get(mount)
        where = config.origin(("clients", client.name, mount) if held is not None else ("clients", client.name))
        parts.append(f"client {client.name} has {_scopes(sorted(held or ()))} ({home_short(where)})")
    return "; ".join(parts)


def _scopes(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names) or "none"


def _lacking(client: "Client | None", mount: str, scopes: tuple[str, ...], scope: str) -> str | None:
    from proxy.gate.clients import Client, allowed

    return allowed(client or Client("any", None), mount, frozenset(scopes), scope)


def client_called(config: "Config", name: str | None) -> "Client | None":
    """The client as the configuration has it. Raises `Stop` for a name that it lacks."""
    from proxy.gate.clients import LOCAL, Client

    if name is None:
        return None
    if isinstance(config.clients, str):
        return LOCAL
    rights = config.rights.get(name)
    if rights is None:
        raise Stop(f"there is no client '{name}' under `clients:`; known: {', '.join(config.clients) or 'none'}")
    return Client(name, {mount: frozenset(scopes) for mount, scopes in rights.items()})
