"""Refusals by guards are told at once, and then once a minute as a number."""

from itertools import count

from proxy.alerts.denials import Denials
from proxy.clock import Now

BOT, OTHER = ("questrade", "bot", "max_quantity"), ("questrade", "other", "hours")


def told(denials: Denials, boot: float, **counts: float) -> list[tuple[str, int, float]]:
    series = [({"bot": BOT, "other": OTHER}[name], number) for name, number in counts.items()]
    return [(each.about["client"], each.count, each.since) for each in denials.look(series, Now(1e9 + boot, boot))]


def test_the_first_at_once_then_a_number_a_minute() -> None:
    """Four in a minute become one notice, with the moment of the first of them; silence tells nothing."""
    denials = Denials(map(str, count()).__next__)
    assert [] == told(denials, 0, bot=0)
    assert [("bot", 1, 1e9 + 1)] == told(denials, 1, bot=1)
    assert [] == told(denials, 2, bot=2)
    assert [] == told(denials, 30, bot=5)
    assert [] == told(denials, 60.9, bot=5)
    assert [("bot", 4, 1e9 + 2)] == told(denials, 61, bot=5)
    assert [] == told(denials, 200, bot=5)
    assert [("bot", 1, 1e9 + 300)] == told(denials, 300, bot=6)


def test_each_client_mount_and_guard_is_told_by_itself() -> None:
    """A flood of one does not hide another, nor do twenty thousand refusals make more than one notice a minute."""
    denials = Denials(map(str, count()).__next__)
    told(denials, 0)
    assert [("bot", 20_000, 1e9 + 1)] == told(denials, 1, bot=20_000)
    assert [("other", 3, 1e9 + 2)] == told(denials, 2, bot=40_000, other=3)


def test_what_was_counted_before_is_old() -> None:
    """A hook that a reload has brought does not hear of last week."""
    denials = Denials(map(str, count()).__next__)
    assert [] == told(denials, 0, bot=70)
    assert [("bot", 1, 1e9 + 1)] == told(denials, 1, bot=71)
