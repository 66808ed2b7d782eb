"""What bearerd is to reach, beside what the results say. A part that was not measured has no figure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Results = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """`figure` finds it in the results, and raises KeyError, TypeError or ZeroDivisionError where it is not.

    `most`: whether the bound is the most that it may be, or the least.
    """

    what: str
    bound: float
    unit: str
    figure: Callable[[Results], float]
    most: bool = True

    def found(self, results: Results) -> float | None:
        """The figure; None without one."""
        try:
            return round(self.figure(results), 2)
        except (KeyError, TypeError, ZeroDivisionError):
            return None

    def met(self, results: Results) -> bool | None:
        """Whether it is reached; None without a figure."""
        figure = self.found(results)
        if figure is None:
            return None
        return figure <= self.bound if self.most else figure >= self.bound


def _of(kind: str, proxy: str) -> Callable[[Results], float]:
    """bearerd's figure as a multiple of another proxy's."""

    def ratio(results: Results) -> float:
        rows = results["calls"]["proxies"]
        return float(rows["bearerd"][kind] / rows[proxy][kind])

    return ratio


def _fresh(results: Results) -> float:
    calls = results["calls"]
    return float(calls["proxies"]["bearerd"]["fresh_us"] / calls["direct"]["fresh_us"])


def _wider(results: Results) -> float:
    narrow, wide = (results["width"]["widths"][name]["cpu_us"] for name in ("1 x 10", "50 x 500"))
    return float(wide - narrow)


def _long(results: Results) -> float:
    rows = results["long"]["proxies"]
    return float(rows["bearerd"]["mb_per_cpu_second"] / rows["nginx"]["mb_per_cpu_second"])


def _memory(results: Results) -> float:
    return float(results["long"]["proxies"]["bearerd"]["memory_added_mib"])


def _idle(results: Results) -> float:
    return float(results["idle"]["proxies"]["bearerd"]["bytes"] / 1e3)


def _beside(results: Results) -> float:
    row = results["idle"]["proxies"]["bearerd"]
    return float(row["beside_us"] / row["alone_us"])


def _grants(kind: str) -> Callable[[Results], float]:
    return lambda results: float(results["grants"][kind])


def _workers(results: Results) -> float:
    rows = results["variants"]["proxies"]
    return float(rows["bearerd, two workers"]["same"]["cpu_us"] / rows["bearerd"]["same"]["cpu_us"])


TARGETS = [
    Target("processor time of a small call", 0.9, "x Go's ReverseProxy", _of("cpu_us", "Go ReverseProxy")),
    Target("the same", 0.65, "x Caddy", _of("cpu_us", "Caddy")),
    Target("the same", 1.0, "x Envoy", _of("cpu_us", "Envoy")),
    Target("latency added, one client on a kept connection", 1.0, "x Envoy's", _of("added_us", "Envoy")),
    Target("a client that opens a connection for each call", 0.2, "x direct, with its handshake", _fresh),
    Target("the gate, from 1 mount x 10 rows to 50 x 500", 2.0, "µs more", _wider),
    Target("an answer of 64 MiB: bytes for a second of processor time", 0.5, "x nginx", _long, most=False),
    Target("an answer of 64 MiB: memory", 4.0, "MiB more", _memory),
    Target("processor time of a small call with two workers", 1.15, "x with one", _workers),
    Target("1,000 readers of events", 25.0, "kB each", lambda results: float(results["events"]["memory"] / 1e3)),
    Target("10,000 idle clients", 15.0, "kB each", _idle),
    Target("one more client beside them", 1.1, "x alone", _beside),
    Target("100,000 grants: memory", 2.0, "kB each", _grants("kilobytes")),
    Target("100,000 grants: timer work of a cycle", 5.0, "µs each", _grants("timer_us")),
    Target("100,000 grants: processor time of a renewal", 300.0, "µs each", _grants("renewal_us")),
]


def lines(results: Results) -> list[str]:
    """For a terminal."""
    words = {True: "met", False: "MISSED", None: "not measured"}
    return [
        f"{target.what:60} {'-' if (figure := target.found(results)) is None else figure:>8} {target.unit:30}"
        f" {'at most' if target.most else 'at least'} {target.bound:<5} {words[target.met(results)]}"
        for target in TARGETS
    ]


def table(results: Results) -> list[str]:
    """As Markdown."""
    words = {True: "yes", False: "no", None: "not measured"}
    found = ["| what | target | reached | |", "|---|---|---|---|"]
    for target in TARGETS:
        figure = target.found(results)
        bound = f"{'≤' if target.most else '≥'} {target.bound} {target.unit}"
        found.append(
            f"| {target.what} | {bound} | {'-' if figure is None else figure} | {words[target.met(results)]} |"
        )
    return found
