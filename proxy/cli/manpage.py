"""The man page, bearerd(1), made from the commands themselves: `bearerd help man | man -l -`."""

import re
from collections.abc import Iterable, Iterator

import click

from proxy import __version__
from proxy.cli.exits import MEANINGS

_INTRO = (
    (
        "bearerd is one local address for a person's or a team's brokers. It keeps their tokens fresh and sealed, lets "
        "only the calls pass that its configuration allows, and gives each program a key of its own."
    ),
    "First steps: \fBbearerd init\fR, \fBbearerd login questrade\fR, \fBbearerd serve\fR. Offline: \fBbearerd demo\fR.",
)
_FILES = {
    "./config.yaml, $XDG_CONFIG_HOME/bearerd/config.yaml, /etc/bearerd/config.yaml": (
        "The configuration: the first that there is, unless \fB--config\fR or BEARERD_CONFIG names one."
    ),
    "$XDG_CONFIG_HOME/bearerd/master.key": "The master key (mode 0600), which seals the store.",
    "$XDG_STATE_HOME/bearerd/": "Store, custody journal, audit trail, admin socket (mode 0700).",
}
_MACOS = "On macOS both directories are ~/Library/Application Support/bearerd, unless ~/.config/bearerd is in use."


def page(root: click.Group, topics: Iterable[str]) -> str:
    """The page in roff's man macros. `topics` are those of `bearerd help`."""
    return "\n".join(_lines(root, topics)) + "\n"


def _lines(root: click.Group, topics: Iterable[str]) -> Iterator[str]:
    yield f'.TH BEARERD 1 "" "bearerd {__version__}" "User Commands"'
    yield ".SH NAME\nbearerd \\- one local address for brokers' APIs, with fresh tokens and only the calls you allow"
    yield ".SH SYNOPSIS\n.B bearerd\n[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGS\\fR]..."
    yield ".SH DESCRIPTION"
    for paragraph in _INTRO:
        yield f"{_text(paragraph)}\n.PP"
    yield f"Topics: {_text(', '.join(f'bearerd help {name}' for name in topics))}."
    yield ".SH OPTIONS\nThey may stand before the command or after it."
    # Its own settings: the command remembers the help option of the first context that asks for it.
    with click.Context(root, info_name="bearerd", **root.context_settings) as ctx:
        yield from _options(root, ctx)
        yield ".SH COMMANDS"
        for name in root.list_commands(ctx):
            command = root.get_command(ctx, name)
            if command is not None and not command.hidden:
                yield from _command(command, ctx, name, {option.name for option in root.params})
    yield ".SH EXIT STATUS"
    yield from (f".TP\n.B {code:d}\n{_text(meaning)}" for code, meaning in MEANINGS.items())
    yield ".SH ENVIRONMENT\nEvery key of the configuration can come from a variable: \\fBbearerd help environment\\fR."
    yield ".SH FILES"
    yield from (f".TP\n.I {_text(name)}\n{_text(text)}" for name, text in _FILES.items())
    yield f".PP\n{_text(_MACOS)}"


def _command(command: click.Command, parent: click.Context, name: str, known: set[str | None]) -> Iterator[str]:
    with click.Context(command, info_name=name, parent=parent) as ctx:
        if isinstance(command, click.Group):
            yield f".SS {_text(ctx.command_path)}\n{_help(command)}"
            for below in command.list_commands(ctx):
                found = command.get_command(ctx, below)
                if found is not None and not found.hidden:
                    yield from _command(found, ctx, below, known)
            return
        usage = " ".join(command.collect_usage_pieces(ctx))
        yield f".SS {_text(f'{ctx.command_path} {usage}')}\n{_help(command)}"
        yield from _options(command, ctx, known)


def _options(command: click.Command, ctx: click.Context, known: set[str | None] | None = None) -> Iterator[str]:
    for param in command.params:
        shown = param.get_help_record(ctx) if isinstance(param, click.Option) else None
        if shown is not None and param.name not in (known or ()):
            yield f".TP\n.B {_text(shown[0])}\n{_text(shown[1])}"


def _help(command: click.Command) -> str:
    paragraphs = (command.help or "").partition("\f")[0].split("\n\n")
    return "\n.PP\n".join(_text(" ".join(paragraph.split())) for paragraph in paragraphs)


def _text(text: str) -> str:
    """Plain text as roff reads it; `code` becomes bold. What is marked with a form feed and a letter is a font."""
    found = text.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti").replace("^", "\\(ha")
    found = re.sub(r"\f([BIR])", r"\\f\1", found)
    found = re.sub(r"`([^`]+)`", r"\\fB\1\\fR", found).replace("`", "\\(ga")
    found = "".join(char if char.isascii() else f"\\[u{ord(char):04X}]" for char in found)
    return re.sub(r"(?m)^(?=[.'])", r"\\&", found)
