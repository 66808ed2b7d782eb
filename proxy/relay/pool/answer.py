"""A broker's answer as it comes over one of our connections."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Protocol

from proxy.outbound import READ_AHEAD, Lost
from proxy.relay.headers import Raw

ENOUGH = 2 * READ_AHEAD  # bytes that wait for whoever reads the body: then the connection is not read


class Source(Protocol):
    """Where the rest of a body comes from."""

    def hold(self) -> None:
        """Read no more for now."""
        ...

    def go_on(self) -> None:
        """Read on."""
        ...

    def abort(self) -> None:
        """Nobody wants the rest."""
        ...


class PooledAnswer:
    """Status, headers as they came, and the body: `whole`, or None if it is to be read on. Reading raises `Lost`.

    `raw` are all bytes of it, if they came in one piece, else empty.

    A whole answer's connection has been given back by the time that anybody is told of the answer.
    """

    __slots__ = ("_read", "headers", "raw", "status", "whole")

    def __init__(self, status: int, headers: Raw, whole: bytes | None, raw: bytes = b"") -> None:
        self.status = status
        self.headers = headers
        self.whole = whole
        self.raw = raw
        self._read = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        if piece := (await self.start(len(self.whole or b"")))[0]:
            yield piece

    async def start(self, most: int) -> tuple[bytes, bool]:
        """Read up to `most` bytes; with True, that was all of the body."""
        whole, begin = self.whole or b"", self._read
        self._read = min(begin + most, len(whole))
        return whole[begin : self._read], self._read == len(whole)

    def close(self) -> None:
        """Done: the rest of the body, if there is any, is nobody's, and neither is its connection."""


class ComingAnswer(PooledAnswer):
    """An answer whose body is still coming."""

    __slots__ = ("_ended", "_fault", "_held", "_pieces", "_reader", "_size", "_source")

    def __init__(self, status: int, headers: Raw, source: Source) -> None:
        super().__init__(status, headers, None)
        self._source: Source | None = source
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._ended = self._held = False
        self._fault: Lost | None = None
        self._reader: asyncio.Future[None] | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """As it comes."""
        while piece := await self._some():
            yield piece

    async def start(self, most: int) -> tuple[bytes, bool]:
        """Read up to `most` bytes; with True, that was all of the body."""
        got: list[bytes] = []
        left = most
        while left and (piece := await self._some()):
            if len(piece) > left:
                self._pieces.appendleft(piece[left:])
                self._size += len(piece) - left
            got.append(piece[:left])
            left -= len(got[-1])
        return b"".join(got), self._ended and not self._pieces and self._fault is None

    def close(self) -> None:
        """Done: what has not come yet is nobody's, and neither is its connection."""
        source, self._source = self._source, None
        self._pieces.clear()
        self._size = 0
        if source is not None and not self._ended:
            source.abort()

    # -- from the connection ------------------------------------------------------------------------------------------

    def feed(self, piece: bytes) -> None:
        """More of the body."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > ENOUGH and not self._held and self._source is not None:
            self._held = True
            self._source.hold()
        self._wake()

    def end(self) -> None:
        """That was all. The connection is its own again."""
        self._ended, self._source, self._held = True, None, False
        self._wake()

    def fail(self, error: Lost) -> None:
        """The rest will not come."""
        self._ended, self._source, self._fault = True, None, error
        self._wake()

    def _wake(self) -> None:
        reader = self._reader
        if reader is not None and not reader.done():
            reader.set_result(None)

    async def _some(self) -> bytes:
        """What there is of the body, as soon as there is some; empty at its end. Raises `Lost`."""
        while not self._pieces and not self._ended:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        pieces = self._pieces
        if not pieces:
            if self._fault is not None:
                raise self._fault
            return b""
        piece = pieces.popleft() if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._size = 0
        if self._held and self._source is not None:
            self._held = False
            self._source.go_on()
        return piece
