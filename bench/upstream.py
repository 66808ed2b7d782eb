"""The broker of the benchmark: nginx with TLS, an answer of 365 bytes, and 401 for whoever lacks the bearer."""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Process, free_port, program, run, running
from proxy.clock import SystemClock
from proxy.simulator import ca

TOKEN = "a-token-of-the-benchmark-0123456789abcdef"  # noqa: S105  it opens nothing
LONG = 64 * 2**20  # bytes of the long answer
SIZE = 365
TARGET = "/v1/markets/quotes?symbols=AAPL"
LONG_TARGET = "/v1/markets/history?symbol=AAPL"


def _quote() -> str:
    """An answer of 365 bytes, in the shape of a broker's quote."""
    quote = {
        "symbol": "AAPL", "description": "Apple Inc", "exch": "Q", "type": "stock", "last": 187.42, "change": -1.02,
        "volume": 40123456, "open": 188.1, "high": 189.3, "low": 186.9, "close": None, "bid": 187.41, "ask": 187.43,
        "change_percentage": -0.55, "average_volume": 55123456, "last_volume": 100, "prevclose": 188.44, "note": "",
    }  # fmt: skip
    short = json.dumps({"quotes": {"quote": quote}}, separators=(",", ":"))
    quote["note"] = "." * (SIZE - len(short))
    return json.dumps({"quotes": {"quote": quote}}, separators=(",", ":"))


QUOTE = _quote()
assert len(QUOTE) == SIZE  # noqa: S101  the tables say so


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where it listens, as HTTPS, and the authority to trust for it."""

    port: int
    ca_file: Path
    token: str = TOKEN

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


def nginx() -> str:
    """The program. Missing without one."""
    return program("nginx", "nginx")


def nginx_version() -> str:
    """Such as 1.22.1."""
    found = re.search(r"nginx/([\d.]+)", run("nginx", nginx(), "-v"))
    return found[1] if found else "unknown"


def nginx_frame(home: Path) -> str:
    """The part of every nginx configuration that keeps it in its folder, in the foreground, with one worker."""
    user = "user root;" if os.geteuid() == 0 else ""  # another one could not enter the folder
    paths = " ".join(
        f"{name}_temp_path {home}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""daemon off; worker_processes 1; pid {home}/nginx.pid; error_log stderr error; {user}
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 300s; server_tokens off; {paths}
%s
}}
"""


@contextlib.contextmanager
def serving(home: Path, core: int) -> Iterator[Upstream]:
    """Started, until it is left."""
    place = home / "upstream"
    authority = ca.create(place, now=SystemClock().now().wall)
    with (place / "long").open("wb") as long:
        long.truncate(LONG)
    upstream = Upstream(free_port(), authority.ca_file)
    (place / "nginx.conf").write_text(nginx_frame(place) % _server(upstream, place), "utf-8")
    command = [nginx(), "-e", "stderr", "-p", str(place), "-c", str(place / "nginx.conf")]
    with running(Process(command, core, place, "upstream")) as process:
        process.listening(upstream.port)
        yield upstream


def _server(upstream: Upstream, place: Path) -> str:
    return f"""
server {{
  listen 127.0.0.1:{upstream.port} ssl backlog=4096;
  ssl_certificate {place}/server.pem; ssl_certificate_key {place}/server.key;
  ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:bench:1m;
  default_type application/json;
  if ($http_authorization != "Bearer {upstream.token}") {{ return 401; }}
  location / {{ return 200 '{QUOTE}'; }}
  location /v1/markets/history {{ alias {place}/long; sendfile on; output_buffers 2 128k; }}
}}"""
