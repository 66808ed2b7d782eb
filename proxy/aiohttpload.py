"""Imports aiohttp without the two TLS contexts that it makes for itself meanwhile.

They cost 40 ms of each start, for reading all certificates of the system, and 2 MB. Nobody here uses them: every
session has a context of its own (`outbound.py`). What aiohttp gets instead trusts nobody, so that a session which
forgot its own would fail, and not trust somebody else. Without this file all is the same, and a start takes longer.
"""

import ssl
import sys
from typing import Any


def load() -> None:
    """To be called before anybody else imports aiohttp, with no other thread about; later it does nothing."""
    if "aiohttp" in sys.modules:
        return
    real = ssl.create_default_context
    ssl.create_default_context = _empty
    try:
        import aiohttp.connector  # noqa: F401
    finally:
        ssl.create_default_context = real


def _empty(*_args: Any, **_settings: Any) -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
