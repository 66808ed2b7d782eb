"""What a grant may still send, and what answers change."""

import pytest

from proxy.gate.budget import Budget, Spec, limits
from proxy.gate.ratehead import Heard, wanted
from proxy.gate.turns import LOWER, ORDER, READ

MINUTE = Spec(limits=((60.0, 10),))
TOLD = Spec(limits=((60.0, 10),), told=60.0, names=wanted({"remaining": "left"}))
NOON = 1_800_000_000.0


def _sent(budget: Budget, now: float, client: str = "bot", kind: int = READ) -> int:
    """How many calls may go at once."""
    count = 0
    while count < 1000 and budget.admit(now, client, kind):
        count += 1
    return count


def _spent(spec: Spec, count: int, client: str = "bot", kind: int = LOWER) -> Budget:
    budget = Budget(spec)
    for _ in range(count):
        assert budget.admit(0.0, client, kind)
        budget.finish(0.0, client, Heard())
    return budget


def _told(remaining: int, seconds: float, limit: int | None = None) -> Heard:
    return Heard(limit, remaining, b"%d" % ((NOON + seconds) * 1000), None, None)


def test_limits_are_whole_calls() -> None:
    """The shortest first; 2.5 in a second are 5 in two."""
    assert ((1.0, 20), (3600.0, 15_000)) == limits(20, None, 15_000)
    assert ((2.0, 5), (60.0, 100)) == limits(2.5, 100, None)
    assert () == limits(None, None, None)
    assert ((1000.0, 1),) == limits(0.001, None, None) == limits(1 / 1001, None, None)


def test_only_windows_with_shares_remember_whose_calls_they_are() -> None:
    """Not the short ones, after which nobody has to wait for long, and none for the only client."""
    lengths = ((1.0, 3), (2.0, 5), (2.5, 6))
    for clients, named in (("a", [False] * 3), ("ab", [False, False, True]), ("", [False, False, True])):
        windows = Spec(limits=lengths, clients=frozenset(clients)).windows()
        assert named == [window.named for window in windows]


def test_what_headers_tell_of_is_a_window_without_a_limit_of_its_own() -> None:
    """Unless the definition has one of that length."""
    assert 1000 == _sent(_spent(Spec(told=60.0), 1), 0.0)
    (window,) = Spec(told=60.0).windows()
    assert (60.0, None, True) == (window.length, window.limit, window.told)
    assert [(1.0, False), (60.0, True)] == [
        (window.length, window.told) for window in Spec(limits=((1.0, 3), (60.0, 10)), told=60.0).windows()
    ]


def test_every_limit_holds() -> None:
    """The one that is used up first decides."""
    budget = Budget(Spec(limits=((1.0, 3), (60.0, 5))))
    assert 3 == _sent(budget, 0.0)
    for _ in range(3):
        budget.finish(0.1, "bot", Heard())
    assert 0 == _sent(budget, 1.0)
    assert 2 == _sent(budget, 1.1)


def test_what_was_not_sent_does_not_count() -> None:
    """Its place is another's at once."""
    budget = Budget(MINUTE)
    assert 10 == _sent(budget, 0.0)
    budget.give_back("bot")
    assert (1, 10) == (_sent(budget, 0.0), budget.out)


def test_reads_leave_a_part_to_orders_and_orders_to_calls_that_lower_risk() -> None:
    """Of 100 with a tenth in reserve: 90, 5 more, the last 5, and one that the broker may refuse."""
    budget = Budget(Spec(limits=((60.0, 100),), orders=True, clients=frozenset({"bot"})))
    assert [90, 5, 6] == [_sent(budget, 0.0, kind=kind) for kind in (READ, ORDER, LOWER)]
    without = Budget(Spec(limits=((60.0, 100),), clients=frozenset({"bot"})))
    assert 100 == _sent(without, 0.0)
    soon = Budget(Spec(limits=((1.0, 100),), orders=True, clients=frozenset({"bot"})))
    assert 100 == _sent(soon, 0.0), "the next second comes before anybody has to give up"
    for length, reads in ((2.0, 100), (2.5, 90)):
        patient = Budget(Spec(limits=((length, 100),), orders=True, clients=frozenset({"bot"})))
        assert reads == _sent(patient, 0.0), "calls wait for 2 s"


def test_a_client_that_has_had_its_share_leaves_a_part_to_the_others() -> None:
    """Of 100 for three: one alone gets 90, and each of the others its call at once."""
    budget = Budget(Spec(limits=((60.0, 100),), clients=frozenset("abc")))
    assert 90 == _sent(budget, 0.0, "a")
    assert budget.admit(0.0, "b", READ)
    assert not budget.admit(0.0, "a", READ)
    assert 9 == _sent(budget, 0.0, "c")
    both = Budget(Spec(limits=((60.0, 100),), orders=True, clients=frozenset("abc")))
    assert [80, 10] == [_sent(both, 0.0, client) for client in "ab"]
    two = Budget(Spec(limits=((60.0, 100),), clients=frozenset("ab")))
    assert [90, 10] == [_sent(two, 0.0, client) for client in "ab"]


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "on their way"])
@pytest.mark.parametrize(("first", "more"), [("abb", 1), ("aab", 0)], ids=["less than its share", "its share"])
def test_the_last_calls_are_for_who_has_had_less_than_a_share(answered: bool, first: str, more: int) -> None:
    """Of 4 for two: the last one is not for the client that has had 2."""
    budget = Budget(Spec(limits=((60.0, 4),), reserve=0.25, clients=frozenset("ab")))
    for client in first:
        assert budget.admit(0.0, client, READ)
        if answered:
            budget.finish(0.0, client, Heard())
    assert (more, 1 - more) == (_sent(budget, 0.0, "a"), _sent(budget, 0.0, "b"))


def test_strangers_share_as_soon_as_they_are_seen() -> None:
    """Of a member's clients nobody knows how many there are."""
    budget = Budget(Spec(limits=((60.0, 100),)))
    assert budget.admit(0.0, "b", READ)
    assert 89 == _sent(budget, 0.0, "a")
    assert 10 == _sent(budget, 0.0, "b")
    alone = Budget(Spec(limits=((60.0, 100),)))
    assert alone.admit(0.0, "b", READ)
    alone.give_back("b")
    assert 100 == _sent(alone, 0.0, "a"), "nobody else has sent anything"


def test_the_first_call_asks_what_is_left() -> None:
    """For a second at most, and only reads wait for it: another program, or an earlier run, may have used the grant."""
    budget = Budget(TOLD)
    assert 1 == _sent(budget, 0.0)
    assert 1.0 == budget.when(0.5, "bot", READ)
    assert budget.admit(0.5, "bot", ORDER)
    budget.finish(0.6, "bot", _told(3, 30.0), wall=NOON)
    assert 2 == _sent(budget, 0.6)
    slow = Budget(TOLD)
    assert slow.admit(100.0, "bot", READ)
    assert slow.admit(100.5, "bot", ORDER)
    assert (0, 101.0) == (_sent(slow, 100.75), slow.when(100.75, "bot", READ))
    assert 100.75 == slow.when(100.75, "bot", ORDER)
    assert 8 == _sent(slow, 101.0)
    untold = Budget(MINUTE)
    assert untold.admit(0.0, "bot", READ)
    assert (0.5, 0.5) == (untold.when(0.5, "bot", READ), Budget(TOLD).when(0.5, "bot", READ))
    silent = _spent(TOLD, 1)
    assert 9 == _sent(silent, 0.0)


def test_the_broker_knows_its_limit_better() -> None:
    """A sandbox has half of it, a larger plan five times as much, and the next window too."""
    budget = _spent(TOLD, 0)
    assert budget.admit(0.0, "bot", READ)
    budget.finish(0.1, "bot", _told(4, 10.0, limit=5), wall=NOON)
    assert 4 == _sent(budget, 0.1)
    for _ in range(4):
        budget.finish(0.2, "bot", _told(0, 10.0, limit=5), wall=NOON)
    assert (0, 5) == (_sent(budget, 10.2), _sent(budget, 10.4))


@pytest.mark.parametrize("reset", [None, b"", b"soon", b"-1"], ids=["none", "empty", "a word", "below zero"])
def test_a_reset_that_says_nothing_takes_nothing_from_what_is_left(reset: bytes | None) -> None:
    """The window is then taken for a whole one."""
    budget = Budget(TOLD)
    assert budget.admit(0.0, "bot", READ)
    budget.finish(0.0, "bot", Heard(None, 3, reset), wall=NOON)
    assert (3, 60.0) == (budget.view(0.0).remaining, budget.view(0.0).seconds)


@pytest.mark.parametrize("wall", [NOON, 0.0, NOON + 90_000.0], ids=["right", "1970", "tomorrow"])
def test_a_wrong_clock_of_ours_does_not_matter(wall: float) -> None:
    """A reset is held against the broker's own date."""
    date = b"Fri, 15 Jan 2027 08:00:00 GMT"  # NOON
    budget = Budget(TOLD)
    assert budget.admit(0.0, "bot", READ)
    budget.finish(0.0, "bot", Heard(None, 0, b"%d" % (NOON + 20), None, date), wall=wall)
    assert [0, 10] == [_sent(budget, now) for now in (20.2, 20.3)]


def test_the_same_time_from_now_is_another_moment_each_time() -> None:
    """A broker that says "30" twice, 10 s apart, speaks of two windows."""
    budget = Budget(TOLD)
    for now, remaining in ((0.0, 5), (10.0, 7)):
        assert budget.admit(now, "bot", READ)
        budget.finish(now, "bot", Heard(None, remaining, b"30"), wall=NOON)
    assert (7, 30.0) == (budget.view(10.0).remaining, budget.view(10.0).seconds)


def test_the_same_moment_stays_the_same_while_our_clock_is_set() -> None:
    """Told in the same words, without a date of the broker's own."""
    budget = Budget(TOLD)
    for now, wall, remaining in ((0.0, NOON, 5), (10.0, NOON + 3600.0, 3)):
        assert budget.admit(now, "bot", READ)
        budget.finish(now, "bot", _told(remaining, 30.0), wall=wall)
    assert (3, 20.0) == (budget.view(10.0).remaining, budget.view(10.0).seconds)


def test_without_a_date_a_moment_must_make_sense() -> None:
    """Too late, and a whole window is waited for, and no longer; too early, and it is an answer of an earlier one."""
    for moment, left in ((NOON + 86_400, [0, 10]), (NOON - 5, [9, 1])):
        budget = Budget(TOLD)
        assert budget.admit(0.0, "bot", READ)
        budget.finish(0.0, "bot", Heard(None, 0, b"%d" % moment), wall=NOON)
        assert left == [_sent(budget, now) for now in (59.9, 60.3)]


def _refused(spec: Spec, heard: Heard, times: int = 1) -> float:
    """For how long calls are kept back after 429s."""
    budget = Budget(spec)
    now = since = 100.0
    for _ in range(times):
        assert budget.admit(now, "bot", READ)
        budget.finish(now, "bot", heard, wall=NOON, refused=True)
        since, now = now, budget.when(now, "bot", READ)
        if now > since and times > 1:
            assert not budget.admit(now - 0.001, "bot", READ)
    return now - since


QUESTRADE = Spec(limits=((1.0, 20), (3600.0, 15_000)), told=3600.0, names=wanted({"remaining": "left"}))


@pytest.mark.parametrize(
    ("spec", "heard", "seconds"),
    [
        (MINUTE, Heard(retry=b"7"), 7.0),
        (Spec(), Heard(retry=b"7"), 7.0),
        (Spec(), Heard(), 1.0),
        (QUESTRADE, _told(0, 12.0), 12.0),
        (QUESTRADE, _told(0, 0.0), 1.0),
        (QUESTRADE, _told(9_000, 1.0), 1.0),
        (QUESTRADE, _told(9_000, 1_800.0), 1.0),
        (QUESTRADE, Heard(), 1.0),
        (MINUTE, Heard(), 60.0),
        (MINUTE, Heard(retry=b"999999999"), 60.0),
        (QUESTRADE, Heard(retry=b"999999999"), 3600.0),
        (Spec(limits=((1.0, 5),)), Heard(retry=b"30"), 30.0),
        (QUESTRADE, _told(0, 1e9), 1.0),
    ],
    ids=[
        "Retry-After", "no category", "nothing said", "hour is over", "this moment", "second is full",
        "second, hour told", "second, nothing said", "a minute", "for ever", "for ever, by the hour",
        "longer than its window", "nonsense",
    ],
)  # fmt: skip
def test_a_429_closes_it_for_as_long_as_the_broker_says(spec: Spec, heard: Heard, seconds: float) -> None:
    """But for no longer than a minute, or its longest window."""
    assert seconds == _refused(spec, heard)


def test_429s_that_say_nothing_close_it_for_longer_each_time() -> None:
    """1, 2, 4 seconds, up to a minute; an answer that is none ends that."""
    assert [1.0, 2.0, 4.0, 60.0] == [_refused(Spec(), Heard(), times) for times in (1, 2, 3, 9)]
    assert 3600.0 == _refused(QUESTRADE, Heard(), 14)
    budget = Budget(Spec())
    for now, refused, moment in (
        (100.0, True, 101.0),
        (200.0, True, 202.0),
        (300.0, False, 300.0),
        (400.0, True, 401.0),
    ):
        assert budget.admit(now, "bot", READ)
        budget.finish(now, "bot", Heard(), refused=refused)
        assert moment == budget.when(now, "bot", READ)


def test_a_call_that_lowers_risk_is_not_kept_back_for_longer_than_it_may_wait() -> None:
    """One a second goes, whatever the books say: the broker has the last word."""
    budget = _spent(MINUTE, 10)
    assert 0 == _sent(budget, 1.0, kind=ORDER)
    assert 1 == _sent(budget, 1.0, kind=LOWER)
    assert [2.0, 4.0] == [budget.when(1.5, "bot", LOWER, ahead) for ahead in (0, 2)]
    assert 0 == _sent(budget, 1.5, kind=LOWER)
    assert 1 == _sent(budget, 2.0, kind=LOWER)
    closed = Budget(Spec())
    assert closed.admit(0.0, "bot", READ)
    closed.finish(0.0, "bot", Heard(retry=b"50"), refused=True)
    assert (0, 1) == (_sent(closed, 0.0), _sent(closed, 0.0, kind=LOWER))


def test_a_call_that_lowers_risk_and_has_waited_goes_but_only_one_a_second() -> None:
    """However it was let through; it has its place like any other."""
    budget = _spent(MINUTE, 10)
    assert [True, False, True] == [budget.overrun(now, "bot") for now in (1.0, 1.9, 2.0)]
    assert [False, True] == [budget.admit(now, "bot", LOWER) for now in (2.9, 3.0)]
    assert not budget.overrun(3.9, "bot")
    assert 3 == budget.out


def test_a_call_that_lowers_risk_waits_for_as_long_as_it_may() -> None:
    """Not a moment less: 2 s until there is room are waited for, and a little more are not."""
    for length, now, moment in ((2.0, 100.0, 102.0), (2.25, 100.0, 100.0), (2.25, 100.25, 102.25)):
        budget = Budget(Spec(limits=((length, 1),)))
        assert budget.admit(100.0, "bot", READ)
        budget.finish(100.0, "bot", Heard())
        assert moment == budget.when(now, "bot", LOWER)
        assert (moment == now) == budget.admit(now, "bot", LOWER)


def test_a_call_that_lowers_risk_waits_where_waiting_is_short() -> None:
    """The next second has room for it, and the broker need not refuse it."""
    budget = Budget(Spec(limits=((1.0, 2),)))
    for _ in range(2):
        assert budget.admit(0.0, "bot", READ)
        budget.finish(0.0, "bot", Heard())
    assert 0 == _sent(budget, 0.5, kind=LOWER)
    assert 1.0 == budget.when(0.5, "bot", LOWER)
    assert budget.admit(1.0, "bot", LOWER)


def test_when_a_call_could_go() -> None:
    """By the calls in front of it, and by what it must leave to others."""
    budget = Budget(Spec(limits=((60.0, 10),), orders=True, reserve=0.2, patience=59.0))
    for number in range(10):
        assert budget.admit(float(number), "bot", LOWER)
        budget.finish(float(number), "bot", Heard())
    assert [62.0, 61.0, 60.0] == [budget.when(9.0, "bot", kind) for kind in (READ, ORDER, LOWER)]
    assert [63.0, 64.0] == [budget.when(9.0, "bot", READ, ahead) for ahead in (1, 2)]


def test_a_replay_counts_twice() -> None:
    """It was sent twice."""
    budget = Budget(MINUTE)
    assert budget.admit(0.0, "bot", READ)
    budget.finish(0.0, "bot", Heard(), calls=2)
    assert 8 == _sent(budget, 0.0)


def test_a_lost_call_counts() -> None:
    """It may have reached the broker."""
    budget = Budget(TOLD)
    assert budget.admit(0.0, "bot", READ)
    budget.finish(0.0, "bot", _told(5, 30.0), wall=NOON)
    assert budget.admit(0.0, "bot", READ)
    budget.finish(0.0, "bot")
    assert 4 == _sent(budget, 0.0)
    untold = Budget(MINUTE)
    assert untold.admit(0.0, "bot", READ)
    untold.finish(0.0, "bot")
    assert 9 == _sent(untold, 0.0)


def test_another_definition_keeps_what_was_counted() -> None:
    """Limits that stay, and what the broker has said of them; a new one begins empty."""
    budget = _spent(MINUTE, 4)
    budget.redefine(Spec(limits=((60.0, 6), (3600.0, 3))))
    assert 2 == _sent(budget, 1.0)
    told = Budget(TOLD)
    assert told.admit(0.0, "bot", READ)
    told.finish(0.0, "bot", _told(7, 30.0, limit=20), wall=NOON)
    told.redefine(Spec(limits=((60.0, 3),), told=60.0))
    assert 20 == told.view(1.0).limit
    assert 7 == _sent(told, 1.0)


def test_how_it_stands() -> None:
    """For people: what is left, of how much, until when, and whether the broker refuses calls."""
    assert (None, None, None, 0.0) == _view(Budget(Spec()), 0.0)
    assert (None, None, None, 0.0) == _view(Budget(Spec(told=60.0)), 0.0)
    assert (10, 10, None, 0.0) == _view(Budget(Spec(limits=((1.0, 3), (60.0, 10)))), 0.0)
    budget = _spent(MINUTE, 4)
    assert (10, 6, None, 0.0) == _view(budget, 1.0)
    over = _spent(MINUTE, 10)
    assert over.overrun(1.0, "bot")
    assert (10, 0, None, 0.0) == _view(over, 1.0)
    told = Budget(QUESTRADE)
    assert told.admit(0.0, "bot", READ)
    told.finish(0.0, "bot", _told(7, 30.0), wall=NOON)
    assert (15_000, 7, 20.0, 0.0) == _view(told, 10.0)
    assert (15_000, 7, 0.0, 0.0) == _view(told, 30.1)
    assert told.admit(10.0, "bot", READ)
    told.finish(10.0, "bot", Heard(retry=b"9"), wall=NOON, refused=True)
    assert (15_000, 6, 18.0, 7.0) == _view(told, 12.0)


def _view(budget: Budget, now: float) -> tuple[int | None, int | None, float | None, float]:
    view = budget.view(now)
    return view.limit, view.remaining, view.seconds, view.closed


def test_it_is_idle_when_nothing_would_be_lost_with_it() -> None:
    """Nothing on its way, nothing counted, not closed."""
    budget = Budget(MINUTE)
    assert budget.idle(0.0)
    assert budget.admit(0.0, "bot", READ)
    assert not budget.idle(100.0)
    budget.finish(0.0, "bot", Heard(retry=b"50"), refused=True)
    assert (False, False, True) == (budget.idle(49.0), budget.idle(59.0), budget.idle(60.0))
    closed = Budget(Spec())
    assert closed.admit(0.0, "bot", READ)
    closed.finish(0.0, "bot", Heard(retry=b"50"), refused=True)
    assert (False, True) == (closed.idle(49.9), closed.idle(50.0))


def test_a_budget_can_be_told_and_gone_on_with_elsewhere() -> None:
    """What is left of each window, and until when it is closed; of a window that nothing was said of, nothing is."""
    two = Spec(limits=((1.0, 5), (60.0, 10)))
    budget = _spent(two, 3)
    assert budget.admit(0.5, "bot", READ)
    left, closed = budget.spare(0.5)
    assert ([(1.0, 1), (60.0, 6)], 0.0) == (left, closed)
    other = Budget(two)
    other.leave(10.0, dict(left), closed)
    assert 1 == _sent(other, 10.0)
    assert 4 == _sent(other, 11.5)
    silent = Budget(two)
    silent.leave(10.0, {1.0: 3}, 0.0)
    assert [0, 5] == [_sent(silent, now) for now in (69.9, 70.0)]
    shut = Budget(two)
    shut.leave(10.0, {1.0: 5, 60.0: 10}, 12.0)
    assert [0, 5] == [_sent(shut, now) for now in (11.9, 12.0)]
    assert ([], 0.0) == Budget(Spec()).spare(0.0)
