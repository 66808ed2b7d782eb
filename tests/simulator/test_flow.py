"""The knobs of streams, and the beat."""

import math

import pytest

from proxy.simulator.flow import Beats, Flow, WrongKnob


def test_knobs_are_turned_all_or_none() -> None:
    """A mistake in one leaves the others as they were."""
    flow = Flow()
    flow.turn({"rate": 2.5, "stale": "drop", "patience": None, "connections": 0})
    assert (2.5, "drop", None, 0) == (flow.rate, flow.stale, flow.patience, flow.connections)
    with pytest.raises(WrongKnob, match="frame must be a whole number from 1 to"):
        flow.turn({"rate": 9, "frame": 0})
    assert 2.5 == flow.shown()["rate"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rat", 1),
        ("rate", -1),
        ("rate", True),
        ("rate", "fast"),
        ("rate", math.inf),
        ("rate", math.nan),
        ("burst", 1.5),
        ("code", 999),
        ("code", 5000),
        ("stale", "die"),
        ("refuses", None),
        ("patience", 0),
        ("heartbeat", None),
        ("turn", 1),
    ],
)
def test_a_wrong_knob_is_refused(name: str, value: object) -> None:
    """A name that there is not, or a value that makes no sense."""
    with pytest.raises(WrongKnob):
        Flow().turn({name: value})


def test_the_beat_counts_on_through_every_change() -> None:
    """A number that only grows, and by one at a time but for what is skipped."""
    beats = Beats(100.0, 10.0)
    assert (0, 0, 1, 10) == tuple(beats.at(100.0 + passed) for passed in (0.0, 0.09, 0.1, 1.0))
    beats.turn(101.0, 0.0)
    assert (10, math.inf) == (beats.at(500.0), beats.wait(500.0))
    beats.turn(500.0, 2.0)
    assert (10, 11) == (beats.at(500.4), beats.at(500.5))
    beats.skip(100)
    assert 111 == beats.at(500.5)


def test_how_long_it_is_to_the_next_beat() -> None:
    """Never less than nothing, never more than one beat takes."""
    beats = Beats(0.0, 4.0)
    assert [0.25, 0.05] == pytest.approx([beats.wait(0.0), beats.wait(0.2)])
    assert 0.25 == pytest.approx(beats.wait(0.25))
