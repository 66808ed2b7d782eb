"""A certificate as it is put into force: read from files and checked, or made by the local authority."""

import math
import ssl
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from proxy import localca
from proxy.config import Config, Tls
from proxy.store import UnsafeFile
from proxy.store.files import read_provided

if TYPE_CHECKING:
    from cryptography import x509

LARGEST = 1 << 20  # bytes of a file
# Forward secrecy and authenticated encryption only; of TLS 1.3 all suites have both.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_ATTEMPTS = 3  # to read files that are being replaced
READABLE = "let the user that bearerd runs as read it"

Stamps = tuple[tuple[int, ...], ...]


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
    ones. `authority_ends`: when the first of the clients' authorities does. `fresh`: outside these two moments the
    certificate is to be made anew, if that is our part. `lacks`: names for which the local authority may not sign;
    `local` is where that is, `local_ends` when it ends.
    """

    context: ssl.SSLContext
    for_pages: ssl.SSLContext
    hosts: tuple[str, ...]
    begins: float
    ends: float
    authority_ends: float | None
    stamps: Stamps
    fresh: tuple[float, float] = (-math.inf, math.inf)
    lacks: tuple[str, ...] = ()
    local: "Local | None" = None
    local_ends: float = math.inf


@dataclass(frozen=True, slots=True)
class Local:
    """The file of the local authority, and what clients may call this server."""

    file: Path
    hosts: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: Config) -> "Local":
        return cls(localca.file_of(config), localca.heard(config))


def hosts_of(file: Path) -> tuple[str, ...]:
    """The names and addresses that the first certificate in `file` is for. `Unfit`. Blocks."""
    return _hosts(_chain("certificate_file", file)[0])


def hosts_in(config: Config) -> tuple[str, ...]:
    """The names and addresses that the certificate of `config.tls` is for. `Unfit`. Blocks."""
    if config.tls.certificate_file is not None:
        return hosts_of(config.tls.certificate_file)
    local = Local.of(config)
    return _authority(local).hosts(local.hosts)


def load(settings: Tls, now: float, *, expired: bool, local: Local) -> InForce:
    """Read and check the files. `Unfit` names the key and the fix. `expired`: take such a certificate too. Blocks."""
    for _ in range(_ATTEMPTS):
        stamps = stamps_of(settings, local)
        in_force = _load(settings, local, now, stamps, expired=expired)
        if stamps == stamps_of(settings, local):
            return in_force
    raise Unfit("certificate_file", f"{settings.certificate_file or local.file} changes all the time")


def _load(settings: Tls, local: Local, now: float, stamps: Stamps, *, expired: bool) -> InForce:
    if settings.local_ca:
        return _made(settings, local, now, stamps, expired=expired)
    if settings.certificate_file is None or settings.key_file is None:
        raise Unfit("certificate_file", "there is no certificate", "add tls.certificate_file and tls.key_file")
    certificate = _chain("certificate_file", settings.certificate_file)[0]
    _check_key(settings.key_file, settings.certificate_file, certificate)
    begins, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    if not expired and not begins <= now < ends:
        _refuse_time(settings.certificate_file, begins, ends, now)
    return _in_force(settings, settings.certificate_file, settings.key_file, stamps)


def _made(settings: Tls, local: Local, now: float, stamps: Stamps, *, expired: bool) -> InForce:
    authority = _authority(local)
    if not expired and now >= authority.ends:
        raise Unfit("local_ca", f"the local CA expired at {_moment(authority.ends)}", localca.MAKE_ANOTHER)
    try:
        with localca.in_files(authority.issue(local.hosts, now), local.file.parent) as (certificate, key):
            made = _in_force(settings, certificate, key, stamps)
    except OSError as error:
        raise Unfit("local_ca", f"{local.file.parent} cannot be written: {error.strerror}") from None
    fresh = now - localca.SLACK, now + localca.RENEWED
    lacks = tuple(authority.lacks(local.hosts))
    return replace(made, fresh=fresh, lacks=lacks, local=local, local_ends=authority.ends)


def _authority(local: Local) -> localca.LocalCa:
    try:
        return localca.read(local.file)
    except localca.NoAuthority as error:
        raise Unfit("local_ca", error.message, error.fix) from None


def _in_force(settings: Tls, file: Path, key: Path, stamps: Stamps) -> InForce:
    certificate = _chain("certificate_file", file)[0]
    begins, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    context, for_pages = (_context(file, key) for _ in range(2))
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
        raise Unfit("key_file", f"{file} cannot be read: {error.strerror}", READABLE) from None
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
        raise Unfit(key, f"{file} cannot be read: {error.strerror}", READABLE) from None


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


def stamps_of(settings: Tls, local: Local) -> Stamps:
    """Tell changed files without reading them. Links are followed: renewals turn them to new files."""
    files = (
        settings.certificate_file,
        settings.key_file,
        settings.client_ca_file,
        local.file if settings.local_ca else None,
    )
    return tuple(_stamp(file) for file in files if file)


def _stamp(file: Path) -> tuple[int, ...]:
    try:
        status = file.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode, status.st_uid
