"""Sealing at rest: a value is bound to its store, its name and its generation, and any change to it is noticed.

A sealed record is: format version (1 byte), key id (8), salt (32), nonce (12), ciphertext and tag. Each write has a
key of its own, HKDF-SHA256(master key, salt, purpose), so a nonce that repeats after a snapshot of the machine does
no harm. The algorithm is AES-256-GCM and belongs to the format version. The associated data is the format version,
the store id, the purpose, the name and the generation: a record that is moved to another place does not open there.
"""

import os
import struct
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from proxy.store import Damaged, Newer, WrongKey

FORMAT = 1
KEY_SIZE = 32
PAD = 4096  # bytes: the length of a sealed record says nothing about the length of a token
_KEY_ID, _SALT, _NONCE, _TAG = 8, 32, 12, 16
_HEAD = 1 + _KEY_ID + _SALT + _NONCE
_FORMAT = bytes((FORMAT,))
_LENGTH, _SIZE, _GENERATION = struct.Struct(">I"), struct.Struct(">H"), struct.Struct(">Q")
OVERHEAD = _HEAD + _TAG + _LENGTH.size  # what sealing adds to a value, in bytes, before padding


class Sealer:
    """Seals and unseals for one store with one master key (`kek`, 32 bytes). Pure but for its source of randomness."""

    __slots__ = ("_beginning", "_kek", "_key_id", "_random", "key_id", "store_id")

    def __init__(self, kek: bytes, store_id: str, *, random: Callable[[int], bytes] = os.urandom) -> None:
        if len(kek) != KEY_SIZE:
            raise ValueError(f"a master key has {KEY_SIZE} bytes")
        self._kek = kek
        self._random = random
        self._key_id = HKDFExpand(SHA256(), _KEY_ID, b"bearerd key id").derive(kek)
        self.key_id = self._key_id.hex()
        self.store_id = store_id
        store = store_id.encode()
        self._beginning = _FORMAT + _SIZE.pack(len(store)) + store  # of all that seals are bound to

    def __repr__(self) -> str:
        return f"Sealer(key_id={self.key_id!r}, store_id={self.store_id!r})"

    def seal(
        self, name: str, generation: int, plaintext: bytes, *, purpose: str = "store", size: int | None = None
    ) -> bytes:
        """The sealed record. `size` fixes its length in bytes; without it the plaintext is padded to 4 KiB multiples.

        `ValueError` if the plaintext does not fit `size`.
        """
        room = size - _HEAD - _TAG if size is not None else -(-(_LENGTH.size + len(plaintext)) // PAD) * PAD
        padded = (_LENGTH.pack(len(plaintext)) + plaintext).ljust(room, b"\0")
        if len(padded) > room:
            raise ValueError(f"{len(plaintext)} bytes do not fit a sealed record of {size}")
        fresh = self._random(_SALT + _NONCE)
        salt, nonce = fresh[:_SALT], fresh[_SALT:]
        aad = self._aad(purpose, name, generation)
        return b"".join((_FORMAT, self._key_id, fresh, self._cipher(salt, purpose).encrypt(nonce, padded, aad)))

    def unseal(self, name: str, generation: int, sealed: bytes, *, purpose: str = "store") -> bytes:
        """The plaintext, whole and as it was sealed under this very name and generation.

        `WrongKey` if it was sealed with another master key, `Newer` in a later format, `Damaged` for everything else.
        """
        if len(sealed) < _HEAD + _TAG + _LENGTH.size:
            raise Damaged(f"record {name!r} is too short")
        if sealed[0] > FORMAT:
            raise Newer(
                f"record {name!r} was sealed by a newer bearerd (format {sealed[0]}; this one knows {FORMAT}), "
                "or its first byte was altered"
            )
        if sealed[0] != FORMAT:
            raise Damaged(f"record {name!r} has the unknown format {sealed[0]}")
        key_id = sealed[1 : 1 + _KEY_ID]
        if key_id != self._key_id:
            raise WrongKey(f"record {name!r} is sealed with the key {key_id.hex()}; the key at hand is {self.key_id}")
        salt, nonce = sealed[1 + _KEY_ID : _HEAD - _NONCE], sealed[_HEAD - _NONCE : _HEAD]
        aad = self._aad(purpose, name, generation)
        try:
            padded = self._cipher(salt, purpose).decrypt(nonce, sealed[_HEAD:], aad)
        except InvalidTag:
            raise Damaged(f"record {name!r} was altered, or belongs to another place") from None
        (length,) = _LENGTH.unpack_from(padded)
        return padded[_LENGTH.size : _LENGTH.size + length]

    def _cipher(self, salt: bytes, purpose: str) -> AESGCM:
        return AESGCM(HKDF(SHA256(), KEY_SIZE, salt, b"bearerd " + purpose.encode()).derive(self._kek))

    def _aad(self, purpose: str, name: str, generation: int) -> bytes:
        # Each text carries its length, so that no two places have the same bytes.
        of, where = purpose.encode(), name.encode()
        parts = (self._beginning, _SIZE.pack(len(of)), of, _SIZE.pack(len(where)), where, _GENERATION.pack(generation))
        return b"".join(parts)
