"""The environment variables that client libraries read: which of a configuration's mounts they lead to, and which go.

Names and readers are observed in the libraries' code: alpaca-trade-api (Python), the Alpaca SDKs for Go, Node.js, Java
and C#, alpaca-mcp-server, lumibot, the Rust crate tradier. There is no standard name for Questrade.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.settings import Settings

DEFAULT = ""  # in a table: the broker's default API
ANY = "*"  # in a table: whichever of its APIs is mounted
DUMMY = "local"  # what programs send where `clients: none` lets everybody in


@dataclass(frozen=True, slots=True)
class Mounted:
    """A mount as clients call it. `api` is empty for the broker's default one. No address ends in a slash.

    `root_url` is the mount's address where it has a port of its own, for libraries that drop a path; `secure_url` is
    the one with TLS, where there is one that the program can verify.
    """

    name: str
    broker: str
    api: str
    environment: str
    grant: str
    url: str
    root_url: str | None = None
    secure_url: str | None = None

    @property
    def ws(self) -> str:
        """The same for a WebSocket."""
        return "ws" + self.url.removeprefix("http")

    @property
    def wss(self) -> str:
        """The same with TLS where that can be had: for libraries that insist on it, whatever they are told."""
        return self.ws if self.secure_url is None else "wss" + self.secure_url.removeprefix("https")

    @property
    def root(self) -> str:
        """The port of its own if there is one: right whether a library keeps a path or drops it."""
        return self.root_url or self.url

    @property
    def practice(self) -> str:
        """Whether no real money is at stake, as libraries write it."""
        return "false" if self.environment == "live" else "true"


@dataclass(frozen=True, slots=True)
class Variables:
    """What a program's environment is to hold, and what it is not to hold."""

    values: Mapping[str, str] = field(repr=False)
    unset: tuple[str, ...] = ()

    def over(self, environ: Mapping[str, str]) -> dict[str, str]:
        """`environ` with these."""
        kept = {name: value for name, value in environ.items() if name not in self.unset}
        return kept | dict(self.values)


# Broker → API → variable → value. `m` is the mount of that API, `key` the client key, `client` the client's name.
_ADDRESSES: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "questrade": {DEFAULT: {"QUESTRADE_API_SERVER": "{m.url}/", "QUESTRADE_ACCESS_TOKEN": "{key}"}},
    "tradier": {
        DEFAULT: {
            "TRADIER_ACCESS_TOKEN": "{key}",
            "TRADIER_API_KEY": "{key}",
            "TRADIER_IS_PAPER": "{m.practice}",
            "TRADIER_REST_BASE_URL": "{m.root}",
        },
        "stream": {"TRADIER_STREAM_HTTP_BASE_URL": "{m.root}"},
        "ws": {"TRADIER_WS_BASE_URL": "{m.ws}"},
    },
    "alpaca": {
        ANY: {
            "APCA_API_KEY_ID": "{client}",
            "APCA_API_SECRET_KEY": "{key}",
            "ALPACA_API_KEY": "{client}",
            "ALPACA_SECRET_KEY": "{key}",
            "ALPACA_API_SECRET": "{key}",
        },
        DEFAULT: {
            "APCA_API_BASE_URL": "{m.url}",
            "APCA_TRADING_BASE_URL": "{m.url}",
            "APCA_TRADING_KEY_ID": "{client}",
            "APCA_TRADING_SECRET_KEY": "{key}",
            "ALPACA_PAPER_TRADE": "{m.practice}",
            "ALPACA_IS_PAPER": "{m.practice}",
        },
        "data": {
            "APCA_API_DATA_URL": "{m.url}",
            "APCA_DATA_BASE_URL": "{m.url}",
            "DATA_API_URL": "{m.url}",
        },
        "stream": {
            "APCA_API_STREAM_URL": "{m.wss}",  # npm 3 makes most of it wss:// by itself
            "DATA_PROXY_WS": "{m.ws}/v2",
            "DATA_CRYPTO_PROXY_WS": "{m.ws}/v1beta3/crypto",
        },
        "broker": {
            "APCA_BROKER_BASE_URL": "{m.url}",
            "APCA_BROKER_KEY_ID": "{client}",
            "APCA_BROKER_SECRET_KEY": "{key}",
        },
    },
}
# Everything with which a program could get in by itself. An OAuth token wins over keys in most libraries.
CREDENTIALS: Mapping[str, tuple[str, ...]] = {
    "questrade": ("QUESTRADE_ACCESS_TOKEN",),
    "tradier": (
        "TRADIER_ACCESS_TOKEN",
        "TRADIER_API_KEY",
        "TRADIER_TOKEN",
        "TRADIER_REFRESH_TOKEN",
        "TRADIER_TOKEN_PATH",
        "TRADIER_OAUTH_CLIENT_ID",
        "TRADIER_OAUTH_CLIENT_SECRET",
        "TRADIER_CLIENT_ID",
        "TRADIER_CLIENT_SECRET",
    ),
    "alpaca": (
        "APCA_API_OAUTH",
        "APCA_API_OAUTH_TOKEN",
        "APCA_API_KEY_ID",
        "APCA_API_SECRET_KEY",
        "APCA_TRADING_KEY_ID",
        "APCA_TRADING_SECRET_KEY",
        "APCA_BROKER_KEY_ID",
        "APCA_BROKER_SECRET_KEY",
        "ALPACA_OAUTH_TOKEN",
        "ALPACA_API_KEY",
        "ALPACA_SECRET_KEY",
        "ALPACA_API_SECRET",
    ),
}


def mounted(settings: "Settings", url: str, roots: Mapping[str, str], secure: str | None = None) -> list[Mounted]:
    """All mounts below the server's `url`, and below `secure` with TLS; `roots`: mount → its own port's address, of
    those that have one."""
    found = []
    for name, mount in settings.config.mounts.items():
        default = settings.brokers[mount.broker].api().name
        api = settings.api_of(name).name
        found.append(
            Mounted(
                name=name,
                broker=mount.broker,
                api=DEFAULT if api == default else api,
                environment=mount.environment,
                grant=settings.config.grant_of(name),
                url=f"{url}/{name}",
                root_url=roots.get(name),
                secure_url=None if secure is None else f"{secure}/{name}",
            )
        )
    return found


def chosen(mounts: Sequence[Mounted], named: Collection[str] = ()) -> list[Mounted]:
    """One mount for each API of each broker; with `named` only of the brokers of these, and these first.

    The mounts of a broker go together: beside the first, those of the same grant, then of the same environment.
    """
    found: list[Mounted] = []
    for broker in dict.fromkeys(mount.broker for mount in mounts if not named or mount.name in named):
        candidates = [mount for mount in mounts if mount.broker == broker]
        first = min(candidates, key=lambda mount: (mount.name not in named, mount.api != DEFAULT))
        found += [
            min((mount for mount in candidates if mount.api == api), key=lambda mount: _apart(mount, first, named))
            for api in dict.fromkeys(mount.api for mount in candidates)
        ]
    return found


def _apart(mount: Mounted, first: Mounted, named: Collection[str]) -> tuple[bool, ...]:
    return (mount.name not in named, mount != first, mount.grant != first.grant, mount.environment != first.environment)


def variables(
    url: str, mounts: Iterable[Mounted], *, key: str, client: str, forget: Collection[str] = CREDENTIALS
) -> Variables:
    """What leads a program to these mounts, of which no two are the same API of a broker.

    An API of theirs that is mounted nowhere gets the address of a mount that does not exist: the refusal there says
    so, and the client key stays on this machine. Other credentials go, if they are of the brokers in `forget`.
    """
    by_broker: dict[str, dict[str, Mounted]] = {}
    for mount in mounts:
        by_broker.setdefault(mount.broker, {})[mount.api] = mount
    secure = next((mount.secure_url for apis in by_broker.values() for mount in apis.values()), None)
    values = {"BEARERD_URL": url, "BEARERD_KEY": key}
    for broker, apis in by_broker.items():
        for api, names in _ADDRESSES.get(broker, {}).items():
            there = api == ANY or api in apis
            shown = apis.get(api) or _nowhere(url, secure, broker, api)
            values |= {
                name: value.format(m=shown, key=key, client=client)
                for name, value in names.items()
                if there or value.startswith(("{m.url}", "{m.ws}", "{m.wss}", "{m.root}"))
            }
    credentials = (name for broker, names in CREDENTIALS.items() if broker in forget for name in names)
    return Variables(values, tuple(name for name in credentials if name not in values))


def _nowhere(url: str, secure: str | None, broker: str, api: str) -> Mounted:
    """`secure` is any mount's address with TLS, if there is one."""
    name = f"no-{broker}-{api}-mount" if api else f"no-{broker}-mount"
    there = None if secure is None else f"{secure.rpartition('/')[0]}/{name}"
    return Mounted(name, broker, api, "live", "", f"{url}/{name}", secure_url=there)
