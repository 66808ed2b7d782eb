"""The regions of the journal file: fixed sizes, each sealed in its own place."""

import pytest

from proxy.store import Damaged, Foreign, WrongKey
from proxy.store.sealing import Sealer
from proxy.tokens import regions
from proxy.tokens.regions import Header

SEALER = Sealer(bytes(range(32)), "store-1")
HEADER = Header("install", 42, 64, sequence=7)


def test_a_header_comes_back_as_it_was() -> None:
    """All four values survive, in exactly 4 KiB."""
    region = regions.seal_header(SEALER, HEADER)

    assert (4096, HEADER) == (len(region), regions.unseal_header(SEALER, region))


def test_every_flipped_byte_of_a_header_is_refused() -> None:
    """The clear part (magic, sequence, store id) is bound by the seal of the rest."""
    region = regions.seal_header(SEALER, HEADER)

    for index in [*range(200), 4000, 4095]:
        altered = bytearray(region)
        altered[index] ^= 1
        try:
            read = regions.unseal_header(SEALER, bytes(altered))
        except (Damaged, WrongKey):
            continue
        # The store id in clear only chooses the message: the one that counts is in the seal.
        assert (HEADER, True) == (read, 16 <= index < 80)


def test_the_header_of_another_store_says_so() -> None:
    """Same key, other store: not damaged, but not ours."""
    region = regions.seal_header(Sealer(bytes(range(32)), "store-2"), HEADER)

    with pytest.raises(Foreign, match="another store"):
        regions.unseal_header(SEALER, region)


def test_the_header_under_another_key_says_so() -> None:
    """A wrong key is told from damage."""
    with pytest.raises(WrongKey):
        regions.unseal_header(SEALER, regions.seal_header(Sealer(bytes(32), "store-1"), HEADER))


@pytest.mark.parametrize("region", [b"", bytes(4096), b"BRDJRNL1", b"SQLite format 3\0" + bytes(4080)])
def test_what_is_no_header_is_damaged(region: bytes) -> None:
    """Empty, blank, short and foreign bytes are refused."""
    with pytest.raises(Damaged):
        regions.unseal_header(SEALER, region)


def test_an_intent_comes_back_with_its_use() -> None:
    """Use number and value, in exactly 4 KiB."""
    region = regions.seal_intent(SEALER, 3, 99, {"grant": "questrade"})

    assert (4096, (99, {"grant": "questrade"})) == (len(region), regions.unseal_intent(SEALER, 3, region))


def test_an_intent_opens_in_its_own_slot_only() -> None:
    """Copied to another slot it is nothing."""
    assert regions.unseal_intent(SEALER, 4, regions.seal_intent(SEALER, 3, 99, {})) is None


def test_an_intent_that_is_too_long_is_refused() -> None:
    """It must fit its region."""
    with pytest.raises(ValueError, match="do not fit"):
        regions.seal_intent(SEALER, 0, 1, {"grant": "x" * 5000})


def test_an_answer_belongs_to_one_use() -> None:
    """Under the use number of another intent it does not open: an old answer is never taken for a new one."""
    region = regions.seal_answer(SEALER, 3, 99, {"status": 200}, b"line\nline")

    assert (12288, ({"status": 200}, b"line\nline")) == (len(region), regions.unseal_answer(SEALER, 3, 99, region))
    assert regions.unseal_answer(SEALER, 3, 98, region) is None
    assert regions.unseal_answer(SEALER, 4, 99, region) is None


def test_the_longest_answer_fits() -> None:
    """A full body beside the worst content type stays within its region."""
    worst = regions.short_type("\0\U0001f600" * 300)
    head = {"status": 599, "content_type": worst, "received_wall": 1234567890.123456}

    assert 12288 == len(regions.seal_answer(SEALER, 9999, 2**56, head, bytes(regions.BODY)))
