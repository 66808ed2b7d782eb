"""A stream over plain HTTP: an answer without an end, in chunks that leave at once."""

from collections.abc import Mapping

from aiohttp import web

from proxy.simulator.streams import Stream, Streams


class Chunked(Stream):
    """An HTTP answer that goes on until it is ended. `serve` sends the head; then it hears what it is due."""

    def __init__(self, request: web.BaseRequest, streams: Streams, content_type: str) -> None:
        super().__init__(request)
        self.streams = streams
        self._content_type = content_type

    async def serve(self, first: bytes = b"", headers: Mapping[str, str] | None = None) -> web.StreamResponse:
        """The whole answer; `first` goes out with its head, framed already."""
        response = web.StreamResponse(
            headers={"Content-Type": self._content_type, "Cache-Control": "no-cache", **(headers or {})}
        )
        response.enable_chunked_encoding()
        writer = await response.prepare(self.request)
        if writer is None:
            raise AssertionError("a head went out twice")
        writer.send_headers()
        self.write(first)
        self.streams.join(self)
        try:
            await self.ended()
        finally:
            self.streams.leave(self)
        if not self.broken:
            await response.write_eof()
        return response

    def framed(self, payload: bytes) -> bytes:
        """One chunk."""
        return b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""

    @property
    def nonsense(self) -> tuple[bytes, bytes]:
        return self.framed(b'{"broken": \n\n'), b"this is no chunk\r\n"
