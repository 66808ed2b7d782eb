"""Start simulators with everything that a bot, or bearerd, needs to use them."""

import asyncio
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from proxy.simulator import Simulator, ca
from proxy.simulator.ca import Authority
from proxy.simulator.control import Control
from proxy.simulator.questrade.broker import Questrade
from proxy.simulator.questrade.options import Options, clock

# One row a broker: how it is made. Options that a broker does not have it may ignore.
BROKERS: Mapping[str, Callable[[Authority, Options], Simulator]] = {"questrade": Questrade}


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
        """What `bearerd simulate --json` prints. It holds refresh tokens: they are worth something only here.

        ```
        {"schema": 1, "pid": 4711, "control": "http://127.0.0.1:…", "ca_file": "…/ca.pem",
         "token_url": "https://127.0.0.1:…/oauth2/token", "refresh_token": "…", "environment": {…},
         "accounts": {"questrade": ["26598145"]},
         "brokers": {"questrade": {"token_url": …, "refresh_token": …, "accounts": [...], "api_servers": [...],
                                   "environment": {…}}}}
        ```

        The second line is about the first broker. `environment` fits into a config as
        `brokers.questrade.environments.simulator`; its keys are token_url, authorize_url, revoke_url, api_hosts,
        ca_file, min_life, renew_cooldown, max_rotations_per_day.
        """
        brokers: dict[str, dict[str, object]] = {}
        for name, simulator in self.simulators.items():
            links = simulator.links()
            brokers[name] = {
                "token_url": links.token_url,
                "refresh_token": links.refresh_token,
                "accounts": list(links.accounts),
                "api_servers": list(links.api_servers),
                "environment": dict(links.environment),
            }
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
    brokers: Sequence[str] = ("questrade",), *, directory: Path, port: int = 0, options: Options | None = None
) -> Running:
    """Start the named simulators and their control listener; certificates go to `directory` (see `ca.create`).

    With `port` 0 every listener takes a free port; else the control listener takes `port`, and those of the brokers the
    ones that follow. ValueError for an unknown broker or none, OSError if a port or the directory cannot be used; then
    nothing is left running. Returns when every listener accepts connections.
    """
    unknown = [name for name in brokers if name not in BROKERS]
    if unknown or not brokers:
        raise ValueError(f"brokers to simulate: {', '.join(BROKERS)}")
    options = options or Options()
    ports = itertools.count(port) if port else itertools.repeat(0)
    # Certificates are judged by the clients' clock, which no option moves.
    authority = await asyncio.to_thread(ca.create, directory, now=clock())
    simulators = {name: BROKERS[name](authority, options) for name in brokers}
    control = Control(simulators)
    async with AsyncExitStack() as started:
        started.push_async_callback(control.stop)
        await control.start(next(ports))
        for simulator in simulators.values():
            started.push_async_callback(simulator.stop)
            await simulator.start(ports)
        return Running(control.url, authority.ca_file, simulators, started.pop_all())
