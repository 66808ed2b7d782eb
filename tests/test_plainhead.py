"""What is read as a plain head is what the server's own parser reads, to the byte; all else is left to that parser."""

import random
from collections.abc import Callable, Iterator
from itertools import islice
from timeit import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import connection
from proxy.plainhead import KEPT, LONGEST, MOST_HEADERS, Heads
from tests import tricks
from tests.fuzz.harness import plainhead

KEY = "Authorization: Bearer brd_012345678901234567890123456789"
USUAL = ("Host: 127.0.0.1:8080", "User-Agent: python-httpx/0.28", "Accept: */*", "Accept-Encoding: gzip, deflate")
HEAD = "\r\n".join(["GET /questrade/v1/accounts?a=b HTTP/1.1", *USUAL, "Connection: keep-alive", KEY]) + "\r\n\r\n"

LINES = (
    "GET / HTTP/1.1", "GET /a/b?c=d HTTP/1.1", "HEAD /a HTTP/1.1", "GET //a HTTP/1.1", "GET /%2e%2e/?%00 HTTP/1.1",
    "GET /a\"<>\\^`{|}~;=@:!$&'()*+,[] HTTP/1.1", "GET /a#b HTTP/1.1", "GET /?#/? HTTP/1.1", "GET ?a HTTP/1.1",
    "GET /? HTTP/1.1", "GET /a HTTP/1.0", "GET /a HTTP/1.2", "GET /a HTTP/2.0", "GET /a", "GET /a http/1.1",
    "GET  /a HTTP/1.1", "GET /a  HTTP/1.1", "GET /a HTTP/1.1 ", " GET /a HTTP/1.1", "\r\nGET /a HTTP/1.1",
    "GET http://a/ HTTP/1.1", "GET a HTTP/1.1", "get /a HTTP/1.1", "POST /a HTTP/1.1", "OPTIONS * HTTP/1.1",
    "CONNECT a:1 HTTP/1.1", "GET /\xe9 HTTP/1.1", "GET /a\tb HTTP/1.1", "GETX /a HTTP/1.1", "HEADX /a HTTP/1.1",
    "GET /a HTTP/11", "GET /a HTTP/1.1x", "GET /a RTSP/1.0", "",
)  # fmt: skip
SOUND = (
    *USUAL[1:], KEY, "X-Empty:", "X-None: ", "X-Spaces:   a b   ", "Connection: keep-alive", "Keep-Alive: timeout=5",
    "Content-Type: application/json", "ETag: a", "X-Y: a:b: c", "A:!", 'cookie: a=b; c="d"', "Sec-WebSocket-Key: a",
)  # fmt: skip
HEADERS = (
    *USUAL, KEY, "Host: a", "host:b", "HOST: ", "Host:", "X-Empty:", "X-Empty: ", "X-Spaces:   a b   ", "X-Tab:\ta",
    "X-Tab: a\t", "X-Tab: a\tb", "Connection: keep-alive", "Connection: Keep-Alive", "Connection: close",
    "Connection: keep-alive, close", "Connection:", "Connection: Upgrade", "Connection: x",
    "Proxy-Connection: close", "Proxy-Connection: keep-alive", "Keep-Alive: timeout=5", "Content-Length: 0",
    "Content-Length: 5", "Content-Length:", "Transfer-Encoding: chunked", "transfer-encoding:", "Upgrade: websocket",
    "Upgrade: h2c", "Expect: 100-continue", "TE: trailers", "Trailer: a", "Sec-WebSocket-Key1: a",
    "Content-Encoding: gzip", "Content-Type: application/json", "ETag: a", "Max-Forwards: 1", "Server: a",
    "Content-Location: /", "Content-Range: a", "X_Y: a", "X.Y: a", "X-Y : a", " X-Y: a", "X-Y", ": a", "X(Y: a",
    "X-Y: \xe9", "X\xe9: a", "X-Y: a\x00", "X-Y: a\x7f", "X-Y: a\rb", "X-Y: a\nb", "\tfolded", " folded",
    "X-Y: a:b: c", "",
)  # fmt: skip
DECIDING = (
    "Connection: close, x", "Connection: keep-alive, x", "Connection: keep-alive, close", "Connection: closed",
    "Connection: close\r\nConnection: close",
    "Connection:", "Connection: Upgrade",
    "Proxy-Connection: keep-alive", "Content-Length: 0", "content-length:", "Transfer-Encoding: chunked",
    "TRANSFER-ENCODING: identity", "Upgrade: h2c", "Upgrade: websocket", "Expect: 100-continue", "TE: trailers",
    "Trailer: a", "Content-Encoding: gzip", "Http2-Settings: a", "Sec-WebSocket-Key1: a", "Host: b", "HOST: a",
    "X_Y: a", "X.Y: a", "X~Y: a", "X-Y : a", " X-Y: a", "\tX-Y: a", "X-Y", ": a", "X-Y: a\tb", "X-Y:\ta", "X-Y: \x80",
    "X-Y: a\x00", "X-Y: a\x7f", "X-Y: a\rb", "X-Y: a\nb: c", "Accept: a\r\nACCEPT: a",
)  # fmt: skip
ENDS = ("\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\r\n", " \r\n", "\n\r\n")
LAST = (
    "\r\n",
    "\r\n",
    "\r\n",
    "\r\n",
    "\n",
    "",
    "\r",
    "\r\n\r\n",
    "\r\nX",
    "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\n\0",
)
BYTES = b"\0\t\n\r !#:;?AGHTaghtx/_-.,0159\x7f\x80\xff"


def read(text: str) -> bool:
    return Heads().read(text.encode("latin-1")) is not None


def put_together(dice: random.Random) -> bytes:
    """A head out of parts that are mostly sound, so that many heads are, and others are nearly."""
    line = dice.choice(LINES) if dice.random() < 0.2 else dice.choice(LINES[:6])
    odd = dice.random() < 0.4
    lines = [line, *dice.sample(HEADERS if odd else SOUND, k=dice.randrange(5))]
    if dice.random() < 0.95:
        lines.insert(dice.randint(1, len(lines)), "Host: 127.0.0.1:8080")
    ends = [dice.choice(ENDS) if dice.random() < 0.02 else "\r\n" for _ in lines]
    last = dice.choice(LAST) if dice.random() < 0.1 else "\r\n"
    return ("".join(line + end for line, end in zip(lines, ends, strict=True)) + last).encode("latin-1")


def changed(dice: random.Random, head: bytes) -> bytes:
    """The same with some bytes taken out, put in, replaced or said twice."""
    data = bytearray(head)
    for _ in range(dice.choice((0, 0, 0, 1, 1, 2, 4))):
        at, length = dice.randrange(len(data) + 1), dice.choice((0, 1, 1, 2, 5))
        piece = bytes(dice.choices(BYTES, k=dice.randrange(3))) if dice.random() < 0.8 else bytes(data[:at][-9:])
        data[at : at + length] = piece
    return bytes(data)


def heads(seed: int) -> Iterator[bytes]:
    dice = random.Random(seed)  # noqa: S311  the same heads in every run
    kept = [HEAD.encode(), *(attack(trick) for trick in tricks.read("framing"))]
    while True:
        yield changed(dice, put_together(dice) if dice.random() < 0.8 else dice.choice(kept))


def attack(trick: tricks.Trick) -> bytes:
    """A line of the corpus of framings, with a call that would be plain in every place of it."""
    call = f"GET /lab/v1/accounts HTTP/1.1\r\n{USUAL[0]}\r\n{KEY}\r\n"
    known = dict.fromkeys(("get", "post", "put", "delete", "upload"), call)
    known |= {"line": call.partition("\n")[0] + "\n", "head": f"{USUAL[0]}\r\n{KEY}\r\n", "next": f"{call}\r\n"}
    known |= {"host": "127.0.0.1:8080", "key": KEY.rpartition(" ")[2], "path": "/lab/v1/accounts"}
    return tricks.Trick(trick.family, trick.text.partition("\t")[2]).filled(**known).encode("latin-1")


def compare(seed: int, count: int) -> tuple[int, int]:
    """How many different heads were tried, and how many of them taken. Raises `AssertionError` with the first fault."""
    tried = set(islice(heads(seed), count))
    taken = 0
    for data in tried:
        try:
            plainhead(data)
        except AssertionError as error:
            raise AssertionError(f"{data!r}: {error}") from error
        taken += Heads().read(data) is not None
    return len(tried), taken


def test_what_is_taken_is_what_the_parser_reads(figure: Callable[[object], None]) -> None:
    """Thousands of heads, sound and nearly sound, through both."""
    tried, taken = compare(1, 30_000)
    figure(f"{tried} heads, {taken} of them taken")
    assert 20_000 < tried
    assert 0.15 < taken / tried < 0.8


@pytest.mark.soak
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_what_is_taken_is_what_the_parser_reads_a_million_times(seed: int, figure: Callable[[object], None]) -> None:
    """The same at length."""
    rounds = [compare(1000 * seed + number, 50_000) for number in range(40)]
    figure(f"{sum(tried for tried, _ in rounds)} heads, {sum(taken for _, taken in rounds)} of them taken")


_LINES, _HEADERS = st.sampled_from(LINES), st.sampled_from(HEADERS)
_TOKENS = st.text("abcXYZ019-_.!~: \t\r\n\x00\x7f\xe9", max_size=12)


@given(
    line=_LINES | _TOKENS.map(lambda text: f"GET /{text} HTTP/1.1"),
    lines=st.lists(_HEADERS | st.tuples(_TOKENS, _TOKENS).map(":".join), max_size=6),
    last=st.sampled_from(LAST),
)
def test_no_text_is_read_otherwise(line: str, lines: list[str], last: str) -> None:
    """The same, looked for with Hypothesis: names and values of any bytes that mean something."""
    plainhead(("\r\n".join([line, "Host: a", *lines]) + "\r\n" + last).encode("latin-1"))


def test_the_usual_head_is_taken() -> None:
    """Method, target and headers as they came; spaces around a value do not count."""
    found = Heads().read(b"HEAD /a?b HTTP/1.1\r\nHost:   ~a b~ \r\nX-e:\r\nCONNECTION:Keep-Alive\r\n\r\n")
    assert found is not None
    assert ("HEAD", b"/a?b") == (found.method, found.target)
    assert ((b"Host", b"~a b~"), (b"X-e", b""), (b"CONNECTION", b"Keep-Alive")) == found.block.headers
    assert b"Host:   ~a b~ \r\nX-e:\r\nCONNECTION:Keep-Alive\r\n\r\n" == found.block.raw
    assert (None, False) == (found.block.notes, found.block.last)
    assert read(HEAD)


@pytest.mark.parametrize("word", ["close", "Close", "CLOSE", "  close  "])
def test_a_head_may_be_the_last_of_its_connection(word: str) -> None:
    """As those of clients are that open a connection for each call."""
    head = f"GET / HTTP/1.1\r\nHost: a\r\nconnection:{word}\r\n\r\n".encode()
    found = Heads().read(head)
    assert found is not None
    assert found.block.last
    plainhead(head)


@pytest.mark.parametrize("line", LINES[6:])
def test_an_odd_request_line_is_left_to_the_parser(line: str) -> None:
    """Other methods, versions and forms, bytes that are none of a target's, and spaces too many."""
    assert read("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert line == "GET /? HTTP/1.1" or not read(f"{line}\r\nHost: a\r\n\r\n")


@pytest.mark.parametrize("header", DECIDING)
def test_a_header_that_decides_or_is_odd_is_left_to_the_parser(header: str) -> None:
    """What says where the request ends or what becomes of the connection, and what could be read in two ways."""
    assert not read(f"GET / HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n")
    assert not read(f"GET / HTTP/1.1\r\n{header}\r\nHost: a\r\n\r\n")


@pytest.mark.parametrize(
    "more",
    [
        "\0",
        " ",
        "\n",
        "\r\n",
        "\r\n\r\n",
        "{}",
        "GET",
        HEAD,
        HEAD[:-1],
        "0\r\n\r\n",
        "Host: b\r\n\r\n",
        "X-Y: a\r\n\r\n",
    ],
    ids=ascii,
)
def test_a_head_is_taken_only_if_it_is_all_that_there_is(more: str) -> None:
    """Neither a head with something behind it, nor one behind something else, nor two."""
    assert not read(HEAD + more)
    assert not read(more + HEAD)


def test_no_part_of_a_head_is_taken() -> None:
    """Cut at any byte, before or behind, it is left to the parser, which can wait; also after the whole one."""
    whole = HEAD.encode()
    for at in range(1, len(whole)):
        fresh, known = Heads(), Heads()
        assert known.read(whole) is not None
        assert all(heads.read(part) is None for heads in (fresh, known) for part in (whole[:at], whole[at:]))


def test_the_same_bytes_give_the_same_block() -> None:
    """What was noted about a block is there for the next request with the same headers, whatever its target."""
    heads, other = Heads(), HEAD.replace("*/*", "*/a")
    first = heads.read(HEAD.encode())
    assert first is not None
    first.block.notes = "seen"
    second = heads.read(HEAD.replace("GET /", "HEAD /x").encode())
    assert second is not None
    assert second.block is first.block
    assert (("HEAD", "seen")) == (second.method, second.block.notes)
    third = heads.read(other.encode())
    assert third is not None
    assert third.block.notes is None
    assert dict(third.block.headers)[b"Accept"] == b"*/a"


@pytest.mark.parametrize("longer", ["X-Y: a\r\nHost: a\r\n\r\n", "X-Host: a\r\n\r\n"])
def test_a_block_that_ends_like_the_last_one_is_another(longer: str) -> None:
    """A head whose last bytes are those of the block before has headers of its own."""
    heads = Heads()
    assert heads.read(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") is not None
    found = heads.read(f"GET / HTTP/1.1\r\n{longer}".encode())
    assert (found is not None) == longer.startswith("X-Y")
    assert found is None or found.block.raw == longer.encode()


def test_a_large_block_is_not_kept() -> None:
    """It is read, but an idle connection does not hold its bytes."""

    def block(size: int) -> bytes:
        return b"Host: a\r\nX-Y: " + b"a" * (size - 18) + b"\r\n\r\n"

    assert KEPT == len(block(KEPT))
    for size, kept in ((KEPT, True), (KEPT + 1, False)):
        heads, head = Heads(), b"GET / HTTP/1.1\r\n" + block(size)
        first, second = heads.read(head), heads.read(head)
        assert first is not None
        assert second is not None
        assert kept == (first.block is second.block)


def test_a_head_at_its_limits_is_within_those_of_the_listener() -> None:
    """As long as it may be and not a byte more; as many headers, and not one more."""
    start = "GET / HTTP/1.1\r\nHost: a\r\nX-Y: "
    fits = start + "a" * (LONGEST - len(start) - 4) + "\r\n\r\n"
    assert LONGEST == len(fits) <= min(connection.LONGEST_LINE, connection.LARGEST_HEAD)
    assert read(fits)
    assert not read(fits.replace("X-Y", "X-YZ"))
    many = "GET / HTTP/1.1\r\nHost: a\r\n" + "".join(f"X-{number}: a\r\n" for number in range(MOST_HEADERS - 1))
    assert MOST_HEADERS == connection.MOST_HEADERS
    assert read(many + "\r\n")
    assert not read(many + "X-Y: a\r\n\r\n")
    for text in (fits, many + "\r\n"):
        plainhead(text.encode())


def test_nothing_of_a_head_is_in_its_representation() -> None:
    """Keys stand in headers, and account numbers in targets."""
    found = Heads().read(HEAD.encode())
    assert found is not None
    assert "brd_" not in f"{found!r}{found.block!r}"
    assert "accounts" not in f"{found!r}"


def test_reading_costs_little(figure: Callable[[object], None]) -> None:
    """A few microseconds; the bounds are for a machine that does other things too."""
    heads, same = Heads(), HEAD.encode()
    others = [same.replace(b"*/*", b"*/a"), same]
    again = min(repeat(lambda: heads.read(same), number=1000, repeat=7)) * 1000
    new = min(repeat(lambda: [heads.read(other) for other in others], number=500, repeat=7)) * 1000
    figure(f"{again:.2f} µs with the last block, {new:.2f} µs with another")
    assert again < 5
    assert new < 40
