"""Certificates of our own listeners: read from files, checked, put into force, and read again when the files change.

A connection keeps the certificate that it began with. What is put in force is a whole: a context that has been built
without a fault. As long as new files are at fault, or only half there, the old ones stay in force.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy import expiry, logs
from proxy.clock import Clock
from proxy.config import Config, Tcp, Tls
from proxy.spans import ago, span
from proxy.store import UnsafeFile
from proxy.store.files import read_provided

if TYPE_CHECKING:
    from cryptography import x509

LARGEST = 1 << 20  # bytes of a file
LOOK = 1.0  # seconds between two looks at the files
# Forward secrecy and authenticated encryption only; of TLS 1.3 all suites have both.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_ATTEMPTS = 3  # to read files that are being replaced

log = logs.get("tls")


class Unfit(Exception):
    """A file of `tls` cannot be used. `key` is the key of the configuration; `fix` is what helps."""

    def __init__(self, key: str, message: str, fix: str | None = None) -> None:
        super().__init__(message if fix is None else f"{message}; {fix}")
        self.key = key
        self.message = message
        self.fix = fix


@dataclass(frozen=True, slots=True)
class InForce:
    """What was read at one moment. `context` is for clients, and asks for their certificates if they have an authority;
    `for_pages` is for the console, which never does.

    `hosts` are the names and addresses of the certificate; times are Unix seconds. `stamps` tell the files from later
    ones. `authority_ends`: when the first of the clients' authorities does.
    """

    context: ssl.SSLContext
    for_pages: ssl.SSLContext
    hosts: tuple[str, ...]
    begins: float
    ends: float
    authority_ends: float | None
    stamps: tuple[tuple[int, ...], ...]


class Certificates:
    """The certificate in force, for every listener that speaks TLS. Made by `opened`."""

    def __init__(self, settings: Tls, in_force: InForce, clock: Clock) -> None:
        self._settings = settings
        self._in_force = in_force
        self._clock = clock
        self._seen = in_force.stamps
        self._failed: tuple[tuple[int, ...], ...] | None = None
        self._fault = ""

    @classmethod
    async def opened(cls, config: Config, clock: Clock) -> "Certificates":
        """Read the files that `config.tls` names. `ConfigInvalid` if one cannot be used.

        One that is past its end is served all the same, and complained of: without a server tokens are lost, too.
        """
        return cls(config.tls, await _read(config, clock, expired=True), clock)

    def context(self, *, pages: bool = False) -> ssl.SSLContext:
        """For the next connection of a client, or of a browser that wants the console's pages."""
        return self._in_force.for_pages if pages else self._in_force.context

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names and addresses that the certificate is for."""
        return self._in_force.hosts

    @property
    def ends(self) -> float:
        """When the certificate expires, in Unix time."""
        return self._in_force.ends

    def names(self, port: int) -> tuple[str, ...]:
        """`NAME:PORT` of all that the certificate is for: whoever calls that name means us."""
        return tuple(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in self._in_force.hosts)

    def place(self, address: Tcp) -> str:
        """The authority under which clients that check the certificate reach `address`."""
        return place(address, self._in_force.hosts)

    async def read(self, config: Config) -> InForce:
        """What the files of `config.tls` hold now, for `take`. `ConfigInvalid` if it cannot be used.

        Or if it has expired, unless what is in force has so too: a reload for another reason must not fail for that.
        """
        return await _read(config, self._clock, expired=self._over())

    def take(self, settings: Tls, in_force: InForce) -> None:
        """Put it in force."""
        self._settings, self._in_force, self._fault = settings, in_force, ""
        self._seen = in_force.stamps

    async def run(self, changed: Callable[[], None]) -> None:
        """Look after the files for as long as the server runs; `changed` is told when something new is in force."""
        while True:
            await asyncio.sleep(LOOK)
            try:
                if await self.look():
                    changed()
            except Exception as error:  # noqa: BLE001  whatever it is, the next renewal must not be missed
                log.error("the certificate's files could not be looked at", error=type(error).__name__)

    async def look(self) -> bool:
        """If the files have changed, put them in force, and say so. A fault is logged, and told by `warnings`."""
        stamps = await asyncio.to_thread(_stamps, self._settings)
        if stamps != self._seen:
            self._seen = stamps  # somebody is writing; the next look finds what has come of it
            return False
        if stamps == self._in_force.stamps:
            self._fault = ""
            return False
        if stamps == self._failed:
            return False
        now = self._clock.now().wall
        try:
            self._in_force = await asyncio.to_thread(load, self._settings, now, expired=self._over())
        except Unfit as unfit:
            log.error("the changed certificate is not used; the old one stays", reason=str(unfit))
            self._fault, self._failed = str(unfit), stamps
            return False
        self._seen, self._fault = self._in_force.stamps, ""
        log.info("a new certificate is in force", ends=round(self._in_force.ends))
        return True

    def _over(self) -> bool:
        """Whether what is in force is past its end, or before its beginning."""
        return not self._in_force.begins <= self._clock.now().wall < self._in_force.ends

    def warnings(self) -> list[str]:
        """What a person should know of the certificates."""
        now, found = self._clock.now().wall, []
        in_force, file = self._in_force, self._settings.certificate_file
        if self._fault:
            found.append(f"the certificate's files have changed and are not used: {self._fault}")
        if now >= in_force.ends:
            found.append(f"the certificate {file} expired {ago(in_force.ends, now)}: clients that check it do not call")
        elif now < in_force.begins:
            found.append(f"the certificate {file} is not valid before {span(in_force.begins - now)} from now")
        elif now >= expiry.told_from(in_force.begins, in_force.ends):
            found.append(f"the certificate {file} expires in {span(in_force.ends - now)}: replace the file in time")
        if in_force.authority_ends is not None and now >= in_force.authority_ends - expiry.EARLY:
            when = "has expired" if now >= in_force.authority_ends else "expires soon"
            found.append(f"an authority in {self._settings.client_ca_file} {when}: clients' certificates end with it")
        return found


async def _read(config: Config, clock: Clock, *, expired: bool) -> InForce:
    try:
        return await asyncio.to_thread(partial(load, config.tls, clock.now().wall, expired=expired))
    except Unfit as unfit:
        raise config.invalid(config.problem(("tls", unfit.key), unfit.message, unfit.fix)) from None


def place(address: Tcp, hosts: Sequence[str]) -> str:
    """`HOST:PORT` of `address` in the words of a certificate that is for `hosts`, if it has any for it."""
    own = ("::1" if ":" in address.host else "127.0.0.1") if address.everywhere else address.host
    here = address.loopback or address.everywhere
    named = [host for host in hosts if not _is_ip(host) and (here or host != "localhost")]
    if own in hosts or not named:
        return str(Tcp(own, address.port))
    return f"{'localhost' if 'localhost' in named else named[0]}:{address.port}"


def hosts_of(file: Path) -> tuple[str, ...]:
    """The names and addresses that the first certificate in `file` is for. `Unfit`. Blocks."""
    return _hosts(_chain("certificate_file", file)[0])


def load(settings: Tls, now: float, *, expired: bool) -> InForce:
    """Read and check the files. `Unfit` names the key and the fix. `expired`: take such a certificate too. Blocks."""
    for _ in range(_ATTEMPTS):
        stamps = _stamps(settings)
        in_force = _load(settings, now, stamps, expired=expired)
        if stamps == _stamps(settings):
            return in_force
    raise Unfit("certificate_file", f"{settings.certificate_file} changes all the time")


def _load(settings: Tls, now: float, stamps: tuple[tuple[int, ...], ...], *, expired: bool) -> InForce:
    if settings.certificate_file is None or settings.key_file is None:
        raise Unfit("certificate_file", "there is no certificate", "add tls.certificate_file and tls.key_file")
    certificate = _chain("certificate_file", settings.certificate_file)[0]
    _check_key(settings.key_file, settings.certificate_file, certificate)
    begins, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    if not expired and not begins <= now < ends:
        _refuse_time(settings.certificate_file, begins, ends, now)
    context, for_pages = (_context(settings.certificate_file, settings.key_file) for _ in range(2))
    authority_ends = None
    if settings.client_ca_file is not None:
        authorities = _chain("client_ca_file", settings.client_ca_file)
        authority_ends = min(each.not_valid_after_utc.timestamp() for each in authorities)
        _ask_for_certificates(context, settings.client_ca_file)
    return InForce(context, for_pages, _hosts(certificate), begins, ends, authority_ends, stamps)


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    try:
        # A passphrase is never asked for on a terminal, whatever a library finds in the file.
        context.load_cert_chain(certificate, key, password=b"")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise Unfit("certificate_file", f"{certificate} and {key} cannot be used: {reason}") from None
    return context


def _ask_for_certificates(context: ssl.SSLContext, authorities: Path) -> None:
    context.verify_mode = ssl.CERT_REQUIRED
    # A resumed session would not be asked again: its certificate may have expired since, or its authority be gone.
    # In TLS 1.3 it needs a ticket; in 1.2 the library keeps sessions of its own, and cannot be told not to.
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    try:
        context.load_verify_locations(authorities)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise Unfit("client_ca_file", f"{authorities} cannot be used: {reason}") from None


def _chain(key: str, file: Path) -> "list[x509.Certificate]":
    from cryptography import x509

    data = _bytes(key, file)
    if b"PRIVATE KEY-----" in data:
        fix = "move the key to a file of its own (mode 0600)"
        raise Unfit(key, f"{file} holds a private key beside the certificate", fix)
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        fix = "it begins with -----BEGIN CERTIFICATE-----"
        raise Unfit(key, f"{file} holds no certificate in PEM that can be read", fix) from None


def _check_key(file: Path, certificate_file: Path, certificate: "x509.Certificate") -> None:
    from cryptography.hazmat.primitives import serialization

    try:
        data = read_provided(file, LARGEST)
    except UnsafeFile as error:
        raise Unfit("key_file", str(error).replace("chmod 400", "chmod 600")) from None
    except OSError as error:
        raise Unfit("key_file", f"{file} cannot be read: {error.strerror}") from None
    if b"ENCRYPTED" in data:
        fix = f"write it without one: openssl pkey -in {file} -out NEW"
        raise Unfit("key_file", f"{file} is encrypted with a passphrase", fix)
    try:
        key = serialization.load_pem_private_key(data, None)
    except Exception:  # noqa: BLE001  many kinds, and each may quote what it has read
        fix = "it begins with -----BEGIN PRIVATE KEY-----"
        raise Unfit("key_file", f"{file} holds no private key in PEM that can be read", fix) from None
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        fix = "name the two that were made together (the server's certificate comes first in its file)"
        raise Unfit("key_file", f"{file} is not the key of the certificate in {certificate_file}", fix)


def _refuse_time(file: Path, begins: float, ends: float, now: float) -> None:
    if now >= ends:
        raise Unfit("certificate_file", f"{file} expired at {_moment(ends)}", "renew it")
    fix = "wait, or set this machine's clock"
    raise Unfit("certificate_file", f"{file} is not valid before {_moment(begins)}", fix)


def _moment(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _bytes(key: str, file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(LARGEST)
    except OSError as error:
        raise Unfit(key, f"{file} cannot be read: {error.strerror}") from None


def _hosts(certificate: "x509.Certificate") -> tuple[str, ...]:
    """Names without a `*`, and addresses."""
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    found = [name.lower() for name in names.get_values_for_type(x509.DNSName) if _plain(name)]
    return (*found, *(str(address) for address in names.get_values_for_type(x509.IPAddress)))


def _plain(name: str) -> bool:
    return name.isascii() and name.replace("-", "").replace(".", "").isalnum()


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _stamps(settings: Tls) -> tuple[tuple[int, ...], ...]:
    """Tell changed files without reading them. Links are followed: renewals turn them to new files."""
    return tuple(
        _stamp(file) for file in (settings.certificate_file, settings.key_file, settings.client_ca_file) if file
    )


def _stamp(file: Path) -> tuple[int, ...]:
    try:
        status = file.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode, status.st_uid


def shown_names(transport: asyncio.Transport | None) -> frozenset[str]:
    """The common and DNS names of the certificate that a client has shown, in lower case; none if it has shown none."""
    found: dict[str, Any] = (transport.get_extra_info("peercert") if transport is not None else None) or {}
    common = [value for part in found.get("subject", ()) for name, value in part if name == "commonName"]
    more = [value for kind, value in found.get("subjectAltName", ()) if kind == "DNS"]
    return frozenset(name.lower() for name in (*common, *more))
