"""Sessions of streams (https://docs.tradier.com/reference/streaming): ids by which a stream is opened."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from proxy.simulator.tokens import Standing

MARKETS, ACCOUNTS = "markets", "accounts"
LIFE = 300.0  # seconds to connect


@dataclass(slots=True)
class Session:
    """One session. `made` is Unix time. `over`: a newer one has taken its place."""

    id: str
    kind: str
    made: float
    over: bool = False


class Sessions:
    """All sessions. A new market session ends the one before it, and whatever streams by it."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._made: dict[str, Session] = {}
        self._market: Session | None = None

    def create(self, kind: str) -> str:
        """The id of a new session."""
        session = Session(str(uuid.uuid4()), kind, self._now())
        self._made[session.id] = session
        if kind == MARKETS:
            if self._market is not None:
                self._market.over = True
            self._market = session
        return session.id

    def find(self, kind: str, name: object) -> tuple[Session | None, Standing]:
        """The session by which a stream may be opened now, and what the id is worth."""
        session = self._made.get(name) if isinstance(name, str) else None
        if session is None or session.kind != kind:
            return None, Standing.FOREIGN
        if session.over or self._now() - session.made >= LIFE:
            return None, Standing.STALE
        return session, Standing.CURRENT
