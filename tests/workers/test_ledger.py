"""What a worker has counted, until custody has it."""

import pytest

from proxy.audit.calls import Calls
from proxy.gate.clients import Uses
from proxy.metrics import Metrics
from proxy.serving import Serving
from proxy.workers import ledger
from proxy.workers.ledger import Counted, Tallies, Told, uses_taken


def ended(serving: Serving, client: str = "bot") -> None:
    """One call, from its beginning to its end."""
    record = serving.begin("GET", "0123456789abcdef")
    record.client, record.mount, record.status, record.outcome = client, "lab", 200, "broker"
    serving.end(record, 1000.0)


def test_each_call_is_told_once() -> None:
    """Its record, the counters, the mount's tally; and nothing if there was none."""
    trail, metrics = Told(), Metrics()
    serving = Serving(metrics, Calls(trail))  # type: ignore[arg-type]  # as a worker does it
    counted, tallies = Counted(metrics), Tallies(serving.tallies)
    ended(serving)
    ended(serving)
    texts = trail.take()
    assert len(texts) == 2
    assert '"client":"bot"' in texts[0]
    assert tallies.take()["lab"][:2] == [2, 0]
    other = Metrics()
    told = counted.take()
    assert told is not None
    other.absorb("1.1", told)
    assert b"bearerd_requests_total" in other.render()
    assert not trail.take()
    assert not tallies.take()
    assert counted.take() is None


def test_uses_are_taken_once() -> None:
    """Keys and clients, with the time of their last use."""
    uses = Uses({"digest": 5.0}, {"bot": 5.0})
    assert uses_taken(uses) == ({"digest": 5.0}, {"bot": 5.0})
    assert uses_taken(uses) == ({}, {})


def test_records_that_nobody_takes_are_bounded_and_only_reads_are_recorded() -> None:
    """Beyond the limit they are counted. A worker has no intent to put: that is a fault of ours."""
    trail = Told()
    trail.texts = ["{}"] * ledger.ROOM
    assert not trail.put("call", "one more")
    assert trail.standing.lost == 1
    assert len(trail.take()) == ledger.AT_ONCE
    assert not trail.standing.lost
    with pytest.raises(AssertionError):
        trail.put("intent", "")


def test_records_are_told_some_at_a_time_in_their_order() -> None:
    """A hundred thousand would be no message; what nobody has heard is told again."""
    trail = Told()
    trail.texts = [str(number) for number in range(ledger.AT_ONCE + 2)]
    some = trail.take()
    assert len(some) == ledger.AT_ONCE
    trail.keep(some)
    assert trail.take() == some
    assert trail.take() == [str(ledger.AT_ONCE), str(ledger.AT_ONCE + 1)]
