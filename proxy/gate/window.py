"""One limit, so many calls in so much time: what was sent within it, and what the broker says is left of it. Pure.

A broker counts a call at some moment between its sending and its answer. A call therefore takes its place when it is
sent, and leaves it a whole length after its answer: wherever the broker's window begins, no more than the limit falls
into it. Times are seconds of a clock that is never set back.
"""

import math
from collections import deque
from dataclasses import dataclass, field

_GRAINS = 256  # parts of a window; calls of one part are remembered together, until the last of them may go
_APART = 2.0  # seconds by which the end of one window may move from answer to answer
_MARGIN = 0.25  # seconds after a window's end until the next one is counted on


@dataclass(slots=True)
class _Chunk:
    first: float
    last: float
    count: int
    clients: dict[str, int] = field(default_factory=dict)


class Window:
    """`limit`: calls in `length` seconds, as `defined` or as the broker has said; None: not known. `told`: whether the
    broker's headers tell of this one.

    As long as they do, what the broker counts is believed, and not what we count. `named`: whose calls they are is
    remembered.
    """

    __slots__ = (
        "_assumed", "_chunks", "_clients", "_ends", "_grain", "_lost", "_silent", "counted", "defined", "known",
        "length", "limit", "named", "told",
    )  # fmt: skip

    def __init__(self, length: float, limit: int | None, *, told: bool = False, named: bool = True) -> None:
        self.length = length
        self.limit = self.defined = limit
        self.told = told
        self.named = named
        self.counted = 0  # calls whose answers came less than a length ago
        self.known: int | None = None  # calls that were left at the broker, some of which are out now
        self._ends = 0.0  # until when `known` holds
        self._assumed = False  # `known` is the limit, because a window has ended and no answer has told of the next
        self._lost = 0  # calls of this window that may have reached the broker
        self._silent = 0  # calls since then of which the broker has said nothing
        self._grain = length / _GRAINS
        self._chunks: deque[_Chunk] = deque()
        self._clients: dict[str, int] = {}

    def left(self, now: float, out: int) -> float:
        """How many more calls may go; `out` are on their way."""
        chunks, length = self._chunks, self.length
        while chunks and chunks[0].last + length <= now:
            self._forget(chunks.popleft())
        if self.known is not None:
            if now >= self._ends:
                self._roll(now)
            if self.known is not None:
                return self.known - self._lost - self._silent - out
        return math.inf if self.limit is None else self.limit - self.counted - out

    def count(self, now: float, client: str, calls: int = 1) -> None:
        """Calls have been answered, or will never be."""
        chunks = self._chunks
        if chunks and now - chunks[-1].first < self._grain:
            chunk = chunks[-1]
            chunk.last = now
            chunk.count += calls
        else:
            chunk = _Chunk(now, now, calls)
            chunks.append(chunk)
        self.counted += calls
        if self.named:
            chunk.clients[client] = chunk.clients.get(client, 0) + calls
            self._clients[client] = self._clients.get(client, 0) + calls

    def leave(self, now: float, most: int) -> None:
        """No more than this is left, whoever had the rest, until a whole length from now."""
        self.known, self.limit = None, self.defined
        left = self.left(now, 0)
        if most < left < math.inf:
            self.count(now, "", int(left) - most)

    def of(self, client: str) -> int:
        """How many of those counted are a client's."""
        return self._clients.get(client, 0)

    def clients(self) -> set[str]:
        """Whose calls are counted."""
        return set(self._clients)

    def unheard(self, calls: int = 1) -> None:
        """Calls were made of which the broker did not say what they left. What it says next counts again."""
        self._silent += calls

    def lost(self, calls: int = 1) -> None:
        """Calls were made that may have reached the broker, before or after those that it tells of."""
        self._lost += calls

    def hear(self, now: float, remaining: int, ends: float | None, calls: int = 1) -> None:
        """The broker said, in an answer to one of `calls`, that so many are left until `ends`."""
        fresh = self.known is None or self._assumed or now >= self._ends
        if ends is None:
            ends = now + self.length if fresh else self._ends
        # A moment beyond all windows is nonsense, and must not close this one for ever.
        ends = min(ends, now + self.length + _APART)
        if ends <= now:
            return  # of a window that is over
        if fresh or ends > self._ends + _APART:
            # Of a window that nobody knew, it can only be those of one length; of an earlier one, none.
            self._lost = min(self._lost, self.counted) if fresh else 0
            self.known, self._ends, self._assumed, self._silent = remaining, ends, False, 0
        elif ends < self._ends - _APART:
            self.unheard(calls)
        else:
            # Answers overtake each other, and the lowest number was counted last.
            self.known, self._silent = min(self.known or 0, remaining), 0

    def when(self, now: float, wanted: int, out: int) -> float:
        """From which moment on so many more calls may go, if those that are out end now and no others are sent."""
        left = self.left(now, out)
        if left >= wanted:
            return now
        if self.known is not None:
            if self.known - self._lost - self._silent >= wanted:
                return now  # one of the calls that are out may well be counted already
            missing = wanted - (self.limit or wanted)
            return self._ends + _MARGIN + self._more(missing)
        return self._released(now, wanted - int(left), out)

    def idle(self, now: float) -> bool:
        """Whether it would be the same if it were new."""
        self.left(now, 0)
        return not self._chunks and (self.known is None or self._assumed)

    @property
    def ends(self) -> float | None:
        """When the broker's window ends, as far as it has said so."""
        return self._ends if self.known is not None and not self._assumed else None

    def _released(self, now: float, missing: int, out: int) -> float:
        moment = now
        for chunk in self._chunks:
            missing -= chunk.count
            moment = chunk.last + self.length
            if missing <= 0:
                return moment
        if out:  # they have to end first, and then to grow old
            missing -= out
            moment = now + self.length
        return moment + self._more(missing)

    def _more(self, missing: int) -> float:
        """Seconds of further windows, for what one window does not hold."""
        return self.length * -(-missing // max(1, self.limit or 1)) if missing > 0 else 0.0

    def _roll(self, now: float) -> None:
        """The broker's window is over."""
        if now < self._ends + _MARGIN and not self._assumed:
            return
        if self._assumed or self.limit is None:
            # It has told nothing for a whole window, and what it said of its limit may be as old as it likes.
            self.known, self._assumed, self.limit = None, False, self.defined
        else:
            self.known, self._ends, self._assumed = self.limit, now + self.length, True
        self._lost = self._silent = 0

    def _forget(self, chunk: _Chunk) -> None:
        self.counted -= chunk.count
        for client, count in chunk.clients.items():
            left = self._clients[client] - count
            if left:
                self._clients[client] = left
            else:
                del self._clients[client]
