"""Which headers of a client are taken, and which go on."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import Refusal
from proxy.gate.clients import KEY_PREFIX
from proxy.relay.headers import (
    TO_BROKER,
    Raw,
    as_json,
    asks_for_websocket,
    check,
    check_handshake,
    check_upgrade,
    content_length,
    ends_connection,
    request_id,
    to_broker,
)

OURS_OUT = [("User-Agent", "bearerd/1"), ("Via", "1.1 bearerd"), ("X-Request-Id", "r1")]

_names = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=20).map(str.encode)
_values = st.text(string.printable[:95], max_size=20).map(str.encode)
_headers = st.lists(st.tuples(_names, _values), max_size=8)


def outward(*headers: tuple[bytes, bytes], also: frozenset[bytes] = frozenset()) -> list[tuple[str, str]]:
    """What of these goes to the broker, less our own."""
    sent = to_broker(headers, also=also, user_agent="bearerd/1", request_id="r1")
    assert OURS_OUT == sent[-3:]
    return sent[:-3]


@pytest.mark.parametrize(
    "name",
    [
        "Authorization", "authorization", "Cookie", "location", "X-Forwarded-For", "X-Forwarded-Host", "Forwarded",
        "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-HTTP-Method", "Range", "TE", "Expect",
        "Proxy-Authorization", "Proxy-Connection", "APCA-API-KEY-ID", "APCA-API-SECRET-KEY", "X-Api-Key", "Host",
        "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Upgrade", "Origin", "Referer",
        "User-Agent", "Via", "X-Request-Id", "Sec-Fetch-Site", "Trailer", "X-Anything",
    ],
)  # fmt: skip
def test_what_is_not_on_the_list_stays_here(name: str) -> None:
    """The client's credentials first of all."""
    assert [] == outward((name.encode(), b"a value"))


def test_the_list_is_short() -> None:
    """Every name on it has a reason; a new one is a decision."""
    assert TO_BROKER == {
        b"accept", b"accept-encoding", b"accept-language", b"content-type", b"if-modified-since", b"if-none-match",
        b"last-event-id", b"traceparent", b"tracestate",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(TO_BROKER - {b"accept-encoding"}))
def test_what_is_on_the_list_goes_as_it_came(name: bytes) -> None:
    """Spelling and value of the client; repeated ones stay repeated."""
    spelt = name.title()
    assert [(spelt.decode(), "a, b"), (spelt.decode(), "c")] == outward((spelt, b"a, b"), (spelt, b"c"))


def test_a_definition_may_add_headers() -> None:
    """Idempotency keys are some brokers' own."""
    assert [("Idempotency-Key", "7")] == outward((b"Idempotency-Key", b"7"), also=frozenset({b"idempotency-key"}))


@pytest.mark.parametrize(
    "name",
    ["authorization", "x-api-key", "apca-api-key-id", "apca-api-secret-key", "proxy-authorization", "cookie"],
)
def test_no_definition_lets_a_credential_of_the_clients_through(name: str) -> None:
    """Even if it lists the header."""
    assert [] == outward((name.title().encode(), b"7"), also=frozenset({name.encode()}))


def test_a_body_of_ours_is_labelled_by_us() -> None:
    """Whatever the client called its own."""
    kept = [("Accept", "*/*"), ("content-type", "application/x-www-form-urlencoded"), ("Content-Type", "text/plain")]
    assert [("Accept", "*/*"), ("Content-Type", "application/json")] == as_json(kept)


def test_what_connection_names_is_dropped() -> None:
    """In any case and with blanks; our own headers are not reached by it."""
    named = (b"Connection", b"close, ACCEPT ,user-agent, via,x-request-id")
    assert [("Accept-Language", "en")] == outward(named, (b"Accept", b"*/*"), (b"Accept-Language", b"en"))
    assert [("Accept", "*/*")] == outward((b"X-Other", b"accept"), (b"Accept", b"*/*"))


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (b"gzip, deflate, br, zstd", "gzip, deflate"),
        (b"gzip;q=1.0, identity; q=0.5, *;q=0", "gzip;q=1.0, identity; q=0.5"),
        (b"gzip ; q=0.123", "gzip ; q=0.123"),
        (b"gzip;q=2", None),
        (b"br, zstd, x-gzip", None),
        (b"*", None),
        (b"", None),
    ],
)
def test_only_encodings_that_we_can_read_are_asked_for(asked: bytes, sent: str | None) -> None:
    """If none is left, the header goes too."""
    assert ([("Accept-Encoding", sent)] if sent else []) == outward((b"Accept-Encoding", asked))


@given(_headers)
def test_nothing_else_ever_goes_out(headers: Raw) -> None:
    """Whatever a client sends, names on the wire are on the list or ours, and none is a credential."""
    names = {name.lower().encode() for name, _ in outward(*headers)}
    assert names <= TO_BROKER


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"X_Api_Key", b"a"),
        (b"X Y", b"a"),
        (b"X-Name", b"caf\xe9"),
        (b"X-Name", b"a\x00"),
        (b"Transfer-Encoding", b"gzip, chunked"),
        (b"transfer-encoding", b"identity"),
        (b"Upgrade", b"h2c, websocket"),
        (b"Upgrade", b"websocket/13"),
        (b"Upgrade", b"TLS/1.2"),
    ],
)
def test_a_header_that_could_be_read_in_two_ways_is_refused(name: bytes, value: bytes) -> None:
    """400, and the refusal quotes nothing of it."""
    with pytest.raises(Refusal) as refused:
        check([(b"Host", b"x"), (name, value)])
    assert ("bad-request", True) == (refused.value.kind.name, refused.value.close)
    assert value.decode("latin-1") not in refused.value.detail.replace(" a ", " ").split()


@pytest.mark.parametrize(
    "headers",
    [
        [(b"Content-Type", b"application/json"), (b"content-type", b"application/json")],
        [(b"Connection", b"close, Content-Type"), (b"Content-Type", b"text/plain")],
        [(b"Connection", b" CONTENT-TYPE ")],
    ],
)
def test_the_type_of_a_body_is_said_once_and_goes_along(headers: Raw) -> None:
    """A guard reads the body by it; the broker must not read it by another."""
    with pytest.raises(Refusal) as refused:
        check(headers)
    assert ("bad-request", True) == (refused.value.kind.name, refused.value.close)
    assert "Content-Type" in refused.value.detail
    check([(b"Connection", b"close, keep-alive"), (b"Content-Type", b"application/json")])


@pytest.mark.parametrize(
    ("method", "headers", "ends"),
    [
        ("GET", [], False),
        ("POST", [(b"Connection", b"keep-alive"), (b"X-Upgrade", b"h2c")], False),
        ("CONNECT", [], True),
        ("GET", [(b"upgrade", b"h2c")], True),
        ("POST", [(b"Upgrade", b"websocket")], True),
    ],
)
def test_after_some_requests_no_other_is_awaited(method: str, headers: Raw, ends: bool) -> None:
    """What follows a CONNECT, or an offer to change protocols, may be anything."""
    assert ends == ends_connection(method, headers)


@pytest.mark.parametrize("headers", [[(b"Upgrade", b"websocket")], [(b"upgrade", b" WebSocket "), (b"A", b"b")]])
def test_no_websocket_is_opened(headers: Raw) -> None:
    """By a call that is for none."""
    check(headers)
    assert asks_for_websocket(headers)
    with pytest.raises(Refusal) as refused:
        check_upgrade(headers)
    assert ("bad-request", True) == (refused.value.kind.name, refused.value.close)
    assert "no WebSocket is opened by this call" in refused.value.detail


def test_an_offer_of_another_protocol_may_be_ignored() -> None:
    """By a call that opens no WebSocket; one that does wants the real thing."""
    plain: Raw = [(b"Upgrade", b"h2c"), (b"X", b"websocket")]
    check_upgrade(plain)
    assert not asks_for_websocket(plain)
    for headers in ([], plain):
        with pytest.raises(Refusal, match="upgrade-required"):
            check_handshake(headers)


HANDSHAKE: Raw = [
    (b"Upgrade", b"WebSocket"),
    (b"Connection", b"keep-alive, Upgrade"),
    (b"Sec-WebSocket-Version", b"13"),
    (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
]


def test_a_sound_handshake_tells_its_subprotocols() -> None:
    """In their order, from as many headers as there are; none at all is fine."""
    offered: Raw = [*HANDSHAKE, (b"Sec-WebSocket-Protocol", b"b, a"), (b"sec-websocket-protocol", b"c")]
    assert () == check_handshake(HANDSHAKE)
    assert ("b", "a", "c") == check_handshake(offered)


@pytest.mark.parametrize("doubled", range(4))
def test_a_handshake_says_everything_once(doubled: int) -> None:
    """Two of them could be read in two ways; that the connection is named twice is the one thing that lists may do."""
    twice: Raw = [*HANDSHAKE, HANDSHAKE[doubled]]
    if doubled == 1:
        assert () == check_handshake(twice)
    else:
        with pytest.raises(Refusal, match=r"bad-request|upgrade-required"):
            check_handshake(twice)


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue "])
def test_expect_continue_is_known(value: bytes) -> None:
    """As are chunked bodies, and an offer of h2c that may be ignored."""
    check([(b"Expect", value), (b"Transfer-Encoding", b"Chunked"), (b"Upgrade", b"h2c"), (b"X-Tab", b"a\tb")])


def test_any_other_expectation_is_417() -> None:
    """In our own words, not the client's."""
    with pytest.raises(Refusal) as refused:
        check([(b"Expect", b"<script>")])
    assert "expectation-failed" == refused.value.kind.name
    assert "script" not in refused.value.detail


@pytest.mark.parametrize(
    ("values", "length"),
    [([b"0"], 0), ([b"12"], 12), ([b"12", b" 12"], 12), ([b"12", b"13"], None), ([b"+1"], None), ([b"1_0"], None),
     ([b"\xb2"], None), ([b""], None), ([], None), ([b"9" * 16], None), ([b"9" * 15], 10**15 - 1)],
)  # fmt: skip
def test_content_length_is_one_plain_number(values: list[bytes], length: int | None) -> None:
    """Anything else is no length."""
    assert length == content_length([(b"Content-Length", value) for value in values])


@pytest.mark.parametrize(
    ("value", "taken"), [(b"abc-1._Z", True), (b"x" * 64, True), (b"x" * 65, False), (b"a b", False), (b"", False)]
)
def test_a_plain_request_id_is_the_clients_own(value: bytes, taken: bool) -> None:
    """Another one is not repeated into logs and answers."""
    assert (value.decode() if taken else "fresh") == request_id([(b"X-Request-Id", value)], "fresh")


def test_a_request_id_is_read_from_its_own_header() -> None:
    """From no other that looks like one, and never a client key that has gone astray."""
    key = f"{KEY_PREFIX}0123456789".encode()
    assert "mine" == request_id(
        [(b"Accept", b"other"), (b"x-request-ID", b"mine"), (b"X-Request-Id", b"late")], "fresh"
    )
    assert "fresh" == request_id([(b"Accept", b"other"), (b"X-Request-Idx", b"mine")], "fresh")
    assert "fresh" == request_id([(b"X-Request-Id", key)], "fresh")


def _slowly(headers: Raw) -> str | None:
    """The refusal that `check` raises: one rule after the other, header by header."""
    token = frozenset((string.ascii_letters + string.digits + "!#$%&'*+.^`|~-").encode())
    plain = frozenset(range(32, 127)) | {9}
    allowed = {b"transfer-encoding": [b"chunked"], b"upgrade": [b"h2c", b"websocket"], b"expect": [b"100-continue"]}
    for name, value in headers:
        lowered, said = name.lower(), value.strip().lower()
        if not name or not token.issuperset(name) or not plain.issuperset(value):
            return "bad-request"
        if said not in allowed.get(lowered, [said]):
            return "expectation-failed" if lowered == b"expect" else "bad-request"
    named = [
        part.strip().lower() for name, value in headers if name.lower() == b"connection" for part in value.split(b",")
    ]
    kinds = [name for name, _ in headers if name.lower() == b"content-type"]
    return "bad-request" if len(kinds) > 1 or b"content-type" in named else None


_odd_names = st.sampled_from([
    b"Connection", b"connection", b"Content-Type", b"content-type", b"Transfer-Encoding", b"upgrade", b"Expect",
    b"EXPECT", b"Accept", b"X_Y", b"X Y", b"", b"\xe9",
])  # fmt: skip
_odd_values = st.sampled_from([
    b"", b"close", b"keep-alive", b"Keep-Alive", b"close, content-type", b"Content-Type", b"chunked", b"gzip", b"h2c",
    b"websocket", b"100-continue", b"x", b"caf\xe9", b"a\tb", b"a\x00", b"a\nb",
])  # fmt: skip


@given(st.lists(st.tuples(_odd_names | _names, _odd_values | _values), max_size=6))
def test_usual_headers_are_seen_at_once_and_no_others(headers: Raw) -> None:
    """The short look lets pass what the rules let pass, and the refusals are theirs."""
    try:
        check(headers)
    except Refusal as refusal:
        assert _slowly(headers) == refusal.kind.name  # noqa: PT017
    else:
        assert _slowly(headers) is None


def test_names_that_nobody_repeats_are_checked_like_any() -> None:
    """However many a stranger has sent before."""
    for number in range(3000):
        check([(b"X-%d" % number, b"1")])
        with pytest.raises(Refusal):
            check([(b"X_%d" % number, b"1")])
    with pytest.raises(Refusal):
        check([(b"Transfer-Encoding", b"gzip")])
