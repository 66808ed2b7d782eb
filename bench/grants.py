"""A hundred thousand grants of one application: memory, timers, and what a renewal costs with journal and commit.

The scenes are those of the tests, in `tests/manymembers.py`; without the tests there is nothing to measure.
"""

import asyncio
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.plan import Plan, Section

COUNT = 100_000
_RENEWALS = 5_000


def measure(plan: Plan) -> Section:
    """`kilobytes` in memory and `timer_us` of a cycle for each of them; `renewal_us`: processor time of a renewal."""
    from tests import manymembers

    with TemporaryDirectory(prefix="brd-bench-") as home:
        place = Path(home)
        without = asyncio.run(manymembers.started(place / "none", 0, keys=False))
        found = asyncio.run(manymembers.started(place / "all", COUNT, keys=False))
        renewals = []
        for number in range(plan.rounds):
            folder = place / f"renewals-{number}"
            folder.mkdir(mode=0o700)
            renewals.append(manymembers.renewed_at_once(folder, _RENEWALS)["spent"] * 1e6)
    return {
        "count": COUNT,
        "kilobytes": round((found.memory - without.memory) / COUNT / 1e3, 2),
        "timer_us": round(min(manymembers.timer_work(COUNT)[1] for _ in range(plan.rounds)) * 1e6, 2),
        "renewal_us": round(statistics.median(renewals), 1),
        "rounds": [round(each, 1) for each in renewals],
    }


def lines(section: Section) -> list[str]:
    """For a terminal."""
    found = f"{section['count']:,} grants: {section['kilobytes']} kB each, {section['timer_us']} µs timer work a cycle"
    return [f"{found}; a renewal takes {section['renewal_us']} µs of processor time"]
