"""Which path is which call: templates over raw segments, so that `BTC%2FUSD` is one segment and a colon is a colon."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from proxy.simulator.alpaca.answers import BAD_REQUEST, Refused

if TYPE_CHECKING:
    from proxy.simulator.alpaca.account import Account

DENIED = "denied"  # the scope of calls that no documented scope covers
_CAPTURE = "{}"


@dataclass(frozen=True)
class Call:
    """One call that passed the front. `captures` are decoded segments by their name in the template; `now` Unix time.

    `account` is the one that a call to a trading host is about.
    """

    method: str
    captures: Mapping[str, str]
    query: str
    body: bytes
    now: float
    account: "Account"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @cached_property
    def arguments(self) -> dict[str, str]:
        """The query, decoded; of a repeated name the last counts."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    def listed(self, name: str) -> list[str]:
        """A query name that holds values with commas between them, or stands there more than once."""
        pairs = parse_qsl(self.query)
        return [part for key, value in pairs if key == name for part in value.split(",") if part]

    def needed(self, name: str) -> str:
        """One argument. Refused with 400 if it is missing or empty."""
        if not self.arguments.get(name):
            raise Refused(BAD_REQUEST, f"{name} is required")
        return self.arguments[name]

    def number(self, name: str, default: int, most: int, *, least: int = 1) -> int:
        """A whole number from `least` to `most`. Refused with 400 if it is none."""
        text = self.arguments.get(name) or str(default)
        short = text.isascii() and text.isdigit() and len(text) <= len(str(most))
        if not short or not least <= int(text) <= most:
            raise Refused(BAD_REQUEST, f"invalid {name}: it must be from {least} to {most}")
        return int(text)

    @cached_property
    def value(self) -> object:
        """The JSON body, whatever its Content-Type says; an empty one is an empty object. Refused with 400."""
        try:
            return json.loads(self.body or b"{}")
        except (ValueError, RecursionError):
            raise Refused(BAD_REQUEST, "request body format is invalid") from None

    @property
    def document(self) -> dict[str, object]:
        """The JSON body, if it is an object. Refused with 400 if not."""
        if not isinstance(self.value, dict):
            raise Refused(BAD_REQUEST, "request body format is invalid")
        return self.value


Handler = Callable[[Call], object]


@dataclass(frozen=True, slots=True)
class Route:
    """One row of an API. `answer` gives a document, a `Reply` or `Events`.

    `scope` is what a Connect token needs, `public` calls need no credential, `orders` marks what changes orders.
    """

    template: str
    scope: str
    answer: Handler
    public: bool = False
    orders: bool = False


class Routes:
    """All calls of one host."""

    def __init__(self, rows: Iterable[tuple[str, Route]]) -> None:
        self.rows = [(method, route) for method, route in rows]
        self._root: dict[str, object] = {}
        for method, route in self.rows:
            node = self._root
            for segment in route.template.split("/")[1:]:
                node = node.setdefault(_CAPTURE if segment.startswith("{") else segment, {})  # type: ignore[assignment]
            methods: dict[str, Route] = node.setdefault("", {})  # type: ignore[assignment]
            if method in methods:
                raise ValueError(f"{method} {route.template} stands there twice")
            methods[method] = route

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route of a raw path with its decoded captures; a literal is tried before a capture."""
        segments = path.split("/")[1:]
        route = _descend(self._root, method, segments)
        if route is None:
            return None
        names = route.template.split("/")[1:]
        pairs = zip(names, segments, strict=True)
        return route, {name[1:-1]: unquote(raw) for name, raw in pairs if name.startswith("{")}


def _descend(node: dict[str, object], method: str, segments: list[str]) -> Route | None:
    if not segments:
        methods = node.get("", {})
        return methods.get(method) if isinstance(methods, dict) else None
    first, rest = segments[0], segments[1:]
    if not first:
        return None
    for key in (first, _CAPTURE):
        child = node.get(key)
        found = _descend(child, method, rest) if isinstance(child, dict) else None
        if found is not None:
            return found
    return None
