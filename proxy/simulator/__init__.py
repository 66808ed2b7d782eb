"""Brokers to practise against: offline, over HTTPS, as strict as the real ones, with faults on request.

`serve.start()` makes a throw-away certificate authority (`ca.py`), starts one `Simulator` for each broker on listeners
of its own (`listener.py`) and the control listener that drives them all (`control.py`, `faults.py`). A broker is one
module or folder here and one row in `serve.BROKERS`. What they share: `options.py` (knobs), `authorize.py` (login page
and codes), `tokens.py` (who holds what), `front.py` (faults before every endpoint), `flow.py`, `streams.py`,
`websocket.py` and `chunked.py` (what streams, how fast, and how it fails). A simulator knows nothing of
bearerd: a bot can be tested straight against it, and bearerd treats it like any other broker.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from proxy.simulator.faults import Faults
from proxy.simulator.options import Options
from proxy.simulator.streams import Streams


class NotSupported(Exception):
    """A command that makes no sense for this broker. The text says why, in one sentence."""


@dataclass(frozen=True, slots=True)
class Links:
    """What a program needs to use one simulated broker.

    - `refresh_token` is one that nobody has redeemed yet, None where the broker has none;
    - `accounts`: account numbers; `api_servers`: the API's address, or one for each API;
    - `environment` fits into a config as `brokers.<name>.environments.simulator`;
    - `logins`: login name → what it needs: `client_id`, `client_secret`, `refresh_token`, or the plain `secret` (of two
      parts as `first:second`);
    - `apps`: OAuth applications of a broker partner: client_id → `client_secret`, `redirect_uri`, `scope`.
    """

    token_url: str
    refresh_token: str | None = field(repr=False)
    accounts: tuple[str, ...]
    api_servers: tuple[str, ...]
    environment: Mapping[str, object]
    logins: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    apps: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)


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

    def approve(self, authorize_url: str) -> str:
        """What a person does in a browser at `authorize_url`: logs in and allows.

        Returns the address that the browser is sent to, with code and state. ValueError if the broker's page would
        refuse the request, or there is no such page.
        """

    def state(self) -> dict[str, object]:
        """The counters that `GET /state` answers."""

    def expire(self) -> None:
        """The access token is dead now; the refresh token stays good."""

    def move_api_server(self) -> None:
        """The API lives at another host from now on: token answers name it, and the old one answers 401.

        `NotSupported` if the broker's API has one address for ever.
        """

    @property
    def streams(self) -> Streams | None:
        """The open streams; None if there can be none."""

    @property
    def options(self) -> Options:
        """The knobs; they may be turned while it runs."""

    def steal(self) -> None:
        """Another program redeems the refresh token. `NotSupported` if that spends nothing."""
