"""How much of what passes through waits here.

asyncio's defaults are for few connections and fast ones. Ours may be thousands, and slow on purpose.
"""

import asyncio
from asyncio import sslproto

PIECE = 32 * 1024  # bytes that are read at once; of a TLS connection that is two records at their largest
WAITING = 16 * 1024  # bytes that wait for the other end to take them, and a part: then their source has to wait


def read_in_pieces() -> None:
    """For TLS connections that are made later. asyncio keeps, and touches, 256 KiB for each, half-open ones too."""
    sslproto.SSLProtocol.max_size = min(sslproto.SSLProtocol.max_size, PIECE)


def keep_little(line: asyncio.Transport) -> None:
    """Of a connection that is there, in both directions. Does no harm twice."""
    line.set_write_buffer_limits(high=WAITING)
    if (limit := getattr(line, "set_read_buffer_limits", None)) is not None:
        limit(high=PIECE)  # TLS goes on reading, up to 256 KiB by default, while nobody takes what it has deciphered
    elif hasattr(line, "max_size"):
        line.max_size = PIECE  # TCP and Unix sockets: one read, of 256 KiB by default
