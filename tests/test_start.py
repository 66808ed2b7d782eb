"""How long a start takes, and how much memory."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from proxy.cli.ports import reserve
from tests.callers import ask, eventually
from tests.product import COMMAND, Program, demo, run

BAR = 0.6  # seconds, best of five; the test leaves twice as much for a busy machine
NOISE = 2.0
MEMORY = 85  # megabytes resident, of which a third are files that other processes share


def configuration(listen: int, console: int, environment: object) -> str:
    mount = {"broker": "questrade", "environment": "simulator", "grant": "questrade", "scopes": ["read_acc"]}
    return json.dumps(
        {
            "listen": f"127.0.0.1:{listen}",
            "console": f"127.0.0.1:{console}",
            "store": "sqlite:state/store.db",
            "key": "file:master.key",
            "mounts": dict.fromkeys(("questrade", "second", "third"), mount),
            "clients": {"notebook": {"questrade": ["read_acc"]}},
            "brokers": {"questrade": {"environments": {"simulator": environment}}},
        }
    )


async def to_ready(directory: Path, console: str) -> tuple[float, float]:
    """From the start of the process to the first 200 of `/readyz`: seconds, and megabytes then."""
    with Program(directory, "serve", "-c", "config.yaml", "-q", command=COMMAND) as server:
        async for so_far in eventually(20, pause=0.005):
            assert server.code is None, server.output
            try:
                reply = await ask(console, "GET", "/readyz")
            except OSError:
                continue
            if reply.status == 200:
                return so_far, psutil.Process(server.pid).memory_info().rss / 1e6
    raise AssertionError(server.output)


@pytest.mark.timing
async def test_a_start_with_an_existing_store_is_ready_in_time(
    state_dir: Path, figure: Callable[[object], None]
) -> None:
    """The best of five, from the spawn to a server with three mounts that is logged in; and its memory then."""
    (listen, console), held = reserve(2)
    with Program(state_dir, "simulate", "--json") as simulator:
        at = simulator.document()
        (state_dir / "config.yaml").write_text(configuration(listen, console, at["environment"]))
        for arguments, stdin in ((("init",), ""), (("login", "questrade", "--token-stdin"), at["refresh_token"])):
            done = await asyncio.to_thread(run, state_dir, *arguments, "-c", "config.yaml", stdin=stdin)
            assert 0 == done.code, done.output
        found = [await to_ready(state_dir, f"http://127.0.0.1:{console}") for _ in range(5)]
    held.close()
    best, memory = min(found), max(memory for _, memory in found)
    figure(f"start to ready: best {best[0]:.2f} s, worst {max(found)[0]:.2f} s of 5 (bar {BAR} s); {memory:.0f} MB")
    assert best[0] <= BAR * NOISE
    assert memory <= MEMORY


@pytest.mark.timing
def test_a_demo_is_ready_before_one_loses_patience(tmp_path: Path, figure: Callable[[object], None]) -> None:
    """`demo --json` has made its certificates, its store and a login within 5 s."""
    began = time.perf_counter()
    with demo(tmp_path, command=COMMAND):
        seconds = time.perf_counter() - began
    figure(f"demo to its line: {seconds:.2f} s")
    assert seconds <= 5
