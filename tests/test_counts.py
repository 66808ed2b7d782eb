"""Numbers by labels, and how one process adds what another has counted."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.counts import SECONDS, Family, Times, absorb, note, snapshot


def _numbers(family: Family) -> dict[tuple[str, ...], list[float]]:
    return {labels: list(cell) for labels, cell in family.cells()}


def test_a_family_without_labels_is_there_from_the_start() -> None:
    """It reads 0 before anything has been counted; one with labels has no series yet."""
    assert {(): [0.0]} == _numbers(Family("calls", "Calls", ()))
    assert {} == _numbers(Family("calls", "Calls", ("mount",)))


def test_the_same_labels_are_the_same_cell() -> None:
    """So that it can be kept."""
    family = Family("calls", "Calls", ("mount", "method"))
    family.cell("m", "GET")[0] += 1
    family.cell("m", "GET")[0] += 1
    family.cell("m", "PUT")[0] += 1
    assert {("m", "GET"): [2.0], ("m", "PUT"): [1.0]} == _numbers(family)


@pytest.mark.parametrize(
    ("seconds", "place"),
    [(0.0, 0), (0.001, 0), (0.0011, 1), (0.0025, 1), (29.9, 13), (30.0, 13), (30.1, 14), (1e9, 14)],
)
def test_a_duration_falls_between_two_bounds(seconds: float, place: int) -> None:
    """A bound is the last that belongs to its own part, as Prometheus has it; the last part has no bound."""
    times = Times("seconds", "Seconds", ("mount",))
    times.observe(seconds, "m")
    total, *parts = times.cell("m")
    assert (seconds, len(SECONDS) + 1) == (total, len(parts))
    assert [float(at == place) for at in range(len(parts))] == parts


def test_a_snapshot_tells_what_has_been_counted_since_the_last_one() -> None:
    """And nothing of what has not changed."""
    families = {"calls": Family("calls", "Calls", ("mount",)), "seconds": Times("seconds", "Seconds", ("mount",))}
    families["calls"].cell("m")[0] += 2
    assert {"calls": [(["m"], [2.0])]} == snapshot(families)
    assert {} == snapshot(families)
    families["calls"].cell("m")[0] += 3
    families["calls"].cell("n")[0] += 1
    assert {"calls": [(["m"], [3.0]), (["n"], [1.0])]} == snapshot(families)


_counted = st.lists(st.tuples(st.integers(0, 2), st.sampled_from("mn"), st.floats(0, 100)), max_size=30)


@given(_counted, st.integers(1, 7))
def test_what_several_processes_have_counted_adds_up(calls: list[tuple[int, str, float]], every: int) -> None:
    """Whoever counted it, and however often they tell: the sum is what one process would have counted."""

    def families() -> dict[str, Family]:
        return {"calls": Family("calls", "Calls", ("mount",)), "seconds": Times("seconds", "Seconds", ("mount",))}

    alone, processes = families(), [families() for _ in range(3)]
    for number, (which, mount, seconds) in enumerate(calls):
        for counting in (alone, processes[which]):
            counting["calls"].cell(mount)[0] += 1
            note(counting["seconds"].cell(mount), seconds)
        if number % every == 0:
            absorb(processes[0], json.loads(json.dumps(snapshot(processes[1]))))
    for other in processes[1:]:
        absorb(processes[0], json.loads(json.dumps(snapshot(other))))

    def parts(counting: dict[str, Family]) -> dict[tuple[str, ...], list[float]]:
        return {labels: cell[1:] for labels, cell in _numbers(counting["seconds"]).items()}

    assert _numbers(alone["calls"]) == _numbers(processes[0]["calls"])
    assert parts(alone) == parts(processes[0])


def test_what_was_absorbed_is_not_told_on() -> None:
    """Else two processes that tell each other would count everything for ever."""
    one, other = ({"calls": Family("calls", "Calls", ("mount",))} for _ in range(2))
    one["calls"].cell("m")[0] += 1
    absorb(other, snapshot(one))
    assert {} == snapshot(other)
    other["calls"].cell("m")[0] += 4
    assert {"calls": [(["m"], [4.0])]} == snapshot(other)


@pytest.mark.parametrize(
    "told",
    [{"calls": [(["m"], [1.0, 2.0])]}, {"calls": [(["m", "n"], [1.0])]}, {"other": [(["m"], [1.0])]}],
    ids=["numbers", "labels", "name"],
)
def test_a_snapshot_of_another_shape_is_refused(told: dict[str, list[tuple[list[str], list[float]]]]) -> None:
    """It comes from a process of another version, and nothing of it is counted."""
    families = {"calls": Family("calls", "Calls", ("mount",))}
    with pytest.raises((ValueError, LookupError)):
        absorb(families, told)
    assert {} == _numbers(families["calls"])
