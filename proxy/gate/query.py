"""Two readings of a query string: the exact one, and the most generous one that any server might make of it.

A query is forwarded byte for byte, so nothing here ever changes one. Where a name in it decides something, the call is
refused as soon as the two readings differ: then the broker may see another request than the one that was allowed.
"""

import re
import unicodedata

# What a framework takes as "treat this POST as a DELETE". Written with `-`; `_` and `.` are read as `-` too.
_METHOD_OVERRIDES = frozenset(
    {"-method", "method-override", "x-http-method", "x-http-method-override", "x-method-override"}
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
    `model.stream` for `stream`.
    """
    if not query:
        return []
    text = _decode(query).decode("utf-8", errors="replace")
    names = (_fold(field.partition("=")[0]) for field in _SEPARATORS.split(text))
    return [reading for name in names for reading in dict.fromkeys([name.partition("[")[0], *_WORD.findall(name)])]


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
    return any(
        UNREADABLE in name or name.replace("_", "-").replace(".", "-") in _METHOD_OVERRIDES
        for name in loose_names(query)
    )


def spells(query: bytes | None, name: str) -> int:
    """How often some server could find the parameter `name`; a name that cannot be read could be any.

    `-`, `_`, `.` and spaces tell no names apart: PHP takes `api.key` and `api key` for `api_key`.
    """
    wanted = _bare(name.casefold())
    return sum(UNREADABLE in found or _bare(found) == wanted for found in loose_names(query))


def _bare(name: str) -> str:
    return name.replace("-", "").replace("_", "").replace(".", "")


def _decode(text: bytes) -> bytes:
    for _ in range(_ROUNDS):
        plain = _ESCAPE.sub(_unescape, _NESTED_PERCENT.sub(b"%", text))
        if plain == text:
            break
        text = plain
    return text


def _unescape(found: re.Match[bytes]) -> bytes:
    wide, narrow = found.groups()
    if wide is not None:
        return chr(int(wide, 16)).encode("utf-8", errors="replace")
    return bytes.fromhex(narrow.decode())


def _fold(name: str) -> str:
    """`STREAM`, `+stream`, `s%tream` (IIS drops a stray `%`), `strea\u200bm` and full-width letters are `stream`."""
    plain = fold(name.replace("+", " ").replace("%", ""))
    return "".join(char for char in plain if char == UNREADABLE or (char.isprintable() and not char.isspace()))
