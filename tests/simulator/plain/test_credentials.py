"""Where a call carries its credential."""

import pytest

from proxy.brokers.definition import BEARER, Placement
from proxy.simulator.plain.credentials import MISPLACED, presented

BASIC = Placement("basic")
PAIR = Placement("headers", ("X-Key-Id", "X-Key"))
QUERY = Placement("query", ("key",))
AUTHORIZATION = "Authorization"
USER = ("Authorization", "Basic dXNlcjpwYXNz")

CASES: list[tuple[Placement, list[tuple[str, str]], str, str | None]] = [
    (BEARER, [(AUTHORIZATION, "Bearer t")], "", "t"),
    (BEARER, [("authorization", "bearer t")], "", "t"),
    (BEARER, [], "key=t", None),
    (BEARER, [(AUTHORIZATION, "Bearer ")], "", MISPLACED),
    (BEARER, [(AUTHORIZATION, "Bearer t u")], "", MISPLACED),
    (BEARER, [(AUTHORIZATION, "Bearer t"), (AUTHORIZATION, "Bearer t")], "", MISPLACED),
    (BEARER, [USER], "", MISPLACED),
    (BASIC, [USER], "", "user:pass"),
    (BASIC, [(AUTHORIZATION, "Basic ?")], "", MISPLACED),
    (BASIC, [(AUTHORIZATION, "Bearer t")], "", MISPLACED),
    (BASIC, [], "", None),
    (PAIR, [("x-key-id", "a"), ("X-Key", "b")], "", "a:b"),
    (PAIR, [("X-Key-Id", "a")], "", MISPLACED),
    (PAIR, [("X-Key-Id", "a"), ("X-Key", "b"), ("X-Key", "b")], "", MISPLACED),
    (PAIR, [("X-Key-Id", "a"), ("X-Key", "b"), (AUTHORIZATION, "Bearer t")], "", MISPLACED),
    (PAIR, [(AUTHORIZATION, "Bearer t")], "", MISPLACED),
    (PAIR, [("Accept", "*/*")], "", None),
    (QUERY, [], "a=1&key=t%2F", "t/"),
    (QUERY, [], "key=t&key=t", MISPLACED),
    (QUERY, [(AUTHORIZATION, "Bearer t")], "key=t", MISPLACED),
    (QUERY, [], "keys=t", None),
]


@pytest.mark.parametrize(("placement", "headers", "query", "expected"), CASES, ids=range(len(CASES)))
def test_a_credential_counts_in_its_own_place_once(
    placement: Placement, headers: list[tuple[str, str]], query: str, expected: str | None
) -> None:
    """Elsewhere, twice, or beside something in `Authorization`, it is misplaced; nothing at all is None."""
    assert expected == presented(placement, headers, query)
