"""What a person sees: colour where it is wanted, columns, lengths of time."""

import pytest

from proxy.cli.invocation import Invocation
from proxy.cli.output import BAD, GOOD, Style, home_short, table, wants_color


@pytest.mark.parametrize(
    ("choice", "environ", "terminal", "expected"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"TERM": "dumb"}, True, False),
        ("auto", {"CLICOLOR": "0"}, True, False),
        ("auto", {"CLICOLOR_FORCE": "1"}, False, True),
        ("auto", {"CLICOLOR_FORCE": "0"}, False, False),
        ("auto", {"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"CLICOLOR_FORCE": "1"}, True, False),
    ],
)
def test_colour_follows_option_environment_and_terminal(
    choice: str, environ: dict[str, str], terminal: bool, expected: bool
) -> None:
    """The option wins, then NO_COLOR, then CLICOLOR_FORCE, then what kind of terminal it is."""
    assert expected is wants_color(choice, environ, terminal=terminal)


def test_columns_are_as_wide_as_their_longest_cell() -> None:
    """A table without colour is plain text that lines up, with no blanks at the ends of lines."""
    rows = [("", "NAME", "N"), (GOOD, "questrade", "1"), (BAD, "a", "12")]

    assert "  NAME       N\n✓ questrade  1\n✗ a          12" == table(rows, Style(colored=False))


def test_colour_does_not_move_columns() -> None:
    """Only the marks carry escape codes, and the width is that of the text."""
    shown = table([(GOOD, "a"), (BAD, "b")], Style(colored=True))

    assert "\x1b[32m✓\x1b[0m a\n\x1b[31m✗\x1b[0m b" == shown


def test_the_home_directory_is_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only whole leading folders count."""
    monkeypatch.setenv("HOME", "/home/ann")

    assert "~/store.db" == home_short("/home/ann/store.db")
    assert "/home/anna/store.db" == home_short("/home/anna/store.db")


def test_a_style_follows_the_invocation(capsys: pytest.CaptureFixture[str]) -> None:
    """A captured stream is no terminal; `--color always` colours it anyway."""
    import sys

    assert not Style.of(Invocation(environ={}), sys.stdout).colored
    assert Style.of(Invocation(color="always", environ={}), sys.stdout).colored
