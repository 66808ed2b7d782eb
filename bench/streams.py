"""What bearerd adds to a message on its way, and what the hub of market data costs, beside a bare relay of aiohttp's.

The scenes are those of the tests, in `tests/streams`; without the tests there is nothing to measure.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from bench.plan import Plan, Section

_CLIENTS = 1000


def measure(plan: Plan) -> Section:
    """Microseconds. `latency`: one client, a message to the broker and back. `hub`: 1,000 clients of market data."""
    from tests.streams import bench, latency

    with TemporaryDirectory(prefix="brd-bench-") as home:
        report = latency.report(Path(home), 300, 10, 200)
    print(report, flush=True)
    p50, p99, cpu = report.ratios
    added = {
        name: {
            kind: round(value * 1e6, 1)
            for kind, value in zip(("p50", "p99"), latency.added(report.found, name), strict=True)
        }
        for name in report.cpu
    }
    hub = bench.main(_CLIENTS, max(5.0, plan.many), 2)
    return {
        "latency": {"added_us": added, "cpu_us": {name: round(value * 1e6, 1) for name, value in report.cpu.items()}},
        "ratios": {"p50": round(p50, 2), "p99": round(p99, 2), "cpu": round(cpu, 2)},
        "hub": {mix: {name: round(value, 2) for name, value in row.items()} for mix, row in hub.items()},
    }


def lines(section: Section) -> list[str]:
    """For a terminal."""
    found = ["bearerd for a bare relay: " + "  ".join(f"{name} {value}" for name, value in section["ratios"].items())]
    return found + [f"hub, {mix}: {row}" for mix, row in section["hub"].items()]
