"""One limit over one length of time."""

import math

import pytest

from proxy.gate.window import Window


def _window(limit: int | None = 3, length: float = 10.0, **more: bool) -> Window:
    return Window(length, limit, **more)


def test_a_call_takes_its_place_until_a_length_after_its_answer() -> None:
    """On its way it counts too."""
    window = _window()
    assert [3, 1, 0] == [window.left(0.0, out) for out in (0, 2, 3)]
    window.count(5.0, "bot")
    assert [2, 2, 3] == [window.left(now, 0) for now in (5.0, 14.99, 15.0)]


def test_calls_of_nearly_one_moment_go_together_and_never_too_early() -> None:
    """A window of 10 s remembers 40 ms as one moment, the last of it."""
    window = _window()
    for moment in (1.0, 1.02, 1.03, 1.05):
        window.count(moment, "bot")
    assert -1 == window.left(11.0, 0)
    assert 2 == window.left(11.04, 0)
    assert 3 == window.left(11.05, 0)
    for moment in (20.0, 22.0, 22.01):
        window.count(moment, "bot")
    assert [0, 1, 3] == [window.left(now, 0) for now in (29.9, 30.0, 32.02)]


@pytest.mark.parametrize(("apart", "left"), [(0.998, 1), (1.0, 2)], ids=["one part", "two parts"])
def test_a_part_is_a_256th_of_the_window(apart: float, left: int) -> None:
    """Calls of one part are remembered as one moment, those of the next are not."""
    window = _window(length=256.0)
    window.count(0.0, "bot")
    window.count(apart, "bot")
    assert left == window.left(256.5, 0)


def test_it_begins_with_nothing_told_and_nothing_lost() -> None:
    """The first answer is believed to the last call, and what is not said is not told."""
    window = _window(10)
    assert (False, None, None) == (window.told, window.known, window.ends)
    window.count(1.0, "bot")
    window.hear(1.0, 5, 8.0)
    assert (5, 8.0) == (window.left(1.0, 0), window.ends)


def test_it_remembers_no_more_than_its_parts() -> None:
    """An hour with a hundred thousand calls is a few hundred parts."""
    window = _window(1_000_000, 3600.0)
    for number in range(100_000):
        window.count(number * 0.036, "bot")
    assert len(window._chunks) <= 257
    assert 900_000 == window.left(3600.0, 0)


def test_it_knows_whose_calls_they_are() -> None:
    """As long as they count, and if anybody wants to know."""
    window = _window()
    window.count(0.0, "a", 2)
    window.count(1.0, "b")
    assert ({"a", "b"}, 2, 1, 0) == (window.clients(), window.of("a"), window.of("b"), window.of("c"))
    window.left(10.5, 0)
    assert ({"b"}, 0) == (window.clients(), window.of("a"))
    unnamed = _window(named=False)
    unnamed.count(0.0, "a")
    assert (set(), 2) == (unnamed.clients(), unnamed.left(0.0, 0))


def test_without_a_limit_everything_may_go() -> None:
    """Until the broker says what is left."""
    window = _window(None, told=True)
    window.count(0.0, "bot")
    assert math.inf == window.left(0.0, 5)
    window.hear(1.0, 4, 6.0)
    assert [4, 2] == [window.left(1.0, out) for out in (0, 2)]
    assert math.inf == window.left(6.3, 0)


def test_what_the_broker_counts_is_believed() -> None:
    """It may know of calls that we have not made, and of a larger limit than the definition."""
    window = _window(told=True)
    window.hear(1.0, 1, 8.0)
    assert [1, 0] == [window.left(1.0, out) for out in (0, 1)]
    other = _window(told=True)
    other.hear(1.0, 500, 8.0)
    assert 500 == other.left(1.0, 0)


def test_answers_overtake_each_other() -> None:
    """The lowest number was counted last, and those on their way may be counted or not."""
    window = _window(10, told=True)
    window.hear(1.0, 7, 8.0)
    window.hear(1.1, 9, 8.0)
    assert [7, 5] == [window.left(1.1, out) for out in (0, 2)]
    window.hear(1.2, 0, 8.0)
    window.hear(1.3, 4, 8.0)
    assert 0 == window.left(1.3, 0)


def test_when_the_brokers_window_is_over_the_whole_limit_is_there() -> None:
    """A moment later, in case clocks or networks are not quite exact; and the next answer knows better."""
    window = _window(told=True)
    window.hear(1.0, 0, 8.0)
    assert [0, 0, 3] == [window.left(now, 0) for now in (7.9, 8.1, 8.3)]
    window.hear(8.4, 2, 17.0)
    assert (2, 17.0) == (window.left(8.4, 0), window.ends)


@pytest.mark.parametrize("now", [8.0, 8.5])
def test_from_the_end_of_a_window_on_an_answer_speaks_of_the_next(now: float) -> None:
    """Even if that one ends soon, and before anybody has asked what is left."""
    window = _window(told=True)
    window.hear(1.0, 0, 8.0)
    window.hear(now, 2, 9.5)
    assert (2, 9.5) == (window.left(now, 0), window.ends)


def test_an_answer_without_an_end_speaks_of_the_window_that_is_known() -> None:
    """Its end stays where it was."""
    window = _window(told=True)
    window.hear(1.0, 5, 8.0)
    window.hear(2.0, 4, None)
    assert (4, 8.0) == (window.left(2.0, 0), window.ends)


def test_an_answer_of_a_window_that_is_over_says_nothing_of_this_one() -> None:
    """It was long on its way."""
    window = _window(told=True)
    window.hear(1.0, 0, 8.0)
    window.left(8.3, 0)
    window.hear(8.4, 0, 8.0)
    assert 3 == window.left(8.4, 0)
    new = _window(told=True)
    new.hear(8.0, 0, 8.0)
    assert 3 == new.left(8.0, 0)


def test_calls_of_which_the_broker_says_nothing_count_until_it_speaks_again() -> None:
    """It may count them or not."""
    window = _window(10, told=True)
    window.hear(1.0, 5, 8.0)
    window.unheard(2)
    assert 3 == window.left(1.0, 0)
    window.hear(2.0, 4, 8.0)
    assert 4 == window.left(2.0, 0)


def test_a_lost_call_counts_until_the_window_is_over() -> None:
    """What the broker says next may be older than it, or have it in already: nobody can tell."""
    window = _window(10, told=True)
    window.hear(1.0, 5, 8.0)
    window.lost()
    window.hear(2.0, 5, 8.0)
    assert 4 == window.left(2.0, 0)
    window.hear(2.0, 3, 8.0)
    assert (2, 2.0, 8.25) == (window.left(2.0, 0), window.when(2.0, 2, 0), window.when(2.0, 3, 0))
    assert 10 == window.left(8.3, 0)
    early = _window(10, told=True)
    early.count(1.0, "bot", 2)
    early.lost(2)
    early.hear(1.0, 5, 8.0)
    assert 3 == early.left(1.0, 0)
    early.hear(1.0, 5, 10.5)
    assert 5 == early.left(1.0, 0), "of a later window"


def test_lost_calls_of_long_ago_say_nothing_of_a_window_that_nobody_knew() -> None:
    """A broker that was away for an hour is not waited for when it is back, but for the calls of one length."""
    window = _window(10, told=True)
    for moment in range(100):
        window.lost()
        window.count(float(moment), "bot")
    assert 10 == window.left(200.0, 0)
    window.lost(2)
    window.count(200.0, "bot", 2)
    window.count(200.5, "bot")
    window.hear(200.5, 9, 208.0)
    assert 6 == window.left(200.5, 0)


def test_the_end_of_a_window_may_move_a_little() -> None:
    """By 2 s, within which a number does not rise; beyond it is another window, or another limit."""
    for ends, left in ((10.0, 3), (10.01, 5), (6.0, 3), (5.99, 2)):
        window = _window(10, told=True)
        window.hear(1.0, 3, 8.0)
        window.hear(1.0, 5, ends)
        assert left == window.left(1.0, 0), ends


def test_if_the_broker_falls_silent_our_own_count_is_back() -> None:
    """After the window of which it has spoken, and one more."""
    window = _window(told=True)
    window.hear(1.0, 2, 8.0)
    assert 3 == window.left(9.0, 0)
    for _ in range(3):
        window.unheard()
        window.count(9.0, "bot")
    assert 0 == window.left(18.9, 0)
    window.count(18.9, "bot")
    assert (2, None) == (window.left(19.0, 0), window.known)


def test_a_limit_that_the_broker_has_told_is_forgotten_when_it_falls_silent() -> None:
    """A 1, told once, must not be all that passes for ever."""
    window = _window(told=True)
    window.limit = 1
    window.hear(1.0, 0, 8.0)
    assert [1, 3] == [window.left(now, 0) for now in (9.0, 19.1)]


def test_another_limit_of_the_broker_in_between_is_not_taken_for_this_one() -> None:
    """Questrade's 429 of a full second names the next second, and an hour has only begun."""
    window = _window(100, 3600.0, told=True)
    window.hear(1.0, 50, 3000.0)
    window.hear(2.0, 99, 3.0)
    assert 49 == window.left(2.0, 0)


@pytest.mark.parametrize("ends", [1e12, 50.0, None], ids=["the year 33000", "five lengths", "never said"])
def test_nothing_closes_it_for_more_than_its_length(ends: float | None) -> None:
    """And an instant."""
    window = _window(told=True)
    window.hear(1.0, 0, ends)
    assert 0 == window.left(10.9, 0)
    assert 3 == window.left(13.3, 0)


def test_when_there_is_room_again() -> None:
    """By our own count: as calls grow old; by the broker's: when its window is over."""
    window = _window()
    for moment in (1.0, 2.0, 3.0):
        window.count(moment, "bot")
    assert [11.0, 12.0, 13.0, 23.0, 33.0] == [window.when(4.0, wanted, 0) for wanted in (1, 2, 3, 4, 7)]
    assert 11.0 == window.when(11.0, 1, 0)
    assert 12.0 == window.when(11.0, 2, 0)
    assert [14.0, 24.0] == [_window().when(4.0, wanted, out) for wanted, out in ((1, 3), (4, 1))]
    single = _window(1)
    single.count(1.0, "bot")
    assert [11.0, 31.0] == [single.when(4.0, wanted, 0) for wanted in (1, 3)]
    told = _window(told=True)
    told.hear(1.0, 2, 8.0)
    assert [1.0, 1.0, 8.25, 18.25] == [told.when(1.0, wanted, out) for wanted, out in ((2, 0), (1, 2), (3, 0), (4, 0))]


def test_it_is_idle_when_a_new_one_would_do_the_same() -> None:
    """Calls have grown old, and what the broker said is over."""
    window = _window(told=True)
    assert window.idle(0.0)
    window.count(1.0, "bot")
    window.hear(1.0, 2, 30.0)
    assert not window.idle(1.0)
    assert not window.idle(11.5)
    assert window.idle(31.0)


def test_when_there_is_room_again_by_what_the_broker_has_said() -> None:
    """At once, if only calls are in the way that it may have counted already."""
    window = _window(told=True)
    window.hear(1.0, 2, 8.0)
    assert [1.0, 8.25] == [window.when(1.0, wanted, 2) for wanted in (2, 3)]
    window.unheard()
    assert [1.0, 8.25] == [window.when(1.0, wanted, 1) for wanted in (1, 2)]


def test_what_others_had_comes_back_a_length_later() -> None:
    """No more is left than was said, whatever the broker told before; never more than there was."""
    window = _window(10, told=True)
    window.count(0.0, "bot", 2)
    window.leave(1.0, 5)
    assert [5, 7, 10] == [window.left(now, 0) for now in (1.0, 10.0, 11.0)]
    window.hear(12.0, 9, 20.0)
    window.leave(13.0, 4)
    assert [4, 10] == [window.left(now, 0) for now in (13.0, 23.0)]
    window.count(23.0, "bot", 8)
    window.leave(24.0, 4)
    assert 2 == window.left(24.0, 0)
    unknown = _window(None)
    unknown.leave(0.0, 3)
    assert math.inf == unknown.left(0.0, 0)
