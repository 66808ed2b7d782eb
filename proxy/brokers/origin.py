"""Where a bearer may go: host patterns of a definition, and the one origin that a token answer names.

An `api_server` is chosen by an answer, so it is held against the definition before anything is sent there. It is
matched as text, by one pattern; no URL parser reads it, because parsers drop or fold the very bytes that would give
it away.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

_HOST = re.compile(r"[a-z0-9#](?:[a-z0-9#.-]{0,250}[a-z0-9#])?", re.ASCII)
# The shapes seen in answers: nothing after the host, "/", "/v1" and "/v1/"; and an explicit port.
_API_SERVER = re.compile(
    r"https://(?P<host>[a-z0-9.-]{1,253}|\[[0-9a-f:]{2,45}\])(?::(?P<port>[0-9]{1,5}))?(?:/(?:v1/?)?)?", re.ASCII
)
_HTTPS = 443
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Not global either, though Python takes them so: IPv4-compatible, NAT64 of a site's own, and site-local addresses.
_LOCAL = tuple(map(ipaddress.IPv6Network, ("::/96", "64:ff9b:1::/48", "fec0::/10")))


@dataclass(frozen=True, slots=True)
class Origin:
    """A host and port that are spoken to over verified TLS. Never a string to append to."""

    host: str
    port: int

    def __str__(self) -> str:
        return self.host if self.port == _HTTPS else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class HostPattern:
    """One entry of `api_hosts`: `api##.iq.questrade.com`, `127.0.0.1:*`, `localhost:9443`, `[::1]:*`.

    `#` stands for one digit. Without a port only 443 matches; `*` takes any port. Nothing else is a wildcard.
    """

    text: str
    _host: re.Pattern[str]
    _port: int | None

    @classmethod
    def parse(cls, text: str) -> "HostPattern":
        """Raise `ValueError` with one sentence if `text` is no host pattern."""
        host, port = _split(text)
        if not (_is_ipv6(host) or _HOST.fullmatch(host)) or ".." in host:
            raise ValueError(f"{text!r} is no host: lower-case letters, digits, '.', '-', and '#' for one digit")
        if "#" in host and not re.search("[a-z]", host):
            raise ValueError(f"{text!r} would take many addresses; write each one out")
        if port != "*" and not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
            raise ValueError(f"{text!r} has no valid port: a number from 1 to 65535, or '*'")
        body = "".join("[0-9]" if char == "#" else re.escape(char) for char in host)
        return cls(text, re.compile(body, re.ASCII), None if port == "*" else int(port))

    def matches(self, origin: Origin) -> bool:
        return self._port in (None, origin.port) and self._host.fullmatch(origin.host) is not None


def _is_ipv6(host: str) -> bool:
    try:
        return host.startswith("[") and host.endswith("]") and bool(ipaddress.IPv6Address(host[1:-1]))
    except ValueError:
        return False


def _split(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, _, rest = text.partition("]")
        return host + "]", rest.removeprefix(":") if rest else str(_HTTPS)
    host, colon, port = text.partition(":")
    return host, port if colon else str(_HTTPS)


def is_private(address: str) -> bool:
    """Whether `address` is an IP literal that is not on the public internet."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        if any(parsed in network for network in _LOCAL):
            return True
        nat64 = ipaddress.IPv4Address(int(parsed) & 0xFFFF_FFFF) if parsed in _NAT64 else None
        parsed = parsed.ipv4_mapped or parsed.sixtofour or nat64 or parsed
    return parsed.is_multicast or not parsed.is_global


def read_api_server(value: object) -> Origin | None:
    """The origin that an answer's `api_server` names, or None if it isn't of a shape that we know."""
    match = _API_SERVER.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    port = int(match["port"] or _HTTPS)
    return Origin(match["host"], port) if 0 < port < 1 << 16 else None


def pinned(origin: Origin, patterns: Sequence[HostPattern]) -> bool:
    """Whether a bearer may be sent to `origin`."""
    return any(pattern.matches(origin) for pattern in patterns)
