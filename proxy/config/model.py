"""Which keys a configuration has, what each may hold, and its default. `config.schema.json` is generated from here."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PlainValidator,
    StringConstraints,
    Tag,
    WithJsonSchema,
)

from proxy.config import places
from proxy.config.address import Address, Wrong
from proxy.config.alerts import Alert
from proxy.config.guards import Guards
from proxy.config.portrange import PortRange, port_range
from proxy.config.section import File, Seconds, SecretText, Section, Text, unique
from proxy.config.tracing import Tracing

_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
HOST_PATTERN = rf"{_LABEL}(?:\.{_LABEL})*"
NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
# First path segments that bearerd keeps for itself.
RESERVED_MOUNTS = frozenset({"bearerd"})
OPEN = "none"
RIGHTS = "rights"
LISTED, DESCRIBED = "[list]", "[more]"  # the two forms of a client's rights on a mount


def _host(text: str) -> str:
    found = re.fullmatch(rf"(?:\[([0-9a-f:.]+)\]|{HOST_PATTERN}):(?:\*|[0-9]{{1,5}})", text, re.ASCII)
    if found is None or (found[1] is not None and not _is_ipv6(found[1])):
        raise Wrong(
            "is no name with a port", "write it in lower case, as in bearerd.internal:8080 or bearerd.internal:*"
        )
    return text


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _user_agent(text: str) -> str:
    if not re.fullmatch(r"[!-~](?:[ -~]{0,254}[!-~])?", text, re.ASCII):
        raise Wrong("must be 1 to 256 printable ASCII characters", "write name/version")
    return text


def _egress_proxy(text: str) -> str:
    form = "write http://HOST:PORT"
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise Wrong("is no address of a proxy", form) from None
    if url.username is not None or url.password is not None:
        raise Wrong("may hold no user and password", form)
    if (
        url.scheme != "http"
        or not url.hostname
        or port is None
        or url.path not in ("", "/")
        or url.query
        or url.fragment
    ):
        raise Wrong("is no address of a proxy", form)
    return f"http://{url.netloc}"


def _redirect_uri(text: str) -> str:
    # RFC 6749, section 3.1.2: absolute, without a fragment. What browsers follow is printable ASCII.
    if not re.fullmatch(r"https?://[!-~]{1,2000}", text, re.ASCII) or "#" in text:
        raise Wrong("is no address that a browser can be sent back to", "write http://127.0.0.1:PORT/callback")
    return text


def _mount_name(name: str) -> str:
    if name in RESERVED_MOUNTS:
        raise Wrong(f"'{name}' is kept for bearerd itself", "choose another name")
    return name


def _account(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _clients_kind(value: object) -> str:
    return OPEN if isinstance(value, str) else RIGHTS


def _right_kind(value: object) -> str:
    return DESCRIBED if isinstance(value, dict | Right) else LISTED


_LIST = Field(strict=False)  # a YAML list becomes a tuple; its items stay strict
_PORTS = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]})
_ONE_OR_MORE = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
MountName = Annotated[Name, AfterValidator(_mount_name)]
Scopes = Annotated[tuple[Text, ...], _LIST, AfterValidator(unique)]
RedirectUri = Annotated[str, AfterValidator(_redirect_uri)]
StreamPorts = Annotated[PortRange | None, PlainValidator(port_range), _PORTS]


class Right(Section):
    """What a client may do on a mount, where there is more to say than its scopes."""

    scopes: Scopes = Field(description="Which of the mount's scopes it has.")
    guards: Guards | None = Field(None, description="What its orders may be; the mount's own guards hold as well.")


Account = Annotated[
    str,
    BeforeValidator(_account),
    StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}$"),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
]
Accounts = Annotated[tuple[Account, ...], _LIST, AfterValidator(unique)]
Rights = Mapping[
    Name,
    Mapping[
        Name,
        Annotated[
            Annotated[Scopes, Tag(LISTED)] | Annotated[Right, Tag(DESCRIBED)],
            Discriminator(_right_kind),
        ],
    ],
]
Clients = Annotated[
    Annotated[Literal["none"], Tag(OPEN)] | Annotated[Rights, Tag(RIGHTS)],
    Discriminator(_clients_kind),
]


class Mount(Section):
    """A first path segment, bound to a broker, an environment and a grant."""

    broker: Name = Field(description="The broker's definition: questrade, or one of your own under `brokers`.")
    environment: Name = Field(description="Which of the broker's environments: live, practice, …")
    scopes: Scopes = Field(description="What may pass, in the broker's own words. All else is refused.")
    grant: Name | None = Field(None, description="The login that it uses. Default: a grant named like the mount.")
    port: int | None = Field(None, ge=0, le=65535, description="Also served at the root of a port of its own.")
    api: Name | None = Field(None, description="Which of the broker's APIs. Default: the one its definition names.")
    guards: Guards | None = Field(
        None, description="What orders may be, and which accounts may be named. Default: any."
    )
    stream_ports: StreamPorts = Field(
        None, description="FIRST-LAST: local ports for streams that a broker serves at ports of its own (Questrade)."
    )


class OAuthApp(Section):
    """One OAuth application that a broker partner keeps for its own users."""

    client_secret: SecretText = Field(None, description="Its secret. Better kept in a file: client_secret_file.")
    client_secret_file: File | None = Field(None, description="A file (mode 0600) that holds the secret.")
    redirect_uri: RedirectUri | None = Field(None, description="Where its users come back to.")
    scope: Text | None = Field(None, description="What it asks for where a call does not say.")


class Grant(Section):
    """What a login needs beyond the broker's definition."""

    login: Name | None = Field(
        None, description="Which of the broker's logins. Default: its first one that fits the mounts."
    )
    client_id: Text | None = Field(None, description="The id of your own OAuth application, where the broker has them.")
    client_secret: SecretText = Field(None, description="Its secret. Better kept in a file: client_secret_file.")
    client_secret_file: File | None = Field(None, description="A file (mode 0600) that holds the secret.")
    redirect_uri: RedirectUri | None = Field(
        None, description="Where the broker sends the browser back to, as registered there. Default: the console's."
    )
    apps: Mapping[Text, OAuthApp] = Field(
        {}, description="client_id → an OAuth application of a broker partner, for calls in its users' names."
    )


class Pacing(Section):
    """How calls wait for the broker's rate limits."""

    wait: Seconds = Field(2, ge=0, le=20, description="How long a call may wait for its turn; then 429 `paced`.")
    reserve: Annotated[float, Field(allow_inf_nan=False)] = Field(
        0.1, ge=0, le=0.5, description="The part of a limit that reads leave to orders, and one client to the others."
    )


class Limits(Section):
    """How much is taken before calls are refused."""

    in_flight_per_client: int = Field(1000, ge=1, le=100_000, description="Calls of one client at a time; more: 429.")
    connections: int = Field(12_000, ge=1, le=1_000_000, description="Connections in all; more: 503.")
    body_bytes: int = Field(1_048_576, ge=0, le=1 << 30, description="Largest request body of a row without its own.")
    sockets_per_client: int = Field(32, ge=1, le=100_000, description="Open WebSockets of one client key; more: 429.")
    message_bytes: int = Field(
        1_048_576, ge=1024, le=1 << 28, description="Largest WebSocket message, each way; more: closed with 1009."
    )
    compression: Literal["off", "on"] = Field(
        "off", description="on: permessage-deflate on WebSockets, on each side where the other end wants it too."
    )
    heartbeat: Seconds = Field(
        20, ge=1, le=600, description="Of a silent WebSocket; closed after 2 unanswered. On both sides."
    )
    pacing: Pacing = Field(default_factory=Pacing, description="How calls wait for the broker's rate limits.")


class Log(Section):
    """What is written to stderr."""

    format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal, else JSON.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is written.")


class Audit(Section):
    """The audit trail: one record a call and an operator's act."""

    keep_days: int = Field(400, ge=1, le=36_500, description="Files with nothing younger are removed.")


class Tls(Section):
    """Our own certificate. With one, TCP addresses of `listen` speak TLS, or those with `tls:` in front if any have it.
    So does a console beyond this machine."""

    local_ca: bool = Field(
        default=False, description="Certificates of an authority of your own instead; `bearerd tls init` makes it."
    )
    certificate_file: File | None = Field(None, description="PEM: the certificate of this server, then its chain.")
    key_file: File | None = Field(None, description="PEM: its private key, without a passphrase. Mode 0600.")
    client_ca_file: File | None = Field(
        None, description="PEM: who signs clients' certificates. With it, `listen` asks each client for one."
    )
    client_certificate: Literal["any", "named"] = Field(
        "any", description="`named`: it must also hold the name of the client whose key is sent."
    )

    @property
    def on(self) -> bool:
        """Whether there is a certificate."""
        return self.local_ca or self.certificate_file is not None


class UnixSocket(Section):
    """Who may call over a Unix socket of `listen`, beside bearerd's own user and root."""

    mode: Literal["0600", "0660", "0666"] = Field("0600", description="Its mode; 0660 for the groups below.")
    users: Accounts = Field((), description="Names or numbers of users who may call.")
    groups: Accounts = Field((), description="Groups whose members may call; the socket is given to the first.")


class Engine(Section):
    """What serves, and how calls go. Each key turns one thing off, to find out whether it is at fault."""

    loop: Literal["auto", "uvloop", "asyncio"] = Field(
        "auto", description="auto: uvloop where it is installed, else Python's own event loop."
    )
    upstream: Literal["httptools", "aiohttp"] = Field(
        "httptools", description="Who speaks HTTP with brokers: bearerd's own connections, or aiohttp's client."
    )
    express: bool = Field(
        default=True, description="Plain reads take the short way; false: each call takes the long one."
    )


class Shutdown(Section):
    """How a stop goes, in seconds."""

    drain_delay: Seconds = Field(0, ge=0, le=600, description="From not ready to not accepting, for load balancers.")
    grace: Seconds = Field(20, ge=10, le=45, description="For requests in flight, before their connections are cut.")


class Settings(Section):
    """The whole file, typed. `load` gives it as a `Config`, which knows where each value came from."""

    version: Literal[1] = Field(1, description="Version of this format.")
    listen: Annotated[tuple[Address, ...], PlainValidator(places.listened), _ONE_OR_MORE] = Field(
        "127.0.0.1:8080",
        validate_default=True,
        description="Where clients call: IP:PORT, localhost:PORT, tls:IP:PORT, unix:PATH; or a list. Port 0: any.",
    )
    console: Annotated[tuple[Address, ...], PlainValidator(places.looked_at), _ONE_OR_MORE] = Field(
        "127.0.0.1:8081",
        validate_default=True,
        description="Where you look: status page, logins, metrics, health. `off` for none.",
    )
    store: Annotated[str, AfterValidator(places.store)] = Field(
        "sqlite:~/.local/state/bearerd/store.db",
        validate_default=True,
        description="Where tokens rest, sealed: sqlite:PATH, or postgresql://USER@HOST/DATABASE for several servers.",
    )
    store_password: SecretText = Field(None, description="The database's. Better kept in a file: store_password_file.")
    store_password_file: File | None = Field(None, description="A file (mode 0600) that holds the database's password.")
    state: File | None = Field(
        None,
        description="A directory on a local disk for journal, locks and admin socket. Default: the SQLite store's.",
    )
    key: Annotated[str, AfterValidator(places.key)] = Field(
        "file:~/.config/bearerd/master.key",
        validate_default=True,
        description="Where the master key is: file:PATH, env:NAME, credential:NAME, command:COMMAND or passphrase.",
    )
    mounts: Mapping[MountName, Mount] = Field(
        {}, description="Name → broker. The name is the first segment of the path."
    )
    grants: Mapping[Name, Grant] = Field({}, description="What logins need beyond the broker's definition.")
    clients: Clients = Field({}, description="Name → mount → scopes; or `none`: any program on this machine may call.")
    raw_brokers: Mapping[Name, Any] = Field({}, alias="brokers", description="More environments, rows or brokers.")
    allowed_hosts: Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], _LIST, AfterValidator(unique)] = Field(
        (), description="More names (NAME:PORT or NAME:*) that the listeners answer to; any other Host: 421."
    )
    plaintext: Literal["accepted"] | None = Field(
        None, description="`accepted` allows listening beyond this machine without TLS, in a private network."
    )
    tls: Tls = Field(default_factory=Tls, description="TLS on our own listeners.")
    unix_socket: UnixSocket = Field(default_factory=UnixSocket, description="Who may call over a Unix socket.")
    user_agent: Annotated[str, AfterValidator(_user_agent)] | None = Field(
        None, description="User-Agent towards brokers. Default: bearerd/VERSION."
    )
    egress_proxy: Annotated[str, AfterValidator(_egress_proxy)] | None = Field(
        None, description="http://HOST:PORT of a proxy on the way out. The environment's proxies are never used."
    )
    limits: Limits = Field(default_factory=Limits, description="How much is taken before calls are refused.")
    log: Log = Field(default_factory=Log, description="What is written to stderr.")
    audit: Audit = Field(default_factory=Audit, description="The audit trail: a record of every call and act.")
    alerts: Mapping[Name, Alert] = Field({}, description="Name → a webhook or a command that is told what goes wrong.")
    engine: Engine = Field(default_factory=Engine, description="What serves, and how calls go.")
    workers: int = Field(
        1, ge=1, le=64, description="Processes that relay reads, beside one that keeps the tokens; 1: one does it all."
    )
    tracing: Tracing = Field(default_factory=Tracing, description="Spans of calls for an OpenTelemetry collector.")
    shutdown: Shutdown = Field(default_factory=Shutdown, description="How a stop goes.")


def schema() -> dict[str, Any]:
    """The JSON Schema of the file, for editors; `config.schema.json` holds it."""
    found = Settings.model_json_schema(by_alias=True)
    _close(found)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | found


def _close(part: Any) -> None:
    """A name of the wrong form is refused, and not passed over as a key that nobody asked about."""
    for below in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _close(below)
    if isinstance(part, dict) and "patternProperties" in part:
        part["additionalProperties"] = False
