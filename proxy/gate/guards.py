"""Guards that look into a query or a body. What cannot be read without doubt is refused: the broker may read the other
copy."""

import json
import re
from collections.abc import Iterable, Sequence

from proxy.errors import Refusal
from proxy.gate.query import fold, spells

# A media type without a charset, or with UTF-8: in any other one the same bytes can spell another body.
_CHARSET = re.compile(rb"""(?:(?!charset).)*(?:;[ \t]*charset="?utf-?8"?[ \t]*)?""", re.DOTALL)


def body_must_not_hold(body: bytes, names: Sequence[str], headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
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
            raise _denied(f"The body must not hold `{name}` here.")
    if b"&" in body or b";" in body:
        raise _denied("The body holds `&` or `;`, so it could be read as a form too.")


def strict_object(body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> dict[str, object]:
    """The members of a body that can only be read as one JSON object. Else `Refusal("guard-denied")`."""
    if any(name.lower() == b"content-type" and not _CHARSET.fullmatch(value.lower()) for name, value in headers):
        raise _denied("The Content-Type names a character set other than UTF-8, so the body cannot be judged.")
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_members, parse_constant=_no_constant)
    except _RepeatedMember:
        raise _denied("The body names the same member twice.") from None
    except (ValueError, RecursionError):
        raise _denied("The body is not strict JSON, so it cannot be judged.") from None
    if not isinstance(value, dict):
        raise _denied("The body is not a JSON object, so it cannot be judged.")
    return value


def query_must_not_name(query: bytes | None, name: str) -> None:
    """Raise `Refusal("guard-denied")` if the query holds the parameter by which our credential travels here.

    The broker might take the client's value instead of ours.
    """
    if spells(query, name):
        raise Refusal(
            "guard-denied",
            f"The query must not hold `{name}`, in any spelling: bearerd puts the broker's credential there.",
            fix=f"leave {name} out, and send the client key as `Authorization: Bearer KEY`",
        )


class _RepeatedMember(Exception):
    pass


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({fold(name) for name, _ in pairs}) != len(pairs):
        raise _RepeatedMember
    return dict(pairs)


def _no_constant(_name: str) -> None:
    raise ValueError


def _denied(detail: str) -> Refusal:
    return Refusal("guard-denied", detail)
