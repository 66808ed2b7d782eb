"""Addresses to listen on, as values that check themselves and print themselves back.

>>> addresses("localhost:8080")
(Tcp(host='127.0.0.1', port=8080, tls=False), Tcp(host='::1', port=8080, tls=False))
>>> addresses("bearerd.internal:8080")   # Wrong: a listener needs an IP address, …
"""

import ipaddress
from dataclasses import dataclass, replace
from pathlib import Path

TLS = "tls:"  # in front of an address
_MAX_PORT = 65535
# A Unix socket's path ends up in a fixed array: 108 bytes on Linux, 104 on macOS, a zero at the end.
_MAX_SOCKET_PATH = 103


class Wrong(ValueError):
    """A value that cannot be used. `fix` continues the sentence of the message after a comma."""

    def __init__(self, message: str, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


@dataclass(frozen=True, slots=True)
class Tcp:
    """An IP address in its shortest form and a port; port 0 = any free one.

    `tls`: it was written with `tls:` in front. It prints itself without that, as the authority of a URL; `written` has
    it.
    """

    host: str
    port: int
    tls: bool = False

    @property
    def loopback(self) -> bool:
        """True if only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def everywhere(self) -> bool:
        """True for 0.0.0.0 and ::, which stand for every address of the machine."""
        return ipaddress.ip_address(self.host).is_unspecified

    @property
    def written(self) -> str:
        """As it stands in a configuration."""
        return f"{TLS}{self}" if self.tls else str(self)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Unix:
    """A Unix socket, mode 0600."""

    path: Path

    @property
    def loopback(self) -> bool:
        """No other machine can reach it."""
        return True

    @property
    def written(self) -> str:
        """As it stands in a configuration."""
        return str(self)

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address = Tcp | Unix


def addresses(text: str) -> tuple[Address, ...]:
    """One setting → one address, or two for `localhost:PORT`. Raises `Wrong`."""
    if text.startswith(TLS):
        return tuple(_encrypted(address) for address in addresses(text.removeprefix(TLS)))
    if text.startswith("unix:"):
        return (_unix(text.removeprefix("unix:")),)
    host, colon, port_text = text.rpartition(":")
    if not colon or not host:
        raise Wrong("lacks the address before the port", "write 127.0.0.1:PORT")
    port = _port(port_text)
    if host == "localhost":
        return (Tcp("127.0.0.1", port), Tcp("::1", port))
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        ip = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise Wrong("a listener needs an IP address, `localhost` or unix:PATH", "write 127.0.0.1:PORT") from None
    if (ip.version == 6) is not bracketed:  # noqa: PLR2004  IPv6
        raise Wrong("square brackets belong around an IPv6 address, and only there", f"write {Tcp(str(ip), port)}")
    return (Tcp(str(ip), port),)


def _encrypted(address: Address) -> Tcp:
    if not isinstance(address, Tcp):
        raise Wrong("a Unix socket has no TLS: nobody can read along there", "remove `tls:`")
    if address.tls:
        raise Wrong("`tls:` stands there twice", f"write {address.written}")
    return replace(address, tls=True)


def _unix(text: str) -> Unix:
    path = Path(text)
    if not path.is_absolute():
        raise Wrong("the path of a Unix socket must be absolute", "write unix:/run/bearerd/bearerd.sock")
    if len(bytes(path)) > _MAX_SOCKET_PATH:
        raise Wrong(f"the path of a Unix socket has at most {_MAX_SOCKET_PATH} bytes", "choose a shorter one")
    return Unix(path)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_PORT)) and int(text) <= _MAX_PORT):
        raise Wrong("the part after the last colon is no port", f"write 0 to {_MAX_PORT}")
    return int(text)
