"""What llhttp makes of answers, and what is refused though it takes it; `test_differential.py` has the rest."""

import pytest

from proxy.outbound import LONGEST_FIELD, MOST_HEADERS, MOST_INTERIM, NO_HTTP
from proxy.relay.pool.reading import LARGEST_HEAD, SMALL, Reading, Unreadable

HEAD = b"HTTP/1.1 200 OK\r\n"
TWO = HEAD + b"Content-Length: 2\r\n\r\n{}"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


class Line:
    """A connection that is told when to stop."""

    def hold(self) -> None: ...
    def go_on(self) -> None: ...
    def abort(self) -> None: ...


def read(*pieces: bytes, no_body: bool = False, read_ahead: bool = True) -> Reading:
    reading = Reading(Line())
    reading.begin(pieces[0], no_body=no_body, read_ahead=read_ahead)
    for piece in pieces:
        reading.feed(piece)
    return reading


def test_a_small_body_is_waited_for() -> None:
    """In as many pieces as it comes; a larger one is read on, and so is each where nobody asked for that."""
    for at in range(1, len(TWO)):
        found = read(TWO[:at], TWO[at:])
        assert (200, b"{}", True, True) == (found.status, found.body, found.complete, found.lasts)
    large = HEAD + b"Content-Length: %d\r\n\r\n" % (SMALL + 1)
    assert read(large).answer is not None
    assert read(TWO, read_ahead=False).answer is not None
    assert read(CHUNKED).answer is not None


def test_one_answer_after_the_other_is_read() -> None:
    """Each is its own, whatever the one before was."""
    reading = Reading(Line())
    for data, no_body in ((TWO, False), (HEAD + b"Content-Length: 9\r\n\r\n", True), (TWO, False)):
        reading.begin(data, no_body=no_body, read_ahead=True)
        reading.feed(data)
        assert (True, True) == (reading.complete, reading.lasts)
    assert b"{}" == reading.body


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(HEAD.replace(b"200", b"199").replace(b"1", b"1"), None, id="interim only"),
        pytest.param(TWO.replace(b"200", b"600"), "status", id="600"),
        pytest.param(TWO.replace(b"1.1", b"0.9"), "version", id="0.9"),
        pytest.param(CHUNKED.replace(b"chunked", b"gzip, chunked"), "transfer coding", id="another coding"),
        pytest.param(TWO.replace(b"OK\r\n", b"OK\r\nX: a\0b\r\n"), NO_HTTP, id="NUL"),
        pytest.param(HEAD + b"X: y\r\n" * (MOST_HEADERS + 1) + b"\r\n", NO_HTTP, id="many headers"),
        pytest.param(HEAD + b"X: " + b"y" * LONGEST_FIELD + b"\r\n\r\n", NO_HTTP, id="a long field"),
        pytest.param(HEAD + (b"X: " + b"y" * 8000 + b"\r\n") * 5 + b"\r\n", str(LARGEST_HEAD), id="a large head"),
        pytest.param(b"HTTP/1.1 100 X\r\n\r\n" * (MOST_INTERIM + 1) + TWO, NO_HTTP, id="interim for ever"),
        pytest.param(HEAD + b"X: " + b"y" * 100_000, NO_HTTP, id="an endless line"),
        pytest.param(CHUNKED + b"0;" + b"x" * 400_000, NO_HTTP, id="an endless extension"),
        pytest.param(CHUNKED + b"0\r\n" + b"X: y\r\n" * 200 + b"\r\n", NO_HTTP, id="many trailers"),
        pytest.param(TWO + b"nonsense", NO_HTTP, id="nonsense behind"),
    ],
)
def test_what_is_refused(data: bytes, why: str | None) -> None:
    """With a reason that holds nothing of it."""
    if why is None:
        assert not read(data).complete
        return
    with pytest.raises(Unreadable, match=why):
        read(*(data[at : at + 65_536] for at in range(0, len(data), 65_536)))


def test_what_stands_behind_an_answer_ends_its_connection() -> None:
    """Whether that is another answer or the beginning of one; the answer stands."""
    for rest in (TWO, TWO[:5], b"\r\n" + TWO):
        found = read(TWO + rest)
        assert (True, False, b"{}") == (found.complete, found.lasts, found.body)


def test_a_trailer_is_no_header() -> None:
    """It is dropped, and so is what an unasked answer holds."""
    found = read(CHUNKED + b"0\r\nX-Trailer: 1\r\n\r\n" + HEAD + b"X-Smuggled: 1\r\n")
    assert [(b"Transfer-Encoding", b"chunked")] == found.headers
    assert not found.lasts
