"""Where the one credential of a call goes, and what of it no answer may hold."""

import base64
from urllib.parse import parse_qs, quote

import pytest

from proxy.brokers.definition import BEARER, Placement, PlacementKind
from proxy.relay.credential import Watch, Written, lines, withheld, write
from proxy.secret import Secret

PAIR = Placement("headers", ("APCA-API-KEY-ID", "APCA-API-SECRET-KEY"))
BASIC = Placement("basic")
QUERY = Placement("query", ("api_key",))
TOKEN = "the/token+of=the broker".replace(" ", "-")
CLIENTS = [
    ("Accept", "*/*"), ("authorization", "Bearer theirs"), ("Authorization", "Basic theirs"),
    ("apca-api-key-id", "theirs"), ("APCA-API-SECRET-KEY", "theirs"),
]  # fmt: skip


def written(placement: Placement, credential: str, target: bytes = b"/v1/x?a=1") -> Written:
    return write(placement, Secret(credential), target, CLIENTS)


def credentials(found: Written) -> list[tuple[str, str]]:
    """The headers that carry one."""
    return [(name, value) for name, value in found.headers if name.lower().startswith(("auth", "apca"))]


def test_a_bearer_is_the_one_authorization() -> None:
    """What the client sent under that name is gone, in any spelling."""
    found = written(BEARER, TOKEN)
    assert ("Authorization", f"Bearer {TOKEN}") == found.headers[-1]
    assert ["authorization"] == [name.lower() for name, _ in found.headers if name.lower() == "authorization"]
    assert b"/v1/x?a=1" == found.target


def test_basic_is_user_and_password() -> None:
    """RFC 7617: in UTF-8, and the password may hold colons."""
    found = written(BASIC, "user:pass:wörd")
    assert found.headers[-1] == ("Authorization", "Basic " + base64.b64encode("user:pass:wörd".encode()).decode())
    assert b"/v1/x?a=1" == found.target


def test_a_pair_of_headers_comes_without_authorization() -> None:
    """Each part in its own header, and no third one beside them."""
    found = written(PAIR, "the-id:the:secret")
    assert [("APCA-API-KEY-ID", "the-id"), ("APCA-API-SECRET-KEY", "the:secret")] == credentials(found)
    assert b"/v1/x?a=1" == found.target


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        (b"/v1/x", b"/v1/x?api_key="),
        (b"/v1/x?", b"/v1/x?api_key="),
        (b"/v1/x?a=%2C&b", b"/v1/x?a=%2C&b&api_key="),
        (b"/v1/x?a=1&", b"/v1/x?a=1&&api_key="),
        (b"/v1/BTC%2FUSD?x=/?", b"/v1/BTC%2FUSD?x=/?&api_key="),
    ],
)
def test_a_parameter_is_added_to_the_query(target: bytes, sent: bytes) -> None:
    """What was matched stays as it is, the value is percent-encoded, and no header carries it."""
    found = written(QUERY, TOKEN, target)
    assert sent + quote(TOKEN, safe="").encode() == found.target
    assert [TOKEN] == parse_qs(found.target.partition(b"?")[2].decode())["api_key"]
    assert [] == [value for _, value in found.headers if TOKEN in value]
    assert "authorization" not in {name.lower() for name, _ in found.headers}


@pytest.mark.parametrize(
    ("placement", "credential"),
    [
        (BASIC, "only-one-part"), (BASIC, "user:"), (BASIC, ":password"), (PAIR, "only-one-part"), (PAIR, ":"),
        (BEARER, ""), (BEARER, "line\r\nbreak"), (PAIR, "the-id:tä"), (QUERY, "line\nbreak"),
    ],
)  # fmt: skip
def test_half_a_credential_does_not_leave(placement: Placement, credential: str) -> None:
    """Nor one that would break the head; what is said of it holds no byte of it."""
    with pytest.raises(AssertionError) as caught:
        written(placement, credential)
    assert all(part not in str(caught.value) for part in credential.split(":") if part)


@pytest.mark.parametrize("query", [b"api_key=theirs", b"API%5FKEY=theirs", b"a=1;api-key=theirs"])
def test_a_second_parameter_does_not_leave(query: bytes) -> None:
    """Even if the gate had let it pass."""
    with pytest.raises(AssertionError, match="exactly one credential"):
        written(QUERY, TOKEN, b"/v1/x?" + query)


def test_a_header_that_is_named_twice_does_not_leave() -> None:
    """One credential in one place: a definition that says otherwise is found at the last moment."""
    with pytest.raises(AssertionError, match="exactly one credential"):
        written(Placement("headers", ("A-Key", "a-key")), "one:other")


def test_every_part_of_a_credential_is_withheld() -> None:
    """Both halves of a pair, and the whole; of Basic not the user, who is a name."""
    assert ("one:other", "one", "other") == withheld(PAIR, Secret("one:other"))
    assert ("me:the:password", "the:password") == withheld(BASIC, Secret("me:the:password"))
    assert (TOKEN,) == withheld(BEARER, Secret(TOKEN))
    assert ("a:b",) == withheld(QUERY, Secret("a:b"))


def test_what_is_written_shows_nothing() -> None:
    """Its repr holds neither target nor headers."""
    assert TOKEN not in repr(written(BEARER, TOKEN))
    assert quote(TOKEN, safe="") not in repr(written(QUERY, TOKEN))


def test_a_socket_is_watched_for_its_own_credential_and_for_the_two_newest() -> None:
    """Also for what was added; in another spelling as well. What is older is dead."""
    texts = [f"a-token-of-generation-{number}" for number in range(5)]
    newest = [Secret(texts[0])]
    watch = Watch(BEARER, Secret(texts[0]), lambda: newest[-1])
    watch.withhold("something-else")
    seen = []
    for text in texts:
        newest.append(Secret(text))
        seen.append([number for number, each in enumerate(texts) if watch.within(f"see {each}.".encode())])
        assert watch.within(text.encode().hex().encode())
        assert watch.within(b"something-else")
    assert [[0], [0, 1], [0, 1, 2], [0, 2, 3], [0, 3, 4]] == seen
    assert not watch.within(b"a-token-of-generation-")


@pytest.mark.parametrize("kind", ["bearer", "basic", "headers"])
def test_the_lines_of_a_credential_are_its_headers(kind: PlacementKind) -> None:
    """The same that `write` puts into a call; they are kept, and a credential in the query has none."""
    placement = Placement(kind, ("A-Key", "A-Secret") if kind == "headers" else ())
    secret = Secret("user:the-pass")
    written = write(placement, secret, b"/", []).headers
    found = lines(placement, secret)
    assert "".join(f"{name}: {value}\r\n" for name, value in written).encode() == found
    assert found is lines(placement, Secret("user:the-pass"))
    assert lines(Placement("query", ("key",)), secret) is None


@pytest.mark.parametrize("text", ["a\r\nX: b", "a\0", "\xe9", ""])
def test_a_credential_that_no_header_can_carry_has_no_lines(text: str) -> None:
    """It would end its line, or be read otherwise."""
    with pytest.raises(AssertionError):
        lines(Placement(), Secret(text))
