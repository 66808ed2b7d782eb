"""The address of a database: what passes, and what is refused with which words."""

import pytest

from proxy.config.address import Wrong
from proxy.config.database import FORM, database, is_database

HIDDEN = "put it into a file (mode 0600) and name that in store_password_file"


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://bearerd@db.internal/bearerd",
        "postgres://bearerd@db.internal:5433/bearerd?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        "postgresql:///bearerd?host=/run/postgresql",
        "postgresql://[::1]/bearerd",
        "postgresql://bearerd@one.internal:5432,two.internal/bearerd?target_session_attrs=read-write",
    ],
)
def test_an_address_is_kept_as_it_was_written(text: str) -> None:
    """Nothing is normalized: the driver reads it."""
    assert text == database(text)


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("postgresql://u:canary@db/x", "may hold no password", HIDDEN),
        ("postgresql://u@db/x?password=canary", "may hold no password", HIDDEN),
        ("postgresql://u@db/x?passfile=canary", "may hold no password", HIDDEN),
        ("postgresql://u@db", "does not name a database", FORM),
        ("postgresql://u@db/", "does not name a database", FORM),
        ("postgresql://u@db/x/y", "does not name a database", FORM),
        ("postgresql://u@db/x#y", "does not name a database", FORM),
        ("postgresql://u@db/x y", "does not name a database", FORM),
        ("postgresql://u@db:port/x", "is no address of a database", FORM),
        ("postgresql://u@db/x?sslmode", "is no address of a database", FORM),
        (
            "postgresql:///x",
            "does not name a host",
            "write postgresql://USER@HOST/DATABASE, or ?host=/run/postgresql for a socket",
        ),
        (
            "postgresql://u@db/x?sslmod=require",
            "has the unknown parameter 'sslmod'",
            "known: host, port, sslcert, sslkey, sslmode, sslrootcert, target_session_attrs",
        ),
        (
            "postgresql://u@db/x?port=5432,65536",
            "has no port in 'port=5432,65536'",
            "write a number from 1 to 65535, or one for each host",
        ),
        (
            "postgresql://u@db/x?sslmode=prefer",
            "has the unknown sslmode 'prefer'",
            "known: disable, require, verify-ca, verify-full",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(text: str, message: str, fix: str) -> None:
    """With the next step, and never with the password."""
    with pytest.raises(Wrong) as refused:
        database(text)

    assert (message, fix) == (refused.value.message, refused.value.fix)
    assert "canary" not in f"{refused.value.message}{refused.value.fix}"


@pytest.mark.parametrize(("text", "expected"), [("postgres://x", True), ("postgresql:", True), ("sqlite:a.db", False)])
def test_a_database_is_told_from_a_file(text: str, expected: bool) -> None:
    """By what stands before the colon."""
    assert expected is is_database(text)
