"""What a data hub costs beside a bare relay: processor time a delivered message, memory a client, latency.

    python -m tests.streams.bench [--count 1000] [--seconds 10] [--turns 2]

The broker is simulated, in a process of its own; clients are one light process with raw sockets. Both servers are
measured in turns in one run. Three mixes of the same rate: all clients listen to one symbol; each to one of its own;
each to both. Prints; gates nothing.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.streams.crowdstage import Crowd, Server, Stage, staged

RATE = 10.0  # messages a second for each client
MIXES = {"shared": RATE, "own": RATE, "both": RATE / 2}


@dataclass(frozen=True)
class Result:
    """One measurement. `cpu`: seconds a delivered message; `memory`: bytes a client."""

    cpu: float
    memory: float
    seen: dict[str, Any]

    @property
    def wrong(self) -> int:
        return int(self.seen["lost"] + self.seen["foreign"] + self.seen["disorder"])


def measure(stage: Stage, server: Server, mix: str, count: int, seconds: float) -> Result:
    """`count` clients for `seconds`. The first client's memory is the feed's, and not counted."""
    stage.turn(rate=0.0)
    first = Crowd(server, 1, "--own", "shared")
    before = server.memory
    crowd = Crowd(server, count, "--own", mix, "--rate", str(MIXES[mix]))
    stage.turn(rate=MIXES[mix])
    time.sleep(1.0)
    memory = (server.memory - before) / count
    crowd.count()
    began = server.spent
    time.sleep(seconds)
    spent = server.spent - began
    seen = crowd.seen()
    first.leave()
    time.sleep(0.5)
    return Result(spent / max(1, seen["messages"]), memory, seen)


def latency(stage: Stage, server: Server, seconds: float) -> tuple[float, float]:
    """p50 and p99 of one client at 100 messages a second, in seconds from the broker's sending."""
    stage.turn(rate=100.0)
    crowd = Crowd(server, 1, "--own", "shared", "--rate", "100", "--latency")
    crowd.count()
    time.sleep(seconds)
    taken = sorted(crowd.seen()["latencies"])
    return statistics.median(taken) / 1e9, taken[int(len(taken) * 0.99)] / 1e9


@contextmanager
def _servers(stage: Stage) -> Iterator[dict[str, Any]]:
    yield {"hub": lambda: nullcontext(stage.hub), "bare relay": stage.bare}


def main(count: int, seconds: float, turns: int) -> dict[str, dict[str, float]]:
    """Start everything, measure in turns, print.

    By mix: what the hub's processor time is for the bare relay's, and both in microseconds a message; of `one client`
    p50 and p99 in microseconds.
    """
    found: dict[str, dict[str, float]] = {}
    with TemporaryDirectory(prefix="brd-bench-") as home, staged(Path(home)) as stage, _servers(stage) as servers:
        stage.turn(connections=0, symbols=0)
        print(f"Alpaca data, {count} clients x {RATE:.0f} messages/s, MessagePack, TLS to a simulated broker")
        print("mix      server      CPU us/message  kB/client  messages  wrong")
        for mix in MIXES:
            cpu = _mix(stage, servers, mix, count=count, seconds=seconds, turns=turns)
            found[mix] = {"ratio": cpu["hub"] / cpu["bare relay"], **{name: each * 1e6 for name, each in cpu.items()}}
            print(f"{mix:7}  hub / bare relay: {found[mix]['ratio']:.2f}", flush=True)
        for name, serving in servers.items():
            with serving() as server:
                p50, p99 = latency(stage, server, seconds)
            print(f"one client  {name:10}  p50 {p50 * 1e6:.0f} us  p99 {p99 * 1e6:.0f} us", flush=True)
            found.setdefault("one client", {}).update({f"{name} p50": p50 * 1e6, f"{name} p99": p99 * 1e6})
    return found


def _mix(
    stage: Stage, servers: dict[str, Any], mix: str, *, count: int, seconds: float, turns: int
) -> dict[str, float]:
    """Seconds of processor time a message, of each server."""
    cpu: dict[str, list[float]] = {name: [] for name in servers}
    for turn in range(turns):
        for name, serving in servers.items():
            with serving() as server:
                found = measure(stage, server, mix, count, seconds)
            cpu[name].append(found.cpu)
            # Later crowds find the memory of the first.
            memory = f"{found.memory / 1e3:.1f}" if mix == "shared" and not turn else "-"
            print(
                f"{mix:7}  {name:10}  {found.cpu * 1e6:>14.1f}  {memory:>9}"
                f"  {found.seen['messages']:>8}  {found.wrong:>5}",
                flush=True,
            )
    return {name: statistics.fmean(values) for name, values in cpu.items()}


def arguments() -> argparse.ArgumentParser:
    """Of this program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--turns", type=int, default=2)
    return parser


if __name__ == "__main__":
    main(**vars(arguments().parse_args()))
