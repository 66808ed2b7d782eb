"""The product with logins over the broker's page: a simulated Questrade that leads back to the console."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from proxy.simulator.questrade.options import Options
from tests.house import House, house
from tests.wire import Reply, connected

APP = Options().client_id
GRANTS = f"grants:\n  questrade: {{login: code, client_id: {APP}}}\n  spouse: {{login: code, client_id: {APP}}}\n"
SPOUSE = "  spouse: {broker: questrade, environment: simulator, scopes: [read_acc]}\n"
CHANGES = (('console: "off"', "console: 127.0.0.1:0"), ("clients:\n", f"{SPOUSE}{GRANTS}clients:\n"))


class Consenting(House):
    """A house whose mounts `questrade` and `spouse` log in over the broker's page."""

    @property
    def callback(self) -> str:
        assert self.app.console_address is not None
        return f"{self.app.console_address}callback"

    @property
    def console_port(self) -> int:
        return urlsplit(self.callback).port or 0

    async def begin(self, mount: str = "questrade") -> dict[str, Any]:
        begun: dict[str, Any] = await self.app.operations.login_begin(mount)
        return begun

    async def consent(self, mount: str = "questrade") -> str:
        """Begin a login, and allow it at the broker: the address that the browser is sent to."""
        return self.simulator.approve((await self.begin(mount))["authorize_url"])

    async def posted(self) -> None:
        """Return once the broker was asked for a token, ever."""
        async with asyncio.timeout(20):
            while not self.seen("token_posts"):  # noqa: ASYNC110  it happens in the simulator
                await asyncio.sleep(0.01)

    async def browse(self, target: str, *headers: str, method: str = "GET", host: str = "") -> Reply:
        """One request to the console, as a browser makes it; `target` may be a whole address."""
        parts = urlsplit(target)
        path = target if not parts.scheme else f"{parts.path}?{parts.query}" if parts.query else parts.path
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host or f'127.0.0.1:{self.console_port}'}", *headers]
        async with connected("127.0.0.1", self.console_port) as wire:
            await wire.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
            reply: Reply = await wire.reply(method=method)
            return reply

    async def pair(self, mount: str = "questrade") -> tuple[int, object]:
        """Generation and access token: what a hostile answer must leave as it is."""
        keeper = self.app.keepers[mount]
        return keeper.standing().generation, keeper.access_token


@asynccontextmanager
async def consenting(state_dir: Path, *changes: tuple[str, str], login: bool = False) -> AsyncIterator[Consenting]:
    """The product; `login` says that `questrade` is logged in already."""
    async with house(state_dir, *CHANGES, *changes, login=login) as home:
        found = Consenting(home.app, home.simulator, home.file, home.key)
        found.simulator.options.callback = found.callback
        yield found


def parameters(address: str) -> dict[str, str]:
    """What an address holds in its query."""
    return dict(parse_qsl(urlsplit(address).query, keep_blank_values=True))


def with_parameters(address: str, **changes: str | None) -> str:
    """The same address with other parameters; None leaves one out."""
    changed = {name: value for name, value in (parameters(address) | changes).items() if value is not None}
    return f"{address.partition('?')[0]}?{urlencode(changed)}"
