"""Where a call carries its credential. Pure."""

from collections.abc import Iterable, Sequence
from urllib.parse import parse_qsl

from proxy.brokers.definition import Placement
from proxy.simulator.authorize import basic_of

MISPLACED = ""  # no credential is empty


def presented(placement: Placement, headers: Iterable[tuple[str, str]], query: str) -> str | None:
    """The credential of a call, two parts as `first:second`; None if it carries none, `MISPLACED` if it is elsewhere.

    A credential must stand in its place once, and `Authorization` must hold nothing else.
    """
    by_name: dict[str, list[str]] = {}
    for name, value in headers:
        by_name.setdefault(name.lower(), []).append(value)
    authorization = by_name.get("authorization", [])
    if placement.kind in ("bearer", "basic"):
        return _authorization(placement.kind, authorization)
    if placement.kind == "headers":
        return _joined([by_name.get(name.lower(), []) for name in placement.names], authorization)
    pairs = parse_qsl(query, keep_blank_values=True)
    return _joined([[value for name, value in pairs if name == wanted] for wanted in placement.names], authorization)


def _joined(found: Sequence[list[str]], authorization: list[str]) -> str | None:
    if not any(found) and not authorization:
        return None
    if authorization or any(len(values) != 1 for values in found):
        return MISPLACED
    return ":".join(values[0] for values in found)


def _authorization(kind: str, values: list[str]) -> str | None:
    if not values:
        return None
    scheme, _, rest = values[0].partition(" ")
    if len(values) != 1 or scheme.lower() != kind or not rest or " " in rest:
        return MISPLACED
    return rest if kind == "bearer" else ":".join(basic_of(values[0]) or ())
