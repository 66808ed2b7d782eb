"""Guards that look into a body. What cannot be read without doubt is refused: the broker may read the other copy."""

import json
import unicodedata
from collections.abc import Sequence

from proxy.errors import Refusal


def body_must_not_hold(body: bytes, names: Sequence[str]) -> None:
    """Raise `Refusal("guard-denied")` if a JSON body holds one of `names` at its top level, in any letter case.

    So does anything that is not one strict JSON object: other text, a repeated member (at any depth), NaN, a byte
    order mark, bytes that are no UTF-8. An empty body holds nothing and passes; whether the broker takes it is the
    broker's matter.
    """
    if not names or not body:
        return
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_members, parse_constant=_no_constant)
    except _RepeatedMember:
        raise _denied("The body names the same member twice.") from None
    except (ValueError, RecursionError):
        raise _denied("The body is not strict JSON, so it cannot be judged.") from None
    if not isinstance(value, dict):
        raise _denied("The body is not a JSON object, so it cannot be judged.")
    held = {_fold(name) for name in value}
    for name in names:
        if _fold(name) in held:
            raise _denied(f"The body must not hold `{name}` here.")


class _RepeatedMember(Exception):
    pass


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({_fold(name) for name, _ in pairs}) != len(pairs):
        raise _RepeatedMember
    return dict(pairs)


def _no_constant(_name: str) -> None:
    raise ValueError


def _fold(name: str) -> str:
    # Some JSON readers match members without regard to case.
    return unicodedata.normalize("NFKC", name).casefold()


def _denied(detail: str) -> Refusal:
    return Refusal("guard-denied", detail)
