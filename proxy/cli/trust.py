"""The variables by which programs trust the local authority.

None of them makes a program trust less than before, or skip a check.
"""

import socket
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from proxy.cli.exits import Exit, Stop

if TYPE_CHECKING:
    from proxy.config import Config

ADDS = "NODE_EXTRA_CA_CERTS"  # Node.js, Bun, Deno: beside what they trust
# What replaces a program's authorities, and where it looks else. OpenSSL (Python, Ruby, .NET on Linux, Rust's native
# stores) and Go; requests; curl and R. The order is the one in which they are given out.
REPLACES: Mapping[str, tuple[str, ...]] = {
    "SSL_CERT_FILE": (),
    "REQUESTS_CA_BUNDLE": ("CURL_CA_BUNDLE",),
    "CURL_CA_BUNDLE": ("SSL_CERT_FILE",),
}
IF_SET = ("WEBSOCKET_CLIENT_CA_BUNDLE",)  # websocket-client: else it goes by OpenSSL's
PATIENCE = 2.0  # seconds for a handshake with our own server


def trusting(config: "Config", environ: Mapping[str, str], say: Callable[[str], None]) -> dict[str, str]:
    """Variables for a program with `environ`: files that hold what it trusts, and the local authority.

    Files that are named there already are kept, and ours is put beside what they hold; `say` hears of those for which
    that cannot be done. `Stop` if there is no authority.
    """
    from proxy import localca, trustfiles
    from proxy.store import UnsafeFile

    directory = config.tls_directory
    try:
        ca = localca.read(localca.file_of(config)).pem
        files = trustfiles.publish(directory, ca)
    except localca.NoAuthority as error:
        raise Stop(error.message, Exit.CONFIG, error.fix.removeprefix("run: ")) from None
    except (OSError, UnsafeFile) as error:
        raise Stop(f"{directory} can't be written: {error}") from None
    values = {}
    for name, instead in {ADDS: (), **REPLACES, **dict.fromkeys(IF_SET, ())}.items():
        own = files.ca if name == ADDS else files.bundle
        theirs = next(filter(None, map(environ.get, (name, *instead))), None)
        if theirs is None or (own is not None and Path(theirs) == own):
            if name not in IF_SET and own is not None:
                values[name] = str(own)
            continue
        try:
            values[name] = str(trustfiles.merged(directory, Path(theirs), ca))
        except (OSError, UnsafeFile) as error:
            reason = getattr(error, "strerror", None) or str(error)
            say(f"! {name} stays {theirs} ({reason}): what goes by it will not trust bearerd's TLS addresses")
    if files.bundle is None:
        say("! the authorities of this system were not found: only Node.js is told to trust bearerd's TLS addresses")
    return values


def trusted(url: str) -> bool:
    """Whether a program with our environment would trust the server at this https address. Blocks."""
    place = urlsplit(url)
    try:
        with (
            socket.create_connection((place.hostname or "", place.port or 443), timeout=PATIENCE) as line,
            ssl.create_default_context().wrap_socket(line, server_hostname=place.hostname),
        ):
            return True
    except OSError:  # of every kind: no server, no handshake, no trust
        return False
