"""`docs/commands.md`, made from the commands themselves: `python -m tests.commandpage > docs/commands.md`."""

from collections.abc import Iterator

import click

from proxy.cli import cli
from proxy.cli.exits import MEANINGS

_HEAD = """\
# Commands

Every command with its options, as `bearerd COMMAND --help` prints them. The global options may stand before the command
or after it. What a command says when it can't go on is in [troubleshooting.md](troubleshooting.md).
"""
_RUN = """
`bearerd run` ends with its program's own code, 126 if that cannot be run, 127 if it is not found, and 128 + N if signal
N ended it.
"""


def commands(root: click.Group = cli) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Every command that can be called, as `bearerd clients add`; groups only by what they hold."""
    with click.Context(root, info_name="bearerd") as ctx:
        yield from _below(root, ctx)


def _below(group: click.Group, parent: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        if command is None or command.hidden:
            continue
        with click.Context(command, info_name=name, parent=parent) as ctx:
            if isinstance(command, click.Group):
                yield from _below(command, ctx)
            else:
                yield ctx.command_path, command, ctx


def options(command: click.Command, ctx: click.Context) -> list[tuple[str, str]]:
    """Its own options, but for the global ones, with their help."""
    known = {param.name for param in cli.params}
    records = [
        param.get_help_record(ctx)
        for param in command.params
        if isinstance(param, click.Option) and param.name not in known
    ]
    return [record for record in records if record]


def render() -> str:
    """The whole page."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield _HEAD
    yield "## Global options\n"
    with click.Context(cli, info_name="bearerd") as ctx:
        shown = [param.get_help_record(ctx) for param in cli.params if isinstance(param, click.Option)]
    yield from _table([record for record in shown if record])
    yield "## Exit codes\n\n| code | meaning |\n|---|---|"
    yield from (f"| {code:d} | {meaning} |" for code, meaning in MEANINGS.items())
    yield _RUN
    for path, command, ctx in commands():
        yield f"## {path}\n"
        yield f"    {' '.join([path, *command.collect_usage_pieces(ctx)])}\n"
        yield f"{_cell(_help(command))}\n"
        yield from _table(options(command, ctx))


def _help(command: click.Command) -> str:
    return (command.help or "").partition("\f")[0]


def _table(rows: list[tuple[str, str]]) -> Iterator[str]:
    if rows:
        yield "| option | |\n|---|---|"
        yield from (f"| `{_cell(names)}` | {_cell(text)} |" for names, text in rows)
        yield ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    print(render(), end="")
