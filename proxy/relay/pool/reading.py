"""An answer as llhttp reads it, part by part.

The parser calls back for each part, within `feed`; the caller looks at what there is when all that came has been read,
so that an answer with nonsense behind it in the same piece is nonsense. What the parser lets pass and we do not is
refused in `_check`; the limits are those of `proxy/outbound.py`.
"""

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from proxy.outbound import LONGEST_FIELD, LONGEST_LINE, MOST_HEADERS, MOST_INTERIM, NO_HTTP
from proxy.relay.pool.answer import ComingAnswer, Source

SMALL = 64 * 1024  # bytes of an answer that are waited for before its head is passed on
LARGEST_HEAD = 32 * 1024  # bytes of an answer's head, as names, values and four for each line
_MOST_UNREAD = 256 * 1024  # bytes that may come without being a part of anything: white space, chunk extensions
_FIRST_FINAL, _LAST_FINAL, _SWITCHING, _NO_CONTENT, _NOT_MODIFIED = 200, 599, 101, 204, 304
_DIGITS = 16  # of a length: with more, nobody would see its end
_LENGTH, _CODING = len("content-length"), len("transfer-encoding")


class Unreadable(Exception):
    """What came is not taken. The text is safe to show, and holds nothing of it."""


class Reading:
    """The answers of one connection, one after the other.

    `status`: of a final head that is there, else 0. `answer`: where the body is read on, if it is not waited for; else
    it is `body`. `complete`: all of it is there. `lasts`: the connection may serve another call.
    """

    __slots__ = (
        "_coding", "_fed", "_headers", "_interim", "_junk", "_keep", "_length", "_line", "_no_body", "_parser",
        "_pieces", "_read_ahead", "_reason", "_source", "_stray", "_version", "_why", "answer", "complete", "headers",
        "status",
    )  # fmt: skip

    def __init__(self, source: Source) -> None:
        self._source = source
        self._parser = self._new_parser()
        self.begin(b"", no_body=False, read_ahead=False)

    def _new_parser(self) -> HttpResponseParser:
        parser = HttpResponseParser(self)
        # As lenient as the other upstream's parser, which is llhttp too: brokers are old.
        parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        return parser

    def begin(self, data: bytes, *, no_body: bool, read_ahead: bool) -> None:
        """Another answer, which begins with `data`. `no_body`: to HEAD. `read_ahead`: a small body is waited for."""
        self._no_body, self._read_ahead = no_body, read_ahead
        self._headers: list[tuple[bytes, bytes]] = []
        self.headers = self._headers
        self._pieces: list[bytes] = []
        self._length: bytes | None = None
        self._coding: bytes | None = None
        self._interim = self._fed = self._line = self._reason = self.status = 0
        self._stray = self._junk = self._keep = self.complete = False
        self._version = data.startswith(b"HTTP/1.1 ")
        self._why = NO_HTTP
        self.answer: ComingAnswer | None = None

    @property
    def body(self) -> bytes:
        """All of a body that was waited for."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    @property
    def lasts(self) -> bool:
        """Whether the connection may serve another call, when the answer is complete."""
        return self._keep and not self._stray

    @property
    def until_end(self) -> bool:
        """Whether nothing but the connection's end tells the body's."""
        return self.answer is not None and self._length is None and self._coding is None

    def feed(self, data: bytes) -> None:
        """Read what came. Raises `Unreadable`; an answer that is `complete` stands if it was told of before."""
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._stray = True
            raise Unreadable(self._why) from None
        if self.complete:
            if self._no_body:
                self._look_behind(data)
        elif self._fed > _MOST_UNREAD or (not self.status and self._is_too_long(data)):
            raise Unreadable(NO_HTTP)

    def _look_behind(self, data: bytes) -> None:
        """What stands behind a head without a body would be the beginning of the next answer."""
        ends = data.endswith((b"\n\r\n", b"\n\n"))
        if self._junk or (not ends and len(data) >= len("\r\n\r\n")):
            raise Unreadable(NO_HTTP)
        self._stray = self._stray or not ends  # its head came in small pieces
        self._parser = self._new_parser()  # this one still waits for what the head has promised

    def _is_too_long(self, data: bytes) -> bool:
        """Whether what there is of a head is too much already. `data` is the last of it."""
        at = data.rfind(b"\n") + 1
        self._line = len(data) - at if at else self._line + len(data)
        return self._line > LONGEST_FIELD + len(": ")

    # -- from the parser ----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of an answer, of an interim one, or of one that nobody asked for."""
        self._reason = 0
        if self.complete:
            self._stray = self._junk = True

    def on_status(self, reason: bytes) -> None:
        """A part of the reason phrase, which nobody needs."""
        self._reason += len(reason)
        if self._reason > LONGEST_LINE:
            raise Unreadable

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of the head, or a trailer."""
        headers, size = self._headers, len(name)
        if len(headers) >= MOST_HEADERS or size + len(value) > LONGEST_FIELD:
            raise Unreadable
        value = value.rstrip(b" \t")  # the parser takes them from its start only
        headers.append((name, value))
        if size == _LENGTH and name.lower() == b"content-length":
            self._length = value
        elif size == _CODING and name.lower() == b"transfer-encoding":
            self._coding = value if self._coding is None else b"two"

    def on_headers_complete(self) -> None:
        """The head is there. An interim one is forgotten."""
        if self.complete:  # of an answer that nobody asked for
            return
        status: int = self._parser.get_status_code()
        if status < _FIRST_FINAL and status // 100 == 1 and status != _SWITCHING:
            self._interim += 1
            if self._interim > MOST_INTERIM:
                raise Unreadable
            self._headers, self._length, self._coding, self._version, self._fed = [], None, None, False, 0
            return
        self.status = status
        self.headers = headers = self._headers
        self._check(headers)
        self._keep = self._parser.should_keep_alive()
        self._headers = [] if self._coding is None else list(headers)  # trailers count with them
        self._fed = 0
        if self._no_body:
            self.complete = True
        elif status not in (_NO_CONTENT, _NOT_MODIFIED) and not (self._read_ahead and _is_small(self._length)):
            self.answer = ComingAnswer(status, headers, self._source)

    def _check(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Raise for a head that the parser takes and we do not."""
        if any(b"\0" in value for _, value in headers):
            pass  # no valid HTTP, whatever else it is
        elif not _FIRST_FINAL <= self.status <= _LAST_FINAL:
            self._why = "the answer has no valid status"
        elif not self._version and self._parser.get_http_version() not in ("1.0", "1.1"):
            self._why = "the answer is in another version of HTTP"
        elif self._coding is not None and self._coding.strip(b" \t").lower() != b"chunked":
            # The client would get the coded bytes without a word about the coding.
            self._why = "the answer has a transfer coding that nobody asked for"
        elif self._fed > LARGEST_HEAD and sum(len(name) + len(value) + 4 for name, value in headers) > LARGEST_HEAD:
            self._why = f"the answer's head is larger than {LARGEST_HEAD} bytes"
        else:
            return
        raise Unreadable

    def on_body(self, piece: bytes) -> None:
        """Some of the body."""
        self._fed = 0
        if self.complete:
            self._stray = True
            self._junk = self._junk or bool(piece.strip(b"\r\n"))
        elif self.answer is not None:
            self.answer.feed(piece)
        else:
            self._pieces.append(piece)

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        if self.complete:
            self._stray = self._junk = True

    def on_message_complete(self) -> None:
        """The whole answer is there."""
        if self.status:
            self.complete = True


def _is_small(length: bytes | None) -> bool:
    """Whether a body of this `Content-Length` is waited for."""
    if length is None:
        return False
    digits = length.strip()
    return digits.isdigit() and len(digits) < _DIGITS and int(digits) <= SMALL
