import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gate.patterns import PatternError, overlap, read


@pytest.mark.parametrize(
    ("text", "taken", "refused"),
    [
        (
            "[0-9]{8}",
            [b"26598145", b"00000000"],
            [b"2659814", b"265981450", b"2659814x", "٢٦٥٩٨١٤٥".encode(), b"26598145\n"],
        ),
        ("[A-Z0-9]{2,12}%2F[A-Z]{3,6}", [b"BTC%2FUSD"], [b"BTC/USD", b"BTC%2fUSD", b"BTC%2F", b"%2FUSD", b"BTCUSD"]),
        ("[A-Z][A-Z.]{0,9}", [b"BRK.B", b"A"], [b"..", b".A", b"", b"brk.b"]),
        ("live|paper", [b"live", b"paper"], [b"livepaper", b"liv", b"live|paper"]),
        ("[0-9a-f]{8}-[0-9a-f]{4}", [b"0123abcd-9f00"], [b"0123ABCD-9F00", b"0123abcd9f00"]),
        (r"[A-Z]{1,5}\.[A-Z]", [b"BRK.B"], [b"BRKxB"]),
        ("ab?c{2}", [b"acc", b"abcc"], [b"abc", b"abbcc", b"aacc"]),
        ("a~-b", [b"a~-b"], [b"a-b"]),
        ("a%2Fb", [b"a%2Fb"], [b"a%%2Fb", b"a%2Fbb"]),
        ("a{1,64}b{1,64}", [b"ab", b"a" * 64 + b"b" * 64], [b"a" * 65 + b"b"]),
        ("x[-_.~!$&'()*+,=:]", [b"x~", b"x$", b"x(", b"x="], [b"x@", b"x;"]),
        (r"[a\-z]{1,2}", [b"-", b"az"], [b"m"]),
        ("x|[0-9]{1,3}", [b"x", b"123"], [b"x1", b"1234", b"~"]),
        ("[A-Za-z0-9][A-Za-z0-9.]", [b"a.", b"9Z"], [b"..", b".a"]),
        ("[A-Z]%2F[A-Za-z0-9]", [b"A%2Fz"], [b"A%2F."]),
        ("[0-9]{1,3}|x", [b"x", b"123"], [b"1x", b"1234"]),
    ],
)
def test_a_pattern_takes_whole_segments_only(text: str, taken: list[bytes], refused: list[bytes]) -> None:
    """A pattern is held against all bytes of a segment, never a part."""
    pattern = read(text)
    assert [True] * len(taken) == [pattern.takes(segment) for segment in taken]
    assert [False] * len(refused) == [pattern.takes(segment) for segment in refused]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (".", "list the allowed ones"),
        ("[A-Z]+", "no upper bound"),
        ("[A-Z]*", "no upper bound"),
        ("(a|b)", "nested repeats"),
        ("(?:a){2}", "nested repeats"),
        ("a)", "nested repeats"),
        ("(a", "nested repeats"),
        ("[a|b]", "'|' can be part of no capture"),
        ("^a", "whole segment"),
        ("a$", "whole segment"),
        (r"\d{8}", r"\d is not taken; list the bytes, as in [0-9]"),
        (r"\w", r"[0-9]"),
        (r"\Z", r"[0-9]"),
        ("[^/]{1,9}", "every other byte"),
        ("[]", "every other byte"),
        ("[a-z", "not closed"),
        ("a{2", "stands where"),
        ("{2}", "stands where"),
        ("a??", "stands where"),
        ("a]", "`]` stands where"),
        ("[z-a]", "the range z-a runs backwards"),
        ("a\\", "escapes nothing"),
        ("a{3,2}", "the repeat {3,2} can never be met"),
        ("a{0}", "never be met"),
        ("", "empty segment"),
        ("a|", "empty segment"),
        ("[a-z]{0,3}", "empty segment"),
        ("[a-z]{1,129}", "no segment is longer"),
        ("[a-z]{1,60}[a-z]{1,60}[a-z]{1,8}", "too many ways"),
        ("[ab]{0,63}[ab]{1,65}", "too many ways"),
        ("[.]{2}", "must start with a letter or digit"),
        (r"\.", "must start with a letter or digit"),
        ("~[.]{2}", "must start with a letter or digit"),
        ("[A-Z.]{1,9}", "must start with a letter or digit"),
        ("[A-Z]?[A-Z.]{1,9}", "must start with a letter or digit"),
        ("a%", "two hexadecimal digits"),
        ("a%2", "two hexadecimal digits"),
        ("a%2f", "%2f must be in upper case"),
        ("(?i)a", "nested repeats"),
        ("a%2F{2}", "%2F is repeated"),
        ("[A-Z.]{1,3}", "must start with a letter or digit"),
        ("[A-Z]{1,3}%2F[.]{2}", "must follow %2F"),
        ("[A-Z]{1,3}%2F[A-Z.]{2}", "must follow %2F"),
        ("[A-Z]{1,3}%2F[A-Z]?[.]{2}", "must follow %2F"),
        ("[A-Z]{1,3}%2F", "must follow %2F"),
        ("[A-Z]{1,3}%2F%2F[A-Z]{1,3}", "must follow %2F"),
        ("%2F[A-Z]{1,3}", "must follow something"),
        ("[A-Z]?%2F[A-Z]{1,3}", "must follow something"),
        ("[a/]", "in different ways"),
        ("[ -~]", "in different ways"),
        ("[é]", "the character U+00E9 can be part of no capture"),
        ("[a\n]", "the character U+000A can be part of no capture"),
        ("a;", "';' can be part of no capture"),
        *((f"a[{char}]", "in different ways") for char in (";", "@", "?", "#", "%", "/", " ", '"')),
        *((f"a\\{char}", "in different ways") for char in (";", "\\", "@", "?", "#", "%")),
        ("[a\\\\]", "in different ways"),
        *(
            (f"a%{code}", f"%{code} can be part of no capture: servers read it in different ways")
            for code in ("2E", "25", "5C", "3B", "3F", "23", "00", "0A", "7F", "FF", "41", "40")
        ),
    ],
)
def test_what_is_not_safe_is_refused_with_its_reason(text: str, why: str) -> None:
    """A pattern outside the safe part is an error that says which part and why."""
    with pytest.raises(PatternError, match=re.escape(why)):
        read(text)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("[0-9]{8}", "[0-9]{1,18}", True),
        ("[0-9]{8}", "[A-Z]{1,9}", False),
        ("[0-9]{2}", "[0-9]{3}", False),
        ("[0-9]{1,2}x?", "[0-9]{2}x", True),
        ("a[0-9]{0,3}b", "a[0-4]{2}b", True),
        ("a[0-9]{0,1}b", "a[0-4]{2}b", False),
        ("live|paper", "[a-z]{5}", True),
        ("live|paper", "[a-z]{3}", False),
        ("[A-Z]{3}%2F[A-Z]{3}", "[A-Z]{1,9}", False),
        ("[A-Z]{3}%2F[A-Z]{3}", "BTC%2FUSD", True),
    ],
)
def test_overlap_finds_a_common_segment(one: str, other: str, *, expected: bool) -> None:
    """Two patterns overlap exactly if one segment is taken by both, whichever is asked first."""
    assert expected == overlap(read(one), read(other))
    assert expected == overlap(read(other), read(one))


_ATOMS = st.sampled_from(["a", "b", "[ab]", "[b-d]", "[ab]{1,2}", "c?", "[a-d]{0,3}", "d{2}"])
_TEXTS = st.lists(_ATOMS, min_size=1, max_size=4).map("".join).map(lambda text: f"a{text}")
_WORDS = st.text("abcd", max_size=8)


@given(one=_TEXTS, other=_TEXTS, word=_WORDS)
def test_a_word_taken_by_both_means_overlap(one: str, other: str, word: str) -> None:
    """Patterns that are said to exclude each other share no word, and each means what `re` means by it."""
    first, second = read(one), read(other)
    assert first.takes(word.encode()) == bool(re.fullmatch(one, word))
    if first.takes(word.encode()) and second.takes(word.encode()):
        assert overlap(first, second)
