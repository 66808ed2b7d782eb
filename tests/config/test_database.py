"""The address of a database as a setting: it is checked, kept, and holds no password."""

import pytest

from proxy.config.address import Wrong
from proxy.config.database import database
from proxy.dsn import FORM

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
        ("postgresql://u@db", "does not name a database", FORM),
    ],
)
def test_what_cannot_be_used_is_refused(text: str, message: str, fix: str) -> None:
    """With the next step, and never with the password."""
    with pytest.raises(Wrong) as refused:
        database(text)

    assert (message, fix) == (refused.value.message, refused.value.fix)
