import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import Refusal
from proxy.gate.fill import filled
from proxy.secret import Secret

APPS = {"app-1": Secret("the-first-secret"), "app-2": Secret("the-second-secret")}
NAMES = ("client_secret",)

Headers = list[tuple[bytes, bytes]]


def fill(body: bytes, headers: Headers | None = None) -> bytes:
    return filled(body, NAMES, APPS, grant="partner", headers=headers or [])[0]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"client_secret": "a guess"},
        {"client_secret": None},
        {"client_secret": {"a": ["the-second-secret"]}},
        {"Client_Secret": "a guess"},
        {"CLIENT_SECRET": "a guess"},
        {"client_\u017fecret": "a guess"},
    ],
    ids=["none", "text", "null", "object", "capitals", "all capitals", "another s"],
)
def test_the_secret_of_the_named_application_is_put_in(given: dict[str, object]) -> None:
    """Whatever the client said of it, in any spelling, is gone; the rest stays."""
    sent, secret = filled(json.dumps({"client_id": "app-1", "scope": 7} | given).encode(), NAMES, APPS, grant="g")

    assert {"client_id": "app-1", "scope": 7, "client_secret": "the-first-secret"} == json.loads(sent)
    assert "the-first-secret" == secret.reveal()


def test_each_application_has_its_own_secret() -> None:
    """Never the one of its neighbour."""
    assert b"the-second-secret" in fill(b'{"client_id": "app-2"}')
    assert b"the-first-secret" not in fill(b'{"client_id": "app-2"}')


@given(st.dictionaries(st.text(max_size=8), st.none() | st.booleans() | st.integers() | st.text(), max_size=5))
def test_what_else_is_in_the_body_arrives(members: dict[str, object]) -> None:
    """Every other member, in ASCII, and without a byte at which a form would be split."""
    try:
        sent = fill(json.dumps({"client_id": "app-1", "account_id": "é&;\u2028"} | members).encode())
    except Refusal as refusal:
        assert "twice" in refusal.detail  # noqa: PT017  names that differ in their case only
        return

    expected = {"account_id": "é&;\u2028"} | members | {"client_id": "app-1", "client_secret": "the-first-secret"}
    if members.get("client_id", "app-1") == "app-1":
        assert expected == json.loads(sent)
    assert sent.isascii()
    assert not set(b"&;") & set(sent)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not strict JSON"),
        (b"client_id=app-1", "not strict JSON"),
        (b"[]", "not a JSON object"),
        (b'{"client_id": "app-1"} ', None),
        (b'{"client_id": "app-1"}{}', "not strict JSON"),
        (b'{"client_id": "app-1", "client_id": "app-2"}', "twice"),
        (b'{"client_id": "app-1", "Client_ID": "app-2"}', "twice"),
        (b'{"client_id": "app-1", "client_secret": 1, "Client_Secret": 2}', "twice"),
        (b'{"client_id": "app-1", "a": NaN}', "not strict JSON"),
        (b'\xef\xbb\xbf{"client_id": "app-1"}', "not strict JSON"),
        (b"{}", "whose secret is kept"),
        (b'{"client_id": null}', "whose secret is kept"),
        (b'{"client_id": ["app-1"]}', "whose secret is kept"),
        (b'{"client_id": "app-3"}', "whose secret is kept"),
        (b'{"client_id": "APP-1"}', "whose secret is kept"),
        (b'{"Client_Id": "app-1"}', "whose secret is kept"),
        (b'{"client_id": ""}', "whose secret is kept"),
    ],
)
def test_a_body_in_doubt_is_not_filled(body: bytes, why: str | None) -> None:
    """One strict JSON object that names an application of this grant, or nothing is sent."""
    if why is None:
        assert fill(body)
        return
    with pytest.raises(Refusal) as caught:
        fill(body)
    assert "guard-denied" == caught.value.kind.name
    assert why in caught.value.detail
    assert "secret" not in repr(caught.value).replace("whose secret is kept", "")


def test_a_number_beyond_all_is_not_sent_as_another_word() -> None:
    """It is read as infinity, for which JSON has no form."""
    with pytest.raises(Refusal, match="cannot be written again") as caught:
        fill(b'{"client_id": "app-1", "a": 1e999}')
    assert "guard-denied" == caught.value.kind.name


def test_the_fix_names_the_grant() -> None:
    """And repeats nothing of the body."""
    with pytest.raises(Refusal, match=r"kept for the grant partner\.'\)$") as caught:
        fill(b'{"client_id": "canary"}')
    assert (caught.value.fix or "").endswith(" under grants.partner.apps")
    assert "canary" not in f"{caught.value.detail} {caught.value.fix}"


def test_another_character_set_is_a_doubt() -> None:
    """The broker would read other letters out of the same bytes."""
    with pytest.raises(Refusal, match="character set"):
        fill(b'{"client_id": "app-1"}', [(b"Content-Type", b"application/json; charset=utf-7")])


@pytest.mark.parametrize("depth", [10, 200, 900, 990, 1_000, 20_000])
def test_depth_ends_in_an_answer(depth: int) -> None:
    """Filled or refused: never a fault of ours."""
    try:
        assert b"the-first-secret" in fill(b'{"client_id": "app-1", "a": ' + b"[" * depth + b"]" * depth + b"}")
    except Refusal as refusal:
        assert "guard-denied" == refusal.kind.name  # noqa: PT017  either is right
