"""The address of a PostgreSQL database: what is read from it, and what is refused with which words."""

import pytest

from proxy.dsn import FORM, Unreadable, is_database, read, without_password
from proxy.secret import Secret

PLAIN = "postgresql://ann@db.internal/tokens"
HIDDEN = "put it into a file (mode 0600) and name that in store_password_file"
HOSTLESS = "write postgresql://USER@HOST/DATABASE, or ?host=/run/postgresql for a socket"


@pytest.mark.parametrize(
    ("dsn", "hosts"),
    [
        (PLAIN, [("db.internal", 5432)]),
        ("postgres://ann@db.internal:6432/tokens", [("db.internal", 6432)]),
        ("postgresql://ann@[::1]:6432/tokens", [("::1", 6432)]),
        ("postgresql://ann@a:1,b:2,[::1]/tokens", [("a", 1), ("b", 2), ("::1", 5432)]),
        ("postgresql://ann@/tokens?host=/run/postgresql", [("/run/postgresql", 5432)]),
        ("postgresql://ann@/tokens?host=/run/postgresql&port=6432", [("/run/postgresql", 6432)]),
        ("postgresql://ann@/tokens?host=a,b&port=1,2", [("a", 1), ("b", 2)]),
        ("postgresql://ann@a,b/tokens?port=6432", [("a", 6432), ("b", 6432)]),
    ],
    ids=["plain", "port", "ipv6", "several", "socket", "socket-port", "query-hosts", "one-port-for-all"],
)
def test_an_address_is_taken_apart(dsn: str, hosts: list[tuple[str, int]]) -> None:
    """Hosts with their ports, the user and the database are what was written."""
    parts = read(dsn)

    assert hosts == [(host.name, host.port) for host in parts.hosts]
    assert ("ann", "tokens") == (parts.user, parts.database)


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("postgresql://u@db/x?password=canary", "may hold no password", HIDDEN),
        ("postgresql://u@db/x?passfile=canary", "may hold no password", HIDDEN),
        ("postgresql://u@db", "does not name a database", FORM),
        ("postgresql://u@db/", "does not name a database", FORM),
        ("postgresql://u@db/x/y", "does not name a database", FORM),
        ("postgresql://u@db/x#y", "does not name a database", FORM),
        ("postgresql://u@db/x y", "does not name a database", FORM),
        ("postgresql://u@db:port/x", "is no address of a database", FORM),
        ("postgresql://u@[::1/x", "is no address of a database", FORM),
        ("mysql://u@db/x", "is no address of a database", FORM),
        ("postgresql://u@a,,b/x", "does not name a host", HOSTLESS),
        ("postgresql://u@db/x?sslmode", "is no address of a database", FORM),
        ("postgresql:///x", "does not name a host", HOSTLESS),
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
            "has sslmode=prefer, which is no protection",
            "write sslmode=verify-full, or disable on a safe network",
        ),
        (
            "postgresql://u@db/x?sslmode=full",
            "has the unknown sslmode 'full'",
            "known: disable, require, verify-ca, verify-full",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(text: str, message: str, fix: str) -> None:
    """With the next step, and never with the password."""
    with pytest.raises(Unreadable) as refused:
        read(text)

    assert (message, fix) == (refused.value.problem, refused.value.fix)
    assert "canary" not in f"{refused.value.problem}{refused.value.fix}"


def test_a_password_is_read_and_can_be_refused() -> None:
    """On the command line it may stand in the address, in a file it may not; it is never shown."""
    parts = read("postgresql://ann:s3k%2Fr3t@db/tokens")

    assert Secret("s3k/r3t") == parts.password
    assert "s3k" not in repr(parts)
    with pytest.raises(Unreadable, match="may hold no password"):
        without_password(parts)
    without_password(read(PLAIN))


@pytest.mark.parametrize(("text", "expected"), [("postgres://x", True), ("postgresql:", True), ("sqlite:a.db", False)])
def test_a_database_is_told_from_a_file(text: str, expected: bool) -> None:
    """By what stands before the colon."""
    assert expected is is_database(text)
