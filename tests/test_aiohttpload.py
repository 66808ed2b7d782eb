"""aiohttp as the server imports it, in interpreters of their own."""

import subprocess
import sys

LOADED = """
import ssl, sys
real = ssl.create_default_context
from proxy import aiohttpload
aiohttpload.load()
import aiohttp.connector
aiohttpload.load()
print(real is ssl.create_default_context, aiohttp.connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509"])
context = aiohttp.connector._SSL_CONTEXT_VERIFIED
print(context.verify_mode.name, context.check_hostname)
"""


def test_no_certificates_are_read_on_import() -> None:
    """What aiohttp keeps trusts nobody and still verifies; Python's own function is back in its place."""
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, timeout=30)

    assert ["True 0", "CERT_REQUIRED True"] == done.stdout.splitlines()
