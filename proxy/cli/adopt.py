"""`bearerd adopt`: let a token be tried that bearerd would not redeem on its own."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.completion import mounts
from proxy.cli.exits import Exit, Stop
from proxy.cli.invocation import Command, Invocation, current
from proxy.cli.login import confirm

if TYPE_CHECKING:
    from proxy.settings import Settings

SERVED = ("fresh", "answered", "due")
_QUESTION = (
    "Is no other copy of this store in use, and has none been since this one was made? If one was, the broker may take "
    "the token for stolen and end the whole login. Try {}?"
)


@click.command(cls=Command)
@click.argument("mount", required=False, shell_complete=mounts)
@click.option("--all", "everything", is_flag=True, help="Every grant that is quarantined.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--no-input", is_flag=True, help="Never ask; without --yes nothing is done.")
def adopt(mount: str | None, *, everything: bool, yes: bool, no_input: bool) -> None:
    """Try the newest token that is held for MOUNT (or a grant, or MOUNT/PERSON), once.

    bearerd redeems nothing from a store that looks like a copy, or like an older state of itself, and never posts a
    token again that the broker has refused. This is how a person says: try it. If the broker takes it, the grant is
    served as before; if not, it needs a login.

    Only do this if no other copy of this store is in use: of two that redeem the same token one is taken for a thief,
    and the broker may end the whole login.

    Exit code 4 if a login is needed after all, 1 if nothing was tried or the try has not ended well.
    """
    if everything == (mount is not None):
        raise click.UsageError("Name a mount or a grant, or give --all.")
    invocation = current()
    settings = invocation.settings()
    names = asyncio.run(_names(invocation, settings, mount))
    if names:
        which = f"the token of {names[0]}" if len(names) == 1 else f"the tokens of {len(names)} grants"
        confirm(_QUESTION.format(which), yes=yes, ask=not no_input)
    answers = [asyncio.run(_adopted(invocation, settings, name)) for name in names]
    if invocation.as_json:
        invocation.data({"grants": answers} if mount is None else answers[0])
    else:
        _show(invocation, answers)
    raise SystemExit(exit_code(answers))


async def _names(invocation: Invocation, settings: "Settings", mount: str | None) -> list[str]:
    from proxy.cli.server import mount_of, operate

    if mount is not None:
        return [mount_of(settings, mount)]
    names = []
    for grant in (await operate(invocation, settings, "quarantined", {}))["grants"]:
        with contextlib.suppress(Stop):  # the configuration does not have it any more
            names.append(mount_of(settings, grant))
    return names


async def _adopted(invocation: Invocation, settings: "Settings", name: str) -> dict[str, Any]:
    """How the grant stands after the try; `error` if nothing was tried. Raises what makes every other try pointless."""
    from proxy.admin import CommandFailed
    from proxy.cli.server import grant_of, operate
    from proxy.tokens.errands import LoginFailed

    try:
        return await operate(invocation, settings, "adopt", {"mount": name}, mount=name)
    except LoginFailed as failed:
        reason = str(failed)
    except CommandFailed as failed:
        if failed.kind != "login-failed":
            raise
        reason = failed.message
    return {"grant": grant_of(settings, name).name, "error": reason}


def exit_code(answers: list[dict[str, Any]]) -> Exit:
    """4 if one needs a login, 1 if one was not tried or its try has not ended well."""
    if any(answer.get("state") == "needs-login" for answer in answers):
        return Exit.LOGIN
    return Exit.OK if all(answer.get("state") in SERVED and answer["usable"] for answer in answers) else Exit.FAILURE


def _show(invocation: Invocation, answers: list[dict[str, Any]]) -> None:
    if not answers:
        invocation.say("No grant is quarantined.")
    for answer in answers:
        click.echo(line(answer))


def line(answer: Mapping[str, Any]) -> str:
    """What became of one grant, and what to do next."""
    grant = answer["grant"]
    if "error" in answer:
        error = str(answer["error"])
        return error.removeprefix("grant ") if error.startswith(f"grant {grant} ") else f"{grant}: {error}"
    if answer["state"] in SERVED and answer["usable"]:
        return f"{grant} is served again, with a new token."
    fix = f" To fix: {answer['fix']}" if answer["fix"] else ""
    return f"{grant} is {answer['state']}: {str(answer['reason']).rstrip('.') or 'the try has not ended'}.{fix}"
