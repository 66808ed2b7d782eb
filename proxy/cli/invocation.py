"""One run of the command line: the options that every command takes, and what follows from them."""

import os
import re
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from proxy.config import Config
    from proxy.settings import Settings
    from proxy.store.keys import Source

# A quoted word as tokens and keys look, and no name of ours does: long, in one piece, with a capital and a digit.
_LIKE_A_SECRET = re.compile(r"'(?=[^']*[A-Z])(?=[^']*[0-9])[^'\s/]{20,}'")


@dataclass
class Invocation:
    """The global options as they were given, before or after the command's name. `environ` is the process's own."""

    config: Path | None = None
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    color: str = "auto"
    environ: MutableMapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def say(self, text: str) -> None:
        """A message for a person, on stderr; nothing with `--quiet`."""
        if not self.quiet:
            click.echo(text, err=True)

    def warn(self, text: str) -> None:
        """A message that `--quiet` does not hide."""
        click.echo(text, err=True)

    def data(self, document: dict[str, Any]) -> None:
        """What `--json` prints: one line on stdout, flushed."""
        import json

        click.echo(json.dumps({"schema": 1} | document, ensure_ascii=False))
        sys.stdout.flush()

    def config_file(self) -> Path:
        """The configuration file. Raises `ConfigInvalid` if there is none."""
        from proxy.config import find

        return find(self.config, self.environ)

    def settings(self, overrides: dict[str, str] | None = None) -> "Settings":
        """Configuration and brokers. Raises `ConfigInvalid`."""
        from proxy.settings import read

        return read(self.config_file(), self.environ, overrides)

    def server_config(self) -> "Config":
        """What is needed to find a running server: a mistake elsewhere in the file is no reason not to ask it."""
        from proxy.config import load

        loaded = load(self.config_file(), self.environ)
        return loaded.draft or loaded.require()

    def source(self, config: "Config") -> "Source":
        """Where the master key comes from."""
        from proxy.store.keys import Source

        return Source(
            config.key,
            config.base,
            config.state_dir,
            self.environ,
            prompt=ask_hidden if interactive() else None,
            warn=lambda text: self.warn(f"warning: {text}"),
        )


class Command(click.Command):
    """A command that takes the global options too: `bearerd --json status` and `bearerd status --json` are the same."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(global_options())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, but an argument too many is not repeated: it may be a token, and terminals are recorded."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if "unexpected extra argument" not in error.message:
                raise
            raise click.UsageError("There is an argument too many. A token or key is never one.", ctx=ctx) from None


class Group(click.Group):
    """A command with commands of its own, such as `clients`."""

    command_class = Command


def global_options() -> list[click.Option]:
    """The options of every command, made anew because click ties them to one."""

    def remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        invocation = ctx.ensure_object(Invocation)
        if value not in (None, False):
            setattr(invocation, str(param.name), value)

    def option(*names: str, **settings: Any) -> click.Option:
        return click.Option(names, expose_value=False, callback=remember, **settings)

    file = click.Path(dir_okay=False, path_type=Path)
    return [
        option("-c", "--config", type=file, metavar="FILE", help="The configuration file."),
        option("--json", "as_json", is_flag=True, help="Print data as JSON."),
        option("-q", "--quiet", is_flag=True, help="Print no messages but errors."),
        option("-v", "--verbose", is_flag=True, help="Print more."),
        option("--color", type=click.Choice(["auto", "always", "never"]), help="Colour the output."),
    ]


def unsaid(message: str) -> str:
    """`message` without what somebody typed where a name belongs and what may be a token: terminals are recorded."""
    return _LIKE_A_SECRET.sub("'***'", message)


def current() -> Invocation:
    """The invocation that runs."""
    return click.get_current_context().ensure_object(Invocation)


def interactive() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask_hidden(question: str) -> str:
    """Ask a person for something that is not shown while it is typed."""
    answer: str = click.prompt(question.rstrip(": "), hide_input=True, err=True)
    return answer
