"""The files that programs are pointed at which are to trust the local authority, beside the authority itself.

Most variables that name such a file replace what a program trusts otherwise. So a bundle is handed out: the system's
authorities, and ours at its end.
"""

import errno
import hashlib
import os
import re
import secrets
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from proxy.store.files import make_directory, write_private

CA, BUNDLE, MERGED = "ca.pem", "bundle.pem", "merged"
LARGEST = 1 << 22  # bytes of a file of authorities
KEPT = 16  # merged files
# Where systems keep all their authorities in one file; as in Go's crypto/x509 (root_linux.go, root_bsd.go).
PLACES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",  # macOS, Alpine, BSD
)
# The three that OpenSSL takes for one (PEM_X509_INFO_read_bio).
_BLOCK = re.compile(rb"-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----[A-Za-z0-9+/=\s]+-----END \1-----")


@dataclass(frozen=True, slots=True)
class TrustFiles:
    """`ca`: our authority alone, for what adds to what a program trusts. `bundle`: for what replaces it; None where the
    system's authorities were not found, since a program would then trust nobody else."""

    ca: Path
    bundle: Path | None


def publish(directory: Path, ca: bytes) -> TrustFiles:
    """Write what is missing or out of date; `ca` is our root in PEM. `OSError`, `UnsafeFile`. Blocks."""
    make_directory(directory)
    _keep(directory / CA, ca)
    system = system_authorities()
    if not system:
        return TrustFiles(directory / CA, None)
    _keep(directory / BUNDLE, joined(system, ca))
    return TrustFiles(directory / CA, directory / BUNDLE)


def merged(directory: Path, theirs: Path, ca: bytes) -> Path:
    """A file with what is in `theirs`, and ours; `theirs` itself if it is in there. `OSError`, also if it holds none.

    Of the files made so, the last ones stay: a program may run for long, and read it late. Blocks.
    """
    content = _read(theirs)
    if _BLOCK.search(content) is None:
        raise OSError(f"{theirs} holds no certificate in PEM")
    if _one_line(ca) in _one_line(content):
        return theirs
    content = joined(content, ca)
    folder = directory / MERGED
    make_directory(folder)
    file = folder / f"{hashlib.sha256(content).hexdigest()[:16]}.pem"
    _keep(file, content)
    file.touch()
    others = sorted((each for each in folder.glob("*.pem") if each != file), key=_age)
    for old in others[KEPT - 1 :]:
        old.unlink(missing_ok=True)
    return file


def system_authorities() -> bytes:
    """The certificates of all authorities that this system trusts, in PEM; nothing if they are not found. Blocks.

    Those of the variables `SSL_CERT_FILE` and `SSL_CERT_DIR` are no part of it: they are a program's own.
    """
    found = ssl.get_default_verify_paths()
    for place in (found.openssl_cafile, *PLACES):
        with suppress(OSError):
            if content := _certificates(_read(Path(place))):
                return content
    if content := b"".join(_listed(Path(found.openssl_capath))):
        return content
    return _certificates(_packaged())


def joined(*parts: bytes) -> bytes:
    """The certificates of all parts in one text."""
    return b"".join(map(_certificates, parts))


def _certificates(content: bytes) -> bytes:
    return b"".join(block[0] + b"\n" for block in _BLOCK.finditer(content))


def _listed(directory: Path) -> Iterator[bytes]:
    """The certificates of a directory in which each has a file of its own, and perhaps links with other names."""
    seen = set()
    with suppress(OSError):
        for file in sorted(directory.iterdir()):
            with suppress(OSError):
                content = _certificates(_read(file))
                if content and content not in seen:
                    seen.add(content)
                    yield content


def _packaged() -> bytes:
    """What comes with Python packages, where a system has none."""
    try:
        import certifi
    except ImportError:
        return b""
    return _read(Path(certifi.where()))


def _one_line(content: bytes) -> bytes:
    return b"".join(content.split())


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        content = opened.read(LARGEST + 1)
    if len(content) > LARGEST:  # not all of it would be trusted any more
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(file))
    return content


def _age(file: Path) -> float:
    try:
        return -file.stat().st_mtime
    except OSError:
        return 0.0


def _keep(file: Path, content: bytes) -> None:
    """`content` in `file`, which stays untouched if it holds it already."""
    with suppress(OSError):
        if _read(file) == content:
            return
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")  # several programs may do this at once
    write_private(draft, content)
    draft.replace(file)
