"""`bearerd login` and `bearerd revoke`."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from proxy.cli import given
from proxy.cli.completion import mounts
from proxy.cli.exits import Stop
from proxy.cli.invocation import Command, Invocation, current, interactive
from proxy.spans import clock_time, span

if TYPE_CHECKING:  # both bring the whole configuration, and `--help` needs none
    from proxy.settings import GrantSettings, Settings


@click.command(cls=Command)
@click.argument("mount", shell_complete=mounts)
@click.option("--token-stdin", is_flag=True, help="Read the token from stdin; of several parts, one a line.")
@click.option("--no-browser", is_flag=True, help="Only print the address that logs in.")
@click.option("--non-interactive", is_flag=True, help="Begin a login, say as JSON how it goes on, and end.")
@click.option("--complete", is_flag=True, help="Complete a login with the address that the browser ended up at.")
@click.option("--no-input", is_flag=True, help="Never ask.")
def login(
    mount: str, *, token_stdin: bool, no_browser: bool, non_interactive: bool, complete: bool, no_input: bool
) -> None:
    """Log MOUNT (or a grant) in, in the way that its broker has: with a token or secret, or on the broker's page.

    MOUNT/PERSON logs in one more person, with a grant beside that of MOUNT; see `bearerd clients add --grant`.

    A token is asked for, or read from stdin (--token-stdin), from $BEARERD_LOGIN_TOKEN, or from the file that
    $BEARERD_LOGIN_TOKEN_FILE names; never from the command line, which other programs can see.

    The broker's page opens in the browser, and its address is printed. The browser comes back to bearerd by itself; if
    it cannot reach this machine, paste the address that it ended up at. A script begins with --non-interactive and ends
    with --complete, which reads that address from stdin, $BEARERD_LOGIN_ANSWER or $BEARERD_LOGIN_ANSWER_FILE.

    Until a login succeeds, the old one stays as it is.
    """
    from proxy.cli.server import grant_of, mount_of

    if sum((token_stdin, non_interactive, complete)) > 1:
        raise click.UsageError("--token-stdin, --non-interactive and --complete exclude each other.")
    invocation = current()
    settings = invocation.settings()
    name = mount_of(settings, mount)
    grant = grant_of(settings, name)
    ask = interactive() and not no_input
    # Of the code flow too a refresh token may be brought along.
    by_code = grant.login.kind == "code" and not (token_stdin or given.TOKENS & invocation.environ.keys())
    if complete and not by_code:
        raise click.UsageError(f"--complete is for the broker's page; {grant.name} is logged in without one.")
    if non_interactive:
        invocation.data(asyncio.run(_begun(invocation, settings, name)))
        return
    if by_code and not complete:
        from proxy.cli.authorize import log_in

        done = asyncio.run(log_in(invocation, settings, name, browser=ask and not no_browser, ask=ask))
    else:
        command, params = _wish(invocation, grant, complete=complete, token_stdin=token_stdin, ask=ask)
        done = asyncio.run(_operate(invocation, settings, command, {"mount": name} | params))
    if invocation.as_json:
        invocation.data(done)
    else:
        click.echo("\n".join(success(done)))


def _wish(
    invocation: Invocation, grant: "GrantSettings", *, complete: bool, token_stdin: bool, ask: bool
) -> tuple[str, dict[str, str]]:
    """The command that carries what was given."""
    if complete:
        return "login-complete", {"answer": given.answer(invocation.environ, ask=ask)}
    if grant.login.kind == "client-credentials":
        return "login", {}
    token = given.token(
        invocation.environ,
        from_stdin=token_stdin,
        questions=questions(grant) if ask else None,
        parts=grant.login.placement.parts if grant.login.kind == "secret" else 1,
    )
    return "login", {"token": token}


async def _operate(
    invocation: Invocation, settings: "Settings", command: str, params: Mapping[str, Any]
) -> dict[str, Any]:
    from proxy.cli.server import operate

    return await operate(invocation, settings, command, params, mount=params["mount"])


async def _begun(invocation: Invocation, settings: "Settings", name: str) -> dict[str, Any]:
    begun = await _operate(invocation, settings, "login-begin", {"mount": name})
    match begun["kind"]:
        case "code":
            step = (
                "open authorize_url in a browser, then pipe the address that it ends up at into: "
                f"bearerd login {name} --complete"
            )
        case "client-credentials":
            step = f"bearerd login {name}"
        case _:
            step = f"pipe it ({', '.join(begun['asks']) or 'the token'}) into: bearerd login {name} --token-stdin"
    return begun | {"next_step": step}


@click.command(cls=Command)
@click.argument("mount", shell_complete=mounts)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--no-input", is_flag=True, help="Never ask; without --yes nothing is done.")
def revoke(mount: str, *, yes: bool, no_input: bool) -> None:
    """Give the authorization of MOUNT up: at the broker where that can be done, and here in any case.

    MOUNT may also be the name of a grant, or MOUNT/PERSON.
    """
    from proxy.cli.server import grant_of, mount_of

    invocation = current()
    settings = invocation.settings()
    name = mount_of(settings, mount)
    grant = grant_of(settings, name).name
    confirm(f"Programs that use {grant} stop working until a new login. Revoke it?", yes=yes, ask=not no_input)
    answer = asyncio.run(_operate(invocation, settings, "revoke", {"mount": name}))
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


def questions(grant: "GrantSettings") -> list[str]:
    """What a person is asked, one for each part of the credential."""
    where = f" from {grant.endpoints.login_page}" if grant.endpoints.login_page else ""
    asks = grant.login.asks or (grant.login.title or "token",)
    return [f"{grant.broker.title}: {ask}{where} (not shown)" for ask in asks]


def success(answer: Mapping[str, Any]) -> Iterator[str]:
    """What a login has brought, in lines: scopes, how long it lasts, and what is missing."""
    yield f"✓ {answer['grant']} is logged in at {answer['broker']} ({answer['environment']})."
    if answer["granted"]:
        yield f"  Scopes: {' '.join(answer['granted'])}"
    now = answer["refreshed"]
    if now is not None and answer["next_renewal"] is not None:
        wait = span(answer["next_renewal"] - now)
        yield f"  The access token refreshes in {wait}, by itself while bearerd runs."
    if answer["ends"] is not None:
        yield f"  Log in again before {clock_time(answer['ends'])}."
    elif answer["dies"] is not None:
        yield f"  Unused, the login lasts until {clock_time(answer['dies'])}."
    elif answer["access_expires"] is None:
        yield "  It lasts until it is revoked."
    if answer["missing"]:
        yield f"  ! Not granted: {' '.join(answer['missing'])}; the broker will refuse calls that need it."
    for word in ("reason", "warning"):
        if answer[word]:
            yield f"  ! {answer[word]}"
