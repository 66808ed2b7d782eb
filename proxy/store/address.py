"""How a PostgreSQL database is to be reached: its password found, its TLS set up.

Its address is read by us (`proxy/dsn.py`) and not by the driver, because a name that is no host of this machine gets
TLS with a checked certificate unless the address says otherwise, and because several hosts are tried with a time limit
each.
"""

import getpass
import os
import re
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path

from proxy.dsn import Host, Parts, Unreadable, read
from proxy.secret import Secret
from proxy.store import StoreError

_SYSTEM = "system"  # as `sslrootcert`: the authorities that the machine trusts
_ENTRY = re.compile(r"(?:\\.|[^:\\])*")


@dataclass(frozen=True, slots=True)
class Address(Parts):
    """A database's address. `location` is what messages say; it never holds a password."""

    @classmethod
    def parse(cls, dsn: str) -> "Address":
        """See `proxy.dsn.read`; without a user, it is whoever runs this. `StoreError` never repeats the text."""
        try:
            parts = read(dsn)
        except Unreadable as fault:
            raise StoreError(f"the store's address {fault.problem}; {fault.fix}") from None
        return cls(parts.hosts, parts.user or getpass.getuser(), parts.database, parts.password, parts.parameters)

    @property
    def location(self) -> str:
        hosts = ",".join(map(str, self.hosts))
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
        try:
            return self._context(mode)
        except OSError as fault:  # ssl.SSLError too
            reason = getattr(fault, "reason", None) or fault.strerror or type(fault).__name__
            raise StoreError(f"the certificates named for {host} cannot be used: {reason}") from None

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
