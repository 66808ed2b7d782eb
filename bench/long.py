"""An answer of 64 MiB, relayed: bytes for a second of processor time, and how much memory it takes."""

import contextlib
import statistics
from pathlib import Path

import psutil

from bench import load
from bench.calls import Book, turn
from bench.peers.catalogue import PEERS, chosen
from bench.peers.peer import Served
from bench.plan import Hall, Plan, Section, opened
from bench.processes import Missing
from bench.upstream import LONG, LONG_TARGET

_BESIDE = ("nginx", "Envoy", "Go ReverseProxy")
_DOWNLOADS = 4  # a turn


def measure(plan: Plan) -> Section:
    """Downloads one after the other, by each proxy in turns. Memory: what the first adds to that of small calls."""
    peers = chosen(plan.names or _BESIDE)
    book = Book()
    with opened(peers) as hall:
        for name, served in list(hall.served.items()):
            with hall.trying(name):
                turn(hall, served, plan.warm)
                before = _peak(served, fresh=True)
                load.drained(served.way, LONG_TARGET, core=hall.load_core)
                book.note(name, more=_peak(served) - before)
        for _ in range(plan.rounds):
            for name, served in list(hall.served.items()):
                with hall.trying(name):
                    book.note(name, bytes=_bytes_for_a_second(hall, served))
        names = [peer.name for peer in PEERS if peer.name in hall.served]
        rows = {
            name: {
                "mb_per_cpu_second": book.median(name, "bytes", 1e-6),
                "rounds": book.rounds(name, "bytes", 1e-6),
                "memory_added_mib": round(statistics.median(book.rounds(name, "more", 1)) / 2**20, 1),
            }
            for name in names
        }
    return {"plan": plan.said(), "bytes": LONG, "proxies": rows, "missing": hall.missing}


def _bytes_for_a_second(hall: Hall, served: Served) -> float:
    spent = served.process.cpu()
    got = sum(load.drained(served.way, LONG_TARGET, core=hall.load_core) for _ in range(_DOWNLOADS))
    spent = served.process.cpu() - spent
    if got != _DOWNLOADS * LONG or not spent:
        raise Missing(f"{got} bytes came of {_DOWNLOADS * LONG}")
    return got / spent


def _peak(served: Served, *, fresh: bool = False) -> int:
    """The most bytes in memory so far, of all its processes; `fresh`: the count begins anew with what is there now."""
    found = 0
    for process in served.process.family():
        with contextlib.suppress(psutil.NoSuchProcess, OSError):
            place = Path("/proc") / str(process.pid)
            if fresh:
                (place / "clear_refs").write_text("5", "ascii")
            lines = (place / "status").read_text("utf-8").splitlines()
            found += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    return found


def lines(section: Section) -> list[str]:
    """For a terminal."""
    rows = section["proxies"]
    beside = rows.get("nginx", {}).get("mb_per_cpu_second")
    found = []
    for name, row in rows.items():
        ratio = f"  {row['mb_per_cpu_second'] / beside:.2f} x nginx" if beside else ""
        found.append(
            f"{name:26}  {row['mb_per_cpu_second']:8.0f} MB a CPU second{ratio}  memory +{row['memory_added_mib']} MiB"
        )
    return found + [f"missing: {name}: {reason}" for name, reason in section["missing"].items()]
