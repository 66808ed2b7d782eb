"""What one socket pays for bearerd: little more than for a relay that does nothing but pass frames on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.streams.latency import report

TURNS = 3  # the best of them counts: others may use the machine as well
BAR = 1.5


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_latency_is_near_that_of_a_bare_relay(state_dir: Path, figure: Callable[[object], None]) -> None:
    """At p50 and at p99, in turns with a bare relay and with no relay at all."""
    found = []
    for turn in range(TURNS):
        (home := state_dir / str(turn)).mkdir()
        found.append(report(home, 300, 10, 200))
        figure(str(found[-1]).splitlines()[-1])
    assert min(each.ratios[0] for each in found) <= BAR
    assert min(each.ratios[1] for each in found) <= BAR
