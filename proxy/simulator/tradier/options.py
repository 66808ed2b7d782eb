"""The knobs of a simulated Tradier."""

from dataclasses import dataclass

from proxy.simulator import options

SCOPES = ("read", "write", "market", "trade", "stream")


@dataclass(slots=True)
class Options(options.Options):
    """The application's own data, and what Tradier does not document.

    - `partner`: token answers hold a refresh token; only approved partners get one (documented);
    - `rotates`: a refresh spends the refresh token and answers with a new one (not known, some clients reckon with it);
    - `scopes`: what the application may be granted, whatever it asks for;
    - `positions`: how many there are: 0 makes the list `"null"`, 1 makes it an object.
    """

    expires_in: int = 86_399  # as documented
    client_id: str = "demo-tradier"
    client_secret: str = "demo-tradier-secret"  # noqa: S105  opens nothing but this simulator
    partner: bool = True
    rotates: bool = True
    scopes: tuple[str, ...] = SCOPES
    positions: int = 2
