"""Arming faults and using them up."""

import pytest

from proxy.simulator.faults import Fault, Faults, UnknownFault


@pytest.fixture
def faults() -> Faults:
    return Faults(
        [
            Fault("left", frozenset({"l"}), "the left"),
            Fault("right", frozenset({"r"}), "the right"),
            Fault("both", frozenset({"l", "r"}), "both sides"),
        ]
    )


def test_nothing_is_armed_at_first(faults: Faults) -> None:
    """A simulator without faults behaves."""
    assert faults.take("l") is None
    assert {} == faults.armed()


def test_a_fault_is_used_up_by_as_many_requests_as_asked(faults: Faults) -> None:
    """`times` counts requests that suffer."""
    faults.add("left", 2)

    assert ["left", "left", None] == [faults.take("l") for _ in range(3)]


def test_a_fault_waits_for_a_request_that_it_hits(faults: Faults) -> None:
    """A request elsewhere neither suffers nor uses the fault up."""
    faults.add("right")

    assert faults.take("l") is None
    assert "right" == faults.take("r")


def test_the_oldest_fault_comes_first(faults: Faults) -> None:
    """Faults can be queued as a script of what goes wrong."""
    faults.add("both")
    faults.add("left")

    assert ["both", "left"] == [faults.take("l"), faults.take("l")]


def test_arming_again_adds_up(faults: Faults) -> None:
    """The same fault twice is the fault for two requests."""
    faults.add("left")
    faults.add("left", 2)

    assert {"left": 3} == faults.armed()


def test_none_disarms_all(faults: Faults) -> None:
    """`none` is the way back to a broker that works."""
    faults.add("left", 5)
    faults.add("none")

    assert {} == faults.armed()


@pytest.mark.parametrize(("name", "times"), [("up", 1), ("left", 0), ("left", -1), ("left", True)])
def test_an_unknown_name_or_a_senseless_number_is_refused(faults: Faults, name: str, times: int) -> None:
    """A typing error in a test must not pass as a broker that works."""
    with pytest.raises(UnknownFault):
        faults.add(name, times)

    assert {} == faults.armed()


def test_the_catalogue_says_what_each_fault_hits(faults: Faults) -> None:
    """This is what a person reads at `GET /faults`."""
    assert {"left": "the left", "right": "the right", "both": "both sides"} == faults.catalogue()
