"""What an operator asks for while no server runs: done here, on the store itself, under its lock."""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from proxy.app import App
from proxy.cli.invocation import Invocation, ask_hidden
from proxy.config import Tcp
from proxy.console.server import place_of as console_place
from proxy.custody import Custody
from proxy.inforce import Unfit, hosts_in
from proxy.settings import Settings
from proxy.store import StoreLocked

LOCK_WAIT = 10.0  # seconds for another command to finish, or for a server to come up or go

Superseded = Callable[[], Awaitable[bool]]  # whether a server is there by now, so that it should be asked


class Offline(App):
    """An app without doors: its keepers and its operations, for one command. `alone`: that is about a member only."""

    def __init__(
        self, settings: Settings, custody: Custody, reread: Callable[[], Settings], *, alone: bool = False
    ) -> None:
        super().__init__(settings, custody, reread)
        self._alone = alone

    async def start(self) -> None:
        """Keepers only, and no pause after it: a login is under way before an overdue renewal of the old token is."""
        self.keepers.take_over(self.settings, {} if self._alone else await self.keepers.new(self.settings))

    @property
    def console_address(self) -> str | None:
        """Where the console will be when a server runs; None if nobody can know."""
        for address in self.settings.config.console:
            if isinstance(address, Tcp) and address.port:
                return console_place(address, self._console_hosts(address))
        return None

    def _console_hosts(self, address: Tcp) -> tuple[str, ...] | None:
        """What the certificate of a console there will be for; None if it will have none."""
        if not self.settings.config.tls.on or address.loopback:
            return None
        try:
            return hosts_in(self.settings.config)
        except Unfit:
            return ()


async def carry_out(
    invocation: Invocation,
    settings: Settings,
    command: str,
    params: Mapping[str, Any],
    *,
    mount: str | None,
    superseded: Superseded,
) -> dict[str, Any] | None:
    """One command of the admin socket, with `mount`'s grant only. None if a server has come up meanwhile."""
    async with opened(invocation, settings, superseded) as custody:
        if custody is None:
            return None
        app = Offline(_only(settings, mount), custody, lambda: settings, alone=mount is None or "/" in mount)
        try:
            await app.start()
            answer: dict[str, Any] = await app.operations.commands()[command](dict(params))
            return answer
        finally:
            await app.stop()


@asynccontextmanager
async def opened(invocation: Invocation, settings: Settings, superseded: Superseded) -> AsyncIterator[Custody | None]:
    """The custody, for this process alone; None if a server has come up while we waited. Raises `StoreLocked`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + LOCK_WAIT
    custody: Custody | None = None
    while custody is None:
        # A copy: reading a key takes it out of the environment, and it may be needed once more.
        source = invocation.source(settings.config)
        # Asked once: a login opens the custody twice, and meanwhile what is typed is for the login.
        prompt = _ask_once if source.prompt is not None else None
        source = replace(source, environ=dict(invocation.environ), prompt=prompt)
        try:
            custody = await Custody.open(settings.config, source)
        except StoreLocked:
            if await superseded():
                break
            if loop.time() > deadline:
                raise
            await asyncio.sleep(0.2)
    try:
        yield custody
    finally:
        if custody is not None:
            await custody.close()


@functools.cache
def _ask_once(question: str) -> str:
    return ask_hidden(question)


def _only(settings: Settings, mount: str | None) -> Settings:
    """The same settings with one mount only: other grants shall not renew themselves meanwhile."""
    if mount is None:
        return settings  # and no keeper is made
    base = mount.partition("/")[0]
    mounts = {name: each for name, each in settings.config.mounts.items() if name == base}
    config = settings.config.model_copy(update={"mounts": mounts})
    grants = {name: grant for name, grant in settings.grants.items() if name in map(settings.config.grant_of, mounts)}
    return replace(settings, config=config, grants=grants)
