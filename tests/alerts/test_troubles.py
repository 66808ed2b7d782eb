"""What is seen becomes a trouble when it lasts, and ends when it stays away."""

from dataclasses import replace

from proxy.alerts.troubles import Sight, Troubles
from tests.alerts.receivers import trouble

KEY = "login-needed/questrade"


def test_what_lasts_is_told_and_what_does_not_is_not() -> None:
    """A trouble with patience is open only after it was seen for that long, without a gap."""
    wrong = trouble(patience=30.0)
    seen, troubles = Sight({KEY: wrong}), Troubles()
    for boot, open_ in ((0, False), (29, False), (30, True)):
        troubles.look(seen, boot)
        assert open_ == (KEY in troubles.open)
    troubles.look(Sight(), 31)
    assert {} == troubles.open
    troubles.look(seen, 32)
    troubles.look(Sight(), 33)
    troubles.look(seen, 62)
    assert {} == troubles.open


def test_what_is_gone_must_stay_away() -> None:
    """With `calm`, a short gap is none."""
    wrong, troubles = trouble(calm=5.0), Troubles()
    for boot, sight in ((0, Sight({KEY: wrong})), (1, Sight()), (4, Sight({KEY: wrong})), (5, Sight()), (9, Sight())):
        troubles.look(sight, boot)
        assert KEY in troubles.open
    troubles.look(Sight(), 10)
    assert {} == troubles.open


def test_what_nobody_can_say_changes_nothing() -> None:
    """Neither does an open trouble end, nor a new one begin, nor is the time lost that it lasted."""
    troubles, unsure = Troubles([replace(trouble(), restored=True)]), Sight(unsure=frozenset({KEY}))
    troubles.look(unsure, 0)
    assert troubles.open[KEY].restored
    fresh, wrong = Troubles(), Sight({KEY: trouble(patience=10.0)})
    for boot, sight in ((0, wrong), (5, unsure), (10, wrong)):
        fresh.look(sight, boot)
    assert KEY in fresh.open


def test_a_trouble_keeps_its_beginning_and_takes_over_the_rest() -> None:
    """Another reason is no news, and another version is."""
    troubles, first = Troubles(), trouble()
    troubles.look(Sight({KEY: first}), 0)
    troubles.look(Sight({KEY: replace(first, reason="other", since=first.since + 60)}), 1)
    assert (first.since, "other") == (troubles.open[KEY].since, troubles.open[KEY].reason)
    worse = replace(first, version="worse", since=first.since + 60, patience=99.0)
    troubles.look(Sight({KEY: worse}), 2)
    assert worse == troubles.open[KEY]
