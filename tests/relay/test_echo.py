"""A credential in an answer is found in every spelling, wherever the answer is cut into pieces."""

import base64
import json
import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.relay.echo import SHORTEST, Echoed, Needles, Sieve
from tests import canaries

TOKEN = "The/Token+of=the-broker"
NEEDLES = Needles.of([TOKEN])


def sifted(sieve: Sieve, *pieces: bytes) -> bytes:
    return b"".join(sieve.pass_on(piece) for piece in pieces) + sieve.rest()


@given(st.text(min_size=SHORTEST, max_size=40), st.binary(max_size=5), st.binary(max_size=5))
def test_a_secret_is_found_in_every_encoding(text: str, before: bytes, after: bytes) -> None:
    """Plain, in a URL, in JSON, in hexadecimal, and in base64 of both alphabets whatever stands around it."""
    needles, raw = Needles.of([text]), text.encode("utf-8", "surrogatepass")
    forms = [
        before + raw + after, quote(text, safe="").encode(), "".join(f"%{byte:02X}" for byte in raw).encode(),
        raw.hex().upper().encode(), b"".join(b"\\u%04X" % unit for unit in units(text)),
        *(coded(base64.b64encode(b"xy"[:at] + before + raw + after)) for at in range(3) for coded in (bytes, web)),
    ]  # fmt: skip
    assert [] == [form for form in forms if not needles.within(form)]


def units(text: str) -> list[int]:
    whole = text.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(whole[at : at + 2], "big") for at in range(0, len(whole), 2)]


def web(coded: bytes) -> bytes:
    return coded.replace(b"+", b"-").replace(b"/", b"_")


@pytest.mark.parametrize("kind", canaries.KINDS)
def test_a_secret_is_found_wherever_it_is_cut(kind: str) -> None:
    """In two pieces, cut at each byte, and in pieces of one byte; nothing of its end has gone on."""
    whole = b"lead: " + canaries.written(TOKEN, kind) + b" tail"
    cuts = [(whole[:at], whole[at:]) for at in range(len(whole) + 1)]
    singles = tuple(bytes([byte]) for byte in whole)
    for pieces in (*cuts, singles):
        passed: list[bytes] = []
        with pytest.raises(Echoed):
            passed.extend(map(Sieve(NEEDLES).pass_on, pieces))
        assert sum(map(len, passed)) <= len(b"lead: ") + 3  # the first digits of base64 depend on what stands before


@given(st.text(string.ascii_letters + string.digits + "+/=-._~", min_size=SHORTEST, max_size=200), st.data())
def test_a_secret_is_found_wherever_it_stands(text: str, data: st.DataObject) -> None:
    """In long answers too, of which only a few places are looked at as long as nothing looks like it."""
    needles = Needles.of([text])
    needle = data.draw(st.sampled_from([*needles.exact, *needles.folded, *(map(bytes.upper, needles.folded))]))
    filling = data.draw(st.sampled_from([b"a", b'{"price":"191.24"},', needle[:-1], needle[1:], needle[:20][::-1]]))
    before, after = data.draw(st.integers(0, 600)), data.draw(st.integers(0, 600))
    lead, tail = (filling * 600)[:before], (filling * 600)[:after]
    assert needles.within(lead + needle + tail)
    assert needles.within_answer([(b"X", lead), (b"Y", needle)], tail)
    assert needles.within_answer([(b"X", tail)], lead + needle)
    whole = lead + tail
    plainly = any(each in whole for each in needles.exact) or any(each in whole.lower() for each in needles.folded)
    assert plainly == needles.within(whole)


def test_head_and_body_are_not_read_as_one() -> None:
    """Half of a secret at the end of the head and half of it in the body is none."""
    assert not NEEDLES.within_answer([(b"X", TOKEN.encode()[:9])], TOKEN.encode()[9:])
    assert NEEDLES.within_answer([(TOKEN.encode(), b"x")], b"")
    assert not NEEDLES.within_answer([], b"")


def test_an_answer_that_came_in_one_piece_is_looked_through_as_it_came() -> None:
    """In its head and in its body, however its lines are read."""
    for raw in (b"HTTP/1.1 200 OK\r\nX: %b\r\n\r\n", b"HTTP/1.1 200 %b\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n{%b}"):
        assert NEEDLES.within_answer([], b"", raw % TOKEN.encode())
        assert not NEEDLES.within_answer([], b"", raw % TOKEN[1:].encode())


def test_what_is_remembered_of_a_secret_is_bounded() -> None:
    """However long it is: needles are kept for each of many grants."""
    assert len(Needles.of([string.ascii_letters * 100]).probes) < 1500


def test_json_may_escape_the_slash() -> None:
    """As PHP does by default."""
    assert NEEDLES.within(json.dumps({"a": TOKEN}).replace("/", "\\/").encode())


@given(st.lists(st.binary(max_size=40), max_size=12), st.integers(0, 60))
def test_what_holds_no_secret_passes_unchanged(pieces: list[bytes], begun: int) -> None:
    """Every byte in its order, also where it looks like the beginning of a secret; none is kept in the end."""
    pieces = [*pieces, TOKEN.encode()[: begun % len(TOKEN)], b"!"]
    assert b"".join(pieces) == sifted(Sieve(NEEDLES), *pieces)


def test_a_whole_line_waits_for_nothing() -> None:
    """An event of a stream goes on at once; only what may begin a secret is held back, and only while it may."""
    sieve = Sieve(NEEDLES)
    for line in (b'data: {"a": 1}\n\n', b": heartbeat\n", b"The/Token\n", b"%54%68\n", b"\\u0054\n"):
        assert line == sieve.pass_on(line)
    assert b"x" == sieve.pass_on(b"xThe/Tok")
    assert b"The/Tok" == sieve.pass_on(b"\n")[:-1]
    assert b"" == sieve.pass_on(b"The/T")
    assert b"The/T" == sieve.rest()
    assert b"" == sieve.rest()


def test_a_large_body_is_searched_in_its_beginning() -> None:
    """Up to `most` bytes; what was held back there goes on first."""
    sieve = Sieve(NEEDLES, 10)
    assert b"012345678" == sieve.pass_on(b"012345678")
    assert b"" == sieve.pass_on(b"The")
    rest = b"/Token" + TOKEN.encode()
    assert b"The" + rest == sieve.pass_on(rest)
    with pytest.raises(Echoed):
        Sieve(NEEDLES, 10).pass_on(b"0" * 9 + TOKEN.encode())


def test_short_texts_are_not_looked_for() -> None:
    """They would be found in answers that give nothing away."""
    assert not Needles.of(["short"]).within(b"short")
    assert b"short" == sifted(Sieve(Needles.of([])), b"sh", b"ort")


def test_needles_show_nothing() -> None:
    """Their repr holds no secret."""
    assert {} == canaries.count(repr(NEEDLES).encode(), TOKEN)
