"""Ten thousand clients with a kept connection each, that say nothing: what they take, and whether others notice."""

import statistics

from bench import crowd
from bench.machine import pinned
from bench.peers.bearerd import BEARERD, VARIANTS
from bench.peers.peer import Served
from bench.plan import Hall, Plan, Section, opened

COUNT = 10_000
_PEERS = (BEARERD, *VARIANTS[:1])  # on both event loops


def measure(plan: Plan) -> Section:
    """By event loop: bytes a client, and the median of one more client in microseconds, before and meanwhile."""
    with opened(list(_PEERS)) as hall:
        rows: dict[str, Section] = {}
        for name, served in list(hall.served.items()):
            with hall.trying(name):
                rows[name] = _measured(hall, served, plan)
    return {"count": COUNT, "proxies": rows, "missing": hall.missing}


def _measured(hall: Hall, served: Served, plan: Plan) -> Section:
    alone: list[float] = []
    beside: list[float] = []
    with pinned(hall.load_core):
        one = crowd.Kept(served.way)
        one.median(plan.one)
        before = served.process.resident()
        alone += (one.median(plan.one) for _ in range(plan.rounds))
        with crowd.idle(served.way, COUNT):
            each = (served.process.resident() - before) / COUNT
            beside += (one.median(plan.one) for _ in range(plan.rounds))
        one.close()
    return {
        "bytes": round(each),
        "alone_us": round(statistics.median(alone) * 1e6, 1),
        "beside_us": round(statistics.median(beside) * 1e6, 1),
    }


def lines(section: Section) -> list[str]:
    """For a terminal."""
    found = [
        f"{name:26}  {row['bytes'] / 1e3:5.1f} kB an idle client; p50 of another one {row['alone_us']:.0f} µs alone,"
        f" {row['beside_us']:.0f} µs beside {section['count']:,}"
        for name, row in section["proxies"].items()
    ]
    return found + [f"missing: {name}: {reason}" for name, reason in section["missing"].items()]
