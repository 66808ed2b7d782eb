"""What is told: whole documents, without secrets, numbers of accounts, or words that a terminal would act on."""

import json
from dataclasses import replace

import pytest

from proxy.alerts.notice import SEVERITIES, Trouble, begun, denied, foreign, over, resolved, tried
from proxy.hooks import EVENTS
from proxy.secret import Secret
from tests.alerts.receivers import trouble

NOW = 1_799_999_720.0


def test_every_event_has_a_severity() -> None:
    """The configuration and the payloads know the same events."""
    assert set(EVENTS) == set(SEVERITIES)


def test_a_trouble_and_its_end_are_told_under_one_key() -> None:
    """The document of a trouble, of the same trouble later, and of its end."""
    wrong = trouble()
    first, again, end = (
        made.document("desk") for made in (begun(wrong, "a", NOW), begun(wrong, "b", NOW, 2), over(wrong, "c", NOW))
    )
    assert {
        "schema": 1, "id": "a", "event": "login-needed", "kind": "problem", "key": "login-needed/questrade",
        "severity": "critical", "time": "2027-01-15T07:55:20Z", "since": "2027-01-15T07:43:20Z",
        "text": "questrade (questrade, live) needs a login: the broker said no.", "fix": "bearerd login", "count": 1,
        "repeat": 0, "server": "desk", "grant": "questrade", "mounts": ["questrade"], "environment": "live",
    } == first  # fmt: skip
    assert (2, "Still, after 12m: questrade (questrade, live) needs a login: the broker said no.") == (
        again["repeat"], again["text"],
    )  # fmt: skip
    assert ("login-needed-resolved", "resolved", "info", None, first["key"]) == tuple(
        end[name] for name in ("event", "kind", "severity", "fix", "key")
    )
    assert "Over after 12m: questrade (questrade, live) needs a login." == end["text"]


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_has_an_all_clear(event: str) -> None:
    """`halted` ends in `resumed`, each other one in its own name."""
    assert resolved(event) == ("resumed" if event == "halted" else f"{event}-resolved")


def test_denials_of_one_kind_become_one() -> None:
    """Counts are added, and the first moment stays."""
    about = {"mount": "questrade", "client": "bot", "guard": "max_quantity"}
    first, second = denied(about, 1, 10.0, "a", 11.0), denied(about, 4, 20.0, "b", 21.0)
    both = second.with_earlier(first)
    assert "The guard max_quantity refused a call of client bot on questrade." == first.text
    assert (5, 10.0, "The guard max_quantity refused 5 calls of client bot on questrade.") == (
        both.count, both.since, both.text,
    )  # fmt: skip
    assert "guard-denied/questrade/bot/max_quantity" == both.key


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("invalid_grant", "invalid_grant"),
        ("account 26598145 is closed", "account ***145 is closed"),
        ("6YA12345 and PA3X1234567", "***345 and ***567"),
        ("of 904837e3-3b76-47ec-b432-046db621571b", "of ***71b"),
        ("two\nlines\x1b[31m red\u202e", "two lines [31m red "),
        ("Bearer abcdefghij", "Bearer ***"),
        ("at 2027-01-15 07:55 UTC, port 8080", "at 2027-01-15 07:55 UTC, port 8080"),
        ("x" * 400, "x" * 299 + "…"),
    ],
    ids=["plain", "account", "other accounts", "uuid", "control", "bearer", "time", "long"],
)
def test_foreign_words_are_masked(words: str, shown: str) -> None:
    """One short line, in which no account's number is whole."""
    assert shown == foreign(words)


def test_no_further_field_takes_the_place_of_a_common_one() -> None:
    """Whatever a trouble has to tell: a receiver goes by the key."""
    found = begun(replace(trouble(), about={"key": 3, "schema": 9, "number": 3}), "a", NOW).document("desk")
    assert ("login-needed/questrade", 1, 3) == (found["key"], found["schema"], found["number"])


def test_a_known_secret_never_gets_into_a_document() -> None:
    """Wherever it has crept in: reason, headline, a field."""
    secret = Secret("canary-of-a-refresh-token").reveal()
    wrong = replace(trouble(), reason=f"refused {secret}", headline=f"x {secret}", about={"reason": secret})
    for made in (begun(wrong, "a", NOW), over(wrong, "b", NOW)):
        assert secret not in json.dumps(made.document("desk"))


def test_a_trouble_is_kept_as_plain_data() -> None:
    """It comes back the same, marked as restored; what makes no sense does not come back."""
    wrong = trouble(version="3")
    assert replace(wrong, restored=True) == Trouble.of(json.loads(json.dumps(wrong.record())))
    for bad in ({"event": "x"}, wrong.record() | {"since": "now"}, wrong.record() | {"about": None}):
        with pytest.raises((LookupError, ValueError)):
            Trouble.of(bad)


def test_a_test_says_that_it_is_one() -> None:
    """Nobody is to be woken by it for nothing."""
    assert ("test", "test", "info") == tuple(
        tried("a", NOW).document("x")[name] for name in ("event", "kind", "severity")
    )
