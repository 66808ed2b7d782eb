"""bearerd with one thing of it turned off, or with two workers; and calls of other kinds than the one of `calls`."""

from dataclasses import asdict
from typing import Any

from bench.calls import Book, turn, warm
from bench.load import How
from bench.peers.bearerd import BEARERD, VARIANTS
from bench.peers.catalogue import QUICK, chosen
from bench.peers.peer import Peer
from bench.plan import Plan, Section, opened

KINDS: dict[How, str] = {
    "same": "the same call each time",
    "each": "another target each time",
    "page": "2 kB of headers, as a browser sends",
}


def measure(plan: Plan) -> Section:
    """Processor time a call of every variant, the same call each time."""
    return _measured(plan, [*chosen(("Envoy",)), *VARIANTS], ("same",))


def measure_kinds(plan: Plan) -> Section:
    """Processor time a call of bearerd and three others, for each kind of call."""
    return _measured(plan, chosen(QUICK), tuple(KINDS))


def _measured(plan: Plan, peers: list[Peer], kinds: tuple[How, ...]) -> Section:
    book = Book()
    with opened([peer for peer in peers if peer is BEARERD or not plan.names or peer.name in plan.names]) as hall:
        warm(plan, hall)
        for _ in range(plan.rounds):
            for name, served in list(hall.served.items()):
                for kind in kinds:
                    with hall.trying(name):
                        found = asdict(turn(hall, served, plan.many, kind))
                        book.note(name, **{f"{kind} {figure}": value for figure, value in found.items()})
        rows = {
            peer.name: {"note": peer.note} | _row(book, peer.name, kinds) for peer in peers if peer.name in hall.served
        }
    return {"plan": plan.said(), "proxies": rows, "missing": hall.missing}


def _row(book: Book, name: str, kinds: tuple[How, ...]) -> dict[str, Any]:
    """By kind: microseconds of processor time, and what others used of the core meanwhile, in per cent."""
    return {
        kind: {
            "cpu_us": book.median(name, f"{kind} cpu"),
            "cpu_us_rounds": book.rounds(name, f"{kind} cpu"),
            "others_percent": book.median(name, f"{kind} others", 100),
        }
        for kind in kinds
    }


def lines(section: Section) -> list[str]:
    """For a terminal: processor time by kind, and how it compares with bearerd's."""
    rows = section["proxies"]
    kinds = [kind for kind in KINDS if any(kind in row for row in rows.values())]
    found = [
        "CPU us a call; in brackets as a part of bearerd's" + "".join(f"; {kind}: {KINDS[kind]}" for kind in kinds)
    ]
    for name, row in rows.items():
        shown = ""
        for kind in kinds:
            ours, its = rows["bearerd"][kind]["cpu_us"] if "bearerd" in rows else None, row[kind]["cpu_us"]
            ratio = f" ({its / ours:.2f})" if ours and its else ""
            shown += f"  {kind} {its}{ratio}"
        found.append(f"{name:26}{shown}")
    return found + [f"missing: {name}: {reason}" for name, reason in section["missing"].items()]
