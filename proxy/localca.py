"""An authority of one's own, for programs on this machine that insist on TLS. Made on request, never by itself.

Clients trust its root, whose key signs one certificate when it is made and is then gone. What stays is an issuer's key,
in a file of mode 0600. Two certificates bind it to names of this machine (RFC 5280, 4.2.1.10): validators need not look
at the limits of a root itself, and Java's do not. The server's own certificate lives for weeks, its key in memory only.
"""

import datetime as dt
import ipaddress
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.clock import SystemClock
from proxy.config import Config, Tcp
from proxy.store import UnsafeFile
from proxy.store.files import make_directory, read_private, write_private

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

DAY = 86400.0
LIFE = 730 * DAY  # seconds that an authority lives
LEAF = 90 * DAY  # and a server's certificate,
RENEWED = 60 * DAY  # which is made anew at this age, and at each start
SLACK = 3600.0  # for a client whose clock is a little behind
HERE = ("127.0.0.0/8", "::1/128")
ALWAYS = ("localhost", "127.0.0.1", "::1")
FILE = "authority.pem"  # issuer's key, issuer, root
_DRAFT = "leaf-"
_LEFT = 3600.0  # seconds after which nobody needs a certificate in files any more
MAKE = "run: bearerd tls init"
MAKE_ANOTHER = "run: bearerd tls init --replace"


class NoAuthority(Exception):
    """The local authority cannot be used. `fix` is what helps."""

    def __init__(self, message: str, fix: str = MAKE) -> None:
        super().__init__(f"{message}; {fix}")
        self.message = message
        self.fix = fix


@dataclass(frozen=True, slots=True)
class Leaf:
    """A server's certificate with its issuer, and its key, both in PEM."""

    chain: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LocalCa:
    """What `authority.pem` holds. `root` is what clients trust."""

    root: "x509.Certificate"
    issuer: "x509.Certificate"
    key: "ec.EllipticCurvePrivateKey" = field(repr=False)

    @property
    def name(self) -> str:
        """What lists of trusted authorities call it."""
        return str(self.root.subject.rfc4514_string().removeprefix("CN="))

    @property
    def begins(self) -> float:
        return self.issuer.not_valid_before_utc.timestamp()

    @property
    def ends(self) -> float:
        """When it and all its certificates expire, in Unix time."""
        return self.issuer.not_valid_after_utc.timestamp()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the root's certificate, as other programs show it."""
        from cryptography.hazmat.primitives import hashes

        return self.root.fingerprint(hashes.SHA256()).hex(":").upper()

    @property
    def pem(self) -> bytes:
        """The root, for whoever is to trust it."""
        from cryptography.hazmat.primitives import serialization

        return self.root.public_bytes(serialization.Encoding.PEM)

    @property
    def names(self) -> tuple[str, ...]:
        """The names and networks that it may sign certificates for, and no others."""
        from cryptography import x509

        limits = self.issuer.extensions.get_extension_for_class(x509.NameConstraints).value
        return tuple(str(each.value) for each in limits.permitted_subtrees or ())

    def lacks(self, hosts: Iterable[str]) -> list[str]:
        """Those of `hosts` that it may not sign for."""
        return [host for host in hosts if not _within(host, self.names)]

    def hosts(self, wanted: Iterable[str] = ()) -> tuple[str, ...]:
        """What its certificates are for: names of this machine, the others that it may sign for, `wanted` ones of
        those that it may."""
        single = [_single(name) for name in self.names]
        allowed = (host for host in wanted if not self.lacks([host]))
        return tuple(dict.fromkeys([*ALWAYS, *filter(None, single), *allowed]))

    def issue(self, wanted: Iterable[str], now: float) -> Leaf:
        """A certificate for `hosts(wanted)`. `now` is Unix time."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

        key = ec.generate_private_key(ec.SECP256R1())
        ends = min(now + LEAF, self.ends)
        begins = min(max(now - SLACK, self.begins), ends - SLACK)
        own = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        names = [_general(host) for host in self.hosts(wanted)]
        leaf = (
            _builder("localhost", self.issuer.subject, key, (begins, ends))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(own, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        chain = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in (leaf, self.issuer))
        return Leaf(chain, _private(key))


def file_of(config: Config) -> Path:
    """Where the authority is."""
    return config.tls_directory / FILE


def beyond(config: Config) -> tuple[str, ...]:
    """The names beyond this machine that `allowed_hosts` and `listen` answer to."""
    listened = [each.host for each in config.listen if isinstance(each, Tcp) and not (each.loopback or each.everywhere)]
    return tuple(
        host for host in dict.fromkeys([*_allowed(config), *listened]) if not _within(host, ("localhost", *HERE))
    )


def heard(config: Config) -> tuple[str, ...]:
    """All addresses and names under which clients may call."""
    own = [each.host for each in config.listen if isinstance(each, Tcp) and not each.everywhere]
    return tuple(dict.fromkeys([*own, *_allowed(config)]))


def _allowed(config: Config) -> list[str]:
    return [host.rpartition(":")[0].strip("[]") for host in config.allowed_hosts]


def make(file: Path, names: Sequence[str], now: float, *, replace: bool = False) -> LocalCa:
    """Make an authority for this machine and `names`, in `file`. `now` is Unix time. Blocks.

    `FileExistsError` if there is one, unless it is to be replaced; `UnsafeFile` for a directory that others may enter;
    `OSError`.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    networks = [x509.IPAddress(ipaddress.ip_network(each)) for each in HERE]
    limits = x509.NameConstraints([x509.DNSName("localhost"), *networks, *map(_subtree, names)], None)
    title, life = f"bearerd local CA {x509.random_serial_number() >> 120:010x}", (now - SLACK, now + LIFE)
    root_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, title)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())
    root = (
        _builder(title, root_name, root_key, life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(limits, critical=True)
        .sign(root_key, hashes.SHA256())
    )
    issuer = (
        _builder(f"{title}, issuer", root_name, key, life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(limits, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    certificates = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in (issuer, root))
    make_directory(file.parent)
    write_private(file, _private(key) + certificates, replace=replace)
    return LocalCa(root, issuer, key)


def read(file: Path) -> LocalCa:
    """The authority in `file`. `NoAuthority`. Blocks."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        data = read_private(file)
    except FileNotFoundError:
        raise NoAuthority("there is no local authority yet") from None
    except UnsafeFile as error:
        raise NoAuthority(str(error), "do as it says") from None
    except OSError as error:
        raise NoAuthority(f"{file} cannot be read: {error.strerror}", "see what is wrong with it") from None
    try:
        key = serialization.load_pem_private_key(data, None)
        issuer, root = x509.load_pem_x509_certificates(data)
        if isinstance(key, ec.EllipticCurvePrivateKey) and issuer.public_key() == key.public_key():
            return LocalCa(root, issuer, key)
    except Exception:  # noqa: BLE001  many kinds, and each may quote what it has read
        raise NoAuthority(f"{file} is damaged", MAKE_ANOTHER) from None
    raise NoAuthority(f"{file} is damaged: its key is another's", MAKE_ANOTHER)


@contextmanager
def in_files(leaf: Leaf, directory: Path) -> Iterator[tuple[Path, Path]]:
    """Certificate and key in files below `directory`, for a library that takes nothing else; gone after the block.

    `OSError`. Blocks. What somebody left who was killed in such a block goes, too.
    """
    for left in directory.glob(f"{_DRAFT}*"):
        if SystemClock().now().wall - left.stat().st_mtime > _LEFT:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=_DRAFT) as made:  # mode 0700
        certificate, key = Path(made) / "server.pem", Path(made) / "server.key"
        certificate.write_bytes(leaf.chain)
        key.touch(0o600)
        key.write_bytes(leaf.key)
        yield certificate, key


def _builder(
    subject: str, issuer: "x509.Name", key: "ec.EllipticCurvePrivateKey", life: tuple[float, float]
) -> "x509.CertificateBuilder":
    from cryptography import x509

    begins, ends = (dt.datetime.fromtimestamp(int(moment), dt.UTC) for moment in life)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        # Python 3.13 and later verify strictly: without the key identifiers they refuse the chain.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs: bool) -> "x509.KeyUsage":
    from cryptography import x509

    never = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
    others: dict[str, bool] = dict.fromkeys((*never, "decipher_only"), False)
    return x509.KeyUsage(digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, **others)


def _private(key: "ec.EllipticCurvePrivateKey") -> bytes:
    from cryptography.hazmat.primitives import serialization

    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _general(host: str) -> "x509.GeneralName":
    from cryptography import x509

    address = _address(host)
    return x509.DNSName(host) if address is None else x509.IPAddress(address)


def _subtree(host: str) -> "x509.GeneralName":
    """A name or address as a part of what may be signed."""
    from cryptography import x509

    address = _address(host)
    return x509.DNSName(host) if address is None else x509.IPAddress(ipaddress.ip_network(address))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _single(name: str) -> str | None:
    """A name as it is; of a network its one address, if it has only one."""
    if "/" not in name:
        return name
    network = ipaddress.ip_network(name)
    return str(network.network_address) if network.num_addresses == 1 else None


def _within(host: str, names: Iterable[str]) -> bool:
    address = _address(host)
    inside: Callable[[str], bool] = (
        (lambda name: host == name or host.endswith(f".{name}"))
        if address is None
        else (lambda name: "/" in name and address in ipaddress.ip_network(name))
    )
    return any(map(inside, names))
