"""The man page: every command and option, in roff that a formatter takes without a word."""

import re
import subprocess
from collections.abc import Callable

import click

from proxy.cli import COMMANDS, cli
from proxy.cli.exits import Exit
from proxy.cli.manpage import page
from proxy.cli.topics import TOPICS
from tests.cli.support import invoke

PAGE = page(cli, TOPICS)


def test_every_command_and_exit_code_is_on_it() -> None:
    """Those of groups too; what is hidden is not."""
    heads = re.findall(r"^\.SS bearerd (.+)$", PAGE, re.MULTILINE)
    named = {head.split()[0].replace("\\-", "-") for head in heads}
    assert set(COMMANDS) == named
    assert any(head.startswith("store copy") for head in heads)
    assert "\\-\\-crew" not in PAGE
    assert [str(int(code)) for code in Exit] == re.findall(r"^\.B (\d)$", PAGE, re.MULTILINE)


def test_every_option_of_a_command_is_on_it() -> None:
    """With its help."""
    (serve,) = re.findall(r"^\.SS bearerd serve.*?(?=^\.S[SH])", PAGE, re.MULTILINE | re.DOTALL)
    with click.Context(cli, **cli.context_settings) as ctx:
        command = cli.get_command(ctx, "serve")
        assert command is not None
        shown = {param.opts[-1] for param in command.params if param.get_help_record(ctx) is not None}
    plain = serve.replace("\\-", "-")
    assert {"--listen", "--port", "--console", "--log-level"} <= shown
    common = {option for param in cli.params for option in param.opts}
    assert [] == [option for option in shown - common if f"\n.B {option}" not in plain]


def test_a_formatter_has_nothing_to_say(program: Callable[[str], str]) -> None:
    """All of groff's warnings are on, and the page has its sections."""
    command = [program("groff"), "-man", "-ww", "-Tutf8", "-P-cbou"]
    done = subprocess.run(command, input=PAGE, capture_output=True, text=True, check=True)
    assert "" == done.stderr
    assert all(name in done.stdout for name in ("NAME", "SYNOPSIS", "EXIT STATUS", "--log-level"))


def test_help_prints_it() -> None:
    """`bearerd help man`."""
    assert PAGE == invoke("help", "man").stdout
