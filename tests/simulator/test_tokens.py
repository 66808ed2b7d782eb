"""Who holds which tokens of a simulated OAuth broker."""

import pytest

from proxy.simulator.tokens import Issued, Rules, Standing, Tokens

NOW, LIFE = 1000.0, 60.0


def _login(tokens: Tokens) -> Issued:
    return tokens.login("app", ("read",), NOW, LIFE)


def _refresh(tokens: Tokens, issued: Issued, now: float = NOW) -> Issued | None:
    assert issued.refresh is not None
    return tokens.redeem(issued.refresh, "app", now, LIFE)


def test_a_login_gives_a_pair_that_says_what_it_is_good_for() -> None:
    """Scopes and client; the access token has its life."""
    tokens = Tokens(Rules())
    issued = _login(tokens)

    assert ("app", ("read",)) == (issued.client_id, issued.scopes)
    assert issued == tokens.holder(issued.access, NOW + 59)
    assert [Standing.CURRENT, Standing.STALE] == [tokens.standing(issued.access, NOW + late) for late in (59, 60)]
    assert Standing.FOREIGN == tokens.standing("made-up", NOW)
    assert (1, 0) == (tokens.generation, tokens.rotations)
    assert issued.access not in repr(issued)


def test_a_life_of_none_has_no_end() -> None:
    """And a login may come without a refresh token."""
    tokens = Tokens(Rules())
    issued = tokens.login("app", (), NOW, None, refreshable=False)

    assert issued.refresh is None
    assert Standing.CURRENT == tokens.standing(issued.access, NOW + 1e9)


@pytest.mark.parametrize("kills_old", [True, False])
def test_a_rotation_spends_the_refresh_token(kills_old: bool) -> None:
    """The scopes stay; what becomes of the access token before is the broker's rule."""
    tokens = Tokens(Rules(kills_old=kills_old))
    first = _login(tokens)
    second = _refresh(tokens, first)

    assert second is not None
    assert (("read",), True) == (second.scopes, second.refresh != first.refresh)
    assert kills_old == (tokens.standing(first.access, NOW) is Standing.STALE)
    assert _refresh(tokens, first) is None
    assert (2, 1, 1) == (tokens.generation, tokens.rotations, tokens.reused)


def test_without_rotation_a_refresh_token_is_good_again_and_again() -> None:
    """Nothing is spent."""
    tokens = Tokens(Rules(rotates=False))
    first = _login(tokens)

    assert {first.refresh} == {issued.refresh for _ in range(2) if (issued := _refresh(tokens, first))}
    assert (2, 0) == (tokens.rotations, tokens.reused)


@pytest.mark.parametrize(("from_login", "good"), [(False, True), (True, False)])
def test_a_refresh_token_s_life_counts_from_its_issue_or_from_the_login(from_login: bool, good: bool) -> None:
    """After one rotation at half its life."""
    tokens = Tokens(Rules(refresh_life=100, life_from_login=from_login))
    second = _refresh(tokens, _login(tokens), NOW + 50)

    assert second is not None
    assert good == (_refresh(tokens, second, NOW + 120) is not None)


def test_a_refresh_token_is_no_good_for_another_client_or_too_late() -> None:
    """Neither counts as a reuse, and it stays unspent."""
    tokens = Tokens(Rules(refresh_life=100))
    issued = _login(tokens)
    assert issued.refresh is not None

    assert tokens.redeem(issued.refresh, "other", NOW, LIFE) is None
    assert _refresh(tokens, issued, NOW + 100) is None
    assert 0 == tokens.reused
    assert _refresh(tokens, issued, NOW + 99) is not None


def test_a_client_s_later_mints_count_as_rotations() -> None:
    """The first of each does not; older tokens live on."""
    tokens = Tokens(Rules())
    minted = [tokens.mint(client, (), NOW, LIFE) for client in ("a", "b", "a")]

    assert (3, 1) == (tokens.generation, tokens.rotations)
    assert {Standing.CURRENT} == {tokens.standing(each.access, NOW) for each in minted}


def test_theft_spends_the_newest_refresh_token() -> None:
    """It counts as issued, neither as a rotation nor as a reuse; without one there is nothing to steal."""
    tokens = Tokens(Rules())
    assert not tokens.steal(NOW, LIFE)
    issued = _login(tokens)

    assert tokens.steal(NOW, LIFE)
    assert (2, 0, 0) == (tokens.generation, tokens.rotations, tokens.reused)
    assert _refresh(tokens, issued) is None
    assert 1 == tokens.reused


def test_expiry_ends_access_tokens_only() -> None:
    """Refreshing works."""
    tokens = Tokens(Rules())
    issued = _login(tokens)
    tokens.expire()

    assert Standing.STALE == tokens.standing(issued.access, NOW)
    assert _refresh(tokens, issued) is not None


@pytest.mark.parametrize("which", ["access", "refresh"])
def test_revoking_either_token_ends_the_authorization(which: str) -> None:
    """Both are dead; an unknown token is told from a known one."""
    tokens = Tokens(Rules())
    issued = _login(tokens)

    assert not tokens.revoke("made-up")
    assert tokens.revoke(getattr(issued, which))
    assert Standing.STALE == tokens.standing(issued.access, NOW)
    assert _refresh(tokens, issued) is None
    assert not tokens.steal(NOW, LIFE)
