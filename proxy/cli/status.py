"""`bearerd status`: how everything stands, and what to type next."""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click

from proxy.cli.alerts import overview as hooks
from proxy.cli.exits import Exit, Stop
from proxy.cli.invocation import Command, current
from proxy.cli.output import BAD, GOOD, NOTE, Style, home_short, table
from proxy.spans import ago, clock_time, span

LOGIN_STATES = {"none", "needs-login", "quarantined"}


@click.command(cls=Command)
@click.option("--console", is_flag=True, help="Print only the console's address, with the token that opens it.")
def status(*, console: bool) -> None:
    """Show mounts, their tokens and calls, clients, and the next command where something is wrong.

    Exit code 4 if a mount needs a login, 6 if no server runs.
    """
    from proxy.cli.server import ask

    invocation = current()
    if console:
        url = asyncio.run(ask(invocation, "console"))["url"]
        if url is None:
            raise Stop("the console is off", fix="write `console: 127.0.0.1:8081`, then restart bearerd")
        click.echo(url)
        return
    found = asyncio.run(ask(invocation, "status"))
    if invocation.as_json:
        invocation.data(found)
    else:
        style = Style.of(invocation, sys.stdout)
        click.echo("\n".join(render(found, style, verbose=invocation.verbose)), color=style.colored)
    raise SystemExit(exit_code(found))


def exit_code(found: Mapping[str, Any]) -> Exit:
    """4 if a mount cannot be used, or not for long, before a person does something."""
    needed = (mount["state"] in LOGIN_STATES and not _for_members(mount) for mount in found["mounts"])
    return Exit.LOGIN if any(needed) else Exit.OK


def _tight(rate: Mapping[str, Any]) -> str:
    """Of a rate category in which calls have to wait: what is left of it. Else nothing."""
    if not (rate["closed"] or rate["waiting"] or rate["remaining"] == 0):
        return ""
    left = f"{rate['remaining']} of {rate['limit'] or '?'} calls left"
    again = max(rate["closed"], rate["seconds"] or 0)
    parts = (
        "the broker refuses more" if rate["closed"] else left if rate["remaining"] is not None else "",
        f"{rate['waiting']} waiting" if rate["waiting"] else "",
        f"more in {span(again)}" if again else "",
    )
    return f"calls of the category {rate['category']}: {', '.join(filter(None, parts))}"


def _for_members(mount: Mapping[str, Any]) -> bool:
    """Whether it serves members only: then nobody has to log in for all."""
    return mount["state"] == "none" and any(state != "none" for state in mount["members"]["states"])


def members(mount: Mapping[str, Any]) -> str:
    """`12 members: 11 fresh, 1 needs-login`; empty without any."""
    told = mount["members"]
    if not told["total"]:
        return ""
    states = ", ".join(f"{count} {state}" for state, count in told["states"].items())
    more = ", and the store has not told all yet" if told["reading"] else ""
    return f"{told['total']} member{'s' * (told['total'] != 1)}: {states}{more}"


def render(found: Mapping[str, Any], style: Style, *, verbose: bool = False) -> Iterator[str]:
    """The status document as lines for a person."""
    now = found["now"]
    up = span(now - found["started"])
    store = home_short(str(found["store"]).removeprefix("sqlite:"))
    urls = " and ".join(filter(None, dict.fromkeys([found["url"], found.get("secure_url")])))
    yield f"bearerd {found['version']} · {urls} · up {up} · pid {found['pid']} · store {store}"
    if found["console"]:
        yield f"console {found['console']} (to open it: bearerd status --console)"
    if found["mounts"]:
        heading = ("", "MOUNT", "ENV", "TOKEN", "LAST CALL", "CALLS", "DENIED")
        yield table([heading, *(_row(mount, now) for mount in found["mounts"])], style)
    if clients := _clients(found):
        yield table([("", "CLIENT", "KEYS", "LAST USED", "RIGHTS"), *clients], style)
    if found.get("workers"):
        titles = ("", "WORKER", "PID", "UP", "IN FLIGHT", "RESTARTS")
        yield table([titles, *(_worker(worker, now) for worker in found["workers"])], style)
    if found.get("streams"):
        heading = ("", "OPEN STREAMS", "MOUNT", "CLIENT", "SINCE", "SENT", "RECEIVED")
        yield table([heading, *(_stream(stream, now) for stream in found["streams"])], style)
    if found.get("alerts"):
        yield hooks(found["alerts"], now, style)
    if verbose:
        yield from (
            f"  {mount['name']}: {mount['url']} → {mount['api_host'] or 'not known yet'}{_login(mount)}"
            f"{_dies(mount, now)}"
            for mount in found["mounts"]
        )
    yield from (f"  {grant}: {told}" for grant, told in _members(found).items())
    for mark, line in problems(found):
        yield f"  {style.paint(mark, mark)} {line}"


def _members(found: Mapping[str, Any]) -> dict[str, str]:
    """By grant, for those that have any."""
    told = {mount["grant"]: members(mount) for mount in found["mounts"]}
    return {grant: text for grant, text in told.items() if text}


def _row(mount: Mapping[str, Any], now: float) -> tuple[str, ...]:
    well = not (mount["reason"] or mount["warning"] or mount["missing"])
    mark = GOOD if mount["usable"] and well else NOTE if mount["usable"] or _for_members(mount) else BAD
    last = ago(mount["last_call"], now)
    return (
        mark,
        mount["name"],
        mount["environment"],
        token_state(mount, now),
        last,
        str(mount["calls"]),
        str(mount["denied"]),
    )


def _stream(stream: Mapping[str, Any], now: float) -> tuple[str, ...]:
    """How many of a kind, and what they have carried since the oldest of them was opened."""
    what = f"{stream['open']} {'stream' if stream['kind'] == 'http' else 'socket'}{'s' * (stream['open'] != 1)}"
    up, down = (str(stream[name]) if stream["kind"] != "http" else "" for name in ("up", "down"))
    return GOOD, what, stream["mount"], stream["client"], ago(stream["since"], now), up, down


def _worker(worker: Mapping[str, Any], now: float) -> tuple[str, ...]:
    """A process that relays reads; one that does not serve yet is marked."""
    numbers = (str(worker[name]) for name in ("in_flight", "restarts"))
    mark = GOOD if worker["ready"] else NOTE
    return mark, str(worker["number"]), str(worker["pid"]), span(max(0.0, now - worker["since"])), *numbers


def _login(mount: Mapping[str, Any]) -> str:
    """How the grant was logged in, and with which scopes, if the broker said so."""
    granted = f", granted: {' '.join(mount['granted'])}" if mount["granted"] else ""
    return f" (login {mount['login']}{granted})"


def _dies(mount: Mapping[str, Any], now: float) -> str:
    """When the refresh token does, if nothing renews it; each renewal puts that off."""
    return "" if mount["dies"] is None else f"; without a renewal the login is lost in {span(mount['dies'] - now)}"


def token_state(mount: Mapping[str, Any], now: float) -> str:
    """`fresh, refreshes in 24m`, `fresh, ends in 3h12m`, `login needed since 2026-11-21 09:14 EST`, …"""
    if mount["state"] == "none":
        return "for members" if _for_members(mount) else "login needed"
    if mount["state"] == "needs-login":
        return f"login needed since {clock_time(mount['since'])}"
    if mount["state"] == "quarantined":
        return f"quarantined since {clock_time(mount['since'])}"
    if mount["next_renewal"] is not None:
        return f"{mount['state']}, refreshes in {span(mount['next_renewal'] - now)}"
    if mount["ends"] is not None:
        return f"{mount['state']}, ends in {span(mount['ends'] - now)}"
    return str(mount["state"])


def _clients(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            GOOD if client["keys"] and client["in_config"] else NOTE,
            client["name"],
            str(client["keys"]),
            ago(client["last_use"], found["now"]),
            rights_text(client["rights"]),
        )
        for client in found["clients"]
    ]


def rights_text(rights: Mapping[str, list[str]] | None) -> str:
    """`questrade: read_acc, read_md`, or that there are none."""
    if rights is None:
        return "none: not in the configuration"
    return " · ".join(f"{mount}: {', '.join(scopes)}" for mount, scopes in rights.items()) or "none"


def problems(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong, each with the command that helps."""
    from proxy import __version__

    if found["version"] != __version__:
        both = f"the server is bearerd {found['version']}, and this command is bearerd {__version__}"
        yield NOTE, f"{both}. To fix: restart the server"
    seen = set()
    for mount in found["mounts"]:
        if mount["grant"] in seen:
            continue
        seen.add(mount["grant"])
        yield from (
            (NOTE, f"{member['grant']}: {member['state']}. To fix: {member['fix']}")
            for member in mount["members"]["needing"]
        )
        if (mount["reason"] or mount["fix"]) and not _for_members(mount):
            fix = f" To fix: {mount['fix']}" if mount["fix"] else ""
            reason = str(mount["reason"] or mount["state"]).rstrip(".")
            yield (NOTE if mount["usable"] else BAD), f"{mount['name']}: {reason}.{fix}"
        yield from ((NOTE, f"{mount['grant']}: {line}") for line in map(_tight, mount["rates"]) if line)
        if mount["warning"]:  # it names the command itself
            yield NOTE, f"{mount['name']}: {mount['warning']}"
        if mount["missing"]:
            lacks = f"the login lacks the scope {', '.join(mount['missing'])}"
            yield NOTE, f"{mount['name']}: {lacks}. To fix: bearerd login {mount['grant']}"
    for client in found["clients"]:
        if not client["keys"]:
            yield NOTE, f"client {client['name']} has no key. To make one: bearerd clients add {client['name']}"
    yield from ((NOTE, f"{halt['text']} To lift it: {halt['resume']}") for halt in found["halts"])
    yield from ((NOTE, warning) for warning in found["warnings"])
    if found["draining"]:
        yield NOTE, "the server is shutting down"
