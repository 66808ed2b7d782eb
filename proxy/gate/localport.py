"""A local port, and which stream of a broker's it stands for. Pure.

Questrade serves each stream at a port of its own; the number in its answer becomes one of ours.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

End = Callable[[int, str], None]  # closes a socket, with a code and a reason


@dataclass(frozen=True, slots=True)
class Stream:
    """What a port stands for: one stream of one person, by the row that asked for it. `ids` are symbols of quotes."""

    mount: str
    grant: str
    row: str
    ids: tuple[int, ...] = ()


@dataclass(eq=False, slots=True)
class StreamPort:
    """One local port. `number` is 0 until it is open; `sockets` are the clients that are inside.

    The number of a `pinned` port may come to stand for another stream. Who got it while it stood for the one before,
    and has not asked since, does not mean the one that it stands for now.
    """

    host: str
    stream: Stream
    pinned: bool = False
    number: int = 0
    sockets: int = 0
    _ends: list[End] = field(default_factory=list)
    _holders: set[str] = field(default_factory=set)
    _formerly: set[str] = field(default_factory=set)

    def means(self, client: str) -> bool:
        """Whether this client can mean the stream that the port stands for now."""
        return client in self._holders or client not in self._formerly

    def only(self, client: str) -> bool:
        """Whether nobody else has been told the number for what it stands for now."""
        return self._holders <= {client}

    @contextmanager
    def entered(self) -> Iterator[None]:
        """A socket is inside: as long as one is, the port stands for nothing else."""
        self.sockets += 1
        try:
            yield
        finally:
            self.sockets -= 1

    @contextmanager
    def held(self, end: End) -> Iterator[None]:
        """`end` closes the socket that is inside, should the port be closed."""
        self._ends.append(end)
        try:
            yield
        finally:
            self._ends.remove(end)

    def end_all(self, code: int, reason: str) -> None:
        """Close the sockets inside."""
        for end in list(self._ends):
            end(code, reason)

    def hand_to(self, client: str) -> None:
        """This client has been told the number."""
        self._holders.add(client)

    def stand_for(self, stream: Stream) -> None:
        """From now on for another stream."""
        self._formerly |= self._holders
        self._holders.clear()
        self.stream = stream
