"""Who is next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gate.turns import KINDS, LOWER, ORDER, READ, Turns


def always(_client: str, _kind: int) -> bool:
    return True


def _drained(turns: Turns[str]) -> list[str]:
    found = []
    while (waiter := turns.next(always)) is not None:
        found.append(waiter)
    return found


def test_calls_that_lower_risk_go_first_then_orders() -> None:
    """Whatever came before them."""
    turns: Turns[str] = Turns()
    for waiter, kind in (("quote", READ), ("order", ORDER), ("quote 2", READ), ("cancel", LOWER), ("order 2", ORDER)):
        turns.add(kind, "bot", waiter)
    assert ["cancel", "order", "order 2", "quote", "quote 2"] == _drained(turns)
    assert 0 == len(turns)


def test_clients_take_turns() -> None:
    """One call each, and the calls of one client in their order."""
    turns: Turns[str] = Turns()
    for waiter in ("a1", "a2", "a3", "b1", "c1", "c2"):
        turns.add(READ, waiter[0], waiter)
    assert ["a1", "b1", "c1", "a2", "c2", "a3"] == _drained(turns)


def test_nobody_overtakes_a_kind_that_waits_in_front() -> None:
    """A read that could go stays behind an order that cannot; another client of the same kind may go."""
    turns: Turns[str] = Turns()
    turns.add(READ, "a", "read")
    turns.add(ORDER, "a", "order of a")
    assert turns.next(lambda _client, kind: kind == READ) is None
    turns.add(ORDER, "b", "order of b")
    assert "order of b" == turns.next(lambda client, _kind: client == "b")
    assert [("a", ORDER)] == list(turns.heads())


def test_who_leaves_is_passed_over() -> None:
    """And the others stay in their order; who was not there cannot leave."""
    turns: Turns[str] = Turns()
    for waiter in ("a1", "a2", "b1"):
        turns.add(READ, waiter[0], waiter)
    turns.remove(READ, "a", "a1")
    with pytest.raises(ValueError, match="deque"):
        turns.remove(READ, "c", "c1")
    assert {"a": 1, "b": 1} == turns.counts()
    assert ["a2", "b1"] == _drained(turns)
    assert [] == list(turns.heads())


def test_a_client_alone_waits_for_its_own_calls() -> None:
    """Those in front of the new one, and no others."""
    turns: Turns[str] = Turns()
    for waiter in ("a1", "a2", "a3"):
        turns.add(READ, "a", waiter)
    assert [3, 0, 1] == [turns.ahead(READ, "a"), turns.ahead(ORDER, "a"), turns.ahead(READ, "b")]


Calls = st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from("abcd")), max_size=30)


@given(Calls, st.sampled_from(KINDS), st.sampled_from("abcde"))
def test_no_more_go_before_a_new_call_than_was_said(calls: list[tuple[int, str]], kind: int, client: str) -> None:
    """`ahead` is what somebody is promised who comes now, and at most one turn of each other client too many."""
    turns: Turns[str] = Turns()
    for number, (each, name) in enumerate(calls):
        turns.add(each, name, f"{number}")
    said = turns.ahead(kind, client)
    turns.add(kind, client, "new")
    before = _drained(turns).index("new")
    assert before <= said <= before + len({name for _, name in calls})


@given(Calls)
def test_shares_differ_by_one_call_at_most(calls: list[tuple[int, str]]) -> None:
    """As long as two clients both have calls of a kind waiting, neither gets two turns more than the other."""
    turns: Turns[tuple[int, str, int]] = Turns()
    left: dict[tuple[int, str], int] = {}
    for number, (kind, name) in enumerate(calls):
        turns.add(kind, name, (kind, name, number))
        left[kind, name] = left.get((kind, name), 0) + 1
    served: dict[tuple[int, str], int] = dict.fromkeys(left, 0)
    while (waiter := turns.next(always)) is not None:
        kind, name, _ = waiter
        served[kind, name] += 1
        busy = [served[each] for each in left if each[0] == kind and served[each] < left[each]]
        assert max(busy, default=0) - min(busy, default=0) <= 1
        assert all(served[each] == left[each] for each in left if each[0] < kind)
    assert served == left
