import base64
import pickle
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import Refusal
from proxy.gate.clients import (
    KEY_PREFIX,
    LOCAL,
    Client,
    Keyring,
    Uses,
    allowed,
    check_holder,
    digest,
    grant_for,
    key_fault,
    new_key,
    presented,
)

KEY = new_key(lambda size: bytes(range(size))).reveal()
OTHER = new_key(bytes).reveal()
NOTEBOOK = Client("notebook", {"questrade": frozenset({"read_md"})})
NOW = 1.8e9
RING = Keyring({digest(KEY): "notebook", digest(OTHER): "gone"}, {"notebook": NOTEBOOK})


def _basic(text: str) -> bytes:
    return b"Basic " + base64.b64encode(text.encode())


def test_a_key_is_its_prefix_256_random_bits_and_a_checksum() -> None:
    """A key has a fixed form, and all of its randomness comes from the given source."""
    asked: list[int] = []

    def random(size: int) -> bytes:
        asked.append(size)
        return secrets.token_bytes(size)

    key = new_key(random).reveal()
    assert [32] == asked
    assert key.startswith(KEY_PREFIX)
    assert 53 == len(key)
    assert key[len(KEY_PREFIX) :].isalnum()
    assert key_fault(key) is None


@given(first=st.binary(min_size=32, max_size=32), second=st.binary(min_size=32, max_size=32))
def test_different_bytes_make_different_keys(first: bytes, second: bytes) -> None:
    """No bit of the randomness is lost, and every key is well-formed."""
    one, other = new_key(lambda _: first).reveal(), new_key(lambda _: second).reveal()
    assert (first == second) == (one == other)
    assert key_fault(one) is None


def test_every_single_typing_error_is_found_by_the_checksum() -> None:
    """Changing any one character, or swapping two neighbours, is told from a wrong key."""
    for place in range(len(KEY_PREFIX), len(KEY)):
        wrong = "0" if KEY[place] != "0" else "1"
        assert "checksum" in (key_fault(KEY[:place] + wrong + KEY[place + 1 :]) or "")
        if place + 1 < len(KEY) and KEY[place] != KEY[place + 1]:
            swapped = KEY[:place] + KEY[place + 1] + KEY[place] + KEY[place + 2 :]
            assert "checksum" in (key_fault(swapped) or "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "does not start with brd_"),
        ("secret", "does not start with brd_"),
        (KEY[4:], "does not start with brd_"),
        (KEY.upper(), "does not start with brd_"),
        (KEY[:-1], "52 characters long"),
        (KEY + "x", "54 characters long"),
        (KEY[:-1] + "-", "a character that no key has"),
        (KEY[:-1] + "٣", "a character that no key has"),
    ],
)
def test_a_text_that_is_no_key_is_told_why(text: str, why: str) -> None:
    """The fault is named without quoting the text."""
    fault = key_fault(text) or ""
    assert why in fault
    assert not text or text not in fault


PLACES = [
    [(b"Authorization", b"Bearer " + KEY.encode())],
    [(b"authorization", b"bearer   " + KEY.encode() + b" ")],
    [(b"AUTHORIZATION", b"BEARER " + KEY.encode())],
    [(b"Authorization", _basic(f"anybody:{KEY}"))],
    [(b"Authorization", _basic(f"{KEY}:"))],
    [(b"Authorization", _basic(f":{KEY}"))],
    [(b"Authorization", b"basic " + base64.b64encode(f"x:{KEY}".encode()))],
    [(b"Authorization", _basic(f"{KEY}:dummy"))],
    [(b"Authorization", _basic(f"{KEY}:{KEY}"))],
    [(b"Authorization", _basic(f"{KEY}:dùmmy"))],
    [(b"APCA-API-KEY-ID", b"bearerd"), (b"APCA-API-SECRET-KEY", KEY.encode())],
    [(b"apca-api-secret-key", KEY.encode())],
    [(b"APCA-API-KEY-ID", KEY.encode()), (b"APCA-API-SECRET-KEY", KEY.encode())],
    [(b"APCA-API-KEY-ID", b""), (b"APCA-API-SECRET-KEY", b""), (b"Authorization", b"Bearer " + KEY.encode())],
    [(b"APCA-API-SECRET-KEY", KEY.encode()), (b"Authorization", b""), (b"X-Api-Key", b" ")],
    [(b"APCA-API-SECRET-KEY", KEY.encode()), (b"Authorization", b"Bearer ")],
    [(b"APCA-API-SECRET-KEY", KEY.encode()), (b"Authorization", _basic(":"))],
    [(b"APCA-API-SECRET-KEY", KEY.encode()), (b"Authorization", _basic(f"x:{KEY}")), (b"X-Api-Key", KEY.encode())],
    [(b"X-Api-Key", KEY.encode())],
    [(b"x-api-key", KEY.encode()), (b"Authorization", b"Bearer " + KEY.encode())],
    [(b"X-Api-Key", KEY.encode()), (b"X-Api-Key", KEY.encode())],
]


@pytest.mark.parametrize("headers", PLACES)
def test_a_key_is_found_wherever_sdks_put_it(headers: list[tuple[bytes, bytes]]) -> None:
    """Bearer, Basic as either part, the secret of Alpaca's pair, and X-Api-Key; several that agree are one."""
    found = presented(headers)
    assert found is not None
    assert KEY == found.reveal()
    assert NOTEBOOK == RING.identify([(b"Host", b"x"), *headers], NOW)


REFUSED = [
    [],
    [(b"Cookie", KEY.encode())],
    [(b"Authorization", b"")],
    [(b"Authorization", b"Bearer")],
    [(b"Authorization", b"Bearer ")],
    [(b"Authorization", KEY.encode())],
    [(b"Authorization", b"Bearer " + KEY.encode() + b" x")],
    [(b"Authorization", b"Bearer ~" + KEY.encode())],
    [(b"Authorization", _basic(f"x:{KEY}").replace(b" ", b" *"))],
    [(b"Authorization", b"Bearer " + KEY.encode() + b"\xff")],
    [(b"Authorization", b"Digest username=x")],
    [(b"Authorization", b"Basic !!!")],
    [(b"Authorization", b"Basic " + base64.b64encode(KEY.encode()))],
    [(b"Authorization", _basic(":"))],
    [(b"Authorization", _basic(f"x:{KEY}\n"))],
    [(b"Authorization", _basic("user:password"))],
    [(b"Authorization", _basic(f"{KEY}:{OTHER}"))],
    [(b"APCA-API-KEY-ID", KEY.encode())],
    [(b"APCA-API-KEY-ID", KEY.encode()), (b"APCA-API-SECRET-KEY", b"")],
    [(b"APCA-API-KEY-ID", KEY.encode()), (b"APCA-API-SECRET-KEY", b"dummy")],
    [(b"APCA-API-SECRET-KEY", KEY.encode()), (b"Authorization", b"Bearer dummy")],
    [(b"APCA-API-SECRET-KEY", KEY.encode()), (b"Authorization", _basic("user:password"))],
    [(b"APCA-API-SECRET-KEY", KEY.encode()), (b"X-Api-Key", OTHER.encode())],
    [(b"APCA-API-SECRET-KEY", KEY.encode()), (b"APCA-API-SECRET-KEY", OTHER.encode())],
    [(b"APCA-API-SECRET-KEY", KEY.encode() + b"\xff")],
    [(b"Authorization", b"Bearer " + KEY.encode()), (b"X-Api-Key", OTHER.encode())],
    [(b"Authorization", b"Bearer " + KEY.encode()), (b"Authorization", b"Bearer " + OTHER.encode())],
    [(b"Authorization", b"Bearer " + KEY.encode()), (b"Authorization", b"Digest x")],
    [(b"X-Api-Key", b"")],
    [(b"X-Api-Key", KEY.encode() + b"~")],
    [(b"X-Api-Key", KEY[:-1].encode() + (b"0" if KEY[-1] != "0" else b"1"))],
    [(b"X-Api-Key", new_key(secrets.token_bytes).reveal().encode())],
    [(b"X-Api-Key", OTHER.encode())],
]


@pytest.mark.parametrize("headers", REFUSED)
def test_no_key_a_wrong_one_or_two_that_differ_are_unknown(headers: list[tuple[bytes, bytes]]) -> None:
    """The answer is 401 with the way out, and holds no byte of what was sent."""
    with pytest.raises(Refusal) as caught:
        RING.identify(headers, NOW)
    assert "unknown-client" == caught.value.kind.name
    assert caught.value.fix
    said = f"{caught.value!r} {caught.value.detail}"
    assert all(KEY[8:20] not in said and OTHER[8:20] not in said for _ in headers)


def test_an_empty_header_is_no_credential() -> None:
    """SDKs send the headers of the credential that they were not given, with nothing in them."""
    empty = [(b"Authorization", b""), (b"APCA-API-KEY-ID", b""), (b"APCA-API-SECRET-KEY", b" "), (b"X-Api-Key", b"")]
    assert presented([*empty, (b"Authorization", b"Bearer "), (b"Authorization", b"Basic ")]) is None


@pytest.mark.parametrize(
    ("pair", "key"),
    [("user:password", "password"), ("user:", "user"), (":password", "password"), (f"{KEY}:password", KEY)],
    ids=["both", "user", "password", "a key as user"],
)
def test_of_two_basic_credentials_one_is_the_key(pair: str, key: str) -> None:
    """What looks like a key of ours, or else the password, or else the user: a person reads what is wrong with that."""
    found = presented([(b"Authorization", _basic(pair))])
    assert found is not None
    assert key == found.reveal()


def test_a_typing_error_is_told_from_an_unknown_key() -> None:
    """The sentence says whether the key was mistyped, is not known, or belongs to nobody that is configured."""
    details = []
    for key in (KEY[:-1] + ("0" if KEY[-1] != "0" else "1"), new_key(secrets.token_bytes).reveal(), OTHER, None, ""):
        with pytest.raises(Refusal) as caught:
            RING.identify_key(key, NOW)
        details.append(caught.value.detail)
    assert details[0].endswith("was mistyped or cut.")
    assert "not known" in details[1]
    assert "no longer lists" in details[2]
    assert "The call carries no client key." == details[3] == details[4]


@pytest.mark.parametrize("headers", [*REFUSED, *PLACES])
def test_open_to_all_looks_at_no_credential(headers: list[tuple[bytes, bytes]]) -> None:
    """With `clients: none` the dummies that SDKs send, readable or not, change nothing."""
    ring = Keyring({}, {}, open_to_all=True)
    assert ring.open_to_all
    assert "local" == LOCAL.name
    assert LOCAL == ring.identify(headers, NOW) == ring.identify_key("x", NOW) == ring.identify_key(None, NOW)


def test_no_repr_shows_a_key() -> None:
    """Neither the ring nor what was presented can be printed or kept by accident."""
    found = presented(PLACES[0])
    for text in (repr(found), str(found), f"{found}", f"{found!r}", repr(RING), str(new_key(secrets.token_bytes))):
        assert KEY not in text
        assert digest(KEY) not in text
        assert "brd_" not in text
    assert ("***", "***") == (str(found), f"{found}")
    assert "Keyring(clients=['notebook'], keys=2, open_to_all=False)" == repr(RING)
    with pytest.raises(TypeError):
        pickle.dumps(new_key(secrets.token_bytes))


@pytest.mark.parametrize(
    ("client", "mount", "scope", "lacks"),
    [
        (NOTEBOOK, "questrade", "read_md", None),
        (
            NOTEBOOK,
            "questrade",
            "read_acc",
            "The client notebook does not have the scope read_acc on the mount questrade.",
        ),
        (NOTEBOOK, "questrade", "trade", "The mount questrade does not allow the scope trade."),
        (NOTEBOOK, "spouse", "read_md", "The client notebook has no rights on the mount spouse."),
        (LOCAL, "questrade", "read_acc", None),
        (LOCAL, "questrade", "trade", "The mount questrade does not allow the scope trade."),
        (Client("none", {}), "questrade", "read_md", "The client none has no rights on the mount questrade."),
    ],
)
def test_mount_and_client_must_both_allow_a_scope(client: Client, mount: str, scope: str, lacks: str | None) -> None:
    """The sentence says which of the two lists lacks the scope."""
    assert lacks == allowed(client, mount, frozenset({"read_acc", "read_md"}), scope)


PERSONAL = Client("web", {}, ("alpaca/ann", "tradier/ann"))


@pytest.mark.parametrize(
    ("client", "grant", "whose"),
    [
        (NOTEBOOK, "alpaca", "alpaca"),
        (LOCAL, "questrade", "questrade"),
        (PERSONAL, "alpaca", "alpaca/ann"),
        (PERSONAL, "tradier", "tradier/ann"),
    ],
    ids=["unbound", "open", "first", "second"],
)
def test_a_bound_key_stands_for_its_member_of_each_grant(client: Client, grant: str, whose: str) -> None:
    """A key that is not bound uses what the mount names."""
    assert whose == grant_for(client, grant)


@pytest.mark.parametrize("grant", ["alpac", "alpaca-paper", "questrade", "", "ann", "alpaca/ann"])
def test_a_bound_key_stands_for_nobody_elsewhere(grant: str) -> None:
    """Names that begin alike are other grants."""
    with pytest.raises(Refusal, match=r"The key is bound to alpaca/ann and tradier/ann; this mount") as refused:
        grant_for(PERSONAL, grant)
    assert "scope-denied" == refused.value.kind.name
    assert refused.value.detail.endswith(f"; this mount belongs to the grant {grant}.")
    assert (refused.value.fix or "").endswith(f": bearerd clients add web --grant {grant}/PERSON")


def test_a_key_is_refused_from_its_end_on() -> None:
    """With a sentence of its own; a use is noted only where the key was let in."""
    key = new_key(secrets.token_bytes).reveal()
    uses = Uses()
    ring = Keyring({digest(key): "notebook"}, {"notebook": NOTEBOOK}, expiries={digest(key): NOW}, uses=uses)

    assert "notebook" == ring.identify_key(key, NOW - 0.001).name
    with pytest.raises(Refusal) as refused:
        ring.identify([(b"X-Api-Key", key.encode())], NOW)

    assert "The call's client key expired at 2027-01-15 08:00:00 UTC." == refused.value.detail
    assert "make a new one: bearerd clients add notebook" == refused.value.fix
    assert (401, "unknown-client") == (refused.value.kind.status, refused.value.kind.name)
    assert ({digest(key): NOW - 0.001}, {"notebook": NOW - 0.001}) == (uses.keys, uses.clients)
    assert digest(key) not in repr(uses)


def test_a_key_is_found_once_and_asked_for_each_time() -> None:
    """Its fingerprint hangs on the headers alone; whose it is, and whether it still counts, on what is known now."""
    key = new_key(secrets.token_bytes).reveal()
    headers = [(b"Host", b"x"), (b"Authorization", b"Bearer " + key.encode())]
    digests, uses = {digest(key): "notebook"}, Uses()
    ring = Keyring(digests, {"notebook": NOTEBOOK}, uses=uses)
    found = ring.fingerprint(headers)
    assert digest(key) == found
    assert NOTEBOOK is ring.holder(found, NOW)
    assert {} == uses.keys
    ring.used(found, NOTEBOOK, NOW)
    assert ({digest(key): NOW}, {"notebook": NOW}) == (uses.keys, uses.clients)
    digests.clear()
    assert found == ring.fingerprint(headers)
    with pytest.raises(Refusal, match="not known here"):
        ring.holder(found, NOW)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"X-Api-Key", b"brd_short")],
        [(b"Authorization", b"Digest x")],
        [(b"X-Api-Key", b"a"), (b"x-api-key", b"b")],
    ],
    ids=["none", "malformed", "scheme", "two"],
)
def test_without_a_sound_key_there_is_no_fingerprint(headers: list[tuple[bytes, bytes]]) -> None:
    """The same refusal as for the whole question."""
    with pytest.raises(Refusal) as alone:
        RING.fingerprint(headers)
    with pytest.raises(Refusal) as whole:
        RING.identify(headers, NOW)
    assert (alone.value.kind, alone.value.detail) == (whole.value.kind, whole.value.detail)


def test_where_nobody_needs_a_key_none_is_looked_for() -> None:
    """And no use is noted."""
    uses = Uses()
    ring = Keyring({}, {}, uses=uses, open_to_all=True)
    assert ring.fingerprint([(b"Authorization", b"Digest x")]) is None
    assert LOCAL == ring.holder(None, NOW)
    ring.used(None, LOCAL, NOW)
    assert ({}, {}) == (uses.keys, uses.clients)


def test_a_bound_key_gives_the_same_client_until_its_binding_changes() -> None:
    """So that what was found out about it can be kept; a new binding or another owner is another client."""
    key = new_key(secrets.token_bytes).reveal()
    digests, bindings = {digest(key): "notebook"}, {digest(key): ("alpaca/ann",)}
    ring = Keyring(digests, {"notebook": NOTEBOOK, "bot": Client("bot", None)}, bindings=bindings)
    first = ring.holder(digest(key), NOW)
    assert first is ring.holder(digest(key), NOW)
    bindings[digest(key)] = ("alpaca/bob",)
    assert ("alpaca/bob",) == ring.holder(digest(key), NOW).grants
    digests[digest(key)] = "bot"
    assert ("bot", ("alpaca/bob",)) == ((other := ring.holder(digest(key), NOW)).name, other.grants)
    del bindings[digest(key)]
    assert () == ring.holder(digest(key), NOW).grants


def test_of_many_bound_keys_not_all_clients_are_kept() -> None:
    """However many keys come and go, each stands for its own member."""
    digests = {f"{number:064x}": "notebook" for number in range(10_000)}
    bindings = {found: (f"alpaca/{number}",) for number, found in enumerate(digests)}
    ring = Keyring(digests, {"notebook": NOTEBOOK}, bindings=bindings)
    for _ in range(2):
        assert list(bindings.values()) == [ring.holder(found, NOW).grants for found in digests]
    assert len(ring._bound) <= 4096


def test_a_certificate_holds_the_name_of_the_client_whose_key_is_sent() -> None:
    """Exactly that name; nothing of the key is said."""
    check_holder(NOTEBOOK, frozenset({"somebody", "notebook"}))
    for names in (frozenset[str](), frozenset({"notebook2"}), frozenset({"note", "Notebook"})):
        with pytest.raises(Refusal, match="does not hold that name") as refused:
            check_holder(NOTEBOOK, names)
        assert "unknown-client" == refused.value.kind.name


def test_keys_and_bindings_count_as_they_change() -> None:
    """They are looked up where they are kept: a key that is taken out there is refused from that moment on."""
    key = new_key(secrets.token_bytes).reveal()
    digests, bindings = {digest(key): "notebook"}, {digest(key): ("questrade/ann",)}
    ring = Keyring(digests, {"notebook": NOTEBOOK}, bindings=bindings)
    client = ring.identify_key(key, NOW)
    assert (NOTEBOOK.name, NOTEBOOK.rights, ("questrade/ann",)) == (client.name, client.rights, client.grants)
    bindings.clear()
    assert () == ring.identify_key(key, NOW).grants
    digests.clear()
    with pytest.raises(Refusal):
        ring.identify_key(key, NOW)
