"""The command line: a table of commands, each of them imported when it is called.

`bearerd --help` and completion must be quick, so nothing heavier than click is imported here. What a command does
stands in the module that its row names; what commands share lies beside them, by concept.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, NoReturn

import click

from proxy.cli.invocation import Command, global_options, unsaid

# Name → module below `proxy.cli`, attribute, one line of help.
COMMANDS: Mapping[str, tuple[str, str, str]] = {
    "init": ("init", "init", "Write config.yaml and a master key, and make the first client key."),
    "login": ("login", "login", "Log a mount in: asks for the refresh token that the broker's page shows."),
    "serve": ("serve", "serve", "Serve until SIGTERM or Ctrl-C."),
    "status": ("status", "status", "Mounts, tokens, clients, and what to do next."),
    "scopes": ("scopes", "scopes", "What a mount's scopes allow, and why a call is refused."),
    "clients": ("clients", "clients", "Make, list and remove client keys."),
    "halt": ("halt", "halt", "Stop trading at once: everywhere, on one mount, in one scope, or for one client."),
    "resume": ("halt", "resume", "Lift a halt."),
    "adopt": ("adopt", "adopt", "Let a quarantined or refused token be tried, once."),
    "revoke": ("login", "revoke", "Give an authorization up, at the broker and here."),
    "oauth": ("oauth", "oauth", "OAuth applications of a broker partner's users: tokens for their accounts."),
    "run": ("run", "run", "Run a program against bearerd, with a client key that ends with it."),
    "env": ("env", "env", "Variables or a token file that point a program here."),
    "tls": ("tls", "tls", "A local CA, for programs that insist on TLS."),
    "config": ("config", "config", "Check and show the configuration, or its schema for editors."),
    "reload": ("config", "reload", "Make a running server read its configuration again."),
    "doctor": ("doctor", "doctor", "What could keep bearerd from working here, and what to do about it."),
    "healthcheck": ("health", "healthcheck", "Exit 0 if the server answers: for containers."),
    "wait": ("health", "wait", "Wait until the server is ready."),
    "alerts": ("alerts", "alerts", "Who is told when something goes wrong: list, and send a test."),
    "audit": ("audit", "audit", "Who did what: calls, orders and operators' acts; look, verify, export."),
    "store": ("store", "store", "How the store stands, its tables, backups, and moving it elsewhere."),
    "rekey": ("rekey", "rekey", "Seal the store with a new master key."),
    "simulate": ("simulate", "simulate", "Brokers to practise against, offline."),
    "demo": ("demo", "demo", "The whole product offline: simulated brokers and bearerd in front."),
    "help": ("topics", "show", "Print a help topic."),
    "completion": ("completion", "completion", "Print the script that completes commands and names in a shell."),
}

HELP = """\
One local address for your brokers, with fresh tokens and only the calls you allow.

First steps:  bearerd init  →  bearerd login questrade  →  bearerd serve          Offline: bearerd demo

Run:      serve · run -- CMD (a program with its SDKs pointed here) · env (print what it needs)
Accounts: login · status (brokers, tokens, clients; what to do next) · adopt · revoke · oauth
Access:   halt · resume (stop trading, and go on) · scopes check|list · clients add|list|remove
Operate:  config check|show|schema · store status|migrate|copy|backup|restore · audit tail|search|verify|export
          tls init|show · alerts list|test · reload · doctor · healthcheck · wait · rekey · completion
Try out:  simulate · demo

Options:  -c, --config FILE [BEARERD_CONFIG]  --json  -q  -v  --color WHEN  --version  -h
Topics:   bearerd help environment | exit-codes | scopes | clients | guards | brokers | troubleshooting

`bearerd COMMAND --help` explains one command. Exit codes: 0 ok, 1 failure, 2 usage, 3 config invalid, 4 login needed,
5 store locked or wrong master key, 6 server not reachable.
"""


class Bearerd(click.Group):
    """The root: finds commands in the table, prints its own help, and turns every error into its exit code."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(f"proxy.cli.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """The names of commands come from the table: completing one must not import them all."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        from click.shell_completion import CompletionItem

        return [
            CompletionItem(name, help=line) for name, (_, _, line) in COMMANDS.items() if name.startswith(incomplete)
        ]

    def format_help(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(HELP)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. The one place where an error becomes a message and an exit code."""
        try:
            return super().invoke(ctx)
        except click.exceptions.NoArgsIsHelpError:
            raise  # its text is the help, and click prints it as that
        except click.UsageError as error:
            raise click.UsageError(unsaid(error.format_message()), ctx=error.ctx) from None
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, nobody shall see a traceback with values in it
            from proxy.cli.exits import report

            raise click.exceptions.Exit(report(error, ctx)) from None


def _version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:  # noqa: FBT001  click's signature
    if wanted:
        from proxy import __version__

        click.echo(f"bearerd {__version__}")
        ctx.exit()


def _params() -> Iterable[click.Parameter]:
    yield from global_options()
    yield click.Option(
        ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
    )


cli = Bearerd(
    "bearerd",
    params=list(_params()),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
cli.command_class = Command


def main() -> NoReturn:
    """The entry point."""
    if (text := unsupported(sys.platform)) is not None:
        sys.exit(text)
    _open_streams()
    cli.main(prog_name="bearerd")
    raise SystemExit(0)


def unsupported(system: str) -> str | None:
    """What to tell on a system that bearerd does not run on; None if it does."""
    if system not in ("win32", "cygwin"):
        return None
    return "bearerd runs on Linux and macOS, not on Windows itself. To fix: install it in WSL 2 (wsl --install)."


def _open_streams() -> None:
    """Whoever starts us without a stream gets an empty one: else the store could be opened as number 2, and messages
    would be written into it."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            os.set_inheritable(number, True)  # noqa: FBT003  it takes no keyword; what we start must not lack it either
            setattr(sys, name, open(number, mode, encoding="utf-8"))  # noqa: SIM115, PTH123  it stays open
