"""Ranges of ports: read strictly, printed back as they are written."""

import pytest

from proxy.config import PortRange
from proxy.config.address import Wrong
from proxy.config.plain import plain
from proxy.config.portrange import port_range


@pytest.mark.parametrize(
    ("value", "expected"),
    [("8090-8099", "8090-8099"), ("8090", "8090-8090"), (8090, "8090-8090"), ("1024-1123", "1024-1123")],
)
def test_a_range_prints_itself_back(value: object, expected: str) -> None:
    """One port is a range of one."""
    found = port_range(value)
    assert expected == str(found) == plain(found)
    assert found == port_range(str(found))


def test_a_range_holds_both_ends() -> None:
    """From the first to the last."""
    assert [8090, 8091, 8092] == list(PortRange(8090, 8092))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("8099-8090", "the last port comes before the first"), ("1023-1030", "ports go from 1024 to 65535 here"),
        ("65530-65536", "ports go from 1024 to 65535 here"), ("8000-8100", "a range has at most 100 ports"),
        ("", "is no range of ports"), ("8090-", "is no range of ports"), ("8090..8099", "is no range of ports"),
        (True, "is no range of ports"), (None, "is no range of ports"), ([8090], "is no range of ports"),
        ("\u0661\u0662\u0663\u0664", "is no range of ports"), (-8090, "is no range of ports"),
    ],
)  # fmt: skip
def test_what_is_no_range_is_wrong(value: object, problem: str) -> None:
    """With a message that says what to write."""
    with pytest.raises(Wrong) as wrong:
        port_range(value)
    assert problem == wrong.value.message
    assert wrong.value.fix
