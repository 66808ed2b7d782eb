"""A thousand readers of events, each with a stream of its own at the broker: what they take, and that none misses any.

The scene is that of the tests, in `tests/streams`; without the tests there is nothing to measure.
"""

from dataclasses import asdict

from bench.plan import Plan, Section

COUNT = 1000
_RATE = 2.0  # events a second for each: simulated broker, its TLS and the readers share the machine


def measure(plan: Plan) -> Section:
    """`memory` in bytes a reader, `cpu` in seconds an event, and how many events were seen and `lost`."""
    from tests.streams import events

    return {"count": COUNT, **asdict(events.main(COUNT, _RATE, max(5.0, plan.many)))}


def lines(section: Section) -> list[str]:
    """For a terminal."""
    seen = f"{section['events']:,} events, {section['lost']} lost"
    return [f"{section['count']:,} readers: {section['memory'] / 1e3:.1f} kB each, {seen}"]
