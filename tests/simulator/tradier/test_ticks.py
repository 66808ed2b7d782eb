"""What market streams carry."""

import json

import pytest

from proxy.simulator.tradier.ticks import KINDS, Asked, asked
from tests.simulator.support import NOON


@pytest.mark.parametrize(
    ("kind", "name"),
    [("trade", "cvol"), ("quote", "bidsz"), ("timesale", "seq"), ("summary", "prevClose"), ("tradex", "cvol")],
)
def test_the_beat_stands_in_every_message(kind: str, name: str) -> None:
    """Of each symbol, in order; `lines` ends each by a line end."""
    made = Asked(("SPY", "F"), (kind,), lines=True).messages([7, 8], NOON)
    assert {b"\n"} == {message[-1:] for message in made}
    found = [json.loads(message) for message in made]
    assert [("SPY", 7), ("F", 7), ("SPY", 8), ("F", 8)] == [(each["symbol"], int(each[name])) for each in found]
    assert {kind} == {each["type"] for each in found}


@pytest.mark.parametrize(
    ("fields", "symbols", "kinds", "lines", "wrong"),
    [
        ({}, (), tuple(KINDS), False, []),
        (
            {"symbols": "spy,F,1234", "filter": "quote,trade", "linebreak": "true"},
            ("SPY", "F"),
            ("trade", "quote"),
            True,
            ["1234"],
        ),
        ({"symbols": ["SPY", "SPY"], "filter": ["summary"], "linebreak": True}, ("SPY",), ("summary",), True, []),
        ({"symbols": "A", "filter": "nothing"}, ("A",), tuple(KINDS), False, []),
    ],
)
def test_what_a_client_asks_for(
    fields: dict[str, object], symbols: tuple[str, ...], kinds: tuple[str, ...], lines: bool, wrong: list[str]
) -> None:
    """Lists in JSON or with commas; what is no symbol is told apart."""
    assert (Asked(symbols, kinds, lines), wrong) == asked(fields)
