"""What is read without callbacks is what llhttp reads, and of a plain answer nothing else."""

import random

import pytest
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from proxy.relay.pool.plainanswer import MOST_LINES, Plain, PlainAnswers
from tests import hostile
from tests.differential import generated

HEAD = b"HTTP/1.1 200 OK\r\n"
PLAIN = HEAD + b"Server: x\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 2\r\n\r\n{}"


class Parsed:
    """What llhttp makes of bytes."""

    def __init__(self, data: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.messages = self.complete = 0
        self.keep = False
        self.parser = HttpResponseParser(self)
        self.parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.messages += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self.keep = self.parser.should_keep_alive()
        self.status = self.parser.get_status_code()

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        self.complete += 1


def agrees(data: bytes, plain: Plain) -> bool:
    """Whether llhttp reads one complete answer, the same, whose connection lasts."""
    try:
        found = Parsed(data)
    except (HttpParserError, HttpParserUpgrade):
        return False
    whole = (found.messages, found.complete, found.keep) == (1, 1, True)
    return whole and (found.status, found.headers, found.body) == plain


def test_a_plain_answer_is_read() -> None:
    """Status, headers in their order, and body; again when its lines are known."""
    reader = PlainAnswers()
    headers = [
        (b"Server", b"x"), (b"Content-Type", b"application/json; charset=utf-8"), (b"Content-Length", b"2"),
    ]  # fmt: skip
    for _ in range(2):
        assert (200, headers, b"{}") == reader.read(PLAIN)
    assert agrees(PLAIN, (200, headers, b"{}"))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(PLAIN[:-1], id="a byte less"),
        pytest.param(PLAIN + b"x", id="a byte more"),
        pytest.param(PLAIN + PLAIN, id="two answers"),
        pytest.param(PLAIN.replace(b"1.1", b"1.0"), id="1.0"),
        pytest.param(PLAIN.replace(b"200", b"204"), id="204"),
        pytest.param(PLAIN.replace(b"200", b"304"), id="304"),
        pytest.param(PLAIN.replace(b"200", b"100"), id="100"),
        pytest.param(PLAIN.replace(b"200", b"600"), id="600"),
        pytest.param(HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", id="two lengths"),
        pytest.param(HEAD + b"content-length: 2\r\nContent-Length: 3\r\n\r\n{}", id="two that differ"),
        pytest.param(HEAD + b"Content-Length: 02\r\n\r\n{}", id="a leading zero"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}", id="chunked too"),
        pytest.param(HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}", id="the last"),
        pytest.param(HEAD + b"Connection: keep-alive, close\r\nContent-Length: 2\r\n\r\n{}", id="a list"),
        pytest.param(HEAD + b"Proxy-Connection: close\r\nContent-Length: 2\r\n\r\n{}", id="an old header"),
        pytest.param(HEAD + b"X-A: 1\n\nContent-Length: 2\r\n\r\n{}", id="a bare line end"),
        pytest.param(HEAD + b"X-A: 1\r\n b\r\nContent-Length: 2\r\n\r\n{}", id="two lines in one"),
        pytest.param(HEAD + b"X-A: 1 \r\nContent-Length: 2\r\n\r\n{}", id="a blank at the end"),
        pytest.param(HEAD + b"X-A:1\r\nContent-Length: 2\r\n\r\n{}", id="no blank"),
        pytest.param(HEAD + b"X A: 1\r\nContent-Length: 2\r\n\r\n{}", id="an odd name"),
        pytest.param(HEAD + b"X-A: \xff\r\nContent-Length: 2\r\n\r\n{}", id="an 8-bit value"),
        pytest.param(HEAD + b"X-A: a\0b\r\nContent-Length: 2\r\n\r\n{}", id="NUL"),
        pytest.param(HEAD + b"X: y\r\n" * MOST_LINES + b"Content-Length: 2\r\n\r\n{}", id="many lines"),
        pytest.param(HEAD + b"X: " + b"y" * 8190 + b"\r\nContent-Length: 2\r\n\r\n{}", id="a long head"),
        pytest.param(b"\r\n" + PLAIN, id="a line end first"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_is_not_plain_is_left_to_the_parser(data: bytes) -> None:
    """Also when all of its lines have been seen in plain answers."""
    reader = PlainAnswers()
    reader.read(PLAIN)
    assert reader.read(data) is None
    assert reader.read(data) is None


def test_whatever_is_taken_is_read_as_the_parser_reads_it() -> None:
    """The lists of `hostile`, generated answers, and plain ones with a byte or two changed, in any order of lines."""
    chance, reader = random.Random(5), PlainAnswers()  # noqa: S311
    taken, wrong = 0, []
    families = (hostile.first_lines, hostile.header_lines, hostile.lengths, hostile.foreign_headers, hostile.interim)
    answers = [case.data for family in families for case in family()]
    answers += [told.pieces[0] for told in generated(500)]
    good = [data for data in answers if reader.read(data) is not None] + [PLAIN]
    for _ in range(4000):
        changed = bytearray(chance.choice(good))
        for _ in range(chance.randint(0, 2)):
            changed[chance.randrange(len(changed))] = chance.choice(b"\0\r\n\t :;,0129aZ\x7f\xff")
        answers.append(bytes(changed))
    for data in answers:
        plain = reader.read(data)
        if plain is not None:
            taken += 1
            wrong += [] if agrees(data, plain) else [data]
    assert not wrong, wrong[:3]
    assert 1000 < taken < len(answers)


def test_little_is_kept_of_what_passes() -> None:
    """Lines that never come again do not pile up."""
    reader = PlainAnswers()
    for number in range(3000):
        body = b"x" * (number % 700)
        assert reader.read(HEAD + b"X-Id: %d\r\nContent-Length: %d\r\n\r\n" % (number, len(body)) + body) is not None
    assert max(len(reader._lines), len(reader._lengths), len(reader._firsts)) <= 512


def test_a_cookie_is_not_kept() -> None:
    """It is read, and nothing of it stays."""
    reader = PlainAnswers()
    data = HEAD + b"set-cookie: id=canary\r\nSet-Cookie2: id=canary\r\nContent-Length: 0\r\n\r\n"
    for _ in range(2):
        assert reader.read(data) is not None
    assert b"canary" not in b"".join(reader._lines)
