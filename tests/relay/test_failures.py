"""What is said of a call that went wrong."""

import pytest

from proxy.outbound import NotSent
from proxy.relay.failures import lost, unreachable


@pytest.mark.parametrize(
    ("safe", "expected"), [(True, ("broker-unreachable", 502, None)), (False, ("broker-unreachable", 503, 5))]
)
def test_what_was_never_sent_may_be_repeated(safe: bool, expected: tuple[str, int, int | None]) -> None:
    """A read is a bad gateway; what changes something may wait and come again."""
    refusal = unreachable(NotSent("no route"), safe=safe)
    assert expected == (refusal.kind.name, refusal.kind.status, refusal.retry_after)
    assert "Nothing was sent" in refusal.detail
    assert "nothing was executed" in unreachable(NotSent("no route"), safe=safe, again=True).detail


@pytest.mark.parametrize(
    ("kind", "safe", "name"),
    [
        ("timeout", True, "broker-timeout"), ("malformed", True, "bad-answer"), ("reset", True, "broker-unreachable"),
        ("timeout", False, "outcome-unknown"), ("malformed", False, "outcome-unknown"),
        ("reset", False, "outcome-unknown"),
    ],
)  # fmt: skip
def test_what_was_sent_and_changes_something_is_unknown(kind: str, safe: bool, name: str) -> None:
    """Nothing asks for it once more."""
    refusal = lost("it was cut", kind, safe=safe)
    assert (name, None) == (refusal.kind.name, refusal.retry_after)
