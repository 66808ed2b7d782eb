"""`bearerd login` and `bearerd revoke`, with and without a running server."""

from pathlib import Path

import click
import pytest

from proxy.cli.exits import Stop
from proxy.cli.login import confirm, login, read_token
from tests.cli.support import Person

TOKEN = "aSBe7wAAdx88QTbwut0tiu3SYic3ox8F"


def test_there_is_no_option_that_takes_a_token() -> None:
    """Other users see command lines: every option of `login` is a switch or names no secret."""
    options = [param for param in login.params if isinstance(param, click.Option)]

    assert {"config", "color"} == {option.name for option in options if not option.is_flag}


def test_one_newline_at_the_end_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the variable and from the file that it names; the variable is taken out of the environment."""
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    environ = {"BEARERD_LOGIN_TOKEN": TOKEN}

    assert TOKEN == read_token(environ, from_stdin=False, question=None)
    assert {} == environ
    assert TOKEN == read_token({"BEARERD_LOGIN_TOKEN_FILE": str(file)}, from_stdin=False, question=None)


def test_two_places_with_a_token_are_a_usage_error() -> None:
    """Nobody guesses which one was meant."""
    environ = {"BEARERD_LOGIN_TOKEN": TOKEN, "BEARERD_LOGIN_TOKEN_FILE": "token"}

    with pytest.raises(click.UsageError, match="one way only"):
        read_token(environ, from_stdin=False, question=None)


def test_no_token_is_a_usage_error() -> None:
    """With the ways to give one."""
    with pytest.raises(click.UsageError, match="--token-stdin"):
        read_token({}, from_stdin=False, question=None)


@pytest.mark.parametrize("text", ["", "two words", "line\nbreak", "naïve", "x" * 9000])
def test_what_is_no_token_is_never_sent(text: str) -> None:
    """It is refused before anybody is asked, and not quoted."""
    with pytest.raises((Stop, click.UsageError)) as caught:
        read_token({"BEARERD_LOGIN_TOKEN": text}, from_stdin=False, question=None)

    assert not text or text not in str(caught.value)


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
