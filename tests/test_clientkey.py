"""A client key's record: what stands in it comes back, and one that says more than is known here does not count."""

import pytest

from proxy.clientkey import ClientKey
from proxy.store.vault import Entry

KEY = ClientKey("bot", 3, 1_793_700_000.0, "ab" * 32, ("alpaca/ann",), expires=1_793_800_000.0, generation=2)


def test_a_record_comes_back_as_it_was() -> None:
    """Bound or not, with and without an end."""
    for key in (KEY, ClientKey("bot", 1, 1.0, "cd" * 32)):
        assert key == ClientKey.of(key.record, Entry(key.generation, key.value))
    assert ("bound/bot/3", "client/bot/1") == (KEY.record, ClientKey("bot", 1, 1.0, "cd" * 32).record)


def test_it_is_over_at_its_end_and_not_before() -> None:
    """To the second."""
    assert [False, True] == [KEY.ended(now) for now in (1_793_799_999.9, 1_793_800_000.0)]


def test_a_record_of_a_newer_program_does_not_count() -> None:
    """A limit that nobody here knows may stand in it."""
    with pytest.raises(ValueError, match="a newer bearerd"):
        ClientKey.of(KEY.record, Entry(2, KEY.value | {"only_from": "10.0.0.1"}))
