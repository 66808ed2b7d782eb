"""Who gets which message of one market-data socket: many clients, each with its own set of channels and symbols.

What several clients get alike is put into one frame once, and the same bytes are pushed to each of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol
from weakref import WeakValueDictionary

from proxy.relay.frames import encoded
from proxy.streams.alpaca.messages import CHANNELS, EVERY, KNOWN, Piece, Wanted, joined

LARGEST = 64 * 1024  # bytes of messages in one frame: SDKs take 1 MiB, and JSON is longer
KEPT = 50_000  # symbols of one kind whose audience is kept; one that listens to all options would fill memory
_KINDS = 64


Push = Callable[[bytes], bool]


class Seat(Protocol):
    """A client's end. `binary`: it reads MessagePack."""

    @property
    def binary(self) -> bool: ...
    @property
    def push(self) -> Push:
        """Gives it a frame, header and all, without waiting. False: it takes no more."""
        ...

    def full(self) -> None:
        """It did not take a frame."""
        ...


class Audience:
    """Those who get a message, by their codec. The same members, the same object."""

    __slots__ = ("__weakref__", "binary", "members", "text")

    def __init__(self, members: frozenset[Seat]) -> None:
        self.members = members
        self.binary = tuple(seat for seat in members if seat.binary)
        self.text = tuple(seat for seat in members if not seat.binary)

    def __len__(self) -> int:
        return len(self.members)

    def give(self, pieces: Sequence[Piece]) -> None:
        if self.binary:
            frame = encoded(joined(pieces, binary=True))
            for seat in self.binary:
                if not seat.push(frame):
                    seat.full()
        if self.text:
            frame = encoded(joined(pieces, binary=False))
            for seat in self.text:
                if not seat.push(frame):
                    seat.full()


class Fan:
    """The seats of one socket and what each of them listens to. `kept`: symbols of a kind whose audience is known."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._seats: dict[Seat, dict[str, dict[str, None]]] = {}
        self._listening: dict[str, dict[str, dict[Seat, None]]] = {}  # channel → symbol → seats
        self._audiences: dict[str, dict[str, Audience]] = {}  # kind → symbol → those who get it
        self._same: WeakValueDictionary[frozenset[Seat], Audience] = WeakValueDictionary()

    def add(self, seat: Seat) -> None:
        """A client that listens to nothing yet."""
        self._seats[seat] = {}
        self._forget_odd()

    def remove(self, seat: Seat) -> None:
        """A client has gone. One that is not here is fine."""
        self.unlisten(seat, {channel: tuple(symbols) for channel, symbols in self._seats.get(seat, {}).items()})
        if self._seats.pop(seat, None) is not None:
            self._forget_odd()

    def own(self, seat: Seat) -> Wanted:
        """What one client listens to, in the order in which it asked."""
        return {channel: tuple(symbols) for channel, symbols in self._seats[seat].items()}

    def size(self, seat: Seat, more: Wanted) -> int:
        """How many subscriptions one client would have with these."""
        own = self._seats[seat]
        new = sum(symbol not in own.get(channel, ()) for channel, symbols in more.items() for symbol in symbols)
        return sum(map(len, own.values())) + new

    def union(self) -> Wanted:
        """What anybody listens to."""
        return {channel: tuple(symbols) for channel, symbols in self._listening.items()}

    def listen(self, seat: Seat, wanted: Wanted) -> None:
        """From now on this client gets these, too."""
        for channel, symbols in wanted.items():
            own, all_here = self._seats[seat].setdefault(channel, {}), self._listening.setdefault(channel, {})
            for symbol in symbols:
                own[symbol] = None
                all_here.setdefault(symbol, {})[seat] = None
        self._changed(wanted)

    def unlisten(self, seat: Seat, wanted: Wanted) -> None:
        """From now on it does not get these. What it does not listen to is passed over."""
        for channel, symbols in wanted.items():
            own, all_here = self._seats.get(seat, {}).get(channel, {}), self._listening.get(channel, {})
            for symbol in symbols:
                own.pop(symbol, None)
                seats = all_here.get(symbol, {})
                seats.pop(seat, None)
                if not seats:
                    all_here.pop(symbol, None)
        self._changed(wanted)

    def deliver(self, pieces: Sequence[Piece]) -> None:
        """Give each message to those who listen to it, in the broker's order; to each of them in one frame."""
        for run in _runs(pieces):
            self._deliver(run)

    def _deliver(self, pieces: Sequence[Piece]) -> None:
        heard: dict[Audience, list[int]] = {}
        for at, piece in enumerate(pieces):
            audience = self._audience(piece)
            places = heard.get(audience)
            if places is None:
                heard[audience] = [at]
            else:
                places.append(at)
        if len(heard) == 1:
            next(iter(heard)).give(pieces)
        elif len(frozenset().union(*[audience.members for audience in heard])) == sum(map(len, heard)):
            for audience, places in heard.items():  # nobody is in two of them
                audience.give([pieces[at] for at in places])
        else:
            self._share_out(pieces, heard)

    def _share_out(self, pieces: Sequence[Piece], heard: Mapping[Audience, list[int]]) -> None:
        """Some are in several audiences: those who are in the same ones get the same frame."""
        shares: dict[Seat, list[Audience]] = {}
        for audience in heard:
            for seat in audience.members:
                shares.setdefault(seat, []).append(audience)
        alike: dict[tuple[Audience, ...], list[Seat]] = {}
        for seat, its in shares.items():
            alike.setdefault(tuple(its), []).append(seat)
        for audiences, seats in alike.items():
            first = audiences[0]
            if len(audiences) == 1:
                places = heard[first]
            else:
                places = sorted(at for audience in audiences for at in heard[audience])
            share = [pieces[at] for at in places]
            if len(audiences) == 1 and len(seats) == len(first):
                first.give(share)
            else:
                _give(seats, share)

    def _audience(self, piece: Piece) -> Audience:
        if len(piece.symbols) != 1:  # news
            return self._of(frozenset(self._listeners(piece.kind, piece.symbols)))
        symbol = piece.symbols[0]
        cached = self._audiences.setdefault(piece.kind, {})
        audience = cached.get(symbol)
        if audience is None:
            if len(cached) >= self._kept:
                cached.clear()
            if len(self._audiences) > _KINDS:
                self._audiences.clear()
            audience = cached[symbol] = self._of(frozenset(self._listeners(piece.kind, piece.symbols)))
        return audience

    def _of(self, members: frozenset[Seat]) -> Audience:
        audience = self._same.get(members)
        if audience is None:
            audience = self._same[members] = Audience(members)
        return audience

    def _listeners(self, kind: str, symbols: Sequence[str]) -> Iterable[Seat]:
        """Who listens to a message of this kind about these symbols.

        Of a kind that we don't know: those who listen to one of its symbols in a channel that we don't know either; if
        there are none, in any; if it names no symbol, all. To lose a message is worse than to get one too many, which
        SDKs pass over.
        """
        channels = CHANNELS.get(kind)
        if channels is not None:
            return self._in(channels, symbols)
        if not symbols:
            return self._seats
        strange = set(self._in([channel for channel in self._listening if channel not in KNOWN], symbols))
        return strange or self._in(self._listening, symbols)

    def _in(self, channels: Iterable[str], symbols: Sequence[str]) -> Iterator[Seat]:
        for channel in channels:
            listening = self._listening.get(channel)
            if listening:
                for symbol in (*symbols, EVERY):
                    yield from listening.get(symbol, ())

    def _changed(self, wanted: Wanted) -> None:
        for channel, symbols in wanted.items():
            for kind, cached in self._audiences.items():
                if channel not in CHANNELS.get(kind, ()):
                    continue
                if EVERY in symbols:
                    cached.clear()
                else:
                    for symbol in symbols:
                        cached.pop(symbol, None)
        self._forget_odd()

    def _forget_odd(self) -> None:
        """Who gets messages of unknown kinds depends on everything."""
        for kind in [kind for kind in self._audiences if kind not in CHANNELS]:
            del self._audiences[kind]


def _give(seats: Iterable[Seat], pieces: Sequence[Piece]) -> None:
    """The same as an audience does, for seats that are one only this time."""
    frames: dict[bool, bytes] = {}
    for seat in seats:
        frame = frames.get(seat.binary)
        if frame is None:
            frame = frames[seat.binary] = encoded(joined(pieces, binary=seat.binary))
        if not seat.push(frame):
            seat.full()


def _runs(pieces: Sequence[Piece]) -> Iterator[Sequence[Piece]]:
    """The same messages in parts that fit into a frame."""
    began = size = 0
    for at, piece in enumerate(pieces):
        size += len(piece.packed)
        if size > LARGEST and at > began:
            yield pieces[began:at]
            began, size = at, len(piece.packed)
    if began < len(pieces):
        yield pieces[began:] if began else pieces
