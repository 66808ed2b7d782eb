"""The running product in front of a broker with sockets, each a process of its own: for floods, and for latency."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from proxy.store.keys import Source
from tests.lab import CA_FILE, TRUST
from tests.measured import Measured
from tests.product import COMMAND, ROOT, Program, run

SECRET = "the-broker-s-own-key"
PATHS = ("echo", "talk", "deaf", "bomb")
PYTHON = (sys.executable, "-P")


@dataclass(frozen=True)
class Scene(Measured):
    """The product and the broker. `key` is that of the client `bot`."""

    url: str
    key: str
    broker: int
    process: psutil.Process

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def connections(self) -> tuple[int, int]:
        """Those of clients, and those at the broker."""
        found = [each for each in self.process.net_connections("tcp") if bool(each.raddr)]
        inside = sum(each.laddr.port == self.port for each in found)
        return inside, sum(each.raddr.port == self.broker for each in found)


def configuration(broker: int, limits: dict[str, Any]) -> dict[str, Any]:
    """One mount of a broker that listens on this port, with a secret that lasts, and rows that are sockets."""
    rows: list[dict[str, Any]] = [
        {"id": name, "method": "GET", "path": f"/v1/{name}", "scope": "read", "websocket": True} for name in PATHS
    ]
    rows.append({"id": "late", "method": "GET", "path": "/v1/late", "scope": "read", "websocket": True})
    rows[-1]["speaks"] = "tradier"
    definition = {
        "title": "Lab", "scopes": {"read": "Looking"}, "params": {}, "rows": rows,
        "logins": {"key": {"kind": "secret", "title": "A key", "asks": ["key"]}},
        "environments": {
            "here": {"api_server": f"https://127.0.0.1:{broker}", "api_hosts": ["127.0.0.1:*"], "ca_file": CA_FILE}
        },
    }  # fmt: skip
    return {
        "version": 1, "listen": "127.0.0.1:0", "console": "off", "store": "sqlite:state/store.db",
        "key": "file:master.key", "log": {"level": "error"}, "limits": limits,
        "clients": {"bot": {"lab": ["read"]}},
        "mounts": {"lab": {"broker": "lab", "environment": "here", "grant": "lab", "scopes": ["read"]}},
        "brokers": {"lab": definition},
    }  # fmt: skip


@contextmanager
def staged(home: Path, **limits: Any) -> Iterator[Scene]:
    """Both, with the product logged in. It blocks."""
    trust = TRUST.ca_file.parent
    script = str(ROOT / "tests" / "streams" / "socketbroker.py")
    broker = Program(home, script, str(trust / "server.pem"), str(trust / "server.key"), command=PYTHON)
    server: Program | None = None
    try:
        port = int(str(broker.document()))
        (home / "config.yaml").write_text(json.dumps(configuration(port, limits)))
        Source("file:master.key", home).create()
        server = Program(home, "serve", "-c", "config.yaml", command=COMMAND)
        server.until("To do: ")
        url = re.findall(r"serves (http://[0-9.:]+)", server.output)[0]
        login = run(home, "login", "lab", "--token-stdin", "-c", "config.yaml", stdin=f"{SECRET}\n")
        made = run(home, "clients", "add", "bot", "-c", "config.yaml")
        assert (0, 0) == (login.code, made.code), login.output + made.output
        yield Scene(url, re.findall(r"brd_\w+", made.out)[0], port, psutil.Process(server.pid))
    finally:
        if server is not None:
            server.stop()
        broker.kill()
