"""bearerd as it is delivered: `bearerd serve` with a built-in scope table, a client key, the audit trail and metrics.

Tradier's definition, with one environment more, which leads to the broker of the benchmark. Its rate limits are on, and
too high to be met. The token is in the store, sealed, before the server starts.
"""

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from bench.load import Way
from bench.peers.peer import ROOT, Peer, Served, Stage
from bench.processes import Process, free_port, run, running
from proxy import __version__

COMMAND = (sys.executable, "-P", "-m", "proxy")
_LIMITS = {category: {"per_second": 100_000_000} for category in ("standard", "market", "trading")}


def configuration(stage: Stage, more: Mapping[str, Any]) -> dict[str, Any]:
    """The file's content. `more`: keys of its top level that a variant has besides."""
    environment = {
        "api_servers": {"rest": stage.upstream.url}, "api_hosts": ["127.0.0.1:*"],
        "ca_file": str(stage.upstream.ca_file), "rate_limits": _LIMITS,
    }  # fmt: skip
    return {
        "version": 1, "listen": f"127.0.0.1:{free_port()}", "console": f"127.0.0.1:{free_port()}",
        "store": "sqlite:state/store.db", "key": "file:master.key", "log": {"level": "info"},
        "mounts": {"tradier": {"broker": "tradier", "environment": "bench", "scopes": ["read", "market"]}},
        "clients": {"bench": {"tradier": ["read", "market"]}},
        "brokers": {"tradier": {"environments": {"bench": environment}}},
        **more,
    }  # fmt: skip


def command(stage: Stage, *arguments: str, stdin: str = "") -> str:
    """`bearerd ARGUMENTS` in the folder, to its end: what it printed. Missing if it fails."""
    options = ("-c", str(stage.home / "config.yaml"))
    return run(f"bearerd {arguments[0]}", *COMMAND, *arguments, *options, environ=_environ(stage), stdin=stdin)


def _environ(stage: Stage) -> dict[str, str]:
    return {"HOME": str(stage.home), "PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT)}


def prepare(stage: Stage, document: Mapping[str, Any]) -> Way:
    """Everything but the server: configuration, master key, store with the token, client key."""
    stage.write("config.yaml", json.dumps(document))
    from proxy.store.keys import Source

    Source("file:master.key", stage.home).create()
    command(stage, "login", "tradier", "--token-stdin", stdin=f"{stage.upstream.token}\n")
    key = re.findall(r"brd_\w+", command(stage, "clients", "add", "bench"))[0]
    return Way(f"http://{document['listen']}/tradier", (f"Authorization: Bearer {key}",))


@contextlib.contextmanager
def serve(stage: Stage, **more: Any) -> Iterator[Served]:
    """A running server. Keywords are keys of the configuration."""
    document = configuration(stage, more)
    way = prepare(stage, document)
    process = Process((*COMMAND, "serve", "-c", "config.yaml"), stage.core, stage.home, "bearerd", _environ(stage))
    with running(process):
        process.listening(int(document["listen"].rpartition(":")[2]))
        yield Served(way, process)


def _version() -> str:
    return __version__


BEARERD = Peer("bearerd", _version, serve, "all on: gate, key, table, audit trail, metrics, rate limits")

VARIANTS = (
    Peer("bearerd, asyncio's loop", _version, partial(serve, engine={"loop": "asyncio"}), "engine.loop: asyncio"),
    Peer(
        "bearerd, aiohttp's client",
        _version,
        partial(serve, engine={"upstream": "aiohttp"}),
        "engine.upstream: aiohttp",
    ),
    Peer("bearerd, no express lane", _version, partial(serve, engine={"express": False}), "engine.express: false"),
    Peer("bearerd, two workers", _version, partial(serve, workers=2), "workers: 2, on one core"),
)
