"""What can be done at the console, as data: what is asked for, what is to be confirmed, what is said."""

from typing import Any

import pytest

from proxy.console.acts import ACTS, FORMS, PARTS, TYPED, after, concerned, confirmation, credential, live, pasted, risk
from proxy.console.view import Problem
from proxy.operations import FROM_CONSOLE
from tests.console.shown import NOW, mount, status

BOTH = status(
    mount("real", environment="live", grant="ada"),
    mount("paper", environment="paper", grant="desk"),
    clients=[
        {"name": "bot", "rights": {"paper": ["trade"]}},
        {"name": "all", "rights": {"paper": [], "real": []}},
        {"name": "old", "rights": None},
    ],
)


def test_the_server_does_what_the_console_offers() -> None:
    """And nothing that it does not offer, but for the list of keys."""
    assert FROM_CONSOLE == {act.command for act in ACTS.values()} | {"clients-list"}
    assert {act.page for act in ACTS.values() if act.page} <= {*FORMS}
    assert {*PARTS}.isdisjoint(TYPED)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"kind": "refresh-token", "asks": ["refresh token"]}, ["refresh token"]),
        ({"kind": "code", "asks": []}, ["refresh token"]),
        ({"kind": "secret", "asks": ["id", "secret"]}, ["id", "secret"]),
        ({"kind": "secret", "asks": []}, ["token"]),
        ({"kind": "client-credentials", "asks": ["id", "secret"]}, []),
    ],
    ids=["refresh token", "code", "two parts", "a token", "client credentials"],
)
def test_what_is_pasted(asked: dict[str, Any], expected: list[str]) -> None:
    """As many fields as the credential has parts."""
    assert expected == pasted(asked)


@pytest.mark.parametrize(
    ("form", "parts", "expected"),
    [
        ({"token": "abc"}, 1, "abc"),
        ({"token": "a:b"}, 1, "a:b"),
        ({"token": "a", "token2": "b:c"}, 2, "a:b:c"),
        ({}, 0, None),
    ],
    ids=["one", "a colon", "two", "none"],
)
def test_a_credential(form: dict[str, str], parts: int, expected: str | None) -> None:
    """As the command line gives it."""
    assert expected == credential(form, parts)


@pytest.mark.parametrize(
    ("form", "parts"),
    [
        ({}, 1),
        ({"token": ""}, 1),
        ({"token": "a b"}, 1),
        ({"token": "é"}, 1),
        ({"token": "x" * 8192}, 1),
        ({"token": "a\nb"}, 1),
        ({"token": "a"}, 2),
        ({"token": "a:b", "token2": "c"}, 2),
    ],
    ids=range(8),
)
def test_what_is_no_credential(form: dict[str, str], parts: int) -> None:
    """It is said without repeating it."""
    with pytest.raises(Problem) as failed:
        credential(form, parts)
    assert [] == [text for text in form.values() if len(text) > 1 and text in failed.value.message]


@pytest.mark.parametrize(
    ("act", "form", "words"),
    [
        ("client-add", {}, "the client's name"),
        ("client-add", {"name": "a", "expires": "soon"}, "end can't be read"),
        ("client-rotate", {"name": "a", "overlap": "long"}, "24h, 30m or 0s"),
        ("client-rotate", {"name": "a", "number": "1.0"}, "number can't be read"),
        ("client-remove", {"number": "\u0661", "name": "a"}, "number can't be read"),
        ("client-remove", {"number": "1"}, "which client"),
        ("log-in", {}, "which grant"),
        ("revoke", {"grant": ""}, "which grant"),
        ("resume", {"all": "yes"}, "the reason"),
    ],
    ids=range(9),
)
def test_a_form_that_says_too_little(act: str, form: dict[str, str], words: str) -> None:
    """What is missing is named."""
    with pytest.raises(Problem, match=words):
        ACTS[act].wish(form, BOTH)


def test_the_end_of_a_key() -> None:
    """A length of time, a day, or none."""
    wish = ACTS["client-add"].wish
    assert 86400.0 == wish({"name": "a", "expires": "1d"}, BOTH)["lasts"]
    assert wish({"name": "a", "expires": "2027-06-30"}, BOTH)["expires"] > NOW
    assert {"name", "grants"} == wish({"name": "a", "expires": ""}, BOTH).keys()


@pytest.mark.parametrize(
    ("act", "form", "expected"),
    [
        ("revoke", {"grant": "ada"}, ["real"]),
        ("log-in", {"grant": "ada/ann"}, ["real"]),
        ("revoke", {"grant": "desk"}, []),
        ("client-remove", {"name": "all"}, ["real"]),
        ("client-remove", {"name": "bot"}, []),
        ("client-remove", {"name": "old"}, []),
        ("halt", {"mount": ""}, ["real"]),
        ("halt", {"mount": "paper"}, []),
        ("resume", {"mount": "paper", "all": "yes"}, ["real"]),
        ("reload", {}, []),
        ("revoke", {"grant": "real"}, ["real"]),  # commands take a mount's name, too
        ("revoke", {"grant": "paper/ann"}, []),
    ],
    ids=range(12),
)
def test_what_is_about_real_money(act: str, form: dict[str, str], expected: list[str]) -> None:
    """By grant, by a client's rights, by mount; everything is."""
    assert expected == live(act, form, BOTH)
    assert {*expected} <= {each["name"] for each in concerned(act, form, BOTH)}


@pytest.mark.parametrize(
    ("act", "form", "risky"),
    [
        ("revoke", {"grant": "desk"}, True),
        ("client-remove", {"name": "bot"}, True),
        ("client-rotate", {"name": "bot", "overlap": "0s"}, True),
        ("client-rotate", {"name": "bot", "overlap": ""}, False),
        ("client-rotate", {"name": "bot", "overlap": "odd"}, False),
        ("halt", {"cancels_too": "yes"}, True),
        ("halt", {"mount": "real"}, False),
        ("resume", {"mount": "real"}, True),
        ("resume", {"mount": "paper"}, False),
        ("client-add", {"name": "all"}, False),
        ("log-in", {"grant": "ada"}, False),
        ("reload", {}, False),
    ],
    ids=range(12),
)
def test_what_wants_a_second_thought(act: str, form: dict[str, str], risky: bool) -> None:
    """What cannot be taken back, what makes a position harder to close, and what lets orders go with real money."""
    assert risky is bool(risk(act, form, BOTH))


def test_a_second_thought_is_about_what_was_shown() -> None:
    """Another choice on the form, or a mount that has become real meanwhile, wants another one."""
    one, every = ({"mount": "real"}, {"mount": ""})
    two = status(*BOTH["mounts"], mount("more", environment="live"))
    assert "live real" == confirmation("resume", one, BOTH) == confirmation("resume", every, BOTH)
    assert "live real more" == confirmation("resume", every, two)
    assert "yes" == confirmation("resume", {"mount": "paper"}, two)


@pytest.mark.parametrize(
    ("act", "answer", "words"),
    [
        ("log-in", mount(missing=["trade"]), "Not granted: trade"),
        ("client-remove", {"removed": 0}, "nothing was removed"),
        ("client-remove", {"removed": 2}, "2 keys of bot removed"),
        ("halt", {"halt": {"text": "Halted."}, "new": False, "warning": "it is not stored"}, "But it is not stored."),
        ("resume", {"lifted": [1, 2], "halts": [1]}, "2 halts lifted. 1 halt stays in force."),
        ("reload", {"changed": []}, "no change"),
    ],
    ids=range(6),
)
def test_what_is_said(act: str, answer: dict[str, Any], words: str) -> None:
    """Also what did not come of it."""
    assert words in ACTS[act].said({"name": "bot"}, answer)


@pytest.mark.parametrize(("text", "expected"), [("", -1), ("7", 7), ("-1", -1), ("x", -1), ("9" * 12, -1)])
def test_where_a_list_goes_on(text: str, expected: int) -> None:
    """At its beginning if nobody can say."""
    assert expected == after({"after": text})
