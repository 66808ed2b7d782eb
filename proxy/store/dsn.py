"""Where a PostgreSQL database is and how it is to be reached: its address read, its password found, its TLS set up.

Read here and not by the driver, because a name that is no host of this machine gets TLS with a checked certificate
unless the address says otherwise, and because several hosts are tried with a time limit each.
"""

import contextlib
import getpass
import ipaddress
import os
import re
import ssl
import stat
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from proxy.secret import Secret
from proxy.store import StoreError

_PORT, _LAST_PORT = 5432, 65535
_MODES = ("disable", "require", "verify-ca", "verify-full")
_WEAK = ("allow", "prefer")  # would go on without TLS if somebody in between says there is none
_SYSTEM = "system"  # as `sslrootcert`: the authorities that the machine trusts
_ENTRY = re.compile(r"(?:\\.|[^:\\])*")


@dataclass(frozen=True, slots=True)
class Host:
    """One server: a name or address with its port, or the directory of a unix socket."""

    name: str
    port: int

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
class Address:
    """A database's address, taken apart. `location` is what messages say; it never holds a password."""

    hosts: tuple[Host, ...]
    user: str
    database: str
    password: Secret | None = None
    parameters: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, dsn: str) -> "Address":
        """Read `postgresql://USER@HOST:PORT,HOST:PORT/DATABASE?sslmode=…`. `StoreError` never repeats the text."""
        try:
            parts = urlsplit(dsn)
            parameters = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
            account, _, servers = parts.netloc.rpartition("@")
            user, has_password, password = account.partition(":")
            names = servers or parameters.pop("host", "")
            hosts = tuple(_hosts(unquote(names), parameters.pop("port", "")))
        except ValueError:
            raise StoreError("the store's address cannot be read; write postgresql://USER@HOST/DATABASE") from None
        database = unquote(parts.path.removeprefix("/"))
        if parts.scheme not in ("postgres", "postgresql") or not hosts or not database:
            raise StoreError("the store's address is incomplete; write postgresql://USER@HOST/DATABASE")
        secret = Secret(unquote(password)) if has_password else None
        return cls(hosts, unquote(user) or getpass.getuser(), database, secret, parameters)

    @property
    def location(self) -> str:
        hosts = ",".join(_written(host) for host in self.hosts)
        return f"postgresql://{self.user}@{hosts}/{self.database}"

    def stored_password(self, host: Host) -> Secret | None:
        """The address's own, or that of `PGPASSWORD`, or of the file `PGPASSFILE` or `~/.pgpass`. Blocks."""
        if self.password is not None:
            return self.password
        if text := os.environ.get("PGPASSWORD"):
            return Secret(text)
        path = Path(os.environ.get("PGPASSFILE") or Path.home() / ".pgpass")
        try:
            if not path.is_file():
                return None
            if stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
                raise StoreError(f"{path} is open to other users; run: chmod 600 {path}")
            lines = path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise StoreError(f"{path} cannot be read") from None
        wanted = ("localhost" if host.name.startswith("/") else host.name, str(host.port), self.database, self.user)
        return _matching(lines, wanted)

    def tls(self, host: Host) -> ssl.SSLContext | None:
        """How to talk to `host`; None: in the clear. Blocks. `StoreError` if that cannot be done."""
        mode = self.parameters.get("sslmode") or ("disable" if host.local else "verify-full")
        if host.name.startswith("/") or mode == "disable":
            return None
        if mode in _WEAK:
            raise StoreError(
                f"sslmode={mode} is no protection; write sslmode=verify-full, or disable on a safe network"
            )
        if mode not in _MODES:
            raise StoreError(f"the sslmode {mode!r} is unknown; known: {', '.join(_MODES)}")
        try:
            return self._context(mode)
        except OSError as fault:  # ssl.SSLError too
            reason = getattr(fault, "reason", None) or fault.strerror or type(fault).__name__
            raise StoreError(f"the certificates named for {_written(host)} cannot be used: {reason}") from None

    def _context(self, mode: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = mode == "verify-full"
        authorities = self.parameters.get("sslrootcert")
        if mode == "require" and not authorities:
            context.verify_mode = ssl.CERT_NONE
        elif authorities and authorities != _SYSTEM:
            context.load_verify_locations(cafile=authorities)
        else:
            own = Path.home() / ".postgresql" / "root.crt"
            if not authorities and own.is_file():
                context.load_verify_locations(cafile=own)
            else:
                context.load_default_certs()
        if certificate := self.parameters.get("sslcert"):
            # Without a password to ask for: a terminal prompt would hang a service.
            context.load_cert_chain(certificate, self.parameters.get("sslkey"), password="")
        return context


def _hosts(names: str, ports: str) -> list[Host]:
    """`a:1,[::1]:2,c`; where there is no port, the one of `ports` in its place, or the only one there, or 5432."""
    listed = [int(port) for port in ports.split(",") if port]
    hosts = []
    for index, entry in enumerate(name for name in names.split(",") if name):
        if entry.startswith("/"):
            name, port = entry, ""
        elif entry.startswith("["):
            name, _, port = entry[1:].partition("]")
            port = port.removeprefix(":")
        else:
            name, _, port = entry.partition(":")
        given = listed[index] if index < len(listed) else listed[0] if len(listed) == 1 else _PORT
        hosts.append(Host(name, int(port) if port else given))
    if not all(0 < host.port <= _LAST_PORT for host in hosts):
        raise ValueError("no port")
    return hosts


def _written(host: Host) -> str:
    name = f"[{host.name}]" if ":" in host.name else host.name
    return name if host.name.startswith("/") or host.port == _PORT else f"{name}:{host.port}"


def _matching(lines: list[str], wanted: tuple[str, ...]) -> Secret | None:
    """The password of the first line of a password file that fits; `*` fits everything."""
    for line in lines:
        if line.startswith("#"):
            continue
        fields = [re.sub(r"\\(.)", r"\1", part) for part in _fields(line)]
        if len(fields) == len(wanted) + 1 and all(
            given in ("*", value) for given, value in zip(fields, wanted, strict=False)
        ):
            return Secret(fields[-1])
    return None


def _fields(line: str) -> list[str]:
    """A line cut at its colons, of which a backslash before one takes the meaning."""
    fields, at = [], 0
    while at <= len(line) and (found := _ENTRY.match(line, at)):
        fields.append(found[0])
        at = found.end() + 1
    return fields
