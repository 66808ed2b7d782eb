"""What waits for one hook: in order, at most so much, and what a later one has overtaken goes first."""

from proxy.alerts.notice import Notice, begun, denied, over
from proxy.alerts.queue import Queue
from tests.alerts.receivers import trouble

ABOUT = {"mount": "questrade", "client": "bot", "guard": "hours"}


def notice(name: str, id_: str, *, end: bool = False) -> Notice:
    wrong = trouble(subject=name)
    return over(wrong, id_, 0.0) if end else begun(wrong, id_, 0.0)


def ids(queue: Queue) -> list[str]:
    return [each.id for each in queue]


def test_first_come_first_told() -> None:
    """In the order in which they were put, and then there is none."""
    queue = Queue()
    for each in (notice("a", "1"), notice("a", "2", end=True), notice("b", "3")):
        assert queue.put(each) is None
    assert ["1", "2", "3"] == [taken.id for taken in iter(queue.take, None)]


def test_the_oldest_that_was_overtaken_goes_first() -> None:
    """Room for three: of a, b, a's end and c, a's beginning is what nobody needs any more; then the oldest."""
    queue = Queue(3)
    for each in (notice("b", "1"), notice("a", "2"), notice("a", "3", end=True)):
        queue.put(each)
    lost = queue.put(notice("c", "4"))
    assert (lost and lost.id, ["1", "3", "4"]) == ("2", ids(queue))
    lost = queue.put(notice("d", "5"))
    assert (lost and lost.id, ["3", "4", "5"]) == ("1", ids(queue))


def test_denials_that_wait_become_one() -> None:
    """However many come while a hook is down, they take one place for each client, mount and guard."""
    queue = Queue(2)
    for number in range(50):
        assert queue.put(denied(ABOUT, 2, number, str(number), number)) is None
    assert queue.put(denied(ABOUT | {"client": "other"}, 1, 0, "x", 0)) is None
    first = queue.take()
    assert first is not None
    assert (100, 0, 1) == (first.count, first.since, len(queue))
