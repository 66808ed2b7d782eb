"""The root of the command line: its help, its table of commands, errors that end in exit codes."""

import shlex
import subprocess
import sys
import time
from importlib import import_module

import click
import pytest

from proxy.cli import COMMANDS, HELP, unsupported
from tests.cli.support import Person, invoke
from tests.product import COMMAND, ROOT, surroundings


def test_help_is_grouped_and_names_every_command() -> None:
    """`bearerd --help` and `-h` print one page on which each command of the table stands."""
    shown = invoke("--help").stdout

    assert HELP == shown
    assert shown == invoke("-h").stdout
    assert [] == [name for name in COMMANDS if name != "help" and name not in shown]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_row_of_the_table_is_a_command_that_explains_itself(name: str) -> None:
    """Module and attribute exist, and the command's own help works."""
    module, attribute, _ = COMMANDS[name]

    assert isinstance(getattr(import_module(f"proxy.cli.{module}"), attribute), click.Command)
    assert 0 == invoke(name, "--help").exit_code


def test_a_misspelt_command_gets_a_suggestion() -> None:
    """An unknown command is a usage error (2) that names the close one."""
    result = invoke("stauts")

    assert 2 == result.exit_code
    assert "'status'" in result.stderr


def test_the_version_is_printed() -> None:
    """`--version` prints name and version, and nothing else."""
    assert "bearerd 0.1.0\n" == invoke("--version").stdout


def in_a_new_interpreter(person: Person, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    done = subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        cwd=person.home,
        env=surroundings(person.home),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_python_m_proxy_is_bearerd(person: Person) -> None:
    """The module runs the same program, under its own name."""
    assert (0, "bearerd 0.1.0\n", "") == in_a_new_interpreter(person, "--version")


@pytest.mark.parametrize(
    ("code", "line"),
    [(0, "config show"), (1, "login questrade --token-stdin"), (2, "nothing"), (6, "status --json")],
    ids=range(4),
)
def test_what_is_forked_does_the_same(person: Person, code: int, line: str) -> None:
    """Exit code and every word: most commands of these tests share the start of one interpreter."""
    person.write_config()
    done = person.run(*line.split(), stdin="two\nlines\n")

    assert code == done.code
    assert (done.code, done.out, done.err) == in_a_new_interpreter(person, *line.split(), stdin="two\nlines\n")


def test_completion_offers_commands_without_importing_them() -> None:
    """Completing the first word lists what starts with it."""
    program = "from proxy.cli import cli\nimport sys\ncli.main(prog_name='bearerd')"
    environ = {"_BEARERD_COMPLETE": "bash_complete", "COMP_WORDS": "bearerd sta", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert "plain,status\n" == done.stdout


@pytest.mark.parametrize("name", ["clients", "config", "oauth", "scopes", "store"])
def test_a_group_alone_shows_its_help(name: str) -> None:
    """As a wrong use, but not as the text of an error."""
    result = invoke(name)

    assert (2, invoke(name, "--help").stdout) == (result.exit_code, result.stderr)


@pytest.mark.timing
@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_is_there_at_once(argument: str) -> None:
    """The best of five runs takes at most 150 ms, the interpreter's own start included."""

    def seconds() -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "proxy", argument], cwd=ROOT, capture_output=True, check=True)
        return time.perf_counter() - began

    assert min(seconds() for _ in range(5)) <= 0.150


@pytest.mark.parametrize("redirect", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_an_empty_one(person: Person, redirect: str) -> None:
    """A command started without stdin, stdout or stderr does its work, and no file of ours becomes one of them."""
    person.write_config()
    shell = f"exec {shlex.quote(sys.executable)} -P -m proxy init {redirect}"
    done = subprocess.run(["/bin/sh", "-c", shell], cwd=person.home, env=surroundings(person.home), check=False)

    assert 0 == done.returncode
    assert (person.home / "state/store.db").is_file()


def test_a_system_that_it_does_not_run_on_is_told_at_once() -> None:
    """With what to do instead."""
    assert "WSL 2" in (unsupported("win32") or "")
    assert [None, None] == [unsupported("linux"), unsupported("darwin")]
