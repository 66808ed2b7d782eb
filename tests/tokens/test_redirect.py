"""What is read of an address that a broker led back to, and what is not."""

from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.tokens.redirect import LONGEST, Unreadable, of_one_origin, place, read

ADDRESS = "http://127.0.0.1:8081/callback"


@pytest.mark.parametrize(
    "text", [f"{ADDRESS}?code=c&state=s", "?code=c&state=s", "code=c&state=s", " code=c&state=s\n"]
)
def test_an_address_or_its_query_will_do(text: str) -> None:
    """People paste what they have; a line break around it comes with it."""
    redirect = read(text)

    assert ("c", "s", None) == (redirect.one("code"), redirect.one("state"), redirect.one("error"))


def test_where_it_came_to_is_known_of_a_whole_address_only() -> None:
    """Of a query nobody knows."""
    assert ("http", "127.0.0.1", 8081, "/callback") == read(f"{ADDRESS}?code=c").place
    assert None is read("code=c").place


@given(st.dictionaries(st.sampled_from(["code", "state", "iss", "x"]), st.text(max_size=40), min_size=1))
def test_values_come_back_as_they_were_sent(parameters: dict[str, str]) -> None:
    """Whatever text a value is, it is decoded once."""
    redirect = read(f"{ADDRESS}?{urlencode(parameters, quote_via=quote)}")

    assert parameters == {name: redirect.one(name) for name in parameters}


def test_a_parameter_that_stands_there_twice_has_no_value() -> None:
    """Neither the first nor the last; equal values are no exception."""
    redirect = read("code=a&code=a&state=s")

    with pytest.raises(Unreadable, match="`code` more than once"):
        redirect.one("code")
    assert "s" == redirect.one("state")


@pytest.mark.parametrize(
    "text",
    [
        "", "   ", "code=a b", "code=a\nstate=b", "code=a\tb", "code=ä", "x" * (LONGEST + 1), "code=%ff",
        "&".join(["a=b"] * 40), "ftp://127.0.0.1/callback?code=a", "http://:80/callback?code=a",
        "http://user@127.0.0.1/callback?code=a", "http://127.0.0.1:99999/callback?code=a", "http://[::1/callback?code=a",
    ],
    ids=range(14),
)  # fmt: skip
def test_anything_else_is_no_address(text: str) -> None:
    """Nothing is repaired, and nothing of it is repeated."""
    with pytest.raises(Unreadable) as caught:
        read(text)

    assert "code=a" not in str(caught.value)


def test_an_address_has_a_greatest_length() -> None:
    """Up to it everything is read."""
    value = "x" * (LONGEST - len("code="))

    assert value == read(f"code={value}").one("code")
    with pytest.raises(Unreadable):
        read(f"code={value}x")


def test_the_part_after_the_hash_brings_nothing() -> None:
    """A code in a fragment is none."""
    redirect = read(f"{ADDRESS}?state=s#code=c&state=t")

    assert (None, "s") == (redirect.one("code"), redirect.one("state"))


def test_a_redirect_does_not_show_what_it_holds() -> None:
    """Its repr may end up in a log."""
    assert "canary" not in repr(read(f"{ADDRESS}?code=canary&state=canary"))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://localhost/callback", "http://LOCALHOST:80/callback", True),
        ("https://a.example", "https://a.example:443/", True),
        ("http://a.example/", "https://a.example/", False),
        ("http://a.example:1/", "http://a.example:2/", False),
        ("http://a.example/x", "http://a.example/X", False),
        ("http://a.example/x", "http://a.example/x/", False),
        ("http://a.example/%78", "http://a.example/x", False),
    ],
)
def test_places_are_compared_as_browsers_do(one: str, other: str, same: bool) -> None:
    """A default port and the case of a host do not count; a path is compared byte for byte."""
    assert same is (place(one) == place(other))


@pytest.mark.parametrize(
    ("issuer", "expected"),
    [
        ("https://login.example/", True),
        ("https://login.example", True),
        ("https://login.example:8443", False),
        ("http://login.example", False),
        ("http://login.example:443", False),
        ("https://evil.example", False),
        ("login.example", False),
        ("", False),
    ],
)
def test_an_issuer_shares_an_origin(issuer: str, expected: bool) -> None:
    """With one of the addresses that there are."""
    assert expected is of_one_origin(issuer, ("https://login.example/oauth2/authorize", None))
