"""The knobs of a simulated broker's streams, and the beat that all of its messages keep."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import ClassVar

_MOST = 1_000_000_000


class WrongKnob(Exception):
    """No such knob, or a value that it cannot have. The text is for the caller."""


@dataclass(slots=True)
class Flow:
    """Not frozen: `turn` changes it while streams are open, and the next message follows it. Times are seconds.

    - `rate`: messages a second for each thing that is subscribed to; 0 sends none;
    - `burst`: how many beats the fault `stream-burst` sends at once;
    - `frame`: at most so many messages go into one frame, where a broker puts several into one;
    - `connections`: sockets of one account at a time, `symbols`: subscriptions of one socket; 0: any number;
    - `held`: how long the place of a connection that broke off stays taken;
    - `patience`: how long a client may take to say who it is, None: as long as the broker documents;
    - `heartbeat`: between two signs of life of a stream that has them;
    - `stale`: what becomes of a stream whose token is not good any more: `keep`, `close` or `drop`;
    - `refuses`: a bad credential of a handshake is refused by its status (`handshake`) or by a frame (`frame`);
    - `backlog`: bytes that a client may leave untaken before it counts as too slow; -1: it always does;
    - `code`: with which the fault `stream-close` and `stale` close a socket.
    """

    rate: float = 1.0
    burst: int = 1000
    frame: int = 100
    connections: int = 1
    symbols: int = 0
    held: float = 0.0
    patience: float | None = None
    heartbeat: float = 15.0
    stale: str = "keep"
    refuses: str = "handshake"
    backlog: int = 8 * 1024 * 1024
    code: int = 1001

    _CHOICES: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "stale": ("keep", "close", "drop"),
        "refuses": ("handshake", "frame"),
    }
    _LEAST: ClassVar[Mapping[str, float]] = {
        "burst": 1,
        "frame": 1,
        "code": 1000,
        "heartbeat": 0.01,
        "patience": 0.01,
        "backlog": -1,
    }
    _HIGHEST: ClassVar[Mapping[str, float]] = {"code": 4999}

    def turn(self, changes: Mapping[str, object]) -> None:
        """Change some knobs, all or none. Raises WrongKnob."""
        for name, value in changes.items():
            self._check(name, value)
        for name, value in changes.items():
            setattr(self, name, value)

    def shown(self) -> dict[str, object]:
        """Every knob with its value."""
        return asdict(self)

    def _check(self, name: str, value: object) -> None:
        if name not in {field.name for field in fields(self)}:
            raise WrongKnob(f"knobs: {', '.join(field.name for field in fields(self))}")
        choices = self._CHOICES.get(name)
        if choices is not None:
            if value not in choices:
                raise WrongKnob(f"{name} must be one of: {', '.join(choices)}")
            return
        if name == "patience" and value is None:
            return
        whole = name in _WHOLE
        kind = "a whole number" if whole else "a number"
        least, most = self._LEAST.get(name, 0), self._HIGHEST.get(name, _MOST)
        right = isinstance(value, int) or (isinstance(value, float) and not whole and math.isfinite(value))
        if not right or isinstance(value, bool) or not least <= float(str(value)) <= most:
            raise WrongKnob(f"{name} must be {kind} from {least:g} to {most:g}")


_WHOLE = frozenset({"burst", "frame", "connections", "symbols", "code", "backlog"})


class Beats:
    """A number that grows with time, `rate` a second, whoever listens: message n of a thing is the same for everybody.

    Whoever was away sees by the numbers what was missed. Times are of any clock that only goes forward.
    """

    def __init__(self, now: float, rate: float) -> None:
        self._counted = 0.0
        self._since = now
        self._rate = rate

    def at(self, now: float) -> int:
        """How many beats there have been."""
        return int(self._counted + (now - self._since) * self._rate + 1e-9)

    def turn(self, now: float, rate: float) -> None:
        """Another rate from now on."""
        self._counted = self._counted + (now - self._since) * self._rate
        self._since, self._rate = now, rate

    def skip(self, count: int) -> None:
        """So many beats more, at once."""
        self._counted += count

    def wait(self, now: float) -> float:
        """Seconds until the next beat; infinite if there is none."""
        if not self._rate:
            return math.inf
        counted = self._counted + (now - self._since) * self._rate
        return max(0.0, (math.floor(counted + 1e-9) + 1 - counted) / self._rate)
