"""No failure mode and no invariant is without a test that bears its number."""

import re
from pathlib import Path

FAILURE_MODES, INVARIANTS = range(1, 27), range(1, 10)


def test_every_failure_mode_and_every_invariant_has_its_test() -> None:
    """F1 to F26 and I1 to I9."""
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    named = re.findall(r"^(?:async )?def test_([fi])(\d+)_", text, re.MULTILINE)
    expected = {("f", number) for number in FAILURE_MODES} | {("i", number) for number in INVARIANTS}

    assert expected == {(kind, int(number)) for kind, number in named}
