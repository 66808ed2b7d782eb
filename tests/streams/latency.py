"""What bearerd adds to a message's way, beside a bare relay written with aiohttp, in one run.

    python -m tests.streams.latency [--rounds 300] [--messages 10] [--size 200]

One client sends a message to a broker that says it back, and waits for it: directly over TLS, through bearerd, and
through the bare relay, in turns. What a relay adds is its time less the direct one. Prints; gates nothing.
"""

import argparse
import asyncio
import ssl
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import aiohttp
import psutil

from tests.lab import CA_FILE
from tests.product import ROOT
from tests.streams.scene import SECRET, Scene, staged

Socket = aiohttp.ClientWebSocketResponse[bool]
WARM_UP = 200
QUOTE = '{"T":"q","S":"AAPL","bx":"U","bp":187.42,"bs":2,"ax":"Q","ap":187.5,"as":5,"c":["R"],"z":"C"},'


@contextmanager
def bare_relay(scene: Scene) -> Iterator[tuple[str, psutil.Process]]:
    """The address and the process of a relay that passes frames on, and does nothing else."""
    arguments = ("-m", "tests.streams.barerelay", f"wss://127.0.0.1:{scene.broker}/v1/echo", CA_FILE)
    relay = subprocess.Popen(
        [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    with relay:
        assert relay.stdin is not None
        assert relay.stdout is not None
        relay.stdin.write(f"{SECRET}:{SECRET}\n")
        relay.stdin.flush()
        yield f"http://127.0.0.1:{int(relay.stdout.readline())}/", psutil.Process(relay.pid)
        relay.terminate()


async def asked(socket: Socket, text: str) -> float:
    """Seconds for a message to the broker and back."""
    began = perf_counter()
    await socket.send_str(text)
    answer = await socket.receive()
    took = perf_counter() - began
    assert text == answer.data, answer
    return took


async def measure(
    ways: dict[str, Callable[[], Awaitable[Socket]]], rounds: int, messages: int, size: int
) -> dict[str, list[float]]:
    """Seconds of each message by each way, sorted. The ways take turns, a few messages at a time."""
    text = (QUOTE * (size // len(QUOTE) + 1))[:size]
    sockets = {name: await connect() for name, connect in ways.items()}
    found: dict[str, list[float]] = {name: [] for name in sockets}
    for socket in sockets.values():
        for _ in range(WARM_UP):
            await asked(socket, text)
    for _ in range(rounds):
        for name, socket in sockets.items():
            found[name] += [await asked(socket, text) for _ in range(messages)]
    for socket in sockets.values():
        await socket.close()
    return {name: sorted(seconds) for name, seconds in found.items()}


def added(found: dict[str, list[float]], name: str) -> tuple[float, float]:
    """What a way adds to the direct one, at p50 and p99, in seconds."""
    at = [statistics.median(seconds) for seconds in (found[name], found["direct"])]
    late = [seconds[int(len(seconds) * 0.99)] for seconds in (found[name], found["direct"])]
    return at[0] - at[1], late[0] - at[1]


def spent(process: psutil.Process) -> float:
    """Seconds of processor time so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


@dataclass(frozen=True)
class Report:
    """Seconds of each message by each way, sorted; and processor seconds a message of both relays."""

    found: dict[str, list[float]]
    cpu: dict[str, float]

    @property
    def ratios(self) -> tuple[float, float, float]:
        """What bearerd adds for what the bare relay adds: at p50, at p99, and in processor time."""
        ours, bare = added(self.found, "bearerd"), added(self.found, "bare relay")
        return ours[0] / bare[0], ours[1] / bare[1], self.cpu["bearerd"] / self.cpu["bare relay"]

    def __str__(self) -> str:
        lines = ["way         p50 us  p99 us  added p50  added p99  CPU us/message"]
        for name, seconds in self.found.items():
            p50, p99 = statistics.median(seconds), seconds[int(len(seconds) * 0.99)]
            more, used = added(self.found, name), f"{self.cpu[name] * 1e6:.0f}" if name in self.cpu else ""
            times = f"{p50 * 1e6:>6.0f}  {p99 * 1e6:>6.0f}  {more[0] * 1e6:>9.0f}  {more[1] * 1e6:>9.0f}  {used:>14}"
            lines.append(f"{name:10}  {times}".rstrip())
        p50, p99, cpu = self.ratios
        return "\n".join([*lines, f"bearerd / bare relay: p50 {p50:.2f}  p99 {p99:.2f}  CPU {cpu:.2f}"])


def report(home: Path, rounds: int, messages: int, size: int) -> Report:
    """Start everything, and measure. It blocks."""
    with staged(home) as scene, bare_relay(scene) as (bare, other):
        processes = {"bearerd": scene.process, "bare relay": other}
        before = {name: spent(process) for name, process in processes.items()}
        found = asyncio.run(_measured(scene, bare, rounds, messages, size))
        count = rounds * messages + WARM_UP
        return Report(found, {name: (spent(process) - before[name]) / count for name, process in processes.items()})


async def _measured(scene: Scene, bare: str, rounds: int, messages: int, size: int) -> dict[str, list[float]]:
    tls = await asyncio.to_thread(ssl.create_default_context, cafile=CA_FILE)
    head = {"Authorization": f"Bearer {scene.key}"}
    async with aiohttp.ClientSession() as session:
        ways: dict[str, Callable[[], Awaitable[Socket]]] = {
            "direct": lambda: session.ws_connect(f"wss://127.0.0.1:{scene.broker}/v1/echo", ssl=tls),
            "bearerd": lambda: session.ws_connect(f"{scene.url}/lab/v1/echo", headers=head),
            "bare relay": lambda: session.ws_connect(bare),
        }
        return await measure(ways, rounds, messages, size)


def main(rounds: int, messages: int, size: int) -> None:
    """Measure, and print."""
    with TemporaryDirectory(prefix="brd-bench-") as home:
        print(f"one client, {rounds * messages} messages of {size} bytes to a broker and back; TLS to the broker")
        print(report(Path(home), rounds, messages, size), flush=True)


def arguments() -> argparse.ArgumentParser:
    """Of this program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--messages", type=int, default=10)
    parser.add_argument("--size", type=int, default=200)
    return parser


if __name__ == "__main__":
    main(**vars(arguments().parse_args()))
