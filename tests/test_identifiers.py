import re

from proxy.identifiers import Identifiers


def test_identifiers_are_fresh() -> None:
    """Sixteen hexadecimal digits, never the same ones."""
    identifiers = Identifiers()

    found = [identifiers.next() for _ in range(1000)]

    assert 1000 == len(set(found))
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in found)
