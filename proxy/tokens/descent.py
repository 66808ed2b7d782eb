"""Where a grant's tokens are worth something, and what they descend from."""

from proxy.tokens.answer import sendable
from proxy.tokens.grant import Grant
from proxy.tokens.holding import Holding


def place_of(held: Holding) -> str:
    """Where its tokens are worth something, and how they were come by."""
    return f"{held.issuer}/{held.login.name}"


def stranger(held: Holding, grant: Grant) -> str | None:
    """Why a stored grant's tokens are not for the place and the login that are configured; None if they are."""
    if grant.issuer not in ("", held.issuer):
        return f"the login was for {grant.issuer}, and the configuration says {held.issuer}"
    if grant.login not in ("", held.login.name):
        return f"the login was by '{grant.login}', and the configuration says '{held.login.name}'"
    plain = grant.access_token if held.login.kind == "secret" else None
    if plain is not None and not sendable(plain, held.login.placement.parts):
        return f"what the login brought has not the form that '{held.login.name}' sends now"
    return None


def anew(held: Holding, lineage: str, wall: float, epoch: int) -> Grant:
    """The grant as a login at that time starts it: of the old one only name and generation are left."""
    return Grant(
        held.name,
        held.grant.generation,
        lineage=lineage,
        issuer=held.issuer,
        login=held.login.name,
        logged_in=wall,
        epoch=epoch,
    )
