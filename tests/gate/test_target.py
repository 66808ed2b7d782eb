import re
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.errors import Refusal
from proxy.gate.query import overrides_method
from proxy.gate.target import MAX_SEGMENT, MAX_SEGMENTS, Target, parse
from tests import tricks


@pytest.mark.parametrize(
    ("raw", "target"),
    [
        (b"/questrade/v1/accounts", Target("questrade", b"/v1/accounts", (b"v1", b"accounts"), None)),
        (b"/questrade//v1/accounts", Target("questrade", b"/v1/accounts", (b"v1", b"accounts"), None)),
        (b"/questrade/v1/time?", Target("questrade", b"/v1/time", (b"v1", b"time"), b"")),
        (b"/questrade/v1/time?a=%2B?b=/..", Target("questrade", b"/v1/time", (b"v1", b"time"), b"a=%2B?b=/..")),
        (
            b"/alpaca/v2/assets/BTC%2FUSD",
            Target("alpaca", b"/v2/assets/BTC%2FUSD", (b"v2", b"assets", b"BTC%2FUSD"), None),
        ),
        (b"/a/x:y", Target("a", b"/x:y", (b"x:y",), None)),
        (b"/a/v1/time/", Target("a", b"/v1/time/", (b"v1", b"time", b""), None)),
        (b"/questrade", Target("questrade", b"/", (), None)),
        (b"/questrade/", Target("questrade", b"/", (), None)),
        (b"/questrade//", Target("questrade", b"/", (), None)),
        (b"/", Target("", b"/", (), None)),
        (b"/?x", Target("", b"/", (), b"x")),
    ],
)
def test_a_plain_target_is_split_and_not_changed(raw: bytes, target: Target) -> None:
    """Mount, path, segments and query are slices of the raw bytes."""
    assert target == parse(raw)


_BYTES = st.sampled_from(
    [b"/", b"//", b".", b"..", b"%", b"%2F", b"%2f", b"%41", b";", b"\\", b"?", b"#", b" ", b"\xe9"]
)
_RAW = st.lists(_BYTES | st.text(string.printable[:95], max_size=6).map(str.encode), max_size=10).map(b"".join)
_SEGMENT = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,=:@]|%(?:2[0-246-9A-CF]|3[ACDE]|5[BDE]|60|7[BCD]))*")


def _slowly(raw: bytes, mount: str | None) -> Target | None:
    """What `parse` says, or None for a refusal: one rule after the other."""
    if not re.fullmatch(rb"/[!-~]*", raw) or b"#" in raw:
        return None
    path, mark, rest = raw.partition(b"?")
    if overrides_method(rest):
        return None
    if mount is None:
        found = re.fullmatch(rb"/([^/]*)(.*)", path)
        if found is None or path.startswith(b"//") or b"%" in found[1] or not _sound(found[1]):
            return None
        mount, path = found[1].decode(), found[2] or b"/"
    path = path[1:] if path.startswith(b"//") else path
    segments = path[1:].split(b"/")
    named = segments if segments[-1] else segments[:-1]
    if len(named) > MAX_SEGMENTS or not all(segment and _sound(segment) for segment in named):
        return None
    return Target(mount, path, () if path == b"/" else tuple(segments), rest if mark else None)


def _sound(segment: bytes) -> bool:
    return len(segment) <= MAX_SEGMENT and segment not in (b".", b"..") and _SEGMENT.fullmatch(segment) is not None


@given(_RAW, st.sampled_from([None, "m"]))
@example(b"/m/" + b"a/" * MAX_SEGMENTS, None)
@example(b"/m/" + b"a/" * (MAX_SEGMENTS + 1), None)
@example(b"/m/" + b"a" * MAX_SEGMENT, None)
@example(b"/m/" + b"a" * (MAX_SEGMENT + 1), None)
@example(b"/" + b"m" * (MAX_SEGMENT + 1), None)
@example(b"/m/a/.b/c", None)
def test_what_is_seen_at_once_is_what_the_rules_say(raw: bytes, mount: str | None) -> None:
    """The shorter look at paths without anything unusual lets nothing else pass, and refuses nothing more."""
    for whole in (raw, b"/" + raw, b"/m/" + raw):
        try:
            found: Target | None = parse(whole, mount=mount)
        except Refusal as refusal:
            assert "ambiguous-target" == refusal.kind.name  # noqa: PT017
            found = None
        assert _slowly(whole, mount) == found


@pytest.mark.parametrize(
    ("raw", "sent"),
    [
        (b"/v1/time", b"/v1/time"),
        (b"//v1/time?x=1", b"/v1/time?x=1"),
        (b"/", b"/"),
        (b"/questrade/v1/time", b"/questrade/v1/time"),
    ],
)
def test_a_root_listener_takes_the_whole_path(raw: bytes, sent: bytes) -> None:
    """With a fixed mount the first segment is the broker's own; one slash too many in front is the mount's."""
    target = parse(raw, mount="questrade")
    assert ("questrade", sent) == (target.mount, target.sent)


@pytest.mark.parametrize(
    "query", [b"", b"?", b"?a", b"?ids=1%2C2&startTime=2026-01-01T00:00:00.00-05:00&False=False", b"?a;b"]
)
def test_path_and_query_are_sent_byte_for_byte(query: bytes) -> None:
    """Nothing is decoded, sorted or dropped, not even a bare question mark."""
    assert b"/v1/accounts" + query == parse(b"/questrade/v1/accounts" + query).sent


REFUSED = [
    b"", b"*", b"x", b"questrade/v1", b"http://127.0.0.1:8080/questrade/v1/time", b"ftp://a/b", b"host:443",
    b"//evil/v1", b"///",
    b"/questrade/v1//time", b"/questrade///v1/time", b"/questrade/v1/time//", b"/questrade/v1/../time",
    b"/questrade/./v1",
    b"/../questrade/v1", b"/./v1", b"/quest%72ade/v1/time", b"/a%2Fb/v1", b"/questrade/v1/t%69me",
    b"/questrade/v1/%2e%2e/x",
    b"/questrade/v1/%2E", b"/questrade/v1/a%2fb", b"/questrade/v1/%", b"/questrade/v1/%2", b"/questrade/v1/%zz",
    b"/q/v1/%u002e",
    b"/q/v1/%25", b"/q/v1/%5C", b"/q/v1/%3B", b"/q/v1/%3F", b"/q/v1/%23", b"/q/v1/%00", b"/q/v1/%0A", b"/q/v1/%FF",
    b"/q/v1/%40",
    b"/q/v1;x/y", b"/q;x/v1", b"/q/v1/a\\b", b"/q/v1/a b", b"/q/v1/a\x00", b"/q/v1/a\x7f", b"/q/v1/\xc3\xa9",
    b"/q/v1/a#b",
    b"/q/v1?a#b", b"/q/v1?a b", b"/q/v1?\xff", b"/q/v1/<x>", b'/q/v1/"x"', b"/q/v1/{id}", b"/q/v1/a|b", b"/q/v1/a^b",
    b"/q/v1/[a]",
    b"/q/v1?_method=DELETE", b"/q/v1?%5Fmethod=DELETE", b"/q/v1?a=1&X-HTTP-Method-Override=PUT", b"/q/v1\n",
    b"\n/q/v1",
]  # fmt: skip


@pytest.mark.parametrize("raw", REFUSED)
def test_what_has_two_readings_is_refused(raw: bytes) -> None:
    """Nothing is cleaned: the answer is 400, without the offending bytes in it."""
    with pytest.raises(Refusal) as caught:
        parse(raw)
    assert "ambiguous-target" == caught.value.kind.name
    assert 400 == caught.value.kind.status


@pytest.mark.parametrize("mount", [None, "questrade"])
def test_a_trick_is_refused_or_left_to_the_rows(mount: str | None) -> None:
    """What the form alone does not refuse is never cleaned into the plain path (but for the mount's own slash)."""
    path = "/v1/accounts/26598145/orders"
    cut = path.rindex("/")
    for trick in tricks.read("paths"):
        raw = trick.at(path, cut)
        if mount is None and raw.startswith("/"):
            raw = "/questrade" + raw
        target = _accepted(raw.encode("latin-1"), mount)
        assert (
            target is None or path.encode() != target.path or trick.text == "/{path}" or b"?" in raw.encode("latin-1")
        )


def test_the_limits_pass_and_one_more_fails() -> None:
    """12 segments of 128 bytes are taken; a thirteenth segment or a 129th byte is not."""
    segment = b"/" + b"a" * MAX_SEGMENT
    assert MAX_SEGMENTS == len(parse(b"/q" + segment * MAX_SEGMENTS).segments)
    for raw in (b"/q" + b"/a" * (MAX_SEGMENTS + 1), b"/q" + segment + b"a", segment + b"a/x"):
        with pytest.raises(Refusal):
            parse(raw)


def _accepted(raw: bytes, mount: str | None) -> Target | None:
    """The target, after checking that its parts put together are `raw`; None if it was refused, as ambiguous."""
    try:
        target = parse(raw, mount=mount)
    except Refusal as refusal:
        assert "ambiguous-target" == refusal.kind.name  # noqa: PT017  both ways are right here
        return None
    front = b"" if mount else b"/" + target.mount.encode()
    path, mark, query = raw.partition(b"?")
    assert path in (front + target.path, front + b"/" + target.path, front)
    assert (query if mark else None) == target.query
    assert target.path == b"/" + b"/".join(target.segments)
    assert target.sent == target.path + mark + query
    assert target.sent_as(b"/other") == b"/other" + mark + query
    return target


def test_the_limits_are_those_that_the_brokers_paths_fit_into() -> None:
    """Twelve segments, 128 bytes each: the longest rows have eight, and a symbol 48."""
    assert (12, 128) == (MAX_SEGMENTS, MAX_SEGMENT)


def test_each_byte_of_a_segment_is_plain_or_refused() -> None:
    """All 256, alone in a segment; those that cut or begin something are taken nowhere."""
    plain = {byte for byte in range(256) if _taken(bytes([byte]))}
    assert set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@") - {46} == plain - {
        63,
        47,
    }
    assert _taken(b"x.y")


def test_each_encoding_of_a_segment_is_one_that_a_row_may_ask_for_or_refused() -> None:
    """All 256, in both cases: never a letter, a digit, a dot, `@`, or what is cut off after one more decoding."""
    upper = {byte for byte in range(256) if _taken(b"a%%%02Xb" % byte)}
    assert set(b" !\"$&'()*+,/:<=>[]^`{|}") == upper
    assert [] == [byte for byte in range(256) if b"%02x" % byte != b"%02X" % byte and _taken(b"a%%%02xb" % byte)]


def _taken(segment: bytes) -> bool:
    try:
        return bool(parse(b"/q/v1/" + segment).segments)
    except Refusal:
        return False


@given(raw=st.binary(max_size=60), mount=st.sampled_from([None, "questrade"]))
@example(raw=b"/q//v1", mount=None)
def test_any_bytes_are_refused_or_sent_as_they_are(raw: bytes, mount: str | None) -> None:
    """For every byte string: a refusal, or a target whose parts put together are that string."""
    _accepted(raw, mount)
    _accepted(b"/" + raw, mount)


_PIECES = st.sampled_from(
    [
        "/",
        "//",
        ".",
        "..",
        "%2e",
        "%2F",
        "%25",
        "%5C",
        ";",
        "\\",
        "@",
        "?",
        "#",
        "&",
        "=",
        "v1",
        "orders",
        "questrade",
        "a",
        "0",
        ":",
    ]
)


@given(pieces=st.lists(_PIECES, max_size=14), mount=st.sampled_from([None, "questrade"]))
def test_any_mix_of_tricks_is_refused_or_sent_as_it_is(pieces: list[str], mount: str | None) -> None:
    """The same property where the odd bytes are, and no accepted path ever holds a dot segment or a doubled slash."""
    raw = ("/" + "".join(pieces)).encode()
    if target := _accepted(raw, mount):
        assert not {b".", b".."} & set(target.segments)
        assert b"//" not in target.path
        assert b";" not in target.path
