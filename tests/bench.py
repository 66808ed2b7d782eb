"""Speed of the running product against the simulator: processor time a request, and latency. Prints; gates nothing.

    make bench [ARGS="calls streams --seconds 5"]

`streams`: what one socket adds to a message's way, and what the hub of market data costs beside sockets of one's own.

Processor time is the server's own (user and system), so that the load generator on the same machine does not count.
"""

import argparse
import asyncio
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import aiohttp
import psutil

from tests.product import COMMAND, demo
from tests.streams import bench as fan_out
from tests.streams import latency

WARM_UP = 1.0


async def load(url: str, key: str, clients: int, seconds: float) -> list[float]:
    """Latencies, in seconds, of `clients` keep-alive connections that ask one after the other for `seconds`."""
    latencies: list[float] = []
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:

        async def client() -> None:
            end = perf_counter() + seconds
            while (started := perf_counter()) < end:
                async with session.get(url) as answer:
                    await answer.read()
                    answer.raise_for_status()
                latencies.append(perf_counter() - started)

        await asyncio.gather(*(client() for _ in range(clients)))
    return latencies


async def measure(at: dict[str, Any], url: str, clients: int, seconds: float) -> str:
    """One row of the table."""
    server = psutil.Process(int(at["pid"]))
    await load(url, at["client_key"], clients, WARM_UP)
    before, started = server.cpu_times(), perf_counter()
    latencies = sorted(await load(url, at["client_key"], clients, seconds))
    spent, after = perf_counter() - started, server.cpu_times()
    cpu = (after.user + after.system - before.user - before.system) / len(latencies)
    p50, p99 = statistics.median(latencies), latencies[int(len(latencies) * 0.99)]
    return f"{clients:>7}  {len(latencies) / spent:>8.0f}  {cpu * 1e6:>11.0f}  {p50 * 1e6:>8.0f}  {p99 * 1e6:>8.0f}"


async def main(seconds: float) -> None:
    """Start the demo, measure, stop it."""
    with TemporaryDirectory(prefix="brd-bench-") as home, demo(Path(home), command=COMMAND) as at:
        url = at["mounts"]["questrade"]["url"] + "/v1/accounts"
        print("GET /questrade/v1/accounts: TLS to a simulated broker, client key, scope table, audit line, all on")
        print("clients  requests/s  CPU us/req  p50 us  p99 us")
        for clients in (1, 32):
            print(await measure(at, url, clients, seconds))
        rss = psutil.Process(int(at["pid"])).memory_info().rss
        print(f"resident memory of the server: {rss / 2**20:.0f} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["calls", "streams"], help="calls, streams; both without one")
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    if "calls" in given.parts:
        asyncio.run(main(given.seconds))
    if "streams" in given.parts:
        latency.main(300, 10, 200)
        fan_out.main(1000, given.seconds, 2)
