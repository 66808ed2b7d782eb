"""Brokers to practise against: offline, over HTTPS, as strict as the real ones, with faults on request.

`serve.start()` makes a throw-away certificate authority (`ca.py`), starts one `Simulator` for each broker on listeners
of its own (`listener.py`) and the control listener that drives them all (`control.py`, `faults.py`). A broker is one
module or folder here and one row in `serve.BROKERS`. A simulator knows nothing of bearerd: a bot can be tested straight
against it, and bearerd treats it like any other broker.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from proxy.simulator.faults import Faults


@dataclass(frozen=True, slots=True)
class Links:
    """What a program needs to use one simulated broker.

    `environment` fits into a config as `brokers.<name>.environments.simulator`. `refresh_token` is one that nobody has
    redeemed yet, None where the broker has none.
    """

    token_url: str
    refresh_token: str | None = field(repr=False)
    accounts: tuple[str, ...]
    api_servers: tuple[str, ...]
    environment: Mapping[str, object]


class Simulator(Protocol):
    """One simulated broker. All methods but `start` and `stop` return at once."""

    name: str
    faults: Faults

    async def start(self, ports: Iterator[int]) -> None:
        """Open the listeners, each on the next of `ports` (0: any free one). OSError if a port is taken."""

    async def stop(self) -> None:
        """Close every listener and connection, hanging ones too."""

    def links(self) -> Links:
        """Addresses and first credentials. Only after `start`."""

    def state(self) -> dict[str, object]:
        """The counters that `GET /state` answers."""

    def expire(self) -> None:
        """The access token is dead now; the refresh token stays good."""

    def move_api_server(self) -> None:
        """The API lives at another host from now on: token answers name it, and the old one answers 401."""

    def steal(self) -> None:
        """Another program redeems the refresh token."""
