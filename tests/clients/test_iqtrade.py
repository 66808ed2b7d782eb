"""iqtrade 0.0.5 (requests), the one Questrade client that asks for stream ports; `websockets` opens them.

It reads the port and no more. Clients of other languages that open it themselves write `wss://host:port/`.
"""

import json
import subprocess
import sys
from importlib.metadata import version

from tests.clients.conftest import HERE
from tests.clients.product import LIMIT_ORDER, Demo
from tests.clients.trap import Trap

SCRIPT = HERE / "scripts" / "stream_iqtrade.py"


def test_the_version_is_the_one_that_was_looked_at() -> None:
    """Another one may do otherwise."""
    assert "0.0.5" == version("iqtrade")


def test_a_person_streams_orders_and_quotes_over_tls(demo: Demo, trap: Trap) -> None:
    """With nothing changed but the address of the token endpoint. For plain text see `test_streaming.py`."""
    url = f"{demo.report['url_tls']}/questrade"
    trust = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), demo.report["ca_file"])
    program = [sys.executable, "-P", str(SCRIPT), url, demo.key, "8049,27426"]
    environ = {**trap.environ, "no_proxy": "localhost,127.0.0.1", "PATH": "/usr/bin:/bin", **trust}
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stdout is not None
        assert {"success": True} == json.loads(process.stdout.readline() or "{}"), process.communicate()[1]
        assert demo.place(LIMIT_ORDER).document["orderId"]
        said, errors = process.communicate(timeout=30)
    orders, greeting, quotes = map(json.loads, said.splitlines())
    assert ("", 26598145, {"success": True}) == (errors, orders["accountNumber"], greeting)
    assert {8049, 27426} == {quote["symbolId"] for quote in quotes["quotes"]}
