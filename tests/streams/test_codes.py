"""Close codes."""

import re
from pathlib import Path

import pytest

from proxy.errors import KINDS
from proxy.streams import codes

DOC = Path(__file__).resolve().parents[2] / "docs" / "streams.md"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("unknown-client", 4401), ("cross-site", 4401), ("scope-denied", 4403), ("unknown-mount", 4403),
        ("halted", 4423),
        ("login-needed", 4503), ("token-unavailable", 4503), ("broker-unreachable", 4502), ("bad-answer", 4502),
        ("broker-timeout", 4502), ("draining", 1001), ("paced", 1008), ("overloaded", 1008), ("internal", 1011),
    ],
)  # fmt: skip
def test_a_refusal_has_its_close_code(name: str, code: int) -> None:
    """What a call is told by status, a socket is told by code."""
    (kind, *_) = [kind for kind in KINDS.values() if kind.name == name]
    assert code == codes.of_refusal(kind)


def test_every_refusal_has_a_code_that_is_documented() -> None:
    """None falls through to a number that nobody explains, and the page has no other one of ours."""
    assert {codes.of_refusal(kind) for kind in KINDS.values()} <= codes.MEANINGS.keys()
    rows = re.findall(r"^\| (\d{4}) \|", DOC.read_text("utf-8"), re.MULTILINE)
    assert sorted(codes.MEANINGS) == sorted(map(int, rows))


@pytest.mark.parametrize(
    ("code", "client", "broker"),
    [(1000, 1000, 1000), (4009, 4009, 4009), (None, 1012, 1000), (1005, 1012, 1001), (1015, 1012, 1001)],
)
def test_a_code_passes_unless_it_says_that_there_was_none(code: int | None, client: int, broker: int) -> None:
    """Such a one may stand in no frame."""
    assert (client, broker) == (codes.passed_on(code), codes.returned(code))


def test_a_reason_fits_into_its_frame() -> None:
    """123 bytes, and no half of a letter."""
    assert ("x" * 123, "é" * 61) == (codes.short("x" * 200), codes.short("é" * 100))
