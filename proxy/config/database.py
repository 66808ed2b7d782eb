"""The address of a PostgreSQL store, checked without connecting.

>>> database("postgresql://bearerd@db.internal/bearerd")
'postgresql://bearerd@db.internal/bearerd'
"""

import re
from urllib.parse import parse_qsl, urlsplit

from proxy.config.address import Wrong

FORM = "write postgresql://USER@HOST/DATABASE"
_SCHEMES = frozenset({"postgres", "postgresql"})
# What may stand after the `?`, in libpq's words. All else is refused: a misspelt sslmode must not mean none.
_PARAMETERS = frozenset({"host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey", "target_session_attrs"})
# Not allow and prefer: whoever sits in between could talk both sides out of TLS.
_SSL_MODES = ("disable", "require", "verify-ca", "verify-full")
_LAST_PORT = 65535


def is_database(text: str) -> bool:
    """Whether a store's setting names a PostgreSQL database."""
    return text.partition(":")[0] in _SCHEMES


def database(text: str) -> str:
    """The address as it was written. Raises `Wrong`, whose text never repeats a password."""
    try:
        parts = urlsplit(text)
        login, _, servers = parts.netloc.rpartition("@")
        hosts = [urlsplit(f"//{server}") for server in servers.split(",")]
        _ = [host.port for host in hosts]
        parameters = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else []
    except ValueError:
        raise Wrong("is no address of a database", FORM) from None
    if ":" in login or any(name in ("password", "passfile") for name, _ in parameters):
        raise Wrong("may hold no password", "put it into a file (mode 0600) and name that in store_password_file")
    if not re.fullmatch(r"/[^/]+", parts.path) or parts.fragment or not re.fullmatch(r"[!-~]+", text, re.ASCII):
        raise Wrong("does not name a database", FORM)
    if not all(host.hostname for host in hosts) and "host" not in dict(parameters):
        raise Wrong(
            "does not name a host", "write postgresql://USER@HOST/DATABASE, or ?host=/run/postgresql for a socket"
        )
    _check(parameters)
    return text


def _check(parameters: list[tuple[str, str]]) -> None:
    for name, value in parameters:
        if name not in _PARAMETERS:
            raise Wrong(f"has the unknown parameter '{name}'", f"known: {', '.join(sorted(_PARAMETERS))}")
        if name == "sslmode" and value not in _SSL_MODES:
            raise Wrong(f"has the unknown sslmode '{value}'", f"known: {', '.join(_SSL_MODES)}")
        if name == "port" and not all(_is_port(port) for port in value.split(",") if port):
            raise Wrong(f"has no port in 'port={value}'", "write a number from 1 to 65535, or one for each host")


def _is_port(text: str) -> bool:
    return text.isdecimal() and 0 < int(text) <= _LAST_PORT
