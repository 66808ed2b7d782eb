"""A head as bytes: nothing in it can be read in two ways, and no credential but ours."""

import pytest

from proxy.brokers.definition import BEARER, Placement
from proxy.relay import credential
from proxy.relay.wirehead import CHUNKED, LAST, OURS, block_of, first_of, head, joined, length
from proxy.secret import Secret

LINES = credential.lines(BEARER, Secret("the-bearer"))


def test_a_head_is_its_pieces_and_an_empty_line() -> None:
    """First line, Host, the client's lines, the credential, the framing."""
    assert LINES is not None
    block = block_of([("Accept", "*/*"), ("X-A", "")], BEARER)
    written = head(b"POST", b"/v1/x?a=%2F", b"h:1", block, LINES, length(2) + LAST)
    assert (
        b"POST /v1/x?a=%2F HTTP/1.1\r\nHost: h:1\r\nAccept: */*\r\nX-A: \r\n"
        b"Authorization: Bearer the-bearer\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
    ) == written
    assert joined(first_of(b"GET", b"/", b"h"), block, LINES, CHUNKED).endswith(b"Transfer-Encoding: chunked\r\n\r\n")


@pytest.mark.parametrize(
    ("method", "target", "host"),
    [
        pytest.param(b"GET", b"/a b", b"h", id="a blank"),
        pytest.param(b"GET", b"/a\r\nX: y", b"h", id="a line end"),
        pytest.param(b"GET", b"/a\n", b"h", id="a line end at the end"),
        pytest.param(b"GET", b"/\0", b"h", id="NUL"),
        pytest.param(b"GET", b"/\xff", b"h", id="8 bits"),
        pytest.param(b"GET", b"", b"h", id="no target"),
        pytest.param(b"GET", b"https://h/", b"h", id="absolute"),
        pytest.param(b"get", b"/", b"h", id="a small method"),
        pytest.param(b"GET /x", b"/", b"h", id="a blank in the method"),
        pytest.param(b"GET", b"/", b"h\r\nX: y", id="a line end in the host"),
        pytest.param(b"GET", b"/", b"", id="no host"),
    ],
)
def test_a_first_line_is_read_in_one_way(method: bytes, target: bytes, host: bytes) -> None:
    """Else the call does not leave, and the error repeats nothing of it."""
    with pytest.raises(AssertionError, match="in two ways"):
        first_of(method, target, host)


@pytest.mark.parametrize("name", sorted(OURS))
def test_what_is_ours_to_write_does_not_come_from_elsewhere(name: str) -> None:
    """Framing, Host and what belongs to the connection, in any case."""
    with pytest.raises(AssertionError, match="not ours"):
        block_of([(name.title(), "x")], BEARER)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("X-A", "a\r\nX-B: b", id="a line end"),
        pytest.param("X-A", "a\n", id="a bare one"),
        pytest.param("X-A", "\0", id="NUL"),
        pytest.param("X-A", "\xe9", id="8 bits"),
        pytest.param("X A", "a", id="a blank in the name"),
        pytest.param("", "a", id="no name"),
        pytest.param("X-A:", "a", id="a colon in the name"),
    ],
)
def test_no_line_can_end_early(name: str, value: str) -> None:
    """Whoever let it come so far."""
    with pytest.raises(AssertionError, match="printable"):
        block_of([(name, value)], BEARER)


@pytest.mark.parametrize("name", ["Authorization", "authorization", "APCA-API-KEY-ID", "apca-api-secret-key"])
def test_no_credential_stands_among_the_clients_lines(name: str) -> None:
    """Neither the broker's own kind nor another."""
    placement = Placement("headers", ("APCA-API-KEY-ID", "APCA-API-SECRET-KEY"))
    with pytest.raises(AssertionError, match="belongs elsewhere"):
        block_of([(name, "canary")], placement)
