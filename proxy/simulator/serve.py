"""Start simulators with everything that a bot, or bearerd, needs to use them."""

import asyncio
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.simulator import Links, Simulator, ca
from proxy.simulator.alpaca.broker import Alpaca
from proxy.simulator.alpaca.options import Options as AlpacaOptions
from proxy.simulator.ca import Authority
from proxy.simulator.control import Control
from proxy.simulator.options import Options, clock
from proxy.simulator.questrade.broker import Questrade
from proxy.simulator.questrade.options import Options as QuestradeOptions
from proxy.simulator.tradier.broker import Tradier
from proxy.simulator.tradier.options import Options as TradierOptions


@dataclass(frozen=True, slots=True)
class Kind:
    """How a simulated broker is made, and the class of its options. Options of another class are an error."""

    make: Callable[[Authority, Any], Simulator]
    options: Callable[..., Options] = Options


# One row a broker.
BROKERS: Mapping[str, Kind] = {
    "questrade": Kind(Questrade, QuestradeOptions),
    "tradier": Kind(Tradier, TradierOptions),
    "alpaca": Kind(Alpaca, AlpacaOptions),
}


def knobs(
    brokers: Iterable[str] = BROKERS, *, more: Mapping[str, Kind] | None = None, **changes: object
) -> dict[str, Options]:
    """The options of each broker, with the same changes to all; a change to None keeps the broker's own value."""
    kinds = {**BROKERS, **(more or {})}
    wanted = {name: value for name, value in changes.items() if value is not None}
    return {name: kinds[name].options(**wanted) for name in brokers}


@dataclass(frozen=True, slots=True)
class Running:
    """Simulators that are up. `control` is the address that drives them, without a slash at the end."""

    control: str
    ca_file: Path
    simulators: Mapping[str, Simulator]
    _cleanup: AsyncExitStack = field(repr=False)

    async def stop(self) -> None:
        """Close everything. Harmless twice."""
        await self._cleanup.aclose()

    def description(self) -> dict[str, object]:
        """What `bearerd simulate --json` prints. It holds secrets: they are worth something only here.

        ```
        {"schema": 1, "pid": 4711, "control": "http://127.0.0.1:…", "ca_file": "…/ca.pem",
         "token_url": "https://127.0.0.1:…/oauth2/token", "refresh_token": "…", "environment": {…},
         "accounts": {"questrade": ["26598145"], …},
         "brokers": {"questrade": {"token_url": …, "refresh_token": …, "accounts": [...], "api_servers": [...],
                                   "environment": {…}, "logins": {"code": {…}, …}, "apps": {}}, …}}
        ```

        The second line is about the first broker. `environment` fits into a config as
        `brokers.questrade.environments.simulator`; `logins` is what each login of the broker needs: client_id,
        client_secret, refresh_token or secret; `apps` are the OAuth applications of a broker partner.
        """
        brokers = {name: _described(simulator.links()) for name, simulator in self.simulators.items()}
        first = next(iter(brokers.values()))
        return {
            "schema": 1,
            "pid": os.getpid(),
            "control": self.control,
            "ca_file": str(self.ca_file),
            "token_url": first["token_url"],
            "refresh_token": first["refresh_token"],
            "environment": first["environment"],
            "accounts": {name: broker["accounts"] for name, broker in brokers.items()},
            "brokers": brokers,
        }


async def start(
    brokers: Sequence[str] = ("questrade",),
    *,
    directory: Path,
    port: int = 0,
    options: Options | Mapping[str, Options] | None = None,
    more: Mapping[str, Kind] | None = None,
) -> Running:
    """Start the named simulators and their control listener; certificates go to `directory` (see `ca.create`).

    With `port` 0 every listener takes a free port; else the control listener takes `port`, and those of the brokers the
    ones that follow. `options` are one broker's, or by broker. `more` are brokers besides those of `BROKERS`.
    ValueError for an unknown broker or none, OSError if a port or the directory cannot be used; then nothing is left
    running. Returns when every listener accepts connections.
    """
    kinds = {**BROKERS, **(more or {})}
    unknown = [name for name in brokers if name not in kinds]
    if unknown or not brokers:
        raise ValueError(f"brokers to simulate: {', '.join(kinds)}")
    given = {brokers[0]: options} if isinstance(options, Options) else options or {}
    ports = itertools.count(port) if port else itertools.repeat(0)
    # Certificates are judged by the clients' clock, which no option moves.
    authority = await asyncio.to_thread(ca.create, directory, now=clock())
    simulators = {name: kinds[name].make(authority, given.get(name)) for name in dict.fromkeys(brokers)}
    control = Control(simulators)
    async with AsyncExitStack() as started:
        started.push_async_callback(control.stop)
        await control.start(next(ports))
        for simulator in simulators.values():
            started.push_async_callback(simulator.stop)
            await simulator.start(ports)
        return Running(control.url, authority.ca_file, simulators, started.pop_all())


def _described(links: Links) -> dict[str, object]:
    return {
        "token_url": links.token_url,
        "refresh_token": links.refresh_token,
        "accounts": list(links.accounts),
        "api_servers": list(links.api_servers),
        "environment": dict(links.environment),
        "logins": {name: dict(needs) for name, needs in links.logins.items()},
        "apps": {client_id: dict(app) for client_id, app in links.apps.items()},
    }
