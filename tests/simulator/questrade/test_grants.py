"""Token pairs: spent by use, dead by the next one."""

import re

import pytest

from proxy.simulator.questrade.grants import MANUAL_LIFE, ROTATED_LIFE, Grants, Pair, awkward_token
from proxy.simulator.tokens import Standing
from tests.simulator.support import NOON

LIFE = 1800


@pytest.fixture
def grants() -> Grants:
    return Grants()


def _pair(grants: Grants, now: float = NOON) -> Pair:
    pair = grants.redeem(grants.manual_token(now), now, LIFE)
    assert pair is not None
    return pair


def test_tokens_look_like_live_ones(grants: Grants) -> None:
    """33 URL-safe characters, the last one a 0."""
    pair = _pair(grants)

    assert re.fullmatch(r"[A-Za-z0-9_-]{32}0", pair.access)
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}0", pair.refresh)


def test_awkward_tokens_break_when_they_are_not_encoded() -> None:
    """They hold plus, slash and equals sign."""
    assert {"+", "/", "="} <= set(awkward_token())


def test_a_refresh_token_works_once(grants: Grants) -> None:
    """The second use is refused and counted."""
    token = grants.manual_token(NOON)

    assert grants.redeem(token, NOON, LIFE) is not None
    assert grants.redeem(token, NOON, LIFE) is None
    assert (1, 1, 2) == (grants.rotations, grants.reused, grants.generation)


def test_an_unknown_refresh_token_is_refused_but_no_reuse(grants: Grants) -> None:
    """A made-up token and an empty one are just wrong."""
    assert grants.redeem("made-up", NOON, LIFE) is None
    assert grants.redeem("", NOON, LIFE) is None
    assert 0 == grants.reused


def test_the_previous_access_token_dies_with_the_rotation(grants: Grants) -> None:
    """The old one is stale at once, long before its time."""
    first = _pair(grants)
    second = grants.redeem(first.refresh, NOON, LIFE)

    assert second is not None
    assert (Standing.STALE, Standing.CURRENT) == (
        grants.standing(first.access, NOON),
        grants.standing(second.access, NOON),
    )


def test_an_access_token_dies_at_its_time(grants: Grants) -> None:
    """The last second of its life is good, the end is not."""
    pair = _pair(grants)

    assert Standing.CURRENT == grants.standing(pair.access, NOON + LIFE - 0.001)
    assert Standing.STALE == grants.standing(pair.access, NOON + LIFE)


def test_what_was_never_issued_is_foreign(grants: Grants) -> None:
    """A refresh token shown as an access token is foreign too."""
    pair = _pair(grants)

    assert [Standing.FOREIGN] * 2 == [grants.standing(token, NOON) for token in ("brd_key", pair.refresh)]


def test_refresh_tokens_age(grants: Grants) -> None:
    """Seven days for one made by hand, three for a rotated one."""
    token = grants.manual_token(NOON)
    rotated = _pair(grants).refresh

    assert grants.redeem(token, NOON + MANUAL_LIFE, LIFE) is None
    assert grants.redeem(rotated, NOON + ROTATED_LIFE, LIFE) is None
    assert grants.redeem(token, NOON + MANUAL_LIFE - 1, LIFE) is not None
    assert grants.redeem(rotated, NOON + ROTATED_LIFE - 1, LIFE) is not None


def test_expire_kills_the_access_token_only(grants: Grants) -> None:
    """The refresh token is as good as before."""
    pair = _pair(grants)
    grants.expire()

    assert Standing.STALE == grants.standing(pair.access, NOON)
    assert grants.redeem(pair.refresh, NOON, LIFE) is not None


def test_stealing_spends_the_refresh_token_and_kills_the_access_token(grants: Grants) -> None:
    """A pair is issued to somebody else; that is neither our rotation nor our reuse."""
    pair = _pair(grants)
    grants.steal(NOON, LIFE)

    assert Standing.STALE == grants.standing(pair.access, NOON)
    assert (3, 1, 0) == (grants.generation, grants.rotations, grants.reused)
    assert grants.redeem(pair.refresh, NOON, LIFE) is None
    assert 1 == grants.reused


def test_stealing_hits_the_newest_grant(grants: Grants) -> None:
    """Another person's login at the same broker goes on."""
    spouse, ours = _pair(grants), _pair(grants)
    grants.steal(NOON, LIFE)

    assert (Standing.CURRENT, Standing.STALE) == (
        grants.standing(spouse.access, NOON),
        grants.standing(ours.access, NOON),
    )


def test_stealing_from_nobody_is_harmless(grants: Grants) -> None:
    """After a revocation there is nothing to redeem."""
    pair = _pair(grants)
    grants.revoke(pair.refresh)
    grants.steal(NOON, LIFE)

    assert 2 == grants.generation


@pytest.mark.parametrize("which", ["access", "refresh"])
def test_either_token_revokes_the_grant(grants: Grants, which: str) -> None:
    """Both tokens are dead afterwards."""
    pair = _pair(grants)
    grants.revoke(getattr(pair, which))

    assert Standing.STALE == grants.standing(pair.access, NOON)
    assert grants.redeem(pair.refresh, NOON, LIFE) is None


def test_a_new_login_leaves_other_grants_alone(grants: Grants) -> None:
    """A pair by authorization code is another grant."""
    old, new = _pair(grants), grants.first_pair(NOON, LIFE)

    assert [Standing.CURRENT] * 2 == [grants.standing(pair.access, NOON) for pair in (old, new)]
    assert (3, 1) == (grants.generation, grants.rotations)


def test_pairs_do_not_show_their_tokens(grants: Grants) -> None:
    """The repr of a pair is empty of secrets."""
    assert "Pair()" == repr(_pair(grants))
