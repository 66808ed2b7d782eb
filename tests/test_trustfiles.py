"""What programs are pointed at that trust the local authority: never less than they trusted before."""

import os
import ssl
import subprocess
from pathlib import Path

import pytest

from proxy import trustfiles
from proxy.clock import SystemClock
from proxy.trustfiles import BUNDLE, CA, KEPT, MERGED, joined, merged, publish, system_authorities
from tests.authority import Authority

NOW = SystemClock().now().wall


@pytest.fixture(name="ours", scope="module")
def _ours(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return Authority(tmp_path_factory.mktemp("ours"), "ours", now=NOW).file.read_bytes()


@pytest.fixture(name="theirs")
def _theirs(tmp_path: Path) -> Path:
    return Authority(tmp_path / "theirs", "theirs", now=NOW).file


def count(file: Path) -> int:
    """The authorities that OpenSSL reads from a file."""
    return len(ssl.create_default_context(cafile=file).get_ca_certs())


def test_the_bundle_holds_what_the_system_trusts_and_ours(ours: bytes, tmp_path: Path) -> None:
    """Ours alone stands in the other file, for what adds to a program's authorities."""
    system = system_authorities()
    assert system.count(b"BEGIN CERTIFICATE") > 50

    found = publish(tmp_path / "tls", ours)

    assert (tmp_path / "tls" / CA, tmp_path / "tls" / BUNDLE) == (found.ca, found.bundle)
    assert ours == found.ca.read_bytes()
    assert found.bundle is not None
    assert joined(system, ours) == found.bundle.read_bytes()
    assert count(found.bundle) > 50


def test_what_is_up_to_date_is_not_touched(ours: bytes, tmp_path: Path, theirs: Path) -> None:
    """A program may be reading it; what is out of date, or missing, is written again."""
    found = publish(tmp_path / "tls", ours)
    files = [found.ca, found.bundle or found.ca]
    before = [file.stat().st_ino for file in files]
    publish(tmp_path / "tls", ours)
    assert before == [file.stat().st_ino for file in files]
    found.ca.write_text("torn")
    files[1].unlink()

    publish(tmp_path / "tls", theirs.read_bytes())

    assert theirs.read_bytes() == found.ca.read_bytes()
    assert theirs.read_bytes() in files[1].read_bytes()
    assert {CA, BUNDLE} == {file.name for file in (tmp_path / "tls").iterdir()}


def test_a_program_s_own_authorities_are_kept(ours: bytes, theirs: Path, tmp_path: Path) -> None:
    """Beside ours, in a file that is the same for the same ones; one that has ours already is left alone."""
    found = merged(tmp_path / "tls", theirs, ours)

    assert (2, tmp_path / "tls" / MERGED) == (count(found), found.parent)
    assert found == merged(tmp_path / "tls", theirs, ours)
    assert found == merged(tmp_path / "tls", found, ours)
    last = found
    for number in range(KEPT + 3):
        Authority(tmp_path / "theirs", "theirs", now=NOW)
        last = merged(tmp_path / "tls", theirs, ours)
        assert last.exists()
        os.utime(last, (NOW + 1000 - number,) * 2)  # a clock that was ahead
    left = [*(tmp_path / "tls" / MERGED).iterdir()]
    assert (KEPT, True) == (len(left), last in left)


@pytest.mark.parametrize("title", [b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"])
def test_no_form_of_a_certificate_is_left_out(ours: bytes, theirs: Path, tmp_path: Path, title: bytes) -> None:
    """OpenSSL reads all three from one file."""
    trusted = ["openssl", "x509", "-trustout", "-in", str(theirs)]
    other = subprocess.run(trusted, capture_output=True, check=True).stdout if title.startswith(b"T") else None
    other = other or theirs.read_bytes().replace(b"CERTIFICATE", title)
    assert title in other
    theirs.write_bytes(other + Authority(tmp_path / "third", "third", now=NOW).file.read_bytes())

    assert (2, 3) == (count(theirs), count(merged(tmp_path / "tls", theirs, ours)))


@pytest.mark.parametrize("spoil", ["missing", "folder", "empty", "endless"])
def test_a_file_that_is_none_is_not_merged(ours: bytes, theirs: Path, tmp_path: Path, spoil: str) -> None:
    """A program with such a setting trusts nobody, or more than is read, and would then trust only us."""
    theirs.unlink()
    if spoil == "folder":
        theirs.mkdir()
    elif spoil == "empty":
        theirs.write_text("")
    elif spoil == "endless":  # what is behind the first part would not be trusted any more
        theirs.write_bytes(ours * (trustfiles.LARGEST // len(ours) + 1))
    with pytest.raises(OSError, match="theirs"):
        merged(tmp_path / "tls", theirs, ours)


def test_only_certificates_are_copied(ours: bytes) -> None:
    """Not what stands between them, keys least of all."""
    text = b"# a list\n-----BEGIN PRIVATE KEY-----\nc4n4ry\n-----END PRIVATE KEY-----\n" + ours + b"-----BEGIN TRUSTED"
    assert ours == joined(text)


def test_a_directory_of_authorities_is_read(ours: bytes, theirs: Path, tmp_path: Path) -> None:
    """Each once, whatever other names it has."""
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / "a.pem").write_bytes(ours)
    (folder / "b.pem").write_bytes(theirs.read_bytes())
    (folder / "0a1b2c3d.0").symlink_to("a.pem")
    (folder / "gone.pem").symlink_to("nowhere")
    (folder / "README").write_text("text")
    assert {ours, theirs.read_bytes()} == set(trustfiles._listed(folder))
    assert 2 == len(list(trustfiles._listed(folder)))
