"""The address of a PostgreSQL store as a setting, checked without connecting.

>>> database("postgresql://bearerd@db.internal/bearerd")
'postgresql://bearerd@db.internal/bearerd'
"""

from proxy import dsn
from proxy.config.address import Wrong


def database(text: str) -> str:
    """The address as it was written. Raises `Wrong`, whose text never repeats a password."""
    try:
        dsn.without_password(dsn.read(text))
    except dsn.Unreadable as fault:
        raise Wrong(fault.problem, fault.fix) from None
    return text
