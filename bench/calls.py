"""What one small call costs: processor time, latency, memory. All proxies in turns, in several rounds; medians."""

import statistics
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from bench import load
from bench.load import Caller, How, Way
from bench.peers import catalogue
from bench.peers.peer import Peer, Served
from bench.plan import Hall, Plan, Section, opened

CLIENTS = 32


@dataclass(frozen=True, slots=True)
class Turn:
    """One proxy with many clients. Seconds; `others`: the part of the proxy's core that other programs have used."""

    cpu: float
    rate: float
    p99: float
    others: float


def turn(hall: Hall, served: Served, seconds: float, how: How = "same") -> Turn:
    """Many clients on kept connections. Missing if a call fails."""
    busy, spent = _busy(hall.stage.core), served.process.cpu()
    found = load.kept(served.way, core=hall.load_core, clients=CLIENTS, seconds=seconds, how=how)
    spent, busy = served.process.cpu() - spent, _busy(hall.stage.core) - busy
    others = max(0.0, busy - spent) / found.seconds
    return Turn(spent / found.requests, found.requests / found.seconds, found.p99, others)


def _busy(core: int) -> float:
    """Seconds that a core has worked, for whomever."""
    every = psutil.cpu_times(percpu=True)
    now: dict[str, float] = every[min(core, len(every) - 1)]._asdict()
    return sum(value for name, value in now.items() if name not in ("idle", "iowait", "guest", "guest_nice"))


class Book:
    """Figures by proxy and kind, a value a round."""

    def __init__(self) -> None:
        self._values: defaultdict[tuple[str, str], list[float]] = defaultdict(list)

    def note(self, proxy: str, **values: float) -> None:
        for kind, value in values.items():
            self._values[proxy, kind].append(value)

    def median(self, proxy: str, kind: str, scale: float = 1e6) -> float | None:
        """Of all rounds, as a rule in microseconds. None if none has it."""
        values = self._values.get((proxy, kind))
        return round(statistics.median(values) * scale, 1) if values else None

    def rounds(self, proxy: str, kind: str, scale: float = 1e6) -> list[float]:
        return [round(value * scale, 1) for value in self._values.get((proxy, kind), ())]


def measure(plan: Plan, peers: list[Peer] | None = None) -> Section:
    """The section `calls` of the results."""
    peers = catalogue.chosen(plan.names) if peers is None else peers
    book = Book()
    with opened(peers) as hall:
        warm(plan, hall)
        for _ in range(plan.rounds):
            book.note("direct", **_latencies(hall, hall.direct, plan))
            for name, served in list(hall.served.items()):
                with hall.trying(name):
                    book.note(name, **asdict(turn(hall, served, plan.many)))
                    book.note(name, **_latencies(hall, served.way, plan))
        rows = {peer.name: _row(hall, book, peer) for peer in peers if peer.name in hall.served}
    direct = {"one_us": book.median("direct", "one"), "fresh_us": book.median("direct", "fresh")}
    return {"plan": plan.said(), "clients": CLIENTS, "direct": direct, "proxies": rows, "missing": hall.missing}


def warm(plan: Plan, hall: Hall) -> None:
    """Whatever a program does for its first calls is done before anything counts."""
    if not plan.warm:
        return
    for name, served in list(hall.served.items()):
        with hall.trying(name):
            turn(hall, served, plan.warm)


def _latencies(hall: Hall, way: Way, plan: Plan) -> dict[str, float]:
    """Seconds of the median call of one client: on a kept connection, and on a new one each time."""
    found = {}
    if plan.one:
        found["one"] = load.kept(way, core=hall.load_core, clients=1, seconds=plan.one).p50
    if plan.fresh:
        found["fresh"] = Caller(way).median(plan.fresh, core=hall.load_core)
    return found


def _row(hall: Hall, book: Book, peer: Peer) -> dict[str, Any]:
    """One proxy's medians. Times in microseconds; `others` in per cent."""
    name = peer.name
    one, direct = book.median(name, "one"), book.median("direct", "one")
    return {
        "version": hall.versions[name],
        "note": peer.note,
        "cpu_us": book.median(name, "cpu"),
        "cpu_us_rounds": book.rounds(name, "cpu"),
        "calls_per_second": book.median(name, "rate", 1),
        "p99_us": book.median(name, "p99"),
        "one_us": one,
        "added_us": None if one is None or direct is None else round(one - direct, 1),
        "fresh_us": book.median(name, "fresh"),
        "rss_mb": round(hall.served[name].process.resident() / 2**20, 1),
        "others_percent": book.median(name, "others", 100),
    }


COLUMNS = ("CPU us", "one us", "added us", "fresh us", "calls/s", "RSS MB", "others %")


def lines(section: Section) -> list[str]:
    """The table and the ratios, for a terminal."""
    plan = section["plan"]
    yours = [f"GET, 365 bytes; {section['clients']} clients, {plan['rounds']} rounds of {plan['many']} s; medians"]
    yours.append(f"{'':26}" + "".join(f"{column:>10}" for column in COLUMNS) + "  CPU: bearerd / this")
    direct, proxies = section["direct"], section["proxies"]
    yours.append(f"{'direct':26}{'':10}{_shown(direct['one_us'])}{'':10}{_shown(direct['fresh_us'])}")
    ours = proxies.get("bearerd", {}).get("cpu_us")
    for name, row in proxies.items():
        keys = ("cpu_us", "one_us", "added_us", "fresh_us", "calls_per_second", "rss_mb", "others_percent")
        ratio = f"{ours / row['cpu_us']:>20.2f}" if ours and row["cpu_us"] else ""
        yours.append(f"{name:26}" + "".join(_shown(row[key]) for key in keys) + ratio)
    yours += [f"missing: {name}: {reason}" for name, reason in section["missing"].items()]
    return yours


def _shown(value: float | None) -> str:
    return f"{'-' if value is None else format(value, '.1f' if value < 1000 else '.0f'):>10}"  # noqa: PLR2004
