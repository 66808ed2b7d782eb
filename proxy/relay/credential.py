"""How a credential is written into a call, and how it would look if an answer gave it back. Pure.

A definition says where the broker wants it (`Placement`). One call has exactly one credential, in exactly that place.
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from proxy.brokers.definition import Placement
from proxy.gate.query import spells
from proxy.secret import Secret

SHORTEST_NEEDLE = 8  # bytes; a shorter text would be found in answers that give nothing away

Text = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Written:
    """A call's target and headers with the credential in them."""

    target: bytes = field(repr=False)
    headers: Text = field(repr=False)


def write(placement: Placement, credential: Secret, target: bytes, headers: Iterable[tuple[str, str]]) -> Written:
    """Put the credential where `placement` says, and take every other one out. A `target` is only ever added to.

    Raises `AssertionError`, without a byte of it, if the call would leave with none, with two, or with half of one:
    this is the last look before it is sent.
    """
    ours = [name.lower() for name in placement.names] if placement.kind == "headers" else []
    kept = [(name, value) for name, value in headers if name.lower() not in ("authorization", *ours)]
    parts = _parts(placement, credential)
    match placement.kind:
        case "bearer":
            kept.append(("Authorization", f"Bearer {parts[0]}"))
        case "basic":
            kept.append(("Authorization", f"Basic {_base64(':'.join(parts).encode())}"))
        case "headers":
            kept += zip(placement.names, parts, strict=True)
        case "query":
            target = _with_parameter(target, placement.names[0], parts[0])
    _check(placement, target, kept)
    return Written(target, kept)


def _parts(placement: Placement, credential: Secret) -> list[str]:
    parts = credential.reveal().split(":", placement.parts - 1)
    if len(parts) != placement.parts or not all(parts):
        raise AssertionError(f"the credential does not have the {placement.parts} parts that are needed here")
    if placement.kind == "basic" or all(part.isascii() and part.isprintable() for part in parts):
        return parts
    raise AssertionError("a credential holds a character that no header can carry")


def _with_parameter(target: bytes, name: str, value: str) -> bytes:
    _, mark, query = target.partition(b"?")
    joint = b"&" if query else b"" if mark else b"?"
    return target + joint + f"{quote(name, safe='')}={quote(value, safe='')}".encode()


def _check(placement: Placement, target: bytes, headers: Sequence[tuple[str, str]]) -> None:
    names = [name.lower() for name, _ in headers]
    expected = {"authorization": int(placement.kind in ("bearer", "basic"))}
    if placement.kind == "headers":
        expected |= {name.lower(): 1 for name in placement.names}
    if any(names.count(name) != count for name, count in expected.items()):
        raise AssertionError("a call was about to leave without exactly one credential")
    if placement.kind == "query" and spells(target.partition(b"?")[2], placement.names[0]) != 1:
        raise AssertionError("a call was about to leave without exactly one credential")


def needles(placement: Placement, credential: Secret) -> tuple[bytes, ...]:
    """What to look for in an answer: the credential and its secret parts, plain, escaped, and inside of base64."""
    text = credential.reveal()
    parts = text.split(":", placement.parts - 1)
    # The user of Basic is a name, often an e-mail address, which answers may well tell.
    texts = dict.fromkeys([text, *(parts[1:] if placement.kind == "basic" else parts)])
    return tuple(dict.fromkeys(needle for each in texts for needle in spellings(each)))


def spellings(text: str) -> Iterator[bytes]:
    """A secret as it is, as URLs and JSON escape it, and as base64 holds it, wherever it begins."""
    raw = text.encode()
    if len(raw) < SHORTEST_NEEDLE:
        return
    yield raw
    yield quote(text, safe="").encode()
    yield raw.replace(b"/", b"\\/")
    for start in range(3):
        # The characters at both ends also depend on what stands beside the secret.
        whole = raw[(3 - start) % 3 :]
        yield base64.b64encode(whole[: len(whole) // 3 * 3])


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
