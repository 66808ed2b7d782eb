"""How long a start takes."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.cli.ports import reserve
from tests.callers import ask, eventually
from tests.product import COMMAND, Program, demo, run

BAR = 0.8  # seconds, best of five; the test leaves half as much again for a busy machine
NOISE = 1.5


def configuration(listen: int, console: int, environment: object) -> str:
    return json.dumps(
        {
            "listen": f"127.0.0.1:{listen}",
            "console": f"127.0.0.1:{console}",
            "store": "sqlite:state/store.db",
            "key": "file:master.key",
            "mounts": {"questrade": {"broker": "questrade", "environment": "simulator", "scopes": ["read_acc"]}},
            "clients": {"notebook": {"questrade": ["read_acc"]}},
            "brokers": {"questrade": {"environments": {"simulator": environment}}},
        }
    )


async def seconds_to_ready(directory: Path, console: str) -> float:
    """From the start of the process to the first 200 of `/readyz`."""
    with Program(directory, "serve", "-c", "config.yaml", "-q", command=COMMAND) as server:
        async for so_far in eventually(20, pause=0.005):
            assert server.code is None, server.output
            try:
                reply = await ask(console, "GET", "/readyz")
            except OSError:
                continue
            if reply.status == 200:
                return so_far
    raise AssertionError(server.output)


@pytest.mark.timing
async def test_a_start_with_an_existing_store_is_ready_in_time(
    state_dir: Path, figure: Callable[[object], None]
) -> None:
    """The best of five starts, from the spawn to a ready server that is logged in, takes at most 0.8 s."""
    (listen, console), held = reserve(2)
    with Program(state_dir, "simulate", "--json") as simulator:
        at = simulator.document()
        (state_dir / "config.yaml").write_text(configuration(listen, console, at["environment"]))
        for arguments, stdin in ((("init",), ""), (("login", "questrade", "--token-stdin"), at["refresh_token"])):
            done = await asyncio.to_thread(run, state_dir, *arguments, "-c", "config.yaml", stdin=stdin)
            assert 0 == done.code, done.output
        times = [await seconds_to_ready(state_dir, f"http://127.0.0.1:{console}") for _ in range(5)]
    held.close()
    figure(f"start to ready: best {min(times):.2f} s, worst {max(times):.2f} s of 5 (bar {BAR} s)")
    assert min(times) <= BAR * NOISE


@pytest.mark.timing
def test_a_demo_is_ready_before_one_loses_patience(tmp_path: Path, figure: Callable[[object], None]) -> None:
    """`demo --json` has made its certificates, its store and a login within 5 s."""
    began = time.perf_counter()
    with demo(tmp_path, command=COMMAND):
        seconds = time.perf_counter() - began
    figure(f"demo to its line: {seconds:.2f} s")
    assert seconds <= 5
