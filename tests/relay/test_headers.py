"""Which headers cross, each way."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.brokers import Origin
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
    to_client,
)

ORIGIN = Origin("api01.iq.questrade.com", 443)
OURS_OUT = [("User-Agent", "bearerd/1"), ("Via", "1.1 bearerd"), ("X-Request-Id", "r1")]
OURS_IN = [("Server", "bearerd"), ("Via", "1.1 bearerd"), ("X-Content-Type-Options", "nosniff"), ("X-Request-Id", "r1")]

_names = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=20).map(str.encode)
_values = st.text(string.printable[:95], max_size=20).map(str.encode)
_headers = st.lists(st.tuples(_names, _values), max_size=8)


def outward(*headers: tuple[bytes, bytes], also: frozenset[bytes] = frozenset()) -> list[tuple[str, str]]:
    """What of these goes to the broker, less our own."""
    sent = to_broker(headers, also=also, user_agent="bearerd/1", request_id="r1")
    assert OURS_OUT == sent[-3:]
    return sent[:-3]


def inward(*headers: tuple[bytes, bytes], origin: Origin = ORIGIN) -> list[tuple[str, str]]:
    """What of these goes to the client, less our own."""
    sent = to_client(headers, origin=origin, mount_url="http://127.0.0.1:8080/questrade", request_id="r1")
    assert OURS_IN == sent[-4:]
    return sent[:-4]


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
    "name",
    [
        "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer",
        "Transfer-Encoding", "Upgrade", "Set-Cookie", "Set-Cookie2",
        "Access-Control-Allow-Origin", "access-control-expose-headers", "Alt-Svc", "Strict-Transport-Security",
        "Clear-Site-Data", "WWW-Authenticate", "Refresh", "Report-To", "Reporting-Endpoints", "NEL", "Server", "Via",
        "Content-Length", "Proxy-Status", "X-Content-Type-Options",
    ],
)  # fmt: skip
def test_what_belongs_to_the_connection_or_the_browser_does_not_come_in(name: str) -> None:
    """A broker's page must leave nothing in a browser, and its framing is not ours."""
    assert [] == inward((name.encode(), b"x"))


@pytest.mark.parametrize(
    "name",
    [
        "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After", "Content-Encoding", "Content-Type", "Date", "ETag",
        "Cache-Control", "Last-Modified", "X_Odd_Name",
    ],
)  # fmt: skip
def test_everything_else_comes_in_unchanged(name: str) -> None:
    """Rate limits and Retry-After first of all; repeated ones stay repeated."""
    assert [(name, "1"), (name, "2")] == inward((name.encode(), b"1"), (name.encode(), b"2"))


def test_what_the_brokers_connection_names_is_dropped() -> None:
    """Hop-by-hop headers of its own making too; ours are not reached by it."""
    assert [("ETag", "x")] == inward((b"Connection", b"x-hop, via, server"), (b"X-Hop", b"1"), (b"ETag", b"x"))


@pytest.mark.parametrize("value", [b"caf\xc3\xa9", b"a\x00b", b"a\x7f", b"a\rb"])
def test_values_beyond_ascii_are_dropped(value: bytes) -> None:
    """They would be cut off or split when they are sent on."""
    assert [] == inward((b"X-Note", value))


def test_the_last_answer_of_a_connection_says_so() -> None:
    """In our words, whatever the broker says of its own connection."""
    said = [(b"Connection", b"keep-alive"), (b"ETag", b"x")]
    sent = to_client(said, origin=ORIGIN, mount_url="http://127.0.0.1:8080/questrade", request_id="r1", last=True)
    assert [("ETag", "x"), *OURS_IN, ("Connection", "close")] == sent


def test_the_brokers_request_id_is_kept_beside_ours() -> None:
    """Its support asks for it; ours is in the logs here."""
    assert [("X-Broker-Request-Id", "b-1")] == inward((b"X-Request-ID", b"b-1"))


@pytest.mark.parametrize(
    "kind",
    [b"text/html", b"Text/HTML; charset=utf-8", b"application/xhtml+xml", b"image/svg+xml", b"application/XML"],
)
def test_a_page_is_put_into_a_sandbox(kind: bytes) -> None:
    """A broker's error page must not run as our origin."""
    assert [("Content-Type", kind.decode()), ("Content-Security-Policy", "sandbox")] == inward((b"Content-Type", kind))


@pytest.mark.parametrize(
    ("location", "seen"),
    [
        (b"https://api01.iq.questrade.com/v1/x?a=%3A", "http://127.0.0.1:8080/questrade/v1/x?a=%3A"),
        (b"/v1/x", "http://127.0.0.1:8080/questrade/v1/x"),
        (b"https://api01.iq.questrade.com.evil.example/", None),
        (b"https://api01.iq.questrade.com@evil.example/", None),
        (b"https://api01.iq.questrade.com:444/", None),
        (b"http://api01.iq.questrade.com/v1/x", None),
        (b"//evil.example/v1/x", None),
        (b"v1/x", None),
        (b"javascript:alert(1)", None),
        (b"/../other/v1/orders", None),
        (b"/v1/%2E%2e/x", None),
        (b"/v1/..", None),
        (b"/.", None),
        (b"/\\evil.example", None),
        (b"/v1\\..\\x", None),
        (b"/\t/evil.example", None),
        (b"/v1/a..b?../=/../", "http://127.0.0.1:8080/questrade/v1/a..b?../=/../"),
        (b"/", "http://127.0.0.1:8080/questrade/"),
    ],
)
def test_a_location_is_rewritten_or_dropped(location: bytes, seen: str | None) -> None:
    """Only what stays on the broker's own origin can be followed, and then through us."""
    assert ([("Location", seen)] if seen else []) == inward((b"Location", location))


def test_a_location_with_a_port_is_held_against_the_port() -> None:
    """Simulators and labs have ports."""
    assert [("Location", "http://127.0.0.1:8080/questrade/v1")] == inward(
        (b"Location", b"https://127.0.0.1:9443/v1"), origin=Origin("127.0.0.1", 9443)
    )


@pytest.mark.parametrize(
    ("location", "seen"),
    [
        ("/beta/x?a=1", "/v1/beta/x?a=1"), ("https://api01.iq.questrade.com/beta/x", "/v1/beta/x"),
        ("/betamax", "/betamax"), ("/v1/beta/x", "/v1/beta/x"), ("/other", "/other"),
    ],
)  # fmt: skip
def test_a_location_gets_the_start_back_under_which_it_is_called(location: str, seen: str) -> None:
    """A row may be sent under another constant start than it is called by."""
    found = to_client(
        [(b"Location", location.encode())],
        origin=ORIGIN,
        mount_url="http://127.0.0.1:8080/questrade",
        request_id="r1",
        prefixes=[("/v1/beta", "/beta")],
    )
    assert ("Location", f"http://127.0.0.1:8080/questrade{seen}") == found[0]


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
