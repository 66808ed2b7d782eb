"""The throw-away certificate authority."""

import os
import ssl
import stat
import time
from pathlib import Path

import pytest
from cryptography import x509

from proxy.simulator import ca
from tests.simulator.support import NOON, trusting


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str | None:
    """Both ends in memory; the protocol version that they agreed on."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    left = client.wrap_bio(to_client, to_server, server_hostname=name)
    right = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for end in (left, right):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return left.version()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "::1"])
def test_the_certificate_is_good_for_each_loopback_name(tmp_path: Path, name: str) -> None:
    """A client that trusts ca.pem connects by address and by name, with the strictest checks."""
    authority = ca.create(tmp_path, now=time.time())  # noqa: TID251  certificates are judged by the real clock
    client = trusting(authority.ca_file)
    client.verify_flags |= ssl.VERIFY_X509_STRICT

    assert "TLSv1.3" == _handshake(authority.tls, client, name)


def test_a_client_with_other_roots_refuses_the_certificate(tmp_path: Path) -> None:
    """Nothing but ca.pem makes a client trust the simulator."""
    now = time.time()  # noqa: TID251
    authority, other = ca.create(tmp_path / "a", now=now), ca.create(tmp_path / "b", now=now)

    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(authority.tls, trusting(other.ca_file), "localhost")


def test_the_certificate_is_no_good_for_another_name(tmp_path: Path) -> None:
    """The name is checked as for any broker."""
    authority = ca.create(tmp_path, now=time.time())  # noqa: TID251

    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(authority.tls, trusting(authority.ca_file), "login.questrade.com")


def test_old_tls_is_refused(tmp_path: Path) -> None:
    """TLS 1.2 is the floor, as it is for brokers."""
    assert ssl.TLSVersion.TLSv1_2 == ca.create(tmp_path, now=NOON).tls.minimum_version


def test_files_have_their_modes_under_any_umask(tmp_path: Path) -> None:
    """Certificates may be read by all, the key by its owner only, and older files do not lend their mode."""
    directory = tmp_path / "new"
    before = os.umask(0)
    try:
        ca.create(directory, now=NOON)
        (directory / "server.key").chmod(0o644)
        ca.create(directory, now=NOON)
    finally:
        os.umask(before)

    modes = {path.name: _mode(path) for path in directory.iterdir()}
    assert {"ca.pem": 0o644, "server.pem": 0o644, "server.key": 0o600} == modes
    assert 0o700 == _mode(directory)


def test_the_key_of_the_authority_is_not_kept(tmp_path: Path) -> None:
    """The one private key on disk is the server's: nobody can sign another certificate later."""
    authority = ca.create(tmp_path, now=NOON)
    certificate = x509.load_pem_x509_certificate(authority.ca_file.read_bytes())

    private = [path.name for path in tmp_path.iterdir() if b"PRIVATE KEY" in path.read_bytes()]
    assert ["server.key"] == private
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.timing
def test_an_authority_is_made_within_50_ms(tmp_path: Path) -> None:
    """The best of five, so that a busy machine does not decide."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        ca.create(tmp_path, now=NOON)
        times.append(time.perf_counter() - start)

    assert min(times) < 0.050
