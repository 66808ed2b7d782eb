"""How many members are renewed at a time: several for each that may ask, and one while the endpoint fails."""

import pytest

from proxy.tokens.backlog import AHEAD, Backlog

LIMIT = 4


def test_others_are_made_ready_while_some_ask() -> None:
    """What is running counts. Until somebody has got an answer nobody waits for a turn to ask."""
    assert (1, 0) == (Backlog(running=3).room(LIMIT), Backlog(running=LIMIT).room(LIMIT))
    backlog = Backlog(running=3)
    for well, room in ((True, AHEAD * LIMIT - 3), (False, 1), (True, AHEAD * LIMIT - 3)):
        backlog.ended(1000.0, well=well)
        assert room == backlog.room(LIMIT)


@pytest.mark.parametrize(("failures", "pause"), [(3, 0), (4, 1), (5, 2), (8, 16), (12, 256), (13, 300), (100, 300)])
def test_failures_in_a_row_slow_it_down(failures: int, pause: float) -> None:
    """Longer and longer, up to five minutes; nothing before the fourth."""
    backlog = Backlog()
    for _ in range(failures):
        backlog.ended(1000.0, well=False)
    assert (1000.0 + pause if pause else 0.0) == backlog.not_before


def test_while_the_endpoint_fails_one_is_left() -> None:
    """All others have to end; a success lets them come back."""
    backlog = Backlog(running=5)
    for _ in range(4):
        backlog.ended(1000.0, well=False)
    assert -4 == backlog.room(LIMIT)
    backlog.ended(1001.0, well=True)
    assert (0.0, AHEAD * LIMIT - 5) == (backlog.not_before, backlog.room(LIMIT))
