"""The judge of the soak: what it says of pairs that are known."""

import pytest

from tests.ledger import Ledger, Pair


def ledger(*pairs: Pair, life: float = 2) -> Ledger:
    found = Ledger("http://127.0.0.1:1", life)
    found.pairs = list(pairs)
    return found


@pytest.mark.parametrize(
    ("at", "since"), [(9.0, None), (10.05, None), (10.2, 10.1), (11.9, 10.1), (12.0, None), (20.0, None)]
)
def test_a_pair_is_good_from_its_first_reading_to_its_end(at: float, since: float | None) -> None:
    """Issued at some time from 10.0 to 10.1: for certain from the later, until its life after the earlier."""
    assert since == ledger(Pair(10.0, 10.1, 12.0)).held_since(at)


def test_a_pair_that_ends_another_leaves_no_gap() -> None:
    """While one is issued for the other, one of them is good."""
    two = ledger(Pair(10.0, 10.1, 11.5), Pair(11.5, 11.6, 13.5))

    assert [10.1, None, 10.1] == [two.held_since(at) for at in (11.4, 11.55, 13.0)]


def test_a_pair_after_an_end_begins_anew() -> None:
    """The first was dead before the second came."""
    two = ledger(Pair(10.0, 10.1, 12.0), Pair(14.0, 14.1, 16.0))

    assert [10.1, None, 14.1] == [two.held_since(at) for at in (11.0, 13.0, 15.0)]


def test_a_slow_answer_is_out_of_reach_until_it_comes() -> None:
    """And begins anew: meanwhile the broker has ended the pair before."""
    slow = ledger(Pair(10.0, 10.1, 11.0), Pair(11.0, 11.1, 16.0, dark=14.0))

    assert [10.1, None, None, 14.0] == [slow.held_since(at) for at in (10.5, 11.5, 13.9, 15.0)]


def test_a_lost_answer_is_never_within_reach() -> None:
    """Until a login brings the next."""
    lost = ledger(Pair(10.0, 10.1, 11.0), Pair(11.0, 11.1, 13.0, dark=float("inf")), Pair(15.0, 15.1, 17.0))

    assert [10.1, None, None, 15.1] == [lost.held_since(at) for at in (10.5, 11.5, 14.0, 16.0)]


def test_darkness_hides_what_the_broker_takes() -> None:
    """A killed server has the newest pair; what comes after counts from the end of that."""
    dark = ledger(Pair(10.0, 10.1, 20.0))
    dark.dark(12.0, 14.0)

    assert [10.1, None, 14.0] == [dark.held_since(at) for at in (11.0, 13.0, 15.0)]


def test_the_share_of_light() -> None:
    """Two of four seconds."""
    assert ledger(Pair(10.0, 10.0, 12.0)).lit(9.0, 13.0) == pytest.approx(0.5, abs=0.03)


def test_how_many_pairs_a_call_may_have_seen() -> None:
    """Those issued while it lasted, at the edges too."""
    two = ledger(Pair(10.0, 10.1, 11.5), Pair(11.5, 11.6, 13.5))

    assert [0, 1, 2, 1] == [two.issued(*span) for span in ((9.0, 9.9), (9.0, 10.05), (10.05, 11.55), (11.6, 12.0))]


def test_what_the_machine_was_late_is_known() -> None:
    """Readings every 0.04 s are in time, a gap of a second is not; what is to both sides of it counts too."""
    found = ledger(Pair(10.0, 10.0, 12.0))
    found._readings = [10.04, 10.08, 11.08]

    assert [0.0, 0.92, 0.0] == [round(found.late(*span), 2) for span in ((10.0, 10.1), (10.0, 11.1), (11.05, 11.1))]
