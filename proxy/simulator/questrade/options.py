"""The knobs of a simulated Questrade."""

from dataclasses import dataclass
from enum import StrEnum

from proxy.simulator import options
from proxy.simulator.options import clock

__all__ = ["SCOPES", "Options", "Shape", "clock"]

SCOPES = frozenset({"read_acc", "read_md", "trade"})


class Shape(StrEnum):
    """How a token answer writes `api_server`; all three are documented, `slash` is what is seen live."""

    SLASH = "slash"
    BARE = "bare"
    V1 = "v1"


@dataclass(slots=True)
class Options(options.Options):
    """A personal app, as most people have, is `scopes={"read_acc", "read_md"}`.

    `session`: seconds without a call after which streams end; an open socket keeps nothing alive.
    `client_id` is that of the one registered application; Questrade's need no secret. `reserved_characters` makes
    tokens with `+` and `/`, which must be percent-encoded; live ones have none.
    """

    client_id: str = "demo-questrade"
    shape: Shape = Shape.SLASH
    scopes: frozenset[str] = SCOPES
    reserved_characters: bool = False
    session: float = 1800.0
