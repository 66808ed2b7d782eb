"""Tradier's rate limits."""

from proxy.simulator.tradier.rates import RateLimits

NOW = 1_369_168_740.001


def test_a_window_begins_with_its_first_call_and_lasts_a_minute() -> None:
    """Each bucket of each token has its own."""
    limits = RateLimits()
    first, second = limits.count("a", "market", NOW), limits.count("a", "market", NOW + 59)
    others = [limits.count("b", "market", NOW), limits.count("a", "trading", NOW)]
    later = limits.count("a", "market", NOW + 60)

    assert [1, 2, 1, 1, 1] == [counted.used for counted in (first, second, *others, later)]
    assert first.ends == second.ends
    assert {
        "X-Ratelimit-Allowed": "120",
        "X-Ratelimit-Used": "1",
        "X-Ratelimit-Available": "119",
        "X-Ratelimit-Expiry": "1369168800001",
    } == first.headers()


def test_one_too_many_is_refused_on_request_only() -> None:
    """The text ends with the end of the window, as public clients read it."""
    limits = RateLimits(enforce=True)
    counted = [limits.count("a", "trading", NOW) for _ in range(61)]
    refusal = counted[60].refusal()

    assert [False] * 60 + [True] == [each.over for each in counted]
    assert (60, 0) == (counted[60].used, counted[60].available)
    assert (429, b"Quota Violation") == (refusal.status, refusal.body[:15])
    assert refusal.body.endswith(b"1369168800001")
    limits.enforce = False
    assert (1, False) == ((free := limits.count("a", "trading", NOW)).available, free.over)


def test_another_limit_takes_the_place_of_all() -> None:
    """Three in ten seconds, from the first call on."""
    limits = RateLimits(enforce=True, limit=(3, 10.0))
    counted = [limits.count("a", "market", NOW + 1) for _ in range(4)]

    assert [False, False, False, True] == [each.over for each in counted]
    assert (3, NOW + 11) == (counted[0].allowed, counted[0].ends)
    assert not limits.count("a", "market", NOW + 11).over


def test_a_call_over_the_limit_can_be_shown_at_any_time() -> None:
    """Nothing is counted by it."""
    limits = RateLimits()
    shown = limits.exhausted("standard", NOW)

    assert (0, True) == (shown.available, shown.over)
    assert 1 == limits.count("a", "standard", NOW).used
