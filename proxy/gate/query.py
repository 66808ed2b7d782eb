"""Two readings of a query string: the exact one, and the most generous one that any server might make of it.

A query is forwarded byte for byte, so nothing here ever changes one. Where a name in it decides something, the call is
refused as soon as the two readings differ: then the broker may see another request than the one that was allowed.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator

# What a framework takes as "treat this POST as a DELETE", less `-`, `_`, `.` and `$`, which also stand in front of a
# bare `method`: `_method`, `$method`.
_METHOD_OVERRIDES = frozenset(
    {
        "httpmethod",
        "httpmethodoverride",
        "methodoverride",
        "xhttpmethod",
        "xhttpmethodoverride",
        "xmethodoverride",
    }
)

_SEPARATORS = re.compile("[&;?]")
_WORD = re.compile("[\\w\ufffd-]+")
_NESTED_PERCENT = re.compile(rb"%(?:25)+")
_ESCAPE = re.compile(rb"%(?:u([0-9A-Fa-f]{4})|([0-9A-Fa-f]{2}))")
_ROUNDS = 8  # of decoding; `%252525…` counts as one

UNREADABLE = "\ufffd"  # stands in a loosely read name whose bytes are no UTF-8 (an overlong encoding, say)


def exact_values(query: bytes | None, name: str) -> list[bytes]:
    """The raw values of the fields spelled exactly `name`, split at `&` alone. A bare name has the value `b""`."""
    wanted = name.encode()
    fields = (field.partition(b"=") for field in (query or b"").split(b"&"))
    return [value for spelled, _, value in fields if spelled == wanted]


def loose_names(query: bytes | None) -> list[str]:
    """Every field name that some server could read: fully decoded, also split at `;`, letter case folded.

    A name with punctuation counts as each of its words too, once a field: binders take `[stream]`, `!stream` and
    `model.stream` for `stream`. So does what stands before a NUL: some servers end the name there.
    """
    if not query:
        return []
    text = _decode(query).decode("utf-8", errors="replace")
    names = (field.partition("=")[0] for field in _SEPARATORS.split(text))
    return [reading for name in names for reading in dict.fromkeys(_readings(name))]


def _readings(name: str) -> Iterator[str]:
    for spelling in (name, *name.split("\0")) if "\0" in name else (name,):
        folded = _fold(spelling)
        yield folded.partition("[")[0]
        yield from _WORD.findall(folded)


def fold(name: str) -> str:
    """Compatibility letters as plain ones, without regard to case.

    One character at a time: put in order as a whole, a long run of combining marks takes quadratic time.
    """
    if not name.isascii():
        name = "".join(unicodedata.normalize("NFKC", char) for char in name)
    return name.casefold()


def overrides_method(query: bytes | None) -> bool:
    """Whether a name in the query asks for another method, or cannot be read at all."""
    if not query or (b"%" not in query and b"method" not in query.lower()):
        return False
    return any(names_override(name) for name in loose_names(query))


def names_override(name: str) -> bool:
    """Whether a folded name asks for another method, or cannot be read."""
    bare = _bare(name).replace("$", "")
    return UNREADABLE in name or bare in _METHOD_OVERRIDES or (bare == "method" and name != bare)


def spells(query: bytes | None, name: str) -> int:
    """How often some server could find the parameter `name`; a name that cannot be read could be any.

    `-`, `_`, `.` and spaces tell no names apart: PHP takes `api.key` and `api key` for `api_key`.
    """
    return spellings(query)(name)


def spellings(query: bytes | None) -> Callable[[str], int]:
    """The same for several names: the query is read once."""
    counted = Counter(UNREADABLE if UNREADABLE in found else _bare(found) for found in loose_names(query))
    return lambda name: counted[_bare(name.casefold())] + counted[UNREADABLE]


def _bare(name: str) -> str:
    return name.replace("-", "").replace("_", "").replace(".", "")


def _decode(text: bytes) -> bytes:
    for _ in range(_ROUNDS):
        plain = _ESCAPE.sub(_unescape, _NESTED_PERCENT.sub(b"%", text))
        if plain == text:
            return text
        text = plain
    return text + b"&\xff"  # who nests deeper than that hides something: one more name, that cannot be read


def _unescape(found: re.Match[bytes]) -> bytes:
    wide, narrow = found.groups()
    if wide is not None:
        return chr(int(wide, 16)).encode("utf-8", errors="replace")
    return bytes.fromhex(narrow.decode())


def _fold(name: str) -> str:
    """`STREAM`, `+stream`, `s%tream` (IIS drops a stray `%`), `strea\u200bm` and full-width letters are `stream`."""
    plain = fold(name.replace("+", " ").replace("%", ""))
    return "".join(char for char in plain if char == UNREADABLE or (char.isprintable() and not char.isspace()))
