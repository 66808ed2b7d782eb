"""Sessions of streams."""

from proxy.simulator.tokens import Standing
from proxy.simulator.tradier.sessions import ACCOUNTS, LIFE, MARKETS, Sessions
from tests.simulator.support import HandClock


def test_a_session_is_good_for_five_minutes() -> None:
    """To connect; for its own kind of stream."""
    clock = HandClock()
    sessions = Sessions(clock)
    name = sessions.create(MARKETS)
    session, standing = sessions.find(MARKETS, name)
    assert (name, Standing.CURRENT) == (session and session.id, standing)
    assert (None, Standing.FOREIGN) == sessions.find(ACCOUNTS, name)
    assert (None, Standing.FOREIGN) == sessions.find(MARKETS, "x")
    clock.time += LIFE
    assert (None, Standing.STALE) == sessions.find(MARKETS, name)


def test_a_second_market_session_ends_the_first() -> None:
    """Those of accounts live side by side."""
    sessions = Sessions(HandClock())
    made = [sessions.create(kind) for kind in (MARKETS, MARKETS, ACCOUNTS, ACCOUNTS)]
    kinds = (MARKETS, MARKETS, ACCOUNTS, ACCOUNTS)
    found = [sessions.find(kind, name)[1] for kind, name in zip(kinds, made, strict=True)]
    assert [Standing.STALE, Standing.CURRENT, Standing.CURRENT, Standing.CURRENT] == found
