"""Quotes of Questrade: which symbols a call asks for, and the part of a message that is about certain symbols. Pure.

A message of a quotes socket is `{"quotes": [{"symbolId": 8049, …}, …]}` (seen: tantock/QuestradeAPI, vivekp9991's
Questrade-Portfolio-Manager). One socket serves clients who asked for different symbols, so each gets the items of its
own, as the broker wrote them.
"""

import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from proxy.errors import Refusal
from proxy.gate.query import exact_values, loose_names
from proxy.streams.questrade import rawjson
from proxy.streams.questrade.rawjson import Unreadable

MOST_IDS = 1000  # symbols of one call; a target has room for about as many

_IDS = re.compile(rb"[0-9]{1,10}(?:(?:,|%2[Cc])[0-9]{1,10})*", re.ASCII)
_COMMA = re.compile(rb",|%2[Cc]")


def asked_ids(query: bytes | None) -> tuple[int, ...]:
    """The symbols that a query asks for, in order and each once. `Refusal("bad-request")` if it can't be told."""
    values = exact_values(query, "ids")
    if len(values) != 1 or loose_names(query).count("ids") != 1 or not _IDS.fullmatch(values[0]):
        raise Refusal(
            "bad-request", "A stream of quotes is asked for with `ids`: numbers with commas between them, once."
        )
    found = sorted({int(number) for number in _COMMA.split(values[0])})
    if len(found) > MOST_IDS:
        raise Refusal("bad-request", f"One stream takes at most {MOST_IDS} symbols.")
    return tuple(found)


def query_for(ids: Iterable[int]) -> bytes:
    """The query of the call that asks for a stream of these symbols."""
    listed = ",".join(map(str, sorted(ids)))
    return f"ids={listed}&stream=true&mode=WebSocket".encode()


@dataclass(frozen=True, slots=True)
class Quotes:
    """One message, cut up. `items` are (symbol, its quote as it was written), in order."""

    text: str = field(repr=False)
    start: int  # where the first quote begins
    end: int  # where the last one ends
    items: tuple[tuple[int, str], ...] = field(repr=False)

    @property
    def ids(self) -> frozenset[int]:
        """The symbols that it is about."""
        return frozenset(symbol for symbol, _ in self.items)

    def about(self, ids: AbstractSet[int]) -> str | None:
        """The message with the quotes of these symbols only: untouched if they are all; None if there are none."""
        kept = [quote for symbol, quote in self.items if symbol in ids]
        if len(kept) == len(self.items):
            return self.text if kept else None
        return self.text[: self.start] + ",".join(kept) + self.text[self.end :] if kept else None


def read(text: str) -> Quotes | None:
    """The quotes of a message; None if it is another one. `Unreadable` if it can't be told whose they are."""
    found = [part for part in rawjson.members(text) if part.name.casefold() == "quotes"]
    if not found:
        return None
    if len(found) > 1 or not isinstance(found[0].value, list):
        raise Unreadable("quotes are one list")
    parts = list(rawjson.items(text, found[0].start))
    if not parts:
        return Quotes(text, found[0].start, found[0].end, ())
    items = tuple((_symbol(part.value), text[part.start : part.end]) for part in parts)
    return Quotes(text, parts[0].start, parts[-1].end, items)


def _symbol(quote: object) -> int:
    symbol = quote.get("symbolId") if isinstance(quote, dict) else None
    if not isinstance(symbol, int) or isinstance(symbol, bool):
        raise Unreadable("a quote without a symbolId")
    return symbol


def together(quotes: Iterable[str]) -> str:
    """One message of quotes that came in several."""
    return f'{{"quotes":[{",".join(quotes)}]}}'
