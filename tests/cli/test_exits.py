"""Exit codes: one table, in the help, in the README, and in what commands really return."""

import re
import subprocess
from importlib import import_module

import pytest

from proxy.cli.exits import _KNOWN, MEANINGS, Exit, Stop, explain
from tests.cli.support import Person, invoke
from tests.product import COMMAND, ROOT, surroundings


def test_the_help_and_the_readme_show_the_same_codes() -> None:
    """`bearerd help exit-codes` and the README have one row for each code, in the same words."""
    rows = [f"| {code:d} | {meaning} |" for code, meaning in MEANINGS.items()]
    readme = (ROOT / "README.md").read_text()

    assert list(range(7)) == sorted(MEANINGS)
    assert rows == re.findall(r"^\| \d \|.*$", invoke("help", "exit-codes").stdout, re.MULTILINE)
    assert [] == [row for row in rows if row not in readme]


@pytest.mark.parametrize("name", _KNOWN)
def test_every_known_error_exists(name: str) -> None:
    """The table names classes that are there, so that a renamed one is noticed."""
    module, _, kind = name.rpartition(".")
    found = getattr(import_module(module), kind)

    assert issubclass(found, Exception)
    assert (module, kind) == (found.__module__, found.__qualname__)


def test_a_subclass_counts_as_its_closest_known_ancestor() -> None:
    """A damaged store is a failure; a locked one has a code of its own."""
    from proxy.store import Damaged, StoreLocked

    assert Exit.FAILURE is explain(Damaged("rotten"))[0]
    assert Exit.STORE is explain(StoreLocked("in use", 4711))[0]


def test_a_server_s_refusal_keeps_its_remedy() -> None:
    """What the running server says goes to the person as it is."""
    from proxy.admin import CommandFailed

    failed = CommandFailed("config", "line 3 is wrong", "mend it")

    assert (Exit.CONFIG, "line 3 is wrong", "mend it") == explain(failed)


def test_the_text_of_an_unknown_error_is_not_shown() -> None:
    """It may hold a token."""
    code, message, _ = explain(ValueError("brd_secret"))

    assert Exit.FAILURE is code
    assert "brd_secret" not in message
    assert "ValueError" in message


def test_a_system_error_names_the_file() -> None:
    """As the shell would say it."""
    assert (
        "a.yaml: No such file or directory" == explain(FileNotFoundError(2, "No such file or directory", "a.yaml"))[1]
    )


def test_a_stop_says_its_own_code() -> None:
    """Commands that give up themselves choose the code."""
    assert (Exit.UNREACHABLE, "gone", "bearerd serve") == explain(Stop("gone", Exit.UNREACHABLE, "bearerd serve"))


def test_a_wrong_option_is_a_usage_error() -> None:
    """2, and the help is pointed to."""
    result = invoke("status", "--jsno")

    assert 2 == result.exit_code
    assert "--json" in result.stderr


def test_a_bad_configuration_ends_in_3(person: Person) -> None:
    """All mistakes are listed, with line and column."""
    path = person.write_config(**{"environment: live": "enviroment: live"})
    result = invoke("serve", "-c", str(path))

    assert 3 == result.exit_code
    assert "config.yaml:9:5: error: mounts.questrade.enviroment" in result.stderr


def test_no_server_ends_in_6(person: Person) -> None:
    """With the command that starts one."""
    done = person.run("status", "-c", str(person.write_config()))

    assert 6 == done.code
    assert "bearerd serve" in done.err


def test_a_closed_pipe_is_no_error_message(person: Person) -> None:
    """`bearerd config schema | head -1` stays quiet."""
    process = subprocess.Popen(
        [*COMMAND, "config", "schema"],
        env=surroundings(person.home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as errors:
        assert b"" == errors.read()
    process.wait()
