"""What the regions of the journal file look like: sealing and unsealing of header, intent and answer. No files here.

Sizes are fixed and multiples of 4 KiB. Each region is sealed under its own place in the file, an answer also under
the `use` number of its intent.
"""

import json
import struct
from dataclasses import dataclass
from typing import Any

from proxy.store import Damaged, Foreign, Newer, WrongKey
from proxy.store.sealing import Sealer

HEADER, INTENT, ANSWER = 4096, 4096, 12288  # bytes
BODY = 11 * 1024  # bytes of an answer's body that fit for certain
_CONTENT_TYPE = 100  # characters of a content type that fit for certain, even if JSON escapes each
FORMAT = 1
_NAME = b"BRDJRNL"  # of any format: its number follows, as one digit
_MAGIC = _NAME + b"%d" % FORMAT
_PREAMBLE = struct.Struct(">8sQ64s")  # magic, sequence number, store id: in clear, and bound by the seal
_PURPOSE = "journal"


@dataclass(frozen=True, slots=True)
class Header:
    """`commit` is the highest commit number of the store that was told; `slots` are those that are written in full.

    Of two copies the one with the higher `sequence` counts.
    """

    install_id: str
    commit: int
    slots: int
    sequence: int = 0


def seal_header(sealer: Sealer, header: Header) -> bytes:
    preamble = _PREAMBLE.pack(_MAGIC, header.sequence, sealer.store_id.encode())
    value = {"install_id": header.install_id, "commit": header.commit, "slots": header.slots}
    size = HEADER - _PREAMBLE.size
    return preamble + sealer.seal("header", header.sequence, _dump(value), purpose=_PURPOSE, size=size)


def unseal_header(sealer: Sealer, region: bytes) -> Header:
    """`Foreign` if it is another store's, `Newer`, `WrongKey`, or `Damaged`."""
    if len(region) != HEADER:
        raise Damaged("the file is too short for a journal")
    magic, sequence, store_id = _PREAMBLE.unpack_from(region)
    if magic[:-1] == _NAME and magic > _MAGIC and magic[-1:].isdigit():
        found = magic[-1:].decode()
        raise Newer(f"the journal was written by a newer bearerd (format {found}; this one knows {FORMAT})")
    if magic != _MAGIC:
        raise Damaged("this is not the header of a journal")
    try:
        value = json.loads(sealer.unseal("header", sequence, region[_PREAMBLE.size :], purpose=_PURPOSE))
    except Damaged:
        if store_id.rstrip(b"\0") != sealer.store_id.encode():
            raise Foreign("the journal belongs to another store") from None
        raise
    return Header(value["install_id"], value["commit"], value["slots"], sequence)


def seal_intent(sealer: Sealer, index: int, use: int, value: dict[str, Any]) -> bytes:
    """`ValueError` if `value` is too long."""
    return sealer.seal(f"intent/{index}", 0, _dump({"use": use, **value}), purpose=_PURPOSE, size=INTENT)


def unseal_intent(sealer: Sealer, index: int, region: bytes) -> tuple[int, dict[str, Any]] | None:
    """Use number and value, or None for what cannot be opened: an intent that never became durable spent nothing.

    `Newer` if a later bearerd has sealed it: that one may have spent a token.
    """
    value = _unseal(sealer, f"intent/{index}", 0, region)
    if value is None:
        return None
    intent: dict[str, Any] = json.loads(value)
    return intent.pop("use"), intent


def seal_answer(sealer: Sealer, index: int, use: int, head: dict[str, Any], body: bytes) -> bytes:
    return sealer.seal(f"answer/{index}", use, _dump(head) + b"\n" + body, purpose=_PURPOSE, size=ANSWER)


def unseal_answer(sealer: Sealer, index: int, use: int, region: bytes) -> tuple[dict[str, Any], bytes] | None:
    """Head and body, or None if there is no whole answer to that use."""
    try:
        value = _unseal(sealer, f"answer/{index}", use, region)
    except Newer:  # left from an earlier use: nobody adds an answer to an intent of an older form
        return None
    if value is None:
        return None
    head, _, body = value.partition(b"\n")
    return json.loads(head), body


def _unseal(sealer: Sealer, name: str, generation: int, region: bytes) -> bytes | None:
    try:
        return sealer.unseal(name, generation, region, purpose=_PURPOSE)
    except Newer:
        raise
    except (Damaged, WrongKey):
        return None


_encoder = json.JSONEncoder(separators=(",", ":"))  # `dumps` would make one each time


def _dump(value: dict[str, Any]) -> bytes:
    return _encoder.encode(value).encode()


def short_type(content_type: str) -> str:
    """As much of a content type as fits beside a full body, whatever characters it has."""
    return content_type[:_CONTENT_TYPE].encode("ascii", "replace").decode("ascii")
