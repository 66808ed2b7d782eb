"""Sealing: what was sealed opens unchanged in its own place, and nothing else opens at all."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.store import Damaged, Newer, StoreError, WrongKey
from proxy.store.sealing import OVERHEAD, Sealer

KEY = bytes(range(32))
VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "sealing_vectors.json").read_text("utf-8"))


@given(st.binary(max_size=10_000), st.text(max_size=40), st.integers(0, 2**63))
def test_what_was_sealed_is_unsealed(plaintext: bytes, name: str, generation: int) -> None:
    """unseal(seal(x)) == x, for any bytes, name and generation."""
    sealer = Sealer(KEY, "store")

    assert plaintext == sealer.unseal(name, generation, sealer.seal(name, generation, plaintext))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["comment"]))
def test_a_committed_vector_is_met(vector: dict[str, Any]) -> None:
    """Format 1 stays readable for ever, and is written byte for byte as it was."""
    fresh, plaintext = bytes.fromhex(vector["random"]), bytes.fromhex(vector["plaintext"])
    sealer = Sealer(bytes.fromhex(vector["kek"]), vector["store_id"], random=lambda _: fresh)
    place = vector["name"], vector["generation"]
    sealed = bytes.fromhex(vector["sealed"])

    assert vector["key_id"] == sealer.key_id
    assert plaintext == sealer.unseal(*place, sealed, purpose=vector["purpose"])
    assert sealed == sealer.seal(*place, plaintext, purpose=vector["purpose"], size=vector["size"])


def test_every_flipped_byte_is_refused() -> None:
    """One changed bit in any byte: a clean refusal, never a crash, never plaintext."""
    sealer = Sealer(KEY, "store")
    sealed = sealer.seal("grant/a", 1, b"secret", size=OVERHEAD + 200)

    for index in range(len(sealed)):
        altered = bytearray(sealed)
        altered[index] ^= 1
        with pytest.raises((Damaged, WrongKey)) as caught:
            sealer.unseal("grant/a", 1, bytes(altered))
        assert "secret" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_every_truncation_is_refused() -> None:
    """Any prefix of a record, and a record with a byte more, is damaged."""
    sealer = Sealer(KEY, "store")
    sealed = sealer.seal("grant/a", 1, b"secret", size=OVERHEAD + 100)

    for size in range(len(sealed)):
        with pytest.raises(Damaged):
            sealer.unseal("grant/a", 1, sealed[:size])
    with pytest.raises(Damaged):
        sealer.unseal("grant/a", 1, sealed + b"\0")


@pytest.mark.parametrize(
    ("store_id", "name", "generation", "purpose"),
    [
        ("other", "grant/a", 7, "store"),
        ("store", "grant/b", 7, "store"),
        ("store", "grant/a", 6, "store"),
        ("store", "grant/a", 8, "store"),
        ("store", "grant/a", 7, "journal"),
        ("storegrant", "/a", 7, "store"),
    ],
)
def test_a_record_opens_in_its_own_place_only(store_id: str, name: str, generation: int, purpose: str) -> None:
    """Another store, name, generation or purpose, or the same letters cut elsewhere, is refused."""
    sealed = Sealer(KEY, "store").seal("grant/a", 7, b"secret")

    with pytest.raises(Damaged):
        Sealer(KEY, store_id).unseal(name, generation, sealed, purpose=purpose)


def test_a_wrong_key_is_told_from_damage() -> None:
    """The message names both key ids."""
    one, other = Sealer(KEY, "store"), Sealer(bytes(32), "store")

    with pytest.raises(WrongKey, match=f"{one.key_id}.*{other.key_id}"):
        other.unseal("grant/a", 1, one.seal("grant/a", 1, b"secret"))


def test_a_newer_format_is_refused() -> None:
    """The first byte is the version, and only ours is read."""
    sealed = Sealer(KEY, "store").seal("a", 1, b"x")

    with pytest.raises(Newer, match=r"record 'a' was sealed by a newer bearerd \(format 2; this one knows 1\)"):
        Sealer(KEY, "store").unseal("a", 1, b"\x02" + sealed[1:])
    with pytest.raises(Damaged, match="unknown format 0"):
        Sealer(KEY, "store").unseal("a", 1, b"\x00" + sealed[1:])


def test_each_write_has_a_key_and_nonce_of_its_own() -> None:
    """Sealing the same value twice gives different bytes."""
    sealer = Sealer(KEY, "store")

    assert sealer.seal("a", 1, b"x") != sealer.seal("a", 1, b"x")


@pytest.mark.parametrize(("length", "blocks"), [(0, 1), (4092, 1), (4093, 2), (8188, 2)])
def test_the_plaintext_is_padded_to_four_kib(length: int, blocks: int) -> None:
    """The size of a record tells only how many blocks of 4 KiB it has."""
    sealed = Sealer(KEY, "store").seal("a", 1, bytes(length))

    assert blocks * 4096 + OVERHEAD - 4 == len(sealed)


def test_a_fixed_size_is_kept_or_refused() -> None:
    """`size` is the length of the record; what does not fit is a ValueError."""
    sealer = Sealer(KEY, "store")

    assert 4096 == len(sealer.seal("a", 1, bytes(4096 - OVERHEAD), size=4096))
    with pytest.raises(ValueError, match="do not fit"):
        sealer.seal("a", 1, bytes(4097 - OVERHEAD), size=4096)


def test_a_key_of_the_wrong_length_is_refused() -> None:
    """A master key has 32 bytes, and the message does not show it."""
    with pytest.raises(ValueError, match="32 bytes") as caught:
        Sealer(b"canary", "store")
    assert "canary" not in str(caught.value)


def test_the_key_stays_out_of_repr() -> None:
    """A sealer shows the id of its key, never the key."""
    sealer = Sealer(b"canary-canary-canary-canary-1234", "store")

    assert f"Sealer(key_id='{sealer.key_id}', store_id='store')" == repr(sealer)


def test_refusals_are_store_errors() -> None:
    """One except clause catches all that a store can do wrong."""
    assert issubclass(Damaged, StoreError)
    assert issubclass(WrongKey, StoreError)
