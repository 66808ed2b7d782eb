"""`bearerd login` and `bearerd revoke`, with and without a running server."""

from typing import Any

import click
import pytest

from proxy.cli.exits import Stop
from proxy.cli.login import confirm, login, questions, success
from proxy.settings import Settings
from proxy.spans import clock_time
from tests.cli.support import Person

NOW = 1_795_252_440.0
ANSWER: dict[str, Any] = {
    "grant": "ada", "broker": "tradier", "environment": "live", "granted": [], "missing": [], "refreshed": NOW,
    "next_renewal": None, "ends": None, "dies": None, "access_expires": NOW + 1800, "reason": "", "warning": None,
}  # fmt: skip
VAULT: dict[str, Any] = {
    "title": "Vault",
    "scopes": {"read": "Looking"},
    "params": {},
    "logins": {
        "keys": {
            "kind": "secret", "asks": ["key id", "secret key"], "expires_in": "never",
            "placement": {"headers": ["X-Key-Id", "X-Key-Secret"]},
        },
    },
    "environments": {
        "simulator": {"api_server": "https://127.0.0.1:9", "login_page": "https://vault.example/keys"},
    },
    "rows": [{"id": "me", "method": "GET", "path": "/me", "scope": "read"}],
}  # fmt: skip
TOKEN = "aSBe7wAAdx88QTbwut0tiu3SYic3ox8F"


def test_there_is_no_option_that_takes_a_token() -> None:
    """Other users see command lines: every option of `login` is a switch or names no secret."""
    options = [param for param in login.params if isinstance(param, click.Option)]

    assert {"config", "color"} == {option.name for option in options if not option.is_flag}


def test_without_a_person_only_yes_confirms() -> None:
    """No terminal, no --yes: nothing happens."""
    confirm("Sure?", yes=True)
    with pytest.raises(Stop, match="nothing was done"):
        confirm("Sure?", yes=False)


def test_a_login_without_a_server(customer: Person, new_token: str) -> None:
    """The store itself is opened; it says when the token refreshes and how long the login lasts."""
    done = customer.run("login", "questrade", "--token-stdin", stdin=new_token + "\n")

    assert 0 == done.code, done.err
    assert "questrade is logged in" in done.out
    assert "refreshes in" in done.out
    assert "the login lasts until" in done.out
    assert new_token not in done.out + done.err


def test_a_login_through_the_server(customer: Person, new_token: str) -> None:
    """The running server redeems, and is ready from then on. A wrong token afterwards changes nothing."""
    server = customer.serve()
    assert 4 == customer.run("wait", "--ready", "--timeout", "0.2").code
    done = customer.run("login", "questrade", "--json", BEARERD_LOGIN_TOKEN=new_token)
    assert (0, "fresh", 1) == (done.code, done.document["state"], done.document["generation"])

    wrong = customer.run("login", "questrade", "--token-stdin", stdin="wrong")
    assert 1 == wrong.code
    assert "refused this token" in wrong.err
    assert 0 == customer.run("status").code
    assert new_token not in server.output


def test_one_more_person_logs_in_beside_a_grant(customer: Person, new_token: str) -> None:
    """Without a server; one that is started afterwards knows the member, and its revocation needs no restart."""
    done = customer.run("login", "questrade/user-17", "--token-stdin", stdin=new_token)
    assert (0, True) == (done.code, "questrade/user-17 is logged in" in done.out)
    assert 1 == customer.run("login", "nothing/user-17", "--token-stdin", stdin=new_token).code

    customer.serve()
    members = customer.run("status", "--json").document["mounts"][0]["members"]
    assert (1, {"fresh": 1}) == (members["total"], members["states"])
    assert 0 == customer.run("revoke", "questrade/user-17", "--yes").code
    assert {"none": 1} == customer.run("status", "--json").document["mounts"][0]["members"]["states"]


def test_a_revoked_grant_needs_a_login(customer: Person, new_token: str) -> None:
    """The broker is told, and nothing is kept here."""
    customer.run("login", "questrade", "--token-stdin", stdin=new_token)
    assert 1 == customer.run("revoke", "questrade").code
    done = customer.run("revoke", "questrade", "--yes")

    assert 0 == done.code, done.err
    assert "the broker was told" in done.out
    customer.serve()
    assert 4 == customer.run("status").code


def test_an_unknown_mount_is_named(customer: Person) -> None:
    """With those that there are."""
    done = customer.run("login", "tradier", "--token-stdin", stdin=TOKEN)

    assert 1 == done.code
    assert "Mounts: questrade" in done.err


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"granted": ["read", "trade"]}, "  Scopes: read trade"),
        ({"next_renewal": NOW + 1450}, "  The access token refreshes in 24m, by itself while bearerd runs."),
        ({"ends": NOW + 86400}, f"  Log in again before {clock_time(NOW + 86400)}."),
        ({"dies": NOW + 86400}, f"  Unused, the login lasts until {clock_time(NOW + 86400)}."),
        ({"access_expires": None}, "  It lasts until it is revoked."),
        ({"missing": ["trade"]}, "  ! Not granted: trade; the broker will refuse calls that need it."),
        ({"reason": "no host"}, "  ! no host"),
        ({"warning": "it ends soon"}, "  ! it ends soon"),
    ],
    ids=range(8),
)
def test_a_login_says_what_it_brought(changes: dict[str, Any], line: str) -> None:
    """Scopes, how long it lasts, what is missing: a line each, and no more."""
    assert ["✓ ada is logged in at tradier (live).", line] == list(success(ANSWER | changes))


def test_a_person_is_asked_for_what_the_broker_has(settings: Settings) -> None:
    """With the page that it comes from."""
    grant = settings.grants["family"]

    (question,) = questions(grant)
    assert question.startswith("Questrade: refresh token from https://apphub.questrade.com/")


def test_a_script_is_told_what_a_login_takes(customer: Person) -> None:
    """As data, and nothing has happened yet."""
    begun = customer.run("login", "questrade", "--non-interactive").document

    assert (1, "refresh-token", ["refresh token"]) == (begun["schema"], begun["kind"], begun["asks"])
    assert "bearerd login questrade --token-stdin" in begun["next_step"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--complete",), "--complete is for the broker's page"),
        (("--complete", "--token-stdin"), "exclude each other"),
        (("--non-interactive", "--complete"), "exclude each other"),
    ],
    ids=range(3),
)
def test_ways_that_do_not_fit_are_usage_errors(customer: Person, options: tuple[str, ...], words: str) -> None:
    """Each with the reason."""
    done = customer.run("login", "questrade", *options)

    assert (2, True) == (done.code, words in done.err)


def test_a_key_pair_is_two_lines(customer: Person) -> None:
    """Kept as it is, sealed, and posted nowhere; one line is not enough, and nothing of it is shown."""
    customer.write_config(
        "simulator",
        {"vault": VAULT},
        **{"broker: questrade": "broker: vault", "[read_acc, read_md]": "[read]", "[read_md]": "[read]"},
    )
    half = customer.run("login", "questrade", "--token-stdin", stdin="canary-key-id\n")
    done = customer.run("login", "questrade", "--token-stdin", stdin="canary-key-id\ncanary-secret-key\n")

    assert (1, True) == (half.code, "takes 2 parts, one a line" in half.err), half.err
    assert 0 == done.code, done.err
    assert "It lasts until it is revoked." in done.out
    assert "canary" not in half.output + done.output
    revoked = customer.run("revoke", "questrade", "--yes")
    assert "the broker still takes it; delete it on the broker's page: https://vault.example/keys" in revoked.out


def test_a_person_who_was_never_here_is_not_revoked(customer: Person) -> None:
    """1, and no record of the mistyped name is left."""
    done = customer.run("revoke", "questrade/ann", "--yes")

    assert (1, True) == (done.code, "nobody has ever logged in as questrade/ann; nothing was revoked" in done.err)
    assert {"audit": 2, "client": 1, "custody": 1} == customer.run("store", "status", "--json").document["rows"]
