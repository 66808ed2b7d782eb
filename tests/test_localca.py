"""The local authority: what it can sign for, whatever is done with its key, and how it rests."""

import datetime as dt
import os
import ssl
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxy import localca
from proxy.clock import SystemClock
from proxy.settings import read
from tests.authority import DAY
from tests.test_inforce import handshake

NOW = SystemClock().now().wall


@pytest.fixture(name="made")
def _made(tmp_path: Path) -> localca.LocalCa:
    return localca.make(tmp_path / "tls" / localca.FILE, ["bearerd.internal", "10.1.2.3"], NOW)


def test_it_rests_in_one_private_file(made: localca.LocalCa, tmp_path: Path) -> None:
    """The issuer's key is in it, the root's is nowhere; it is not replaced unless that is asked for."""
    file = tmp_path / "tls" / localca.FILE
    text = file.read_text()

    assert (0o600, 0o700) == (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode))
    assert (1, 2) == (text.count("PRIVATE KEY-----\n") // 2, text.count("BEGIN CERTIFICATE"))
    read = localca.read(file)
    assert (made.root, made.issuer, made.names) == (read.root, read.issuer, read.names)
    assert read.key.public_key() == read.issuer.public_key() != read.root.public_key()
    with pytest.raises(FileExistsError):
        localca.make(file, [], NOW)
    assert made.fingerprint != localca.make(file, [], NOW, replace=True).fingerprint
    assert "PRIVATE" not in repr(made)
    assert [localca.FILE] == [each.name for each in file.parent.iterdir()]


def test_its_limits_stand_in_both_certificates(made: localca.LocalCa) -> None:
    """Critical, and in the issuer's too: validators need not look at those of a root."""
    assert ("localhost", "127.0.0.0/8", "::1/128", "bearerd.internal", "10.1.2.3/32") == made.names
    assert made.begins < NOW < made.ends == (NOW + localca.LIFE) // 1
    for certificate, depth in ((made.root, 1), (made.issuer, 0)):
        limits = certificate.extensions.get_extension_for_class(x509.NameConstraints)
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert (True, True, True, depth) == (
            limits.critical, basic.critical, basic.value.ca, basic.value.path_length,
        )  # fmt: skip
    assert made.name.startswith("bearerd local CA ")


def test_it_knows_what_it_may_sign_for(made: localca.LocalCa) -> None:
    """Names below a name are that name's, as the standard has it; others are not."""
    inside = ("localhost", "a.localhost", "bearerd.internal", "x.bearerd.internal", "127.9.9.9", "::1", "10.1.2.3")
    outside = ["notlocalhost", "internal", "notbearerd.internal", "10.1.2.4", "::2", "api.alpaca.markets"]
    assert outside == made.lacks([*inside, *outside])
    assert ("localhost", "127.0.0.1", "::1", "bearerd.internal", "10.1.2.3", "127.9.9.9") == made.hosts(
        ["127.9.9.9", "api.alpaca.markets", "::1"]
    )


def test_every_name_that_clients_may_call_is_in_its_certificates(made: localca.LocalCa, tmp_path: Path) -> None:
    """Also those of this machine, for which no authority has to be made with more names."""
    (tmp_path / "c.yaml").write_text('allowed_hosts: ["bearerd.localhost:1", "127.0.0.53:*", "bearerd.internal:*"]\n')
    config = read(tmp_path / "c.yaml", {"HOME": str(tmp_path)}).config

    assert ("bearerd.internal",) == localca.beyond(config)
    assert {"bearerd.localhost", "127.0.0.53", "bearerd.internal"} < set(made.hosts(localca.heard(config)))


def server(authority: localca.LocalCa, directory: Path, *wanted: str, now: float = NOW) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with localca.in_files(authority.issue(wanted, now), directory) as (certificate, key):
        assert 0o600 == stat.S_IMODE(key.stat().st_mode)
        context.load_cert_chain(certificate, key)
    assert not certificate.exists()
    assert not key.exists()
    return context


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "bearerd.internal", "10.1.2.3", "127.0.0.2"])
def test_who_trusts_the_root_trusts_the_server(made: localca.LocalCa, tmp_path: Path, name: str) -> None:
    """Under every one of its names, with Python's strict checks too."""
    client = ssl.create_default_context(cadata=made.pem.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    handshake(server(made, tmp_path, "127.0.0.2"), client, name)


def test_nobody_else_does(made: localca.LocalCa, tmp_path: Path) -> None:
    """Another authority of the same kind is no substitute."""
    other = localca.make(tmp_path / "other" / localca.FILE, [], NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server(made, tmp_path), ssl.create_default_context(cadata=other.pem.decode()), "localhost")


def stolen(made: localca.LocalCa, name: str, *, ca: bool = False) -> localca.Leaf:
    """What a thief of the key would make: a certificate for any name."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(made.issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime.fromtimestamp(NOW - DAY / 48, dt.UTC))
        .not_valid_after(dt.datetime.fromtimestamp(NOW + DAY, dt.UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    chain = [builder.sign(made.key, hashes.SHA256()), made.issuer]
    if ca:
        below = stolen(replace(made, issuer=chain[0], key=key), f"a.{name}")
        return replace(below, chain=below.chain + made.issuer.public_bytes(serialization.Encoding.PEM))
    text = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return localca.Leaf(text, key.private_bytes(*form))


@pytest.mark.parametrize(
    ("name", "ca", "reason"),
    [
        ("api.alpaca.markets", False, "permitted subtree violation"),
        ("login.questrade.com", False, "permitted subtree violation"),
        ("localhost", True, "path length constraint exceeded"),
        ("localhost", False, ""),
    ],
    ids=["a broker", "a login", "another authority", "this machine"],
)
def test_a_thief_of_the_key_can_play_this_machine_only(
    made: localca.LocalCa, tmp_path: Path, name: str, *, ca: bool, reason: str
) -> None:
    """To whoever trusts the root, a broker cannot be forged with it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with localca.in_files(stolen(made, name, ca=ca), tmp_path) as (certificate, key):
        context.load_cert_chain(certificate, key)
    client = ssl.create_default_context(cadata=made.pem.decode())
    if not reason:
        handshake(context, client, name)
        return
    with pytest.raises(ssl.SSLCertVerificationError, match=reason):
        handshake(context, client, f"a.{name}" if ca else name)


def test_openssl_finds_nothing_to_complain_of(made: localca.LocalCa, tmp_path: Path) -> None:
    """With all strict checks, for a server; the command line is what people look with."""
    chain = made.issue((), NOW).chain.decode().split("-----END CERTIFICATE-----\n")
    for name, text in zip(("leaf", "issuer"), chain, strict=False):
        (tmp_path / f"{name}.pem").write_text(f"{text}-----END CERTIFICATE-----\n")
    (tmp_path / "ca.pem").write_bytes(made.pem)
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "ca.pem"]
    command += ["-untrusted", "issuer.pem", "leaf.pem"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30)

    assert (0, "leaf.pem: OK\n") == (done.returncode, done.stdout), done.stderr


def test_a_key_that_is_another_s_is_found(made: localca.LocalCa, tmp_path: Path) -> None:
    """Before anything is signed with it."""
    other = localca.make(tmp_path / "other" / localca.FILE, [], NOW)
    file, theirs = tmp_path / "tls" / localca.FILE, tmp_path / "other" / localca.FILE
    assert made.key != other.key
    mark = "-----BEGIN CERTIFICATE-----"
    key, _, _ = theirs.read_text().partition(mark)
    _, _, certificates = file.read_text().partition(mark)
    file.write_text(key + mark + certificates)
    with pytest.raises(localca.NoAuthority, match="its key is another's; run: bearerd tls init --replace"):
        localca.read(file)


def test_what_a_killed_server_left_is_cleared_away(made: localca.LocalCa, tmp_path: Path) -> None:
    """A certificate and its key that were in files at that moment; what is younger may be somebody's own."""
    old, young = (tmp_path / f"leaf-{name}" for name in ("old", "young"))
    for folder in (old, young):
        folder.mkdir()
        (folder / "server.key").touch()
    os.utime(old, (NOW - 7200, NOW - 7200))

    server(made, tmp_path)

    assert (False, True) == (old.exists(), young.exists())
