"""Secrets that are handed over: from where, and in which shape."""

from pathlib import Path

import click
import pytest

from proxy.cli.exits import Stop
from proxy.cli.given import answer, token

TOKEN = "aSBe7wAAdx88QTbwut0tiu3SYic3ox8F"
BACK = "http://127.0.0.1:8081/callback?code=c&state=s"


def _file(directory: Path, text: str) -> str:
    file = directory / "given"
    file.write_text(text)
    file.chmod(0o600)
    return str(file)


def test_one_newline_at_the_end_does_not_count(tmp_path: Path) -> None:
    """From the variable and from the file that it names; the variable is taken out of the environment."""
    environ = {"BEARERD_LOGIN_TOKEN": TOKEN}

    assert TOKEN == token(environ, from_stdin=False, questions=None)
    assert {} == environ
    file = {"BEARERD_LOGIN_TOKEN_FILE": _file(tmp_path, TOKEN + "\n")}
    assert TOKEN == token(file, from_stdin=False, questions=None)


def test_two_places_with_a_token_are_a_usage_error() -> None:
    """Nobody guesses which one was meant."""
    environ = {"BEARERD_LOGIN_TOKEN": TOKEN, "BEARERD_LOGIN_TOKEN_FILE": "token"}

    with pytest.raises(click.UsageError, match="one way only"):
        token(environ, from_stdin=False, questions=None)


def test_no_token_is_a_usage_error() -> None:
    """With the ways to give one."""
    with pytest.raises(click.UsageError, match="--token-stdin"):
        token({}, from_stdin=False, questions=None)


@pytest.mark.parametrize("text", ["", "two words", "line\nbreak", "naïve", "x" * 9000], ids=range(5))
def test_what_is_no_token_is_never_sent(text: str) -> None:
    """It is refused before anybody is asked, and not quoted."""
    with pytest.raises((Stop, click.UsageError)) as caught:
        token({"BEARERD_LOGIN_TOKEN": text}, from_stdin=False, questions=None)

    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("text", ["AKID\ns3cret\n", "AKID:s3cret", "AKID\r\ns3cret\r\n"], ids=range(3))
def test_two_parts_are_two_lines_or_joined(text: str) -> None:
    """Either way they come back joined."""
    assert "AKID:s3cret" == token({"BEARERD_LOGIN_TOKEN": text}, from_stdin=False, questions=None, parts=2)


def test_the_second_part_may_hold_a_colon() -> None:
    """The first can't: nobody would know where it ends."""
    joined = {"BEARERD_LOGIN_TOKEN": "AKID:s3:cret"}
    assert "AKID:s3:cret" == token(joined, from_stdin=False, questions=None, parts=2)
    with pytest.raises(Stop, match="no token"):
        token({"BEARERD_LOGIN_TOKEN": "AK:ID\ns3cret"}, from_stdin=False, questions=None, parts=2)


def test_three_parts_are_taken_apart_where_they_were_joined() -> None:
    """Only the last may hold a colon."""
    assert "a:b:c:d" == token({"BEARERD_LOGIN_TOKEN": "a\nb\nc:d"}, from_stdin=False, questions=None, parts=3)
    with pytest.raises(Stop, match="no token"):
        token({"BEARERD_LOGIN_TOKEN": "a\nb:c\nd"}, from_stdin=False, questions=None, parts=3)


@pytest.mark.parametrize(("text", "parts"), [("AKID", 2), ("a\nb\nc", 2), ("a\nb", 1)], ids=range(3))
def test_too_few_or_too_many_parts_are_refused(text: str, parts: int) -> None:
    """With how many there should be."""
    with pytest.raises(Stop, match=f"takes {parts} part"):
        token({"BEARERD_LOGIN_TOKEN": text}, from_stdin=False, questions=None, parts=parts)


def test_an_answer_comes_from_its_variable_or_its_file(tmp_path: Path) -> None:
    """With the line break that copying brings along."""
    environ = {"BEARERD_LOGIN_ANSWER": f" {BACK}\n"}

    assert BACK == answer(environ, ask=False)
    assert {} == environ
    assert BACK == answer({"BEARERD_LOGIN_ANSWER_FILE": _file(tmp_path, f"{BACK}\n")}, ask=False)


@pytest.mark.parametrize("text", [" ", "a b", "a\nb", "x" * 9000], ids=range(4))
def test_what_is_no_address_is_refused(text: str) -> None:
    """And not quoted."""
    with pytest.raises(Stop, match="no address"):
        answer({"BEARERD_LOGIN_ANSWER": text}, ask=False)
