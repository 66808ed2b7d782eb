"""What is taken out of a text, and what it costs to know it."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.redactor import HIDDEN, Redactor


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer abc.DEF-123_~+/=", "Authorization: Bearer ***"),
        ("bearer abcdefgh", "bearer ***"),
        ("Basic dXNlcjpwYXNz", "Basic ***"),
        ("?grant_type=refresh_token&refresh_token=abc&x=1", "?grant_type=refresh_token&refresh_token=***&x=1"),
        ('{"refresh_token": "abc", "expires_in": 1800}', '{"refresh_token": "***", "expires_in": 1800}'),
        ("{'access_token': 'abc'}", "{'access_token': '***'}"),
        ("?code=abc&state=x", "?code=***&state=x"),
        ("refresh_token%3Dabc", "refresh_token%3D***"),
        ("key brd_0aZ9 was used", "key *** was used"),
        ("Cookie: a=b; c=d", "Cookie: ***"),
        ("Grant(token='abc', id=1)", "Grant(token='***', id=1)"),
        ('secret="abc"', 'secret="***"'),
        ("APCA-API-SECRET-KEY: abc", "APCA-API-SECRET-KEY: ***"),
        ("refresh-token=abc", "refresh-token=***"),
        ("'Client-Secret': 'abc'", "'Client-Secret': '***'"),
        ("status code: 404", "status code: 404"),
        ("token: expired", "token: expired"),
        ("the bearer is gone", "the bearer is gone"),
    ],
)  # fmt: skip
def test_shapes_are_found_without_knowing_the_value(text: str, expected: str) -> None:
    """What looks like a secret is hidden, what talks about one is not."""
    assert expected == Redactor().text(text)


def test_short_values_are_no_secrets() -> None:
    """Hiding every `abc` would make logs unreadable and hide nothing."""
    redactor = Redactor()
    redactor.learn("abcde")
    assert "abcde" == redactor.text("abcde")


def test_the_oldest_values_are_forgotten() -> None:
    """Memory is bounded; a value that is used again counts as new."""
    redactor = Redactor(limit=2)
    for value in ("first-value", "second-value", "first-value", "third-value"):
        redactor.learn(value)
        redactor.text("")
    assert "*** second-value ***" == redactor.text("first-value second-value third-value")
    for number in range(100):
        redactor.learn(f"flood-value-{number}")
    assert "first-value *** ***" == redactor.text("first-value flood-value-98 flood-value-99")


def test_a_text_that_was_clean_is_looked_at_again_when_a_secret_is_learned() -> None:
    """What is remembered of texts without secrets holds for the secrets that were known then."""
    redactor = Redactor()
    assert ["later-value"] * 2 == [redactor.text("later-value") for _ in range(2)]
    redactor.learn("later-value")
    assert HIDDEN == redactor.text("later-value")


def test_a_secret_that_is_learned_while_a_text_is_read_counts_for_the_next_one() -> None:
    """Whatever the order in which threads come to it."""
    redactor, values = Redactor(), [f"value-{number:04}" for number in range(2000)]
    begun = threading.Event()

    def read() -> None:
        begun.set()
        for value in values:
            for _ in range(5):
                redactor.text(value)

    thread = threading.Thread(target=read)
    thread.start()
    begun.wait(5)
    for value in reversed(values):
        redactor.learn(value)
    thread.join(30)
    assert {HIDDEN} == {redactor.text(value) for value in values}


def test_memory_for_clean_texts_is_bounded() -> None:
    """Request ids are new each time; long texts are not kept at all."""
    redactor = Redactor()
    for number in range(20_000):
        redactor.text(f"a-request-{number}")
    redactor.text("x" * 100_000)
    kept = redactor._clean
    assert len(kept) <= 4096
    assert max(len(text) for text in kept) < 1000
    for number in range(20_000):
        redactor.text(f"{number:>199}".translate(str.maketrans(" 0123456789", "abcdefghijk")) + str(number))
        assert len(redactor._pieces) < 33_000


def test_texts_stay_clean_until_a_secret_could_be_in_one() -> None:
    """A secret that begins like a piece of one makes all of them be looked at again; others do not."""
    redactor = Redactor()
    redactor.text("a grant called later-value-1")
    redactor.learn("something-else")
    redactor.text("")
    assert {"a grant called later-value-1"} <= redactor._clean
    redactor.learn("later-value")
    assert "a grant called ***-1" == redactor.text("a grant called later-value-1")


def test_overlapping_values_go_as_one() -> None:
    """The tail of the longer one does not stay."""
    redactor = Redactor()
    redactor.learn("abcdefgh")
    redactor.learn("efghijklmnop")
    assert "x***y" == redactor.text("xabcdefghijklmnopy")


@given(
    st.lists(st.text(st.characters(codec="utf-8"), min_size=8, max_size=40), min_size=1, max_size=5),
    st.text(max_size=20),
)
def test_no_known_value_survives(values: list[str], between: str) -> None:
    """Any text with any known values in it comes out without them."""
    redactor = Redactor()
    for value in values:
        redactor.learn(value)
    shown = redactor.text(between.join(values))
    assert all(value not in shown for value in values if "*" not in value)
