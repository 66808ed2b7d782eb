"""What can be measured, by name."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from bench import calls, events, grants, idle, long, streams, variants, width
from bench.peers.catalogue import QUICK
from bench.plan import Plan, Section


@dataclass(frozen=True, slots=True)
class Part:
    """`measure` gives a section of the results, and `lines` what is printed of it."""

    about: str
    measure: Callable[[Plan], Section]
    lines: Callable[[Section], list[str]]


PARTS: dict[str, Part] = {
    "calls": Part("one small call through each proxy", calls.measure, calls.lines),
    "kinds": Part("calls of other kinds", variants.measure_kinds, variants.lines),
    "variants": Part("bearerd with one thing turned off, or two workers", variants.measure, variants.lines),
    "width": Part("the gate with much to look through", width.measure, width.lines),
    "long": Part("an answer of 64 MiB", long.measure, long.lines),
    "streams": Part("messages of streams", streams.measure, streams.lines),
    "events": Part("readers of events", events.measure, events.lines),
    "idle": Part("ten thousand idle clients", idle.measure, idle.lines),
    "grants": Part("a hundred thousand grants", grants.measure, grants.lines),
}


def quick(plan: Plan, *, rounds: int) -> None:
    """bearerd beside three others, in a minute."""
    names = plan.names or QUICK
    short = replace(plan, rounds=rounds, many=min(plan.many, 3.0), fresh=0.3, names=names)
    print("\n".join(calls.lines(calls.measure(short))), flush=True)
