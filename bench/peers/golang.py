"""Go's own reverse proxy, built from `go/proxy.go` by the machine's compiler."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from bench.peers.peer import TOOLS, Peer, Served, Stage, fingerprint
from bench.processes import program, run, running

_SOURCE = Path(__file__).with_name("go") / "proxy.go"


def _go() -> str:
    return program("go", "golang-go")


def _version() -> str:
    found = re.search(r"go([\d.]+)", run("go", _go(), "version"))
    return found[1] if found else "unknown"


def _built() -> Path:
    """The program; built once for each source and compiler, which takes half a minute the first time."""
    place = TOOLS / "go"
    program = place / f"proxy-{_version()}-{fingerprint(_SOURCE.read_text('utf-8'))}"
    if not program.exists():
        place.mkdir(parents=True, exist_ok=True)
        environ = os.environ | {"GOCACHE": str(place / "cache"), "GO111MODULE": "off", "CGO_ENABLED": "0"}
        run("go build", _go(), "build", "-o", str(program), str(_SOURCE), environ=environ)
    return program


@contextlib.contextmanager
def _serve(stage: Stage) -> Iterator[Served]:
    upstream = stage.upstream
    served = stage.listening(
        "go",
        lambda port: [str(_built()), str(port), upstream.url, str(upstream.ca_file)],
        {"BENCH_TOKEN": upstream.token},
    )
    with running(served.process):
        yield served


PEERS = (Peer("Go ReverseProxy", _version, _serve, "no access log"),)
