"""Ask the running server; where there is none, the same command is carried out here (`offline.py`)."""

from collections.abc import Mapping
from typing import Any

from proxy.admin import ServerGone, call
from proxy.cli.exits import Stop
from proxy.cli.invocation import Invocation
from proxy.custody import socket_path
from proxy.settings import GrantSettings, NoSuchGrant, Settings

PROBE = 2.0  # seconds for a server to show that it is there
PATIENCE = 90.0  # seconds for a command; a login may wait for a slow broker, and for a redeem that is out


async def ask(invocation: Invocation, command: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the running server answers. Raises `ServerGone`, `CommandFailed`, `ConfigInvalid`."""
    return await call(socket_path(invocation.server_config()), command, dict(params or {}), timeout=PATIENCE)


async def operate(
    invocation: Invocation, settings: Settings, command: str, params: Mapping[str, Any], *, mount: str | None = None
) -> dict[str, Any]:
    """The same, and without a server the same command here, with `mount`'s grant only. Raises what either does."""
    if not await answers(settings):
        # Late: it brings the whole app.
        from proxy.cli.offline import carry_out

        done = await carry_out(invocation, settings, command, params, mount=mount, superseded=lambda: answers(settings))
        if done is not None:
            return done
    # Never both: a server that dies over a login may have spent the token.
    return await call(socket_path(settings.config), command, dict(params), timeout=PATIENCE)


async def answers(settings: Settings) -> bool:
    """Whether a server is there."""
    try:
        await call(socket_path(settings.config), "ready", {}, timeout=PROBE)
    except ServerGone:
        return False
    return True


def mount_of(settings: Settings, name: str) -> str:
    """The mount called `name`, or one that uses the grant `name`; of `NAME/PERSON` with that person. Raises `Stop`."""
    config = settings.config
    base, slash, person = name.partition("/")
    for mount in config.mounts:
        if base in (mount, config.grant_of(mount)):
            return mount + slash + person
    known = ", ".join(config.mounts) or "none; add one under `mounts:`"
    raise Stop(f"{config.name} has no mount or grant '{base}'. Mounts: {known}")


def grant_of(settings: Settings, mount: str) -> GrantSettings:
    """The grant of a mount that `mount_of` gave. Raises `Stop`."""
    try:
        return settings.named(mount)
    except NoSuchGrant as error:
        raise Stop(str(error)) from None
