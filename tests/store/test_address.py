"""A database's address: what it says, what it must not give away, and how it is protected on the way."""

import ssl
from pathlib import Path

import pytest

from proxy.dsn import Host
from proxy.secret import Secret
from proxy.simulator import ca
from proxy.store import StoreError
from proxy.store.address import Address

PLAIN = "postgresql://ann@db.internal/tokens"


@pytest.mark.parametrize(
    "dsn",
    ["", "mysql://ann:s3kr3t@db/tokens", "postgresql://ann:s3kr3t@db", "postgresql://ann:s3kr3t@db:port/tokens",
     "postgresql://ann:s3kr3t@/tokens", "postgresql://ann:s3kr3t@db/tokens?sslmode",
     "postgresql://ann:s3kr3t@db:65536/tokens", "postgresql://ann:s3kr3t@db/tokens?port=0"],
    ids=["empty", "other-database", "no-database", "bad-port", "no-host", "bad-query", "port-too-high", "port-zero"],
)  # fmt: skip
def test_what_is_no_address_is_refused_without_being_repeated(dsn: str) -> None:
    """The message says how to write one, and shows nothing of a password."""
    with pytest.raises(StoreError, match="; write ") as caught:
        Address.parse(dsn)

    assert "s3kr3t" not in str(caught.value)


def test_the_password_of_an_address_is_nowhere_to_be_seen() -> None:
    """It is decoded for the server; location and repr do without."""
    address = Address.parse("postgresql://ann:s3k%2Fr3t@db.internal:6432/tokens")

    assert Secret("s3k/r3t") == address.stored_password(address.hosts[0])
    assert "postgresql://ann@db.internal:6432/tokens" == address.location
    assert "s3k" not in repr(address)


@pytest.mark.parametrize(
    ("line", "password"),
    [
        ("db.internal:5432:tokens:ann:one", "one"),
        ("*:*:*:*:any", "any"),
        (r"*:*:*:ann:back\\slash\:colon", "back\\slash:colon"),
        ("db.internal:5432:tokens:bob:other", None),
        ("# db.internal:5432:tokens:ann:comment", None),
        ("db.internal:5432:tokens", None),
    ],
    ids=["exact", "wildcards", "escapes", "other-user", "comment", "short"],
)
def test_the_password_file_is_read_as_postgresql_does(
    line: str, password: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first line that fits counts."""
    file = tmp_path / "pgpass"
    file.write_text(f"other:1:x:y:z\n{line}\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    address = Address.parse(PLAIN)

    found = address.stored_password(address.hosts[0])

    assert password == (found.reveal() if found else None)


def test_the_environment_may_hold_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """`PGPASSWORD` counts, as for every program of PostgreSQL."""
    monkeypatch.setenv("PGPASSWORD", "of-the-environment")
    address = Address.parse(PLAIN)

    assert Secret("of-the-environment") == address.stored_password(address.hosts[0])


def test_a_password_file_that_others_may_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message ends in the command that helps."""
    file = tmp_path / "pgpass"
    file.write_text("*:*:*:*:s3kr3t\n")
    file.chmod(0o644)
    monkeypatch.setenv("PGPASSFILE", str(file))
    address = Address.parse(PLAIN)

    with pytest.raises(StoreError, match="run: chmod 600"):
        address.stored_password(address.hosts[0])


@pytest.mark.parametrize(
    ("host", "protected"),
    [("db.internal", True), ("10.0.0.7", True), ("localhost", False), ("127.0.0.1", False), ("[::1]", False)],
)
def test_another_machine_gets_tls_with_a_checked_name(host: str, protected: bool) -> None:
    """Without a word about it in the address; what stays on this machine does without."""
    address = Address.parse(f"postgresql://ann@{host}/tokens")
    context = address.tls(address.hosts[0])

    assert protected is (context is not None)
    if context is not None:
        assert (True, ssl.CERT_REQUIRED) == (context.check_hostname, context.verify_mode)


@pytest.mark.parametrize(
    ("mode", "checked"),
    [
        ("disable", None),
        ("require", (False, ssl.CERT_NONE)),
        ("verify-ca", (False, ssl.CERT_REQUIRED)),
        ("verify-full", (True, ssl.CERT_REQUIRED)),
    ],
)
def test_the_address_may_say_how_it_is_protected(mode: str, checked: tuple[bool, ssl.VerifyMode] | None) -> None:
    """`sslmode` has the meaning that PostgreSQL gives it."""
    context = Address.parse(f"{PLAIN}?sslmode={mode}").tls(Host("db.internal", 5432))

    assert checked == (None if context is None else (context.check_hostname, context.verify_mode))


def test_require_with_an_authority_checks_the_certificate(tmp_path: Path) -> None:
    """Whoever names a CA means it."""
    authority = ca.create(tmp_path, now=1_800_000_000)
    context = Address.parse(f"{PLAIN}?sslmode=require&sslrootcert={authority.ca_file}").tls(Host("db.internal", 5432))

    assert context is not None
    assert (False, ssl.CERT_REQUIRED, 1) == (context.check_hostname, context.verify_mode, len(context.get_ca_certs()))


@pytest.mark.parametrize("mode", ["allow", "prefer", "verify_full", ""])
def test_no_mode_that_gives_up_protection_is_taken(mode: str) -> None:
    """Modes that fall back are refused, as are unknown ones and an empty one, before anything is connected."""
    with pytest.raises(StoreError, match="sslmode"):
        Address.parse(f"{PLAIN}?sslmode={mode}")


def test_missing_certificates_are_named(tmp_path: Path) -> None:
    """A file that is not there is a fault of the configuration, said in one line."""
    address = Address.parse(f"{PLAIN}?sslrootcert={tmp_path / 'none.pem'}")

    with pytest.raises(StoreError, match=r"certificates named for db.internal cannot be used: No such file"):
        address.tls(address.hosts[0])


def test_a_socket_needs_no_tls_whatever_is_written() -> None:
    """TLS over a unix socket does not exist."""
    address = Address.parse("postgresql://ann@/tokens?host=/run/postgresql&sslmode=verify-full")

    assert address.tls(address.hosts[0]) is None
    assert "postgresql://ann@/run/postgresql/tokens" == address.location
