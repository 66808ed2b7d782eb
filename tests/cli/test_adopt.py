"""`bearerd adopt`, with and without a running server."""

from typing import Any

import pytest

from proxy.cli.adopt import exit_code, line
from tests.cli.support import Person, invoke

SERVED: dict[str, Any] = {"grant": "ada", "state": "fresh", "usable": True, "reason": "", "fix": None}
REFUSED: dict[str, Any] = {
    "grant": "ada", "state": "needs-login", "usable": False, "reason": "the broker refused it.",
    "fix": "bearerd login ada",
}  # fmt: skip


@pytest.fixture
def restored(customer: Person, new_token: str) -> Person:
    """A customer whose login came back from a backup, as old as it could be."""
    assert 0 == customer.run("login", "questrade", "--token-stdin", stdin=new_token + "\n").code
    assert 0 == customer.run("store", "backup", "store.bak").code
    (customer.home / "state").rename(customer.home / "old")
    assert 0 == customer.run("store", "restore", "store.bak").code
    return customer


def test_a_restored_token_is_tried_once(restored: Person) -> None:
    """Until then nothing is redeemed, and the status says which command helps; after it nothing is left to adopt."""
    restored.serve()
    before = restored.run("status", "--json")
    assert (4, "quarantined", 1) == (before.code, (mount := before.document["mounts"][0])["state"], mount["generation"])
    assert "bearerd adopt questrade" in restored.run("status").out

    done = restored.run("adopt", "questrade", "--yes", "--json")
    assert 0 == done.code, done.err
    assert ("fresh", 2) == (done.document["state"], done.document["generation"])
    again = restored.run("adopt", "questrade", "--yes")
    assert 1 == again.code
    assert "there is nothing to adopt" in again.out
    absent = restored.run("adopt", "questrade/ann", "--yes")
    assert (1, "questrade/ann is not logged in; bearerd login questrade/ann\n") == (absent.code, absent.out)
    nothing = restored.run("adopt", "--all")
    assert (0, "No grant is quarantined.\n") == (nothing.code, nothing.err)


def test_all_of_them_without_a_server(restored: Person) -> None:
    """The question comes first. A token that somebody has redeemed since needs a login (4), and is not tried again."""
    unasked = restored.run("adopt", "--all")
    assert 1 == unasked.code
    assert "nothing was done" in unasked.err
    done = restored.run("adopt", "--all", "--yes")
    assert (0, "questrade is served again, with a new token.\n") == (done.code, done.out), done.err

    (restored.home / "state").rename(restored.home / "new")
    assert 0 == restored.run("store", "restore", "store.bak").code
    refused = restored.run("adopt", "questrade", "--yes")
    assert 4 == refused.code, refused.output
    assert "To fix: bearerd login questrade" in refused.out
    assert {"grants": [], "schema": 1} == restored.run("adopt", "--all", "--json").document


@pytest.mark.parametrize("arguments", [(), ("questrade", "--all")], ids=["neither", "both"])
def test_one_or_all_must_be_said(arguments: tuple[str, ...]) -> None:
    """2."""
    result = invoke("adopt", *arguments)

    assert 2 == result.exit_code
    assert "Name a mount or a grant, or give --all." in result.stderr


def test_its_help_says_when_not_to() -> None:
    """The danger stands there, and in the question."""
    assert "Only do this if no other copy of this store is in use" in " ".join(invoke("adopt", "--help").stdout.split())


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ([], 0),
        ([SERVED], 0),
        ([SERVED, REFUSED], 4),
        ([SERVED, {"grant": "bob", "error": "nothing was tried"}], 1),
        ([SERVED | {"state": "due", "usable": False}], 1),
    ],
    ids=range(5),
)
def test_exit_codes(answers: list[dict[str, Any]], code: int) -> None:
    """A login that is needed weighs most."""
    assert code == exit_code(answers)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (SERVED, "ada is served again, with a new token."),
        (REFUSED, "ada is needs-login: the broker refused it. To fix: bearerd login ada"),
        ({"grant": "ada", "error": "nothing was tried: the store fails"}, "ada: nothing was tried: the store fails"),
        ({"grant": "ada", "error": "grant ada is fresh: nothing to do"}, "ada is fresh: nothing to do"),
        (
            SERVED | {"state": "due", "usable": False, "reason": "the broker cannot be reached"},
            "ada is due: the broker cannot be reached.",
        ),
    ],
    ids=["served", "refused", "not tried", "fresh", "not ended"],
)
def test_what_became_of_a_grant(answer: dict[str, Any], text: str) -> None:
    """In one line."""
    assert text == line(answer)
