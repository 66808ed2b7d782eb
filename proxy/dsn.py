"""The address of a PostgreSQL database, read in one place: for the configuration, and for whoever connects.

>>> read("postgresql://bearerd@db.internal/bearerd").hosts
(Host(name='db.internal', port=5432),)
"""

import contextlib
import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from proxy.secret import Secret

FORM = "write postgresql://USER@HOST/DATABASE"
PORT = 5432
SSL_MODES = ("disable", "require", "verify-ca", "verify-full")
_SCHEMES = frozenset({"postgres", "postgresql"})
# What may stand after the `?`, in libpq's words. All else is refused: a misspelt sslmode must not mean none.
_PARAMETERS = frozenset({"host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey", "target_session_attrs"})
_WEAK = ("allow", "prefer")  # would go on without TLS if somebody in between says there is none
_LAST_PORT = 65535
_FILE = "put it into a file (mode 0600) and name that in store_password_file"


class Unreadable(ValueError):
    """No address that can be used: what is wrong with it, and what to write. Neither repeats a password."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem, fix)
        self.problem = problem
        self.fix = fix


@dataclass(frozen=True, slots=True)
class Host:
    """One server: a name or address with its port, or the directory of a unix socket."""

    name: str
    port: int

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.name.startswith("/") or self.port == PORT else f"{name}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether what is sent there never leaves this machine."""
        if self.name.startswith("/") or self.name == "localhost":
            return True
        return self.numeric and ipaddress.ip_address(self.name).is_loopback

    @property
    def numeric(self) -> bool:
        """Whether it can be reached without asking anybody where it is."""
        if self.name.startswith("/"):
            return True
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(self.name)
            return True
        return False


@dataclass(frozen=True, slots=True)
class Parts:
    """An address, taken apart. `user` is empty where none is named; `parameters` are those but host and port."""

    hosts: tuple[Host, ...]
    user: str
    database: str
    password: Secret | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)


def is_database(text: str) -> bool:
    """Whether a store's address names a PostgreSQL database."""
    return text.partition(":")[0] in _SCHEMES


def read(text: str) -> Parts:
    """Read `postgresql://USER@HOST:PORT,HOST:PORT/DATABASE?sslmode=…`. Raises `Unreadable`."""
    try:
        parts = urlsplit(text)
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else []
    except ValueError:
        raise Unreadable("is no address of a database", FORM) from None
    if not is_database(text):
        raise Unreadable("is no address of a database", FORM)
    parameters = _parameters(query)
    if not re.fullmatch(r"/[^/]+", parts.path) or parts.fragment or not re.fullmatch(r"[!-~]+", text, re.ASCII):
        raise Unreadable("does not name a database", FORM)
    account, _, servers = parts.netloc.rpartition("@")
    user, has_password, password = account.partition(":")
    return Parts(
        _hosts(unquote(servers) or parameters.pop("host", ""), parameters.pop("port", "")),
        unquote(user),
        unquote(parts.path[1:]),
        Secret(unquote(password)) if has_password else None,
        parameters,
    )


def _parameters(query: list[tuple[str, str]]) -> dict[str, str]:
    for name, value in query:
        if name in ("password", "passfile"):
            raise Unreadable("may hold no password", _FILE)
        if name not in _PARAMETERS:
            raise Unreadable(f"has the unknown parameter '{name}'", f"known: {', '.join(sorted(_PARAMETERS))}")
        if name == "sslmode" and value in _WEAK:
            raise Unreadable(
                f"has sslmode={value}, which is no protection",
                "write sslmode=verify-full, or disable on a safe network",
            )
        if name == "sslmode" and value not in SSL_MODES:
            raise Unreadable(f"has the unknown sslmode '{value}'", f"known: {', '.join(SSL_MODES)}")
        if name == "port" and not all(_is_port(port) for port in value.split(",") if port):
            raise Unreadable(f"has no port in 'port={value}'", "write a number from 1 to 65535, or one for each host")
    return dict(query)


def without_password(parts: Parts) -> None:
    """Raise `Unreadable` if the address holds one: it would stand in a file that is no secret."""
    if parts.password is not None:
        raise Unreadable("may hold no password", _FILE)


def _hosts(names: str, ports: str) -> tuple[Host, ...]:
    """`a:1,[::1]:2,c`; where there is no port, the one of `ports` in its place, or the only one there, or 5432."""
    listed = [int(port) for port in ports.split(",") if port]
    found = []
    for index, (name, port) in enumerate(_named(names)):
        if not name:
            raise Unreadable(
                "does not name a host", "write postgresql://USER@HOST/DATABASE, or ?host=/run/postgresql for a socket"
            )
        if port and not _is_port(port):
            raise Unreadable("is no address of a database", FORM)
        given = listed[index] if index < len(listed) else listed[0] if len(listed) == 1 else PORT
        found.append(Host(name, int(port) if port else given))
    return tuple(found)


def _named(names: str) -> Iterator[tuple[str, str]]:
    for entry in names.split(","):
        if entry.startswith("/"):
            yield entry, ""
        elif entry.startswith("["):
            name, _, port = entry[1:].partition("]")
            yield name, port.removeprefix(":")
        else:
            name, _, port = entry.partition(":")
            yield name, port


def _is_port(text: str) -> bool:
    return text.isdecimal() and text.isascii() and 0 < int(text) <= _LAST_PORT
