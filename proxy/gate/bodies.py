"""Reading a body or a query strictly, where something in it decides. What has a second reading is refused: the broker
may take the other one."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence

from proxy.errors import Refusal
from proxy.gate.query import fold, names_override, overrides_method, spells

Headers = Iterable[tuple[bytes, bytes]]

LARGEST_FORM = 64 * 1024  # bytes; no order is larger

# A media type without a charset, or with UTF-8: in any other one the same bytes can spell another body.
_CHARSET = re.compile(rb"""(?:(?!charset).)*(?:;[ \t]*charset="?utf-?8"?[ \t]*)?""", re.DOTALL)
_MEDIA = {
    "json": re.compile(rb'application/json(?:[ \t]*;[ \t]*charset="?utf-?8"?)?[ \t]*'),
    "form": re.compile(rb'application/x-www-form-urlencoded(?:[ \t]*;[ \t]*charset="?utf-?8"?)?[ \t]*'),
}
_DEEPEST = 500  # levels of a body that is judged: how many can be read at all differs between versions of Python
_BRACKET = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]|[\]}]', re.DOTALL)  # or a text, in which they mean nothing
_FORM = re.compile(rb"[!-:<-~]*")  # printable, no space, and no `;`, at which some servers split
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")
# A name is spelled plainly, but for the brackets of `side[0]`, which most clients encode.
_NAME = re.compile(rb"(?:[A-Za-z0-9_.~*+-]|\[|\]|%5[BbDd])*")


class Number(str):
    """A JSON number as it was written: `1e400` and `0.10` mean what the broker makes of them."""

    __slots__ = ()


def strict_object(body: bytes, headers: Headers = (), *, as_written: bool = False) -> dict[str, object]:
    """The members of a body that can only be read as one JSON object. Else `Refusal("guard-denied")`.

    With `as_written` every number in it is a `Number`.
    """
    if any(name.lower() == b"content-type" and not _CHARSET.fullmatch(value.lower()) for name, value in headers):
        raise denied("The Content-Type names a character set other than UTF-8, so the body cannot be judged.")
    number = Number if as_written else None
    if _too_deep(body):
        raise denied("The body is not strict JSON, so it cannot be judged.")
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_members,
            parse_constant=_no_constant,
            parse_int=number,
            parse_float=number,
        )
    except _RepeatedMember:
        raise denied("The body names the same member twice.") from None
    except (ValueError, RecursionError):
        raise denied("The body is not strict JSON, so it cannot be judged.") from None
    if not isinstance(value, dict):
        raise denied("The body is not a JSON object, so it cannot be judged.")
    return value


def _too_deep(body: bytes) -> bool:
    if body.count(b"{") + body.count(b"[") <= _DEEPEST:
        return False
    depth = 0
    for found in _BRACKET.finditer(body):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(found[0], 0)
        if depth > _DEEPEST:
            return True
        if depth < 0:
            break  # no JSON, and nobody reads on
    return False


def body_must_not_hold(body: bytes, names: Sequence[str], headers: Headers = ()) -> None:
    """Raise `Refusal("guard-denied")` if a JSON body holds one of `names` at its top level, in any letter case.

    So does anything that is not one strict JSON object: other text, a repeated member (at any depth), NaN, a byte
    order mark, bytes that are no UTF-8; and one that a server could split as a form, whatever its content type says:
    `{"a": "&stream=true&"}`; and one whose Content-Type in `headers` names another character set. An empty body holds
    nothing and passes; whether the broker takes it is the broker's matter.
    """
    if not names or not body:
        return
    held = {fold(name) for name in strict_object(body, headers)}
    for name in names:
        if fold(name) in held:
            raise denied(f"The body must not hold `{name}` here.")
    if b"&" in body or b";" in body:
        raise denied("The body holds `&` or `;`, so it could be read as a form too.")


def body_must_not_override(body: bytes, headers: Headers) -> None:
    """Raise `Refusal("guard-denied")` if a field of a form, or a member of a JSON object, asks for another method.

    Frameworks that look for `_method` in a query look for it in bodies too. What says that it is JSON is read as that,
    all else as a form; a body that cannot be read names nothing, nor does an upload of more than 64 KiB.
    """
    lowered = body[: LARGEST_FORM + 1].lower()
    if len(lowered) > LARGEST_FORM or (b"method" not in lowered and b"%" not in lowered and b"\\u" not in lowered):
        return
    if media(headers) != "json":
        found = overrides_method(body)
    else:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            return
        found = isinstance(value, dict) and any(names_override(fold(name)) for name in value)
    if found:
        raise denied("The body asks for another method, or holds a name that cannot be read.")


def query_must_not_name(query: bytes | None, name: str) -> None:
    """Raise `Refusal("guard-denied")` if the query holds the parameter by which our credential travels here.

    The broker might take the client's value instead of ours.
    """
    if spells(query, name):
        raise denied(
            f"The query must not hold `{name}`, in any spelling: bearerd puts the broker's credential there.",
            fix=f"leave {name} out, and send the client key as `Authorization: Bearer KEY`",
        )


def media(headers: Headers) -> str | None:
    """`json` or `form`, as the one Content-Type says; None for another one, for none, or for two."""
    found = [value.strip(b" \t").lower() for name, value in headers if name.lower() == b"content-type"]
    if len(found) != 1:
        return None
    return next((kind for kind, pattern in _MEDIA.items() if pattern.fullmatch(found[0])), None)


def fields(raw: bytes) -> list[tuple[str, str]]:
    """The fields of a form or query, decoded once, in order. Else `Refusal("guard-denied")`.

    Refused are `;`, bytes beyond printable ASCII, broken escapes, bytes that are no UTF-8, and a name that is spelled
    with escapes other than those of brackets.
    """
    if not _FORM.fullmatch(raw):
        raise denied("The form holds a byte at which servers differ, so it cannot be judged.")
    found = []
    for field in raw.split(b"&"):
        name, _, value = field.partition(b"=")
        if not _NAME.fullmatch(name):
            raise denied("The form spells a name in an odd way, so it cannot be judged.")
        found.append((_decoded(name), _decoded(value)))
    return found


def members(value: object) -> Iterator[tuple[str, object]]:
    """Every member of what was read from JSON, at any depth."""
    waiting = [value]  # no recursion: what was read may be as deep as the stack
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield from found.items()
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


def bare(name: str) -> str:
    """What is left of a name for servers that look past case, `-`, `_`, `.` and blanks, or that end it at a NUL."""
    shown = fold(name).lstrip("\0").partition("\0")[0]
    return "".join(char for char in shown if char not in "-_." and char.isprintable() and not char.isspace())


def denied(detail: str, *, fix: str | None = None) -> Refusal:
    """What is refused because it can be read in two ways, or not at all."""
    return Refusal("guard-denied", detail, fix=fix, rule="unreadable")


class _RepeatedMember(Exception):
    pass


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({fold(name) for name, _ in pairs}) != len(pairs):
        raise _RepeatedMember
    return dict(pairs)


def _no_constant(_name: str) -> None:
    raise ValueError


def _decoded(text: bytes) -> str:
    if any(not digits for digits in _ESCAPE.findall(text)):
        raise denied("The form holds a `%` without two hexadecimal digits, so it cannot be judged.")
    plain = _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), text.replace(b"+", b" "))
    try:
        return plain.decode("utf-8")
    except UnicodeDecodeError:
        raise denied("The form holds bytes that are no UTF-8, so it cannot be judged.") from None
